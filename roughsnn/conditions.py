"""Which assumption of the theorem on pathwise gradients a model breaks, and where."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, PyTree

from .event_sde import AbstractEventSDE
from .solve import RESULTS, eventsolve

_MARKS = 1024
_DIRECTIONS = 64
_RELATIVE = 1e-6


class Condition(NamedTuple):
    """What was found of one assumption.

    Attributes:
        name: what is assumed, in words.
        formula: the same as a formula.
        holds: whether it held at every event that was seen.
        worst: the figure that was judged, at its worst event.
        time: time of that event (NaN if there was none).
        component: component of the event function.
        advice: what to change.
    """

    name: str
    formula: str
    holds: bool
    worst: float
    time: float
    component: int
    advice: str


class ConditionsReport(eqx.Module):
    """The outcome of `check_conditions`; prints as a table.

    Attributes:
        conditions: one entry for each assumption.
        num_events: how many events they were evaluated at.
    """

    conditions: tuple[Condition, ...] = eqx.field(static=True)
    num_events: int = eqx.field(static=True)

    @property
    def holds(self) -> bool:
        """Whether every assumption held."""
        return all(c.holds for c in self.conditions)

    def raise_if_violated(self) -> None:
        """Raises `ConditionsError` with this report unless every assumption held."""
        if not self.holds:
            raise ConditionsError(str(self))

    def __str__(self) -> str:
        lines = [f"Conditions for pathwise gradients, at {self.num_events} events:"]
        for c in self.conditions:
            mark = "holds   " if c.holds else "VIOLATED"
            lines.append(f"  {mark}  {c.name} ({c.formula}): {c.worst:.3g}")
            if not c.holds:
                where = f"component {c.component} at t = {c.time:.6g}"
                lines.append(f"            worst at {where}. {c.advice}")
        return "\n".join(lines)


class ConditionsError(ValueError):
    """A model breaks an assumption of the theorem on pathwise gradients."""


def check_conditions(
    sde: AbstractEventSDE,
    t0: float,
    t1: float,
    dt0: float,
    y0: PyTree | Callable[[PRNGKeyArray], PyTree],
    *,
    key: PRNGKeyArray,
    num_paths: int = 16,
    max_events: int = 64,
    args: Any = None,
    solver: dfx.AbstractSolver | None = None,
) -> ConditionsReport:
    r"""Evaluate the assumptions for exact pathwise gradients at the events of simulated paths.

    With $y^-$ the state before an event of component $k$, $y^+ = T_k(y^-, u)$ the one after it:

    - *no immediate refiring*: $E_k(y^+) < 0$;
    - *minimal gap*: the time to the next event of the same component, to first order
      $-E_k(T_k(y^-, u)) / \dot E_k$, is bounded away from zero over fresh marks $u$ (judged: its
      smallest value against its median, at least 1 %);
    - *noise tangent to the event surface*: $\nabla E_k(y)\,\sigma_i(y) = 0$ near $y^-$ (relative
      to the lengths of both);
    - *transversality*: $\partial_t E_k + \nabla E_k(y^-) \mu(y^-) > 0$ (judged against its
      median);
    - *noise commutes with the transition*: $DT_k(y^-)\,\sigma_i(y^-) = \sigma_i(T_k(y^-))$
      (relative to the length of $\sigma_i$).

    It is a test along paths, not a proof. Where an assumption fails, event times need not even be
    continuous in the parameters, and the derivative of the discretised path does not converge.

    Args:
        sde: the event SDE.
        t0: start of the window.
        t1: end of the window.
        dt0: step.
        y0: the state at `t0`, or a function from a key to one (`model.initial_state`).
        key: random key.
        num_paths: how many paths to simulate.
        max_events: how many events of each path to look at.
        args: passed to the functions of the SDE.
        solver: a diffrax solver.

    Returns:
        the report.

    Raises:
        ValueError: no event happened on any path, so that there is nothing to judge.

    Reference: Holberg & Salvi (2024), the assumptions of the theorems on existence and on
    pathwise gradients.
    """
    start = y0 if callable(y0) else lambda _: y0

    def one(index):
        path_key = jr.fold_in(key, index)
        return eventsolve(
            sde, t0, t1, dt0, start(jr.fold_in(path_key, 0)), key=jr.fold_in(path_key, 1),
            max_events=max_events, args=args, solver=solver, stop_after=max_events or None,
            save_event_states=True, throw=False,
        )  # fmt: skip

    solution = eqx.filter_vmap(one)(jnp.arange(num_paths))
    seen = np.asarray(solution.event_indices) >= 0
    if not seen.any():
        raise ValueError(
            f"No event happened on {num_paths} paths, so there is nothing to check: lengthen the "
            f"window [{t0}, {t1}] or drive the model harder."
        )

    def flatten(x):
        return jax.tree.map(lambda a: a.reshape((-1,) + a.shape[2:])[seen.ravel()], x)

    times, components = flatten((solution.event_times, solution.event_indices))
    left, right = flatten((solution.event_ys_left, solution.event_ys_right))
    keys = jr.split(jr.fold_in(key, num_paths), times.shape[0])
    measure = eqx.filter_jit(eqx.filter_vmap(_measure, in_axes=(None, None, 0, 0, 0, 0, 0)))
    found = measure(sde, args, times, components, left, right, keys)
    found = {name: np.asarray(values) for name, values in found.items()}
    return _report(found, np.asarray(times), np.asarray(components), solution)


def _measure(sde, args, t, k, left, right, key):
    """The figures of one event."""
    flat, unravel = ravel_pytree(left)

    def value(t, y):
        return jnp.take(sde.event(t, y, args), k)

    def drift(t, y):
        return ravel_pytree(sde.drift(t, y, args))[0]

    def speed(t, y):
        ones = (jnp.ones_like(t), unravel(drift(t, y)))
        return jax.jvp(value, (t, y), ones)[1]

    mark_key, noise_key, near_key = jr.split(key, 3)

    def gap(mark_key):
        y = sde.transition(t, left, k, sde.mark(mark_key), args)
        rate = speed(t, y)
        return jnp.where(rate > 0, -value(t, y) / jnp.where(rate > 0, rate, 1), jnp.inf)

    gaps = jax.vmap(gap)(jr.split(mark_key, _MARKS))
    out = {
        "refire": value(t, right),
        "gap": jnp.min(gaps) / jnp.where(jnp.isfinite(jnp.median(gaps)), jnp.median(gaps), 1),
        "speed": speed(t, left),
        "tangent": jnp.zeros_like(t),
        "commute": jnp.zeros_like(t),
    }
    if sde.noise_shape is None:
        return out
    increments = _directions(sde, noise_key, t.dtype)
    mark = sde.mark(mark_key)

    def noise(t, y, dx):
        vf = sde.diffusion(t, y, args)
        return ravel_pytree(dfx.ControlTerm(lambda *_: vf, lambda a, b: dx).prod(vf, dx))[0]

    def jump(flat):
        return ravel_pytree(sde.transition(t, unravel(flat), k, mark, args))[0]

    def along(dx):
        here = noise(t, left, dx)
        size = jnp.maximum(jnp.linalg.norm(here), jnp.finfo(t.dtype).tiny)
        near = flat + 1e-3 * (1 + jnp.abs(flat)) * jr.normal(near_key, flat.shape, flat.dtype)

        def tilt(point):
            gradient = jax.grad(lambda f: value(t, unravel(f)))(point)
            length = jnp.linalg.norm(gradient) * size
            return jnp.abs(gradient @ noise(t, unravel(point), dx)) / jnp.where(
                length > 0, length, 1
            )

        moved, pushed = jax.jvp(jump, (flat,), (here,))
        after = noise(t, unravel(moved), dx)
        return jnp.maximum(tilt(flat), tilt(near)), jnp.linalg.norm(pushed - after) / size

    tangent, commute = jax.vmap(along)(increments)
    return out | {"tangent": jnp.max(tangent), "commute": jnp.max(commute)}


def _directions(sde, key, dtype):
    """Unit increments of the driver: all of them, or as many random ones where there are many."""
    shape = sde.noise_shape
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        shape = jax.ShapeDtypeStruct(shape, dtype)
    flat, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, dtype), shape))
    if flat.size <= _DIRECTIONS:
        return jax.vmap(unravel)(jnp.eye(flat.size, dtype=dtype))
    return jax.vmap(unravel)(jr.normal(key, (_DIRECTIONS, flat.size), dtype))


def _report(found, times, components, solution) -> ConditionsReport:
    refires = np.asarray(solution.result == RESULTS.immediate_event)

    def entry(name, formula, figures, holds, worst, advice):
        i = int(worst(figures))
        return Condition(
            name, formula, bool(holds), float(figures[i]), float(times[i]), int(components[i]),
            advice,
        )  # fmt: skip

    speeds = found["speed"]
    relative_speed = speeds / max(float(np.median(speeds)), np.finfo(float).tiny)
    conditions = (
        entry(
            "no immediate refiring", "E_k(y+) < 0", found["refire"],
            np.all(found["refire"] < 0) and not refires.any(), np.argmax,
            "The transition must lead away from the event surface; for an intensity model let "
            "it end at log u - alpha with alpha > 0.",
        ),
        entry(
            "minimal gap", "smallest / median gap >= 0.01", found["gap"],
            np.all(found["gap"] >= 0.01), np.argmin,
            "Events of one component can come arbitrarily close together; for an intensity "
            "model take alpha > 0.",
        ),
        entry(
            "noise tangent to the event surface", "grad E sigma = 0", found["tangent"],
            np.all(found["tangent"] <= _RELATIVE), np.argmax,
            "Noise moves the event function directly, as with a hard threshold on a noisy "
            "potential: event times are not continuous in the parameters. Let noise act on "
            "other coordinates only, or fire by an intensity (roughsnn.StochasticLIF).",
        ),
        entry(
            "transversality", "grad E mu > 0, over its median", relative_speed,
            np.all(relative_speed >= _RELATIVE), np.argmin,
            "The event function grazes zero: a small change of the parameters gains or loses "
            "the event. Keep its speed at the event positive.",
        ),
        entry(
            "noise commutes with the transition", "DT sigma = sigma(T)", found["commute"],
            np.all(found["commute"] <= _RELATIVE), np.argmax,
            "The transition changes what the noise has done, as a reset to a fixed value or "
            "noise that depends on the reset coordinate do. Reset by subtracting, and let the "
            "noise depend on coordinates that the transition leaves alone.",
        ),
    )  # fmt: skip
    return ConditionsReport(conditions, len(times))
