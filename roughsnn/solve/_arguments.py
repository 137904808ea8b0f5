"""What `eventsolve` accepts, and the errors that say so."""

from typing import Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..drivers import has_brownian_part, is_pure_jump, roughest
from ..event_sde import AbstractEventSDE, AbstractTimeFunction
from ._marcus import depends_on_state, uses_argument
from ._stages import written_out

Interpretation = Literal["stratonovich", "ito"]
"""Of an equation whose diffusion depends on the state."""


def chosen_solver(
    sde: AbstractEventSDE,
    solver: dfx.AbstractSolver | None,
    y0: Any,
    args: Any,
    driver: dfx.AbstractPath | None = None,
    interpretation: Interpretation = "stratonovich",
) -> dfx.AbstractSolver:
    """The solver that was given; else that of the model; else one that converges to the solution
    that is asked for."""
    if solver is not None:
        return solver
    if sde.default_solver is not None:
        return sde.default_solver
    return solver_for_noise(sde, y0, args, driver, interpretation)


def solver_for_noise(
    sde: AbstractEventSDE,
    y0: Any,
    args: Any,
    driver: dfx.AbstractPath | None = None,
    interpretation: Interpretation = "stratonovich",
) -> dfx.AbstractSolver:
    """A solver that converges to the solution that is asked for."""
    has_noise = driver is not None or sde.noise_shape is not None
    if interpretation == "ito" or not has_noise or not _has_state_in_noise(sde, y0, args):
        return dfx.Euler()
    return dfx.Heun()


def check_interpretation(
    solver: dfx.AbstractSolver,
    sde: AbstractEventSDE,
    driver: Any,
    y0: Any,
    args: Any,
    interpretation: Interpretation,
) -> None:
    """Refuses a solver that converges to another solution than the one that is asked for, where
    they differ: where the diffusion depends on the state and the driver is Brownian."""
    is_ito = isinstance(solver, dfx.AbstractItoSolver | dfx.Euler)
    if is_ito == (interpretation == "ito") or not has_brownian_part(driver):
        return
    if not _has_state_in_noise(sde, y0, args):
        return
    if is_ito:
        raise ValueError(
            f"`solver` {type(solver).__name__} converges to the Ito solution, and the diffusion "
            "depends on the state: event SDEs are Stratonovich equations. Use diffrax.Heun(), or "
            'ask for the Ito solution by `interpretation="ito"`.'
        )
    raise ValueError(
        '`interpretation` is "ito", the diffusion depends on the state, and `solver` '
        "converges to the Stratonovich solution: use diffrax.Euler(), or leave `interpretation` "
        "out."
    )


def check_interpretation_name(interpretation: Any) -> None:
    if interpretation not in ("stratonovich", "ito"):
        raise ValueError(
            f'`interpretation` must be "stratonovich" or "ito", got {interpretation!r}.'
        )


def _has_state_in_noise(sde, y0, args) -> bool:
    """Whether the diffusion depends on the state."""
    y0 = jax.tree.map(as_float_array, y0)
    return depends_on_state(sde, jnp.zeros((), jnp.result_type(*jax.tree.leaves(y0))), y0, args)


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


def differentiable_stages(solver):
    """diffrax loops over the stages of a Runge--Kutta method in a way that has no forward mode,
    which locating events needs, unless told otherwise. Where stages can be written out, they
    are."""
    written = written_out(solver)
    if written is not solver:
        return written
    kind = None
    if isinstance(solver, dfx.AbstractRungeKutta):
        kind = "bounded"
    elif isinstance(solver, dfx.AbstractSRK):
        kind = "lax"
    if kind is None or solver.scan_kind is not None:  # pyright: ignore
        return solver
    return eqx.tree_at(lambda s: s.scan_kind, solver, kind, is_leaf=lambda x: x is None)


def as_float_array(x):
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(float)
    return x


def check_saveat(saveat, grid):
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
    if ts is None:
        return saveat.subs
    since = since_start(ts, grid)
    if not isinstance(ts, jax.core.Tracer):
        low, high = since.min(initial=0), since.max(initial=grid.duration)
        slack = 1e-6 * grid.duration
        if low < -slack or high > grid.duration + slack:
            raise ValueError(
                f"`saveat.ts` must lie in the window [{grid.t0}, {grid.t1}], got times from "
                f"{grid.t0 + low} to {grid.t0 + high}."
            )
    # the solver counts from the start of the window
    return eqx.tree_at(lambda subs: subs.ts, saveat.subs, since)


