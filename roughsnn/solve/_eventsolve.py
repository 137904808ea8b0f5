"""`eventsolve`: one sample of an event SDE, event by event, on a fixed time grid."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from .._checks import IntLike, RealLike, optional_whole_number, whole_number, window
from .._random import key_of_marks
from ..drivers import BrownianGrid, TimeGrid, as_grid_driver, check_driver, jumps_of
from ..event_sde import AbstractEventSDE
from ._adjoints import AbstractEventAdjoint, ReverseMode, Settings
from ._arguments import (
    Interpretation,
    as_float_array,
    check_cells,
    check_controller,
    check_event_function,
    check_interpretation,
    check_interpretation_name,
    check_roughness,
    check_saveat,
    chosen_solver,
    clock_of,
    differentiable_stages,
)
from ._arguments import levy_area_for as levy_area_for
from ._guard import Conditions, check_policy
from ._solution import EventSolution, raise_unless_successful

# steps of a solve with adaptive step size, unless told otherwise
_ADAPTIVE_STEPS = 4096


def eventsolve(
    sde: AbstractEventSDE,
    t0: RealLike,
    t1: RealLike,
    dt0: RealLike,
    y0: PyTree,
    *,
    key: PRNGKeyArray,
    max_events: IntLike,
    args: Any = None,
    driver: dfx.AbstractPath | None = None,
    solver: dfx.AbstractSolver | None = None,
    adjoint: AbstractEventAdjoint | None = None,
    conditions: Conditions = "refuse",
    interpretation: Interpretation = "stratonovich",
    stepsize_controller: dfx.AbstractStepSizeController | None = None,
    saveat: dfx.SaveAt | None = None,
    save_event_states: bool = False,
    stop_after: IntLike | None = None,
    max_steps: IntLike | None = None,
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

    The clock is the number of the cell and the time since its start, and all times that are
    returned count from the start of the window. So events are as sharp in the last cell of a long
    window as in the first, and a model that does not depend on time has the same events wherever
    its window begins. Functions that ask for the time are given absolute time (a
    [`roughsnn.CurrentOnGrid`][] as `args` counts from the start of the window); where that does not
    tell the cells apart in the precision of `y0`, the solve is refused.

    The search ends where $|E_k|$ is no more than two roundings of its own and two of time make of
    it, or where the event lies in a bracket of length $4 \varepsilon h$, with the machine precision
    $\varepsilon$ and the length $h$ of the step. `solution.stats` has that tolerance
    (`location_tolerance`) and the largest $|E_k|$ that was left (`location_residual`).
    Where the path is smooth within a cell (no noise, noise that is piecewise linear, input
    spikes), a component that rises through zero and falls again within a step is found too, and of
    several zeros the first, as long as $E_k$ is near a cubic there: its shortest period is four
    steps or more.
    With a step size controller, the steps follow its tolerances, and events are located on them
    just as sharply.

    Event times are differentiable by the implicit function theorem: with the dot for the
    derivative along the step, $d\tau = -dE_k / \dot E_k$. A driver that is piecewise linear on
    the grid is differentiated in time on both sides of the event, so that automatic
    differentiation is the derivative of the discretised path to rounding; Brownian bridges and
    trees are held fixed in time on both sides. Both converge to the derivative of the event SDE
    (Holberg & Salvi 2024, Theorem on pathwise gradients) where it exists.

    `adjoint` says how derivatives are computed: [`roughsnn.ReverseMode`][] (the default, which
    serves forward mode as well), [`roughsnn.ForwardMode`][], [`roughsnn.StochasticAdjoint`][] and
    [`roughsnn.EligibilityTraces`][]; or that there are none, [`roughsnn.NoGradient`][]. All of them
    are the derivative of the same scheme. Derivatives are of first order: a second one raises a
    `NotImplementedError`. A sample that fails does not touch the gradient of others.

    A driver may jump ([`roughsnn.JumpPath`][], alone or in a [`roughsnn.SumPath`][] or
    [`roughsnn.ProductPath`][]): the grid is cut at its jumps too, which act by the Marcus rule.

    Args:
        sde: the event SDE.
        t0: start of the window; a number that is known, as are `t1` and `dt0`, since
            they fix the number of steps.
        t1: end of the window, where the last cell ends.
        dt0: length of the cells, at most the window.
        y0: the state at `t0`, any tree of floating-point arrays.
        key: random key, for the marks and, unless `driver` is given, for the Brownian motion.
        max_events: the number of events there is room for. One more is an error.
        args: passed to the functions of the SDE.
        driver: a diffrax path: [`roughsnn.BrownianGrid`][], `diffrax.VirtualBrownianTree`, ... By
            default a `BrownianGrid` of the SDE's `noise_shape` on the same grid.
        solver: a diffrax solver without implicit stages, by default the `default_solver` of the
            SDE; else `diffrax.Euler()`, or `diffrax.Heun()` where the diffusion depends on the
            state. For additive noise, `diffrax.SRA1()` has order 1.5.
        adjoint: how the solution is differentiated.
        conditions: what happens where the solution is differentiated though its event that comes
            nearest to grazing zero breaks an assumption of the theorem on pathwise gradients (see
            [`roughsnn.check_conditions`][]). `"refuse"` raises a report where a derivative of the
            sample is used. `"leave-out"` makes the derivative of a sample with an event that only
            grazes zero 0, `"clip"` bounds it: $\dot E_k$ counts for at least a tenth of the speed
            with which $E_k$ would come to rest as far above zero as the transition takes it below
            (what is no positive speed then is left out). Both say so in `solution.grazing`, and
            both refuse what is a property of the model and not of a sample, noise that moves the
            event function or does not commute with the transition. `"ignore"` goes on with a
            derivative that does not converge, and is not finite at an event of speed zero.
        interpretation: `"stratonovich"`, the equation above, or `"ito"`, with the product in the
            sense of Ito. They are the same where the diffusion does not depend on the state; else
            a solver that converges to the other solution along a Brownian path is refused.
        stepsize_controller: for equations without noise, a `diffrax.PIDController`: steps of
            adaptive size, `dt0` being the first; events are as exact as the steps. `max_steps` is
            then 4096 by default. Derivatives are those for the steps that were taken.
        saveat: a `diffrax.SaveAt` with any of `t0`, `t1`, `ts`, `steps`, `fn`.
        save_event_states: whether to keep the states on both sides of every event.
        stop_after: end the simulation at the n-th event (a stopping time, not a truncation).
        max_steps: a limit on the number of (partial) steps; by default as many as are needed.
        progress_meter: a diffrax progress meter, for instance `diffrax.TqdmProgressMeter()`; it
            moves every 64 steps or fewer (a solve of at most 1024 cells takes these in one go), by
            the time that the slowest sample of a batch has reached.
        throw: whether to raise an error when the solve fails. With `throw=False` look at
            `solution.result`.

    Returns:
        an [`roughsnn.EventSolution`][].

    Raises:
        EventSolveError: the solve fails and `throw=True`; the text is that of the member of
            [`roughsnn.RESULTS`][] that applies. Inside a JAX transformation it is a run-time
            error of the same text.
        ConditionsError: the solution is differentiated and breaks an assumption; a run-time
            error of that text.
        TypeError: an argument of the wrong kind.
        ValueError: an argument that makes no sense.
    """
    grid = TimeGrid(*window(t0, t1, dt0))
    max_events = whole_number("max_events", max_events, 0)
    stop_after = optional_whole_number("stop_after", stop_after, 1)
    if stop_after is not None and stop_after > max_events:
        raise ValueError(
            f"`stop_after` must be at most `max_events`, got stop_after={stop_after} and "
            f"max_events={max_events}."
        )
    max_steps = optional_whole_number("max_steps", max_steps, 1)
    adjoint = ReverseMode() if adjoint is None else adjoint
    if not isinstance(adjoint, AbstractEventAdjoint):
        raise TypeError(
            "`adjoint` must be one of roughsnn.ReverseMode(), ForwardMode(), StochasticAdjoint(), "
            f"EligibilityTraces() and NoGradient(), got {adjoint!r}."
        )
    check_policy(conditions)
    y0 = jax.tree.map(as_float_array, y0)
    if not isinstance(sde, AbstractEventSDE):
        raise TypeError(f"`sde` must be an event SDE, got {type(sde).__name__}.")
    check_interpretation_name(interpretation)
    if not isinstance(solver, dfx.AbstractSolver | None):
        raise TypeError(f"`solver` must be a diffrax solver, got {type(solver).__name__}.")
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    check_driver(driver, grid, dtype)
    solver = chosen_solver(sde, solver, y0, args, driver, interpretation)
    if isinstance(solver, dfx.AbstractImplicitSolver):
        raise ValueError(
            f"`solver` must be explicit, got {type(solver).__name__}: the end of a step is "
            "differentiated along time, which its root find does not offer."
        )
    solver = differentiable_stages(solver)
    controller = check_controller(stepsize_controller, sde, driver, solver, adjoint)
    subs = None if saveat is None else check_saveat(saveat, grid)
    check_event_function(sde, grid, y0, args)
    check_cells(grid, dtype, controller)
    origin, args = clock_of(sde, grid, y0, args)
    adjoint.check(sde, subs, save_event_states)
    solution = _solve(
        sde, grid, origin, y0, args, key, driver, solver, controller, subs,
        max_events, stop_after, max_steps, save_event_states, adjoint, conditions, interpretation,
        dfx.NoProgressMeter() if progress_meter is None else progress_meter,
    )  # fmt: skip
    return raise_unless_successful(solution) if throw else solution


