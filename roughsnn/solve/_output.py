"""From the records of the steps to what a solve returns."""

import functools
import operator

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp

from ._locate import time_tolerance
from ._problem import (
    AT_START,
    BACKLOG,
    IMMEDIATE,
    LONG_STEP,
    NOT_FINITE,
    TOO_MANY_EVENTS,
    Path,
)
from ._solution import RESULTS, EventSolution


def collect(problem, subs, first, last, records, max_steps, num_steps=None, saved=None):
    """The solution. `records` are those of all steps, or of the events alone; in this case
    `num_steps` and `saved`, the output asked for, are known already."""
    grid, dtype = problem.grid, first.offset.dtype
    max_events = problem.max_events
    save_event_states = "y_left" in records
    indices = records["outcome"] - 2
    recorded, ran = indices >= 0, indices >= -1
    # which record is the n-th event: looked up rather than scattered, since there is room for few
    # events and there are many records
    so_far = jnp.cumsum(recorded, dtype=jnp.int32)
    numbers = jnp.arange(1, max_events + 1, dtype=jnp.int32)
    place = jnp.searchsorted(so_far, numbers, method="scan_unrolled").astype(jnp.int32)
    happened = numbers <= last.num_events
    place = jnp.where(happened, place, 0)

    def compact(values, fill):
        rows = happened.reshape((-1,) + (1,) * (values.ndim - 1))
        return jnp.where(rows, values[place], jnp.asarray(fill, values.dtype))

    ended = last.cell - grid.num_cells
    result = RESULTS.where(ended < 0, RESULTS.micro_steps_reached, RESULTS.successful)
    for code, member in (
        (TOO_MANY_EVENTS, RESULTS.max_events_reached),
        (NOT_FINITE, RESULTS.nonfinite_state),
        (IMMEDIATE, RESULTS.immediate_event),
        (AT_START, RESULTS.event_at_start),
        (BACKLOG, RESULTS.too_many_arrivals),
        (LONG_STEP, RESULTS.step_too_long),
    ):
        result = RESULTS.where(ended == code, member, result)
    in_component = (NOT_FINITE, IMMEDIATE, AT_START, BACKLOG)
    failed = functools.reduce(operator.or_, (ended == code for code in in_component))
    component = _suspect(problem, last, ended, indices, recorded)
    ts, ys = _save(problem, subs, first, last, records) if saved is None else saved
    return EventSolution(
        t0=grid.t0,
        t1=grid.t1,
        event_times=compact(records["time"], jnp.inf),
        event_indices=compact(indices, -1),
        num_events=last.num_events,
        ts=ts,
        ys=ys,
        event_ys_left=jax.tree.map(lambda x: compact(x, jnp.nan), records["y_left"])
        if save_event_states
        else None,
        event_ys_right=jax.tree.map(lambda x: compact(x, jnp.nan), records["y_right"])
        if save_event_states
        else None,
        final_time=last.since,
        final_state=last.y,
        result=result,
        grazing=jnp.zeros_like(last.num_events),
        stats=dict(
            num_steps=jnp.sum(ran) if num_steps is None else num_steps,
            num_cells=grid.num_cells,
            max_steps=max_steps,
            location_residual=jnp.max(records["residual"], initial=0.0),
            location_tolerance=_location_tolerance(grid, dtype),
            failure_time=jnp.where(failed, last.since, jnp.inf),
            failure_component=jnp.where(failed, component, -1),
        ),
    )


def _location_tolerance(grid, dtype):
    """The largest that any event of the solve is located to, in time."""
    width = jnp.asarray(max(grid.dt0, grid.width_of_last), dtype)
    return time_tolerance(width, width)


def _suspect(problem, last, ended, indices, recorded):
    """The component of the event function that a failure concerns."""
    grid, begin, x = problem.grid, last.begin, last.offset
    end = x + problem.dt0
    e0 = problem.sde.event(problem.time(begin, x), last.y, problem.args)
    cell = jnp.clip(jnp.round(begin / grid.dt0), 0, grid.num_cells - 1).astype(jnp.int32)
    here = eqx.tree_at(lambda c: c.cell, last, cell)
    y1 = problem.in_cell(cell).advance(problem.piece(here, end), begin, x, end, last.y)
    e1 = problem.sde.event(problem.time(begin, end), y1, problem.args)
    latest = indices[jnp.argmax(jnp.where(recorded, jnp.arange(indices.shape[0]), -1))]
    suspect = jnp.where(ended == AT_START, jnp.argmax(e0), jnp.argmax(~jnp.isfinite(e1)))
    return jnp.where((ended == IMMEDIATE) | (ended == BACKLOG), latest, suspect.astype(jnp.int32))


def _save(problem, subs, first, last, records):
    """States at the times asked for: one more partial step each, from where its piece began."""
    if subs is None:
        return None, None
    fn = subs.fn
    ts, ys = [], []

    def add(since, y):
        since = jnp.atleast_1d(since)
        ts.append(since)
        times = problem.time(jnp.zeros_like(since), since)
        ys.append(jax.vmap(lambda t, y: fn(t, y, problem.args))(times, y))

    def one(y):
        return jax.tree.map(lambda x: x[None], y)

    if subs.t0:
        add(first.since, one(first.y))
    if subs.ts is not None:
        add(*_states_at(problem, jnp.asarray(subs.ts, first.offset.dtype), last, records))
    if subs.steps:
        t, y = records["path"].since, records["path"].y
        after = records["outcome"] == 0
        t = jnp.where(after, last.since, t)
        y = jax.tree.map(
            lambda x, end: jnp.where(after.reshape((-1,) + (1,) * (x.ndim - 1)), end, x), y, last.y
        )
        add(t, y)
    if subs.t1:
        add(last.since, one(last.y))
    return jnp.concatenate(ts), jax.tree.map(lambda *x: jnp.concatenate(x), *ys)


def _states_at(problem, ts, last, records):
    path = records["path"]
    used = jnp.where(records["outcome"] > 0, path.since, jnp.inf)

    def finished(t, y):
        # the end of the solve itself is the last state, transition included
        y = jax.tree.map(lambda a, b: jnp.where(t >= last.since, b, a), y, last.y)
        return jax.tree.map(lambda x: jnp.where(t > last.since, jnp.nan, x), y)

    return ts, jax.vmap(finished)(ts, states_at(problem, ts, used, path))


def states_at(problem, ts, begins, path: Path):
    """States at times inside the steps of a path, which begin at the given times (`inf` for a
    step that was not taken); all times since the start of the window."""
    where = jnp.clip(jnp.searchsorted(begins, ts, side="right") - 1, 0)

    def state_at(t, i):
        step = jax.tree.map(lambda x: x[i], path)
        cell_end = problem.grid.width(step.cell, ts.dtype)
        piece = None
        if problem.driver is not None:
            piece = problem.driver.piece(step.driver_state, step.cell, step.offset, cell_end)
        x = t - step.begin
        # not past the end of a solve, where the step could be any
        past = jnp.where(x > cell_end, lax.stop_gradient(step.offset) + problem.dt0, x)
        own = problem.in_cell(step.cell)
        return own.advance(piece, step.begin, step.offset, past, step.y)

    return jax.vmap(state_at)(ts, where)