def since_start(ts, grid):
    """Times of `saveat`, since the start of the window. diffrax keeps them as arrays of JAX."""
    dtype = jnp.result_type(ts)
    if grid.t0 != 0 and not grid.resolves(dtype):
        raise ValueError(
            f"`saveat.ts` is kept in {dtype}, which does not tell the steps of dt0={grid.dt0} "
            f"apart near t1={grid.t1:g}: let the window begin at 0, or use double precision "
            "(jax_enable_x64)."
        )
    if isinstance(ts, jax.core.Tracer):
        return ts - jnp.asarray(grid.t0, dtype)
    return np.asarray(ts, float) - grid.t0


def check_event_function(sde, grid, y0, args):
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


def check_cells(grid, dtype, controller):
    """Refuses a window of so many cells that their times are not told apart."""
    most = int(1 / np.finfo(dtype).eps)
    if controller is None and grid.num_cells > most:
        raise ValueError(
            f"The window [{grid.t0}, {grid.t1}] has {grid.num_cells} steps of dt0={grid.dt0}, and "
            f"times in {np.dtype(dtype).name} tell at most {most} of them apart: cut it into "
            "shorter windows, or use double precision (jax_enable_x64)."
        )


def clock_of(sde, grid, y0, args) -> tuple[float | None, Any]:
    """What the functions of the equation take for the time at which the window starts, and the
    arguments for that clock.

    It is `t0`; `None` where nothing asks for the time. Where only an argument that is a function of
    time asks for it, and that can count from the start of the window, it is 0, and nothing is lost
    to the rounding of late times. Where absolute time is asked for, and does not tell the cells
    apart, the solve is refused.
    """
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    if isinstance(args, AbstractTimeFunction) and not _asks_for_time(
        sde, grid, y0, args.held(grid.t0), dtype
    ):
        return 0.0, args.since(grid.t0)
    if not _asks_for_time(sde, grid, y0, args, dtype):
        return None, args
    if not grid.resolves(dtype):
        raise ValueError(
            f"The equation or its input depends on time, and times near t1={grid.t1:g} in "
            f"{np.dtype(dtype).name} do not tell the steps of dt0={grid.dt0} apart: let the window "
            "begin at 0 (and shift the functions of time), give the input as a "
            "roughsnn.CurrentOnGrid, or use double precision (jax_enable_x64)."
        )
    return grid.t0, args


def _asks_for_time(sde, grid, y0, args, dtype) -> bool:
    """Whether any function of the equation uses the time, read off its trace."""
    time = jnp.asarray(grid.t0, dtype)

    def functions(t):
        out = [sde.drift(t, y0, args), sde.event(t, y0, args)]
        if sde.noise_shape is not None:
            out.append(sde.diffusion(t, y0, args))
        mark = jax.eval_shape(lambda key: sde.mark(key), jax.random.key(0))
        mark = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), mark)
        first = jnp.zeros((), jnp.int32)
        out.append(sde.transition(t, y0, first, mark, args))
        return eqx.filter(out, eqx.is_array)

    return uses_argument(functions, time)


def check_controller(controller, sde, driver, solver, adjoint):
    """The controller of adaptive steps, or `None` for constant ones."""
    if controller is None or isinstance(controller, dfx.ConstantStepSize):
        return None
    if not isinstance(controller, dfx.PIDController):
        raise TypeError(
            "`stepsize_controller` must be a diffrax.PIDController or diffrax.ConstantStepSize, "
            f"got {type(controller).__name__}."
        )
    if (driver is None and sde.noise_shape is not None) or (
        driver is not None and not is_pure_jump(driver)
    ):
        raise ValueError(
            "`stepsize_controller` is for equations without noise: with a Brownian driver the "
            "path is known on the grid of `dt0`. Leave it out, or remove the noise (`sigma=None`)."
        )
    if not isinstance(solver, dfx.AbstractAdaptiveSolver | dfx.AbstractRungeKutta) or isinstance(
        solver, dfx.Euler
    ):
        raise ValueError(
            f"`solver` must estimate its error for adaptive steps, and {type(solver).__name__} "
            "does not: use diffrax.Tsit5() or Dopri8()."
        )
    if not adjoint.adapts:
        raise ValueError(
            f"`adjoint` {type(adjoint).__name__} needs steps of constant size: leave "
            "`stepsize_controller` out, or use roughsnn.ReverseMode()."
        )
    return controller


def check_roughness(driver, sde, t, y0, args):
    """Refuses a path that is too rough for a diffusion that depends on the state."""
    hurst = roughest(driver)
    if hurst <= 0.5 and depends_on_state(sde, t, y0, args):
        raise ValueError(
            f"`driver` is a fractional Brownian motion with hurst={hurst}, and the diffusion "
            "depends on the state: such an equation needs more of the path than its values. Take "
            "hurst > 0.5, a diffusion that is constant, or roughsnn.BrownianGrid for hurst = 0.5."
        )