@eqx.filter_jit
def _solve(
    sde, grid, origin, y0, args, key, driver, solver, controller, subs,
    max_events, stop_after, max_steps, save_event_states, adjoint, conditions, interpretation,
    progress_meter,
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
            stored=adjoint.stores_driver,
        )
    driver = as_grid_driver(driver, grid if controller is None else grid.in_one_cell())
    check_interpretation(solver, sde, driver, y0, args, interpretation)
    check_roughness(driver, sde, jnp.zeros((), dtype), y0, args)
    jumps = jumps_of(driver, dtype)
    limited = True
    if max_steps is None or controller is None:
        cells = _ADAPTIVE_STEPS if controller is not None else grid.num_cells
        events = max_events + 1 if stop_after is None else stop_after
        # a step to every jump, and one through it
        events = events * (1 + sde.silent_per_event)
        needed = cells + events + (0 if jumps is None else 2 * len(jumps))
        limited = controller is not None or (max_steps is not None and max_steps < needed)
        max_steps = needed if max_steps is None else min(max_steps, needed)
    settings = Settings(
        solver=solver, grid=grid, key=key_of_marks(key), controller=controller, subs=subs,
        meter=progress_meter, max_events=max_events, stop_after=stop_after, max_steps=max_steps,
        limited=limited, save_event_states=save_event_states, conditions=conditions, origin=origin,
    )  # fmt: skip
    return adjoint.solve((sde, y0, args, driver), settings)
