"""`eventsolve`: one sample of an event SDE, event by event, on a fixed time grid."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..drivers import BrownianGrid, TimeGrid, as_grid_driver, check_driver
from ..event_sde import AbstractEventSDE
from ._solution import RESULTS, EventSolution, raise_unless_successful
from ._step import (
    AT_START,
    IMMEDIATE,
    KEPT,
    NOT_FINITE,
    TOO_MANY_EVENTS,
    Carry,
    Problem,
    micro_step,
)

# steps between two looks at whether every sample has ended
_CHUNK = 64
# more steps than this are always taken in chunks, so that a progress meter moves
_LONG = 1024


def eventsolve(
    sde: AbstractEventSDE,
    t0: float,
    t1: float,
    dt0: float,
    y0: PyTree,
    *,
    key: PRNGKeyArray,
    max_events: int,
    args: Any = None,
    driver: dfx.AbstractPath | None = None,
    solver: dfx.AbstractSolver | None = None,
    saveat: dfx.SaveAt | None = None,
    save_event_states: bool = False,
    stop_after: int | None = None,
    max_steps: int | None = None,
    progress_meter: dfx.AbstractProgressMeter | None = None,
    throw: bool = True,
) -> EventSolution:
    r"""Solve an event SDE for one sample; `jax.vmap` makes batches.

    Between events $dy = \mu(t, y)\,dt + \sigma(t, y) \circ dX_t$; the next event is
    $\tau = \inf\{t : E_k(t, y_t) = 0 \text{ for some } k\}$, reached from below; then
    $y_\tau = T_k(\tau, y_{\tau-}, u)$ with a fresh mark $u$.

    The sample steps over the cells of the grid $t_0 + j\,\mathrm{dt0}$. A cell in which a
    component of $E$ changes sign is cut at the event: the state there is the end of a *partial
    step* of the solver with the driver's own increment, and the event time solves
    $E_k(\text{step}(t, \tau, y)) = 0$ on that step. The rest of the cell is stepped over from the
    event, as often as there are events in it. Every sample of a batch goes at its own pace.

    Event times are differentiable by the implicit function theorem: with the dot for the
    derivative along the step, $d\tau = -dE_k / \dot E_k$. A driver that is piecewise linear on
    the grid is differentiated in time on both sides of the event, so that automatic
    differentiation is the derivative of the discretised path to rounding; Brownian bridges and
    trees are held fixed in time on both sides. Both converge to the derivative of the event SDE
    (Holberg & Salvi 2024, Theorem on pathwise gradients) where it exists.

    Derivatives are of first order: a second derivative of an event time is not that of the
    solution. One sample whose state is not finite makes a gradient that it shares with others NaN.

    Args:
        sde: the event SDE.
        t0: start of the window; a python number, as are `t1` and `dt0`, since they fix the
            number of steps.
        t1: end of the window, where the last cell ends.
        dt0: length of the cells.
        y0: the state at `t0`, any tree of floating-point arrays.
        key: random key, for the marks and, unless `driver` is given, for the Brownian motion.
        max_events: the number of events there is room for. One more is an error.
        args: passed to the functions of the SDE.
        driver: a diffrax path: [`roughsnn.BrownianGrid`][], `diffrax.VirtualBrownianTree`, ... By
            default a `BrownianGrid` of the SDE's `noise_shape` on the same grid.
        solver: a diffrax solver without implicit stages, by default `diffrax.Euler()`, which
            converges to the Ito solution: the same for additive noise. For a diffusion that
            depends on the state pass one that converges to the Stratonovich solution, such as
            `diffrax.Heun()`; for additive noise, `diffrax.SRA1()` has order 1.5.
        saveat: a `diffrax.SaveAt` with any of `t0`, `t1`, `ts`, `steps`, `fn`.
        save_event_states: whether to keep the states on both sides of every event.
        stop_after: end the simulation at the n-th event (a stopping time, not a truncation).
        max_steps: a limit on the number of (partial) steps; by default as many as are needed.
        progress_meter: a diffrax progress meter, for instance `diffrax.TqdmProgressMeter()`; it
            moves every 64 steps (a solve of at most 1024 cells takes these in one go), by the time
            that the slowest sample of a batch has reached.
        throw: whether to raise an error when the solve fails. With `throw=False` look at
            `solution.result`.

    Returns:
        an [`roughsnn.EventSolution`][].

    Raises:
        EventSolveError: the solve fails and `throw=True`; the text is that of the member of
            [`roughsnn.RESULTS`][] that applies. Inside a JAX transformation it is a run-time
            error of the same text.
        TypeError: an argument of the wrong kind.
        ValueError: an argument that makes no sense.
    """
    grid = TimeGrid(t0, t1, dt0)
    _check_count("max_events", max_events, 0)
    if stop_after is not None:
        _check_count("stop_after", stop_after, 1)
        if stop_after > max_events:
            raise ValueError(
                f"`stop_after` must be at most `max_events`, got stop_after={stop_after} and "
                f"max_events={max_events}."
            )
    needed = grid.num_cells + (max_events + 1 if stop_after is None else stop_after)
    if max_steps is None:
        max_steps = needed
    else:
        _check_count("max_steps", max_steps, 1)
        max_steps = min(max_steps, needed)
    y0 = jax.tree.map(_as_float_array, y0)
    if not isinstance(sde, AbstractEventSDE):
        raise TypeError(f"`sde` must be an event SDE, got {type(sde).__name__}.")
    solver = dfx.Euler() if solver is None else solver
    if not isinstance(solver, dfx.AbstractSolver):
        raise TypeError(f"`solver` must be a diffrax solver, got {type(solver).__name__}.")
    if isinstance(solver, dfx.AbstractImplicitSolver):
        raise ValueError(
            f"`solver` must be explicit, got {type(solver).__name__}: the end of a step is "
            "differentiated along time, which its root find does not offer."
        )
    solver = _differentiable_stages(solver)
    check_driver(driver, grid)
    subs = None if saveat is None else _check_saveat(saveat, grid)
    _check_event_function(sde, grid, y0, args)
    solution = _solve(
        sde, grid, y0, args, key, driver, solver, subs,
        max_events, stop_after, max_steps, save_event_states,
        dfx.NoProgressMeter() if progress_meter is None else progress_meter,
    )  # fmt: skip
    return raise_unless_successful(solution) if throw else solution


@eqx.filter_jit
def _solve(
    sde, grid, y0, args, key, driver, solver, subs,
    max_events, stop_after, max_steps, save_event_states, progress_meter,
):  # fmt: skip
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    if driver is None and sde.noise_shape is not None:
        driver = BrownianGrid(
            grid.t0,
            grid.t1,
            grid.dt0,
            sde.noise_shape,
            jax.random.fold_in(key, 0),
            levy_area=levy_area_for(solver),
        )
    driver = as_grid_driver(driver, grid)
    problem = Problem(
        sde, solver, driver, grid, args, jax.random.fold_in(key, 1), max_events, stop_after
    )
    start = jnp.asarray(grid.t0, dtype)
    e0 = sde.event(start, y0, args)
    zero = jnp.zeros((), jnp.int32)
    first = Carry(
        t=start,
        y=y0,
        cell=jnp.where(jnp.any(e0 >= 0), grid.num_cells + AT_START, 0).astype(jnp.int32),
        driver_state=None if driver is None else driver.start(zero),
        num_events=zero,
        fired=jnp.zeros(e0.shape, jnp.int32),
    )

    keep_path = subs is not None and (subs.ts is not None or subs.steps)

    def keep(carry, record):
        out = {k: v for k, v in record.items() if not k.startswith("y_")}
        if save_event_states:
            out |= dict(y_left=record["y_left"], y_right=record["y_right"])
        if keep_path:
            out["path"] = (carry.t, carry.y, carry.cell, carry.driver_state)
        return out

    def step(carry, _):
        new, record = micro_step(problem, carry)
        return new, keep(carry, record)

    step = jax.checkpoint(
        step, policy=jax.checkpoint_policies.save_only_these_names(*KEPT), prevent_cse=False
    )
    # without a stopping time every sample takes a step in every cell: where that is not long, it
    # is done in one go, which is faster than in chunks
    sure = min(grid.num_cells, max_steps)
    sure = sure if stop_after is None and sure <= _LONG else 0
    last, records = _scan_while_running(step, first, sure, max_steps, grid, progress_meter)
    return _collect(problem, subs, first, last, records, max_steps, save_event_states)


def _scan_while_running(
    step: Callable,
    first: Carry,
    sure: int,
    length: int,
    grid: TimeGrid,
    meter: dfx.AbstractProgressMeter,
):
    """`lax.scan`: first `sure` steps, then the others in chunks, each skipped once every sample of
    the batch has ended. It is at most one step per chunk longer than asked for."""
    first, head = lax.scan(step, first, None, length=sure)
    if sure == length:
        return first, head
    num_chunks = -(-(length - sure) // _CHUNK)
    chunk = -(-(length - sure) // num_chunks)

    def run(carry):
        return lax.scan(step, carry, None, length=chunk)

    shapes = jax.eval_shape(run, first)[1]

    def skip(carry):
        return carry, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def chunk_step(state, _):
        carry, bar = state
        running = carry.cell < grid.num_cells
        carry, records = lax.cond(eqxi.unvmap_any(running), run, skip, carry)
        ended = carry.cell >= grid.num_cells
        share = (lax.stop_gradient(carry.t) - grid.t0) / (grid.t1 - grid.t0)
        return (carry, meter.step(bar, jnp.where(ended, 1, share))), records

    (carry, bar), records = lax.scan(chunk_step, (first, meter.init()), None, length=num_chunks)
    meter.close(bar)
    records = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b.reshape((-1,) + b.shape[2:])]), head, records
    )
    return carry, records


def _collect(problem, subs, first, last, records, max_steps, save_event_states):
    grid, dtype = problem.grid, first.t.dtype
    max_events = problem.max_events
    indices = records["outcome"] - 2
    recorded, ran = indices >= 0, indices >= -1
    # the n-th event goes to place n, everything else past the end
    place = jnp.where(recorded, jnp.cumsum(recorded) - 1, max_events)

    def compact(values, fill):
        out = jnp.full((max_events,) + values.shape[1:], fill, values.dtype)
        return out.at[place].set(values, mode="drop")

    ended = last.cell - grid.num_cells
    result = RESULTS.where(ended < 0, RESULTS.micro_steps_reached, RESULTS.successful)
    for code, member in (
        (TOO_MANY_EVENTS, RESULTS.max_events_reached),
        (NOT_FINITE, RESULTS.nonfinite_state),
        (IMMEDIATE, RESULTS.immediate_event),
        (AT_START, RESULTS.event_at_start),
    ):
        result = RESULTS.where(ended == code, member, result)
    failed = (ended == NOT_FINITE) | (ended == IMMEDIATE) | (ended == AT_START)
    component = _suspect(problem, last, ended, indices, recorded)
    ts, ys = _save(problem, subs, first, last, records)
    return EventSolution(
        t0=first.t,
        t1=jnp.asarray(grid.t1, dtype),
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
        final_time=last.t,
        final_state=last.y,
        result=result,
        stats=dict(
            num_steps=jnp.sum(ran),
            num_cells=grid.num_cells,
            max_steps=max_steps,
            location_residual=jnp.max(records["residual"], initial=0.0),
            failure_time=jnp.where(failed, last.t, jnp.inf),
            failure_component=jnp.where(failed, component, -1),
        ),
    )


def _suspect(problem, last, ended, indices, recorded):
    """The component of the event function that a failure concerns."""
    grid = problem.grid
    cell_end = last.t + grid.dt0
    e0 = problem.sde.event(last.t, last.y, problem.args)
    cell = jnp.clip((last.t - grid.t0) / grid.dt0 + 1e-3, 0, grid.num_cells - 1).astype(jnp.int32)
    here = eqx.tree_at(lambda c: c.cell, last, cell)
    y1 = problem.advance(problem.piece(here, cell_end), last.t, cell_end, last.y)
    e1 = problem.sde.event(cell_end, y1, problem.args)
    latest = indices[jnp.argmax(jnp.where(recorded, jnp.arange(indices.shape[0]), -1))]
    suspect = jnp.where(ended == AT_START, jnp.argmax(e0), jnp.argmax(~jnp.isfinite(e1)))
    return jnp.where(ended == IMMEDIATE, latest, suspect.astype(jnp.int32))


def _save(problem, subs, first, last, records):
    """States at the times asked for: one more partial step each, from where its piece began."""
    if subs is None:
        return None, None
    fn = subs.fn
    ts, ys = [], []

    def add(t, y):
        ts.append(jnp.atleast_1d(t))
        ys.append(jax.vmap(lambda t, y: fn(t, y, problem.args))(ts[-1], y))

    def one(y):
        return jax.tree.map(lambda x: x[None], y)

    if subs.t0:
        add(first.t, one(first.y))
    if subs.ts is not None:
        add(*_states_at(problem, jnp.asarray(subs.ts, first.t.dtype), last, records))
    if subs.steps:
        t, y = records["path"][:2]
        after = records["outcome"] == 0
        t = jnp.where(after, last.t, t)
        y = jax.tree.map(
            lambda x, end: jnp.where(after.reshape((-1,) + (1,) * (x.ndim - 1)), end, x), y, last.y
        )
        add(t, y)
    if subs.t1:
        add(last.t, one(last.y))
    return jnp.concatenate(ts), jax.tree.map(lambda *x: jnp.concatenate(x), *ys)


def _states_at(problem, ts, last, records):
    starts, ys, cells, driver_states = records["path"]
    used = jnp.where(records["outcome"] > 0, starts, jnp.inf)
    where = jnp.clip(jnp.searchsorted(used, ts, side="right") - 1, 0)

    def state_at(t, i):
        t_start = starts[i]
        y = jax.tree.map(lambda x: x[i], ys)
        carry = Carry(
            t=t_start, y=y, cell=cells[i],
            driver_state=jax.tree.map(lambda x: x[i], driver_states),
            num_events=last.num_events, fired=last.fired,
        )  # fmt: skip
        cell_end = problem.grid.end(cells[i], ts.dtype)
        at_end = t >= last.t
        inside = jnp.where(at_end, cell_end, t)
        y_t = problem.advance(problem.piece(carry, cell_end), t_start, inside, y)
        # the end of the solve itself is the last state, transition included
        y_t = jax.tree.map(lambda a, b: jnp.where(at_end, b, a), y_t, last.y)
        return jax.tree.map(lambda x: jnp.where(t > last.t, jnp.nan, x), y_t)

    return ts, jax.vmap(state_at)(ts, where)


def levy_area_for(solver: dfx.AbstractSolver) -> type:
    """What the solver needs to know of a Brownian motion over a step."""
    need = getattr(solver, "minimal_levy_area", dfx.AbstractBrownianIncrement)
    if issubclass(need, dfx.AbstractSpaceTimeTimeLevyArea):
        raise ValueError(
            f"`solver` {type(solver).__name__} needs space-time-time Levy areas, which a "
            "BrownianGrid does not have. For additive noise use diffrax.SRA1, SEA or ShARK."
        )
    if issubclass(need, dfx.AbstractSpaceTimeLevyArea):
        return dfx.SpaceTimeLevyArea
    return dfx.BrownianIncrement


def _differentiable_stages(solver):
    """diffrax loops over the stages of a Runge--Kutta method in a way that has no forward mode,
    which locating events needs, unless told otherwise."""
    kind = None
    if isinstance(solver, dfx.AbstractRungeKutta):
        kind = "bounded"
    elif isinstance(solver, dfx.AbstractSRK):
        kind = "lax"
    if kind is None or solver.scan_kind is not None:  # pyright: ignore
        return solver
    return eqx.tree_at(lambda s: s.scan_kind, solver, kind, is_leaf=lambda x: x is None)


def _as_float_array(x):
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(float)
    return x


def _check_count(name, value, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}.")


def _check_saveat(saveat, grid):
    if not isinstance(saveat, dfx.SaveAt) or not isinstance(saveat.subs, dfx.SubSaveAt | None):
        raise ValueError("`saveat` must be a diffrax.SaveAt without nested `subs`.")
    if saveat.dense or saveat.solver_state or saveat.controller_state or saveat.made_jump:
        raise ValueError(
            "`saveat` may use t0, t1, ts, steps and fn; dense output, solver_state, "
            "controller_state and made_jump do not apply to event solves. Use "
            "SaveAt(ts=...) with as many times as you need."
        )
    if saveat.subs is None:
        return None
    if saveat.subs.steps not in (0, 1):
        raise ValueError(f"`saveat.steps` must be True or False, got {saveat.subs.steps}.")
    ts = saveat.subs.ts
    if ts is not None and not isinstance(ts, jax.core.Tracer):
        ts = np.asarray(ts)
        low, high = ts.min(initial=grid.t0), ts.max(initial=grid.t1)
        slack = 1e-6 * (grid.t1 - grid.t0)
        if low < grid.t0 - slack or high > grid.t1 + slack:
            raise ValueError(
                f"`saveat.ts` must lie in the window [{grid.t0}, {grid.t1}], got times from {low} "
                f"to {high}."
            )
    return saveat.subs


def _check_event_function(sde, grid, y0, args):
    t = jax.ShapeDtypeStruct((), jnp.result_type(*jax.tree.leaves(y0)))
    values = eqx.filter_eval_shape(sde.event, t, y0, args)
    if getattr(values, "ndim", None) != 1 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            "`event` must return one floating-point array of shape (K,), the values of all K "
            f"event functions, got {values}."
        )
    if values.shape == (0,):
        raise ValueError("`event` must return at least one value, got an array of shape (0,).")
    drift = eqx.filter_eval_shape(sde.drift, t, y0, args)
    expected = jax.tree.map(lambda x: x.shape, y0)
    got = jax.tree.map(lambda x: x.shape, drift)
    if expected != got:
        raise ValueError(
            f"`drift` must return the structure and shapes of the state `y0`, {expected}, got "
            f"{got}."
        )
