"""Samples without derivatives: one look at the solver's step in every turn of the loop."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._account import OVERFLOW, Moved, account, is_recorded
from ._adjoints import AbstractEventAdjoint, Settings, direct_solution
from ._locate import (
    NO_EVENT,
    NONFINITE,
    Search,
    begin_search,
    component,
    first_crossing,
    is_finite,
    time_tolerance,
)
from ._output import collect
from ._problem import Carry, Path, Problem, where_tree
from ._refusal import refuse_derivatives
from ._saved import most_times_in, put, saved_output, slots, states_of, times_asked
from ._step import micro_step

_CHUNK = 8
# room for this many events is searched in every chunk, more is scattered into
_FEW_EVENTS = 8

_refuse = refuse_derivatives(
    "`adjoint` NoGradient() computes samples only, without derivatives: leave `adjoint` out, or "
    "use roughsnn.ReverseMode() or another engine."
)


class NoGradient(AbstractEventAdjoint):
    """No derivatives, for sampling at the least cost: differentiating the solution raises a
    `NotImplementedError`.

    The samples are those of the other engines, to rounding. Nothing is kept of the steps, so that
    memory grows with the number of events alone. And in a batch made by `jax.vmap` no sample waits
    for the search of another: each turn of the loop takes one look in every sample, while elsewhere
    a cell takes as many looks as the longest search in it. That tells where searches take several
    looks, as with solvers of order 1.5; by Euler's method an intensity model needs only one.

    `saveat.steps`, jumps of the driver, adaptive steps and equations without noise go the usual
    way.
    """

    def solve(self, inputs, settings):
        inputs = _undifferentiated(inputs)
        if settings.controller is not None or (settings.subs is not None and settings.subs.steps):
            solution = direct_solution(inputs, settings)[0]
        else:
            solution = _sample(inputs, settings)
        return _undifferentiated(solution)


def _undifferentiated(tree):
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(_refuse(arrays), rest)


class _State(eqx.Module):
    """Where one sample stands.

    - `search`: where its search for an event stands, with -1 looks while there is none; `None`
      where each step searches on its own.
    - `num_steps`: steps so far, without looks.
    """

    carry: Carry
    num_steps: Int[Array, ""]
    search: Search | None = None


def _sample(inputs, settings: Settings):
    problem = settings.problem(inputs, look=False)
    first, n, cells = problem.start(), problem.max_events, problem.grid.num_cells
    ts = times_asked(settings, first.offset.dtype)
    width = most_times_in(_CHUNK, settings)
    zero = jnp.zeros((), jnp.int32)
    state = _State(first, zero)
    advance: Callable = _step
    if _may_look(problem):
        e0, x = problem.events_of(first), first.offset
        search = _without_looks(begin_search(x, x, e0, e0, x))
        state = _State(first, zero, search)
        advance = _look

    def runs(state):
        in_window = state.carry.cell < cells
        return in_window & (state.num_steps < settings.max_steps) if settings.limited else in_window

    def turn(state, _):
        new, record = advance(problem, state, runs(state))
        kept = {name: record[name] for name in ("outcome", "time", "residual")}
        if settings.keep_states:
            kept |= dict(y_left=record["y_left"], y_right=record["y_right"])
        return new, (kept, None if ts is None else Path.of(state.carry))

    def chunk(all_):
        state, events, ys, bar = all_
        new, (records, path) = lax.scan(turn, state, None, length=_CHUNK)
        events = _merged(events, records, state.carry.num_events, new.carry.num_events, n)
        if ts is not None:
            within, place = slots(ts, state.carry.since, new.carry.since, width)
            states = states_of(problem, ts, place, path)
            ys = jax.tree.map(lambda b, x: put(b, x, within, place), ys, states)
        share = new.carry.since / problem.grid.duration
        bar = settings.meter.step(bar, jnp.where(runs(new), share, 1))
        return new, events, ys, bar

    record = jax.eval_shape(turn, state, None)[1][0]
    events = jax.tree.map(lambda x: jnp.zeros((n, *x.shape), x.dtype), record)
    ys = None
    if ts is not None:
        ys = jax.tree.map(lambda x: jnp.full((*ts.shape, *x.shape), jnp.nan, x.dtype), first.y)
    all_ = (state, events, ys, settings.meter.init())
    state, events, ys, bar = lax.while_loop(
        lambda all_: eqxi.unvmap_any(runs(all_[0])), chunk, all_
    )
    settings.meter.close(bar)
    last = state.carry
    saved = saved_output(settings, problem, first, last, ts, ys)
    return collect(
        problem, settings.subs, first, last, events, settings.max_steps, state.num_steps, saved
    )


def _may_look(problem: Problem) -> bool:
    """Whether a step needs no more than one look at a time: no jumps, nothing that turns within a
    step, and noise, without which steps search as they differentiate."""
    quiet = problem.driver is None or problem.jumps is not None
    return not quiet and not problem.turns and problem.sde.resets


def _merged(events, records, before, after, n: int):
    """The events, in their order, with those of a chunk among them."""
    happened = records["outcome"] >= 2
    so_far = before + jnp.cumsum(happened, dtype=jnp.int32)
    if n > _FEW_EVENTS:
        place = jnp.where(happened, so_far - 1, n)
        return jax.tree.map(lambda b, x: b.at[place].set(x, mode="drop"), events, records)
    numbers = jnp.arange(n, dtype=jnp.int32)
    new = (numbers >= before) & (numbers < after)
    place = jnp.sum(so_far[None] <= numbers[:, None], axis=1, dtype=jnp.int32)
    place = jnp.minimum(place, happened.shape[0] - 1)

    def merge(b, x):
        rows = new.reshape((-1,) + (1,) * (b.ndim - 1))
        return jnp.where(rows, x[place], b)

    return jax.tree.map(merge, events, records)


def _step(problem: Problem, state: _State, runs) -> tuple[_State, dict[str, Any]]:
    """A step that searches for its event on its own."""
    carry = state.carry
    new, record = micro_step(problem, carry)
    # the limit of steps may be reached within a chunk
    new = where_tree(runs, new, carry)
    record["outcome"] = jnp.where(runs, record["outcome"], 0)
    return _State(new, state.num_steps + runs.astype(jnp.int32)), record


def _look(problem: Problem, state: _State, runs) -> tuple[_State, dict[str, Any]]:
    """One look: at the event by the secant through both ends of the cell, or at the time that the
    search proposes. The decisions are those of `locate_event`."""
    carry = state.carry
    problem = problem.in_cell(carry.cell)
    sde, args = problem.sde, problem.args
    assert state.search is not None
    searching = state.search.looks >= 0
    x, y, num = carry.offset, carry.y, carry.fired.shape[0]
    end = jnp.where(runs, problem.grid.width(carry.cell, x.dtype), x + problem.dt0)
    piece = problem.piece(carry, end)

    def reach(place):
        y_new = problem.advance(piece, carry.begin, x, place, y)
        return y_new, sde.event(problem.time(carry.begin, place), y_new, args)

    # does a component stand at zero, or cross on the way?
    e0 = problem.events_of(carry)
    y_end, e_end = reach(end)
    tied = (carry.fired & 1) == 1
    standing = tied | (e0 >= 0)
    rising, share = first_crossing(e0, e_end, standing)
    broken = runs & ~is_finite(e_end, y_end)
    stands = runs & (share < 0)
    searches = runs & ~broken & (share >= 0) & (share <= 1)

    # is this the event?
    guess = jnp.where(searches, x + share.astype(x.dtype) * (end - x), end)
    search = where_tree(searching, state.search, begin_search(x, end, e0, e_end, guess))
    y_tau, e = reach(search.tau)
    t_tol = time_tolerance(end, end - x)
    tol, top, index = search.judge(e, e0, rising, standing, t_tol)
    settled = search.settled(top, t_tol)
    found, goes_on = searches & settled, searches & ~settled

    set_off = stands & component(standing & ~tied, index)
    decision = jnp.where(set_off, num + index, index)
    decision = jnp.where(stands | found, decision, NO_EVENT)
    full = carry.num_events >= problem.max_events
    too_many = full & (decision >= 0) & is_recorded(sde, index)
    decision = jnp.where(too_many, OVERFLOW, decision)
    decision = jnp.where(broken, NONFINITE, decision)
    moves = runs & (decision >= NO_EVENT) & ~goes_on

    one_hot = jnp.arange(num, dtype=jnp.int32) == index
    group = jnp.where(stands, standing, rising & (e >= -4 * tol) & found) & ~one_hot
    clock = jnp.where(found, search.tau, jnp.where(stands, x, end))
    y_next = where_tree(stands, y, y_tau)
    residual = component(jnp.where(stands, e0, e), index)
    new, record = account(
        problem, carry, Moved(decision, clock, moves, clock, y_next, residual, end, piece, group)
    )
    search = search.refined(e, top, rising)
    search = eqx.tree_at(lambda s: s.looks, search, jnp.where(goes_on, search.looks, -1))
    steps = state.num_steps + (runs & ~goes_on).astype(jnp.int32)
    return _State(new, steps, search), record


def _without_looks(search: Search) -> Search:
    return eqx.tree_at(lambda s: s.looks, search, jnp.full_like(search.looks, -1))
