"""The assumptions of the theorem on pathwise gradients, as figures at one event."""

from typing import NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

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

    def __repr__(self) -> str:
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


def figures_of_event(sde, args, t, k, left, right, key):
    """The figures of one event of component k, that has taken the state from left to right."""
    mark_key, noise_key = jr.split(key)

    def gap(mark_key):
        y = sde.transition(t, left, k, sde.mark(mark_key), args)
        rate = _speed(sde, args, t, k, y)
        return jnp.where(
            rate > 0, -_value(sde, args, t, k, y) / jnp.where(rate > 0, rate, 1), jnp.inf
        )

    gaps = jax.vmap(gap)(jr.split(mark_key, _MARKS))
    increments = _directions(sde, noise_key, t.dtype)
    return figures_of_noise(sde, args, t, k, left, increments, key) | {
        "refire": _value(sde, args, t, k, right),
        "gap": jnp.min(gaps) / jnp.where(jnp.isfinite(jnp.median(gaps)), jnp.median(gaps), 1),
    }


def _value(sde, args, t, k, y):
    return jnp.take(sde.event(t, y, args), k)


def _speed(sde, args, t, k, y):
    """The derivative of the event function along the drift."""
    along = (jnp.ones_like(t), sde.drift(t, y, args))
    return jax.jvp(lambda t, y: _value(sde, args, t, k, y), (t, y), along)[1]


def speed_to_rest(sde, args, t, k, left, right):
    """The speed of the event function at an event with which it would come to rest as far above
    zero as the transition takes it below; zero where it does not slow down."""
    along = (jnp.ones_like(t), sde.drift(t, left, args))
    bend = jax.jvp(lambda t, y: _speed(sde, args, t, k, y), (t, left), along)[1]
    square = 2 * jnp.maximum(-bend, 0) * jnp.abs(_value(sde, args, t, k, right))
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def relative_to(needed, speed):
    """A speed in units of that by `speed_to_rest`: zero where the event function only touches zero,
    infinite where it does not slow down."""
    return jnp.where(needed > 0, speed / jnp.where(needed > 0, needed, 1), jnp.inf)


def comes_to_rest(sde) -> bool:
    """Whether the event function can; an intensity is positive, and never brings it to rest."""
    return getattr(sde, "dead_intensity", None) is None


def figures_of_noise(sde, args, t, k, left, increments, key, speed=None):
    """How fast the event function rises at an event, and what noise does to it and through the
    transition, for the given increments of the driver (the worst of them).

    The speed is that along the drift, or `speed` where that is smaller. `rise` is the same in units
    of `speed_to_rest`, where the event function can come to rest."""
    flat, unravel = ravel_pytree(left)
    drifts = _speed(sde, args, t, k, left)
    out = {
        "speed": drifts if speed is None else jnp.minimum(drifts, speed),
        "tangent": jnp.zeros_like(t),
        "commute": jnp.zeros_like(t),
    }
    mark_key, near_key = jr.split(key)
    mark = sde.mark(mark_key)
    if comes_to_rest(sde):
        right = sde.transition(t, left, k, mark, args)
        out["rise"] = relative_to(speed_to_rest(sde, args, t, k, left, right), out["speed"])
    if increments is None:
        return out

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
            gradient = jax.grad(lambda f: _value(sde, args, t, k, unravel(f)))(point)
            length = jnp.linalg.norm(gradient) * size
            return jnp.abs(gradient @ noise(t, unravel(point), dx)) / jnp.where(
                length > 0, length, 1
            )

        moved, pushed = jax.jvp(jump, (flat,), (here,))
        after = noise(t, unravel(moved), dx)
        return jnp.maximum(tilt(flat), tilt(near)), jnp.linalg.norm(pushed - after) / size

    tangent, commute = jax.vmap(along)(increments)
    return out | {"tangent": jnp.max(tangent), "commute": jnp.max(commute)}


def increment_structure(sde, dtype):
    """A zero increment of the Brownian motion that an equation asks for."""
    shape = sde.noise_shape
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        shape = jax.ShapeDtypeStruct(shape, dtype)
    return jax.tree.map(lambda s: jnp.zeros(s.shape, dtype), shape)


def _directions(sde, key, dtype):
    """Unit increments of the driver: all of them, or as many random ones where there are many."""
    if sde.noise_shape is None:
        return None
    flat, unravel = ravel_pytree(increment_structure(sde, dtype))
    if flat.size <= _DIRECTIONS:
        return jax.vmap(unravel)(jnp.eye(flat.size, dtype=dtype))
    return jax.vmap(unravel)(jr.normal(key, (_DIRECTIONS, flat.size), dtype))


# name, formula, which figure, whether the largest or the smallest is the worst, what to change
_CONDITIONS = (
    (
        "no immediate refiring", "E_k(y+) < 0", "refire", np.argmax,
        "The transition must lead away from the event surface; for an intensity model let it end "
        "at log u - alpha with alpha > 0.",
    ),
    (
        "minimal gap", "smallest / median gap >= 0.01", "gap", np.argmin,
        "Events of one component can come arbitrarily close together; for an intensity model take "
        "alpha > 0.",
    ),
    (
        "noise tangent to the event surface", "grad E sigma = 0", "tangent", np.argmax,
        "Noise moves the event function directly, as with a hard threshold on a noisy potential: "
        "event times are not continuous in the parameters. Let noise act on other coordinates "
        "only, or fire by an intensity (roughsnn.StochasticLIF).",
    ),
    (
        "transversality", "grad E mu > 0, relative", "speed", np.argmin,
        "The event function grazes zero: a small change of the parameters gains or loses the "
        "event. Keep its speed at the event positive.",
    ),
    (
        "noise commutes with the transition", "DT sigma = sigma(T)", "commute", np.argmax,
        "The transition changes what the noise has done, as a reset to a fixed value or noise that "
        "depends on the reset coordinate do. Reset by subtracting, and let the noise depend on "
        "coordinates that the transition leaves alone.",
    ),
)  # fmt: skip


def tolerance(dtype) -> float:
    """Up to which relative size a figure that must be zero is rounding."""
    return max(_RELATIVE, 1e3 * float(np.finfo(dtype).eps))


def report(
    found, times, components, refires: bool = False, alone: bool = False
) -> ConditionsReport:
    """The judgement on the figures of many events; a figure that is not there is not judged.

    Args:
        found: the figures by name, each with one entry an event.
        times: when the events happened.
        components: of which components they were.
        refires: whether an event fired again at once.
        alone: whether the events are the worst ones of their samples, so that their median speed
            says nothing.
    """
    small = tolerance(found["speed"].dtype)
    found = dict(found)
    speed, rise = found["speed"], found.get("rise", np.inf)
    if not alone:
        typical = float(np.median(np.abs(speed)))
        found["speed"] = np.minimum(speed / (typical if typical > 0 else 1), rise)
    elif "rise" in found:
        found["speed"] = np.where(speed > 0, rise, np.minimum(rise, 0))
    holds = {
        "refire": lambda x: x < 0,
        "gap": lambda x: x >= 0.01,
        "speed": lambda x: x >= small,
        "tangent": lambda x: x <= small,
        "commute": lambda x: x <= small,
    }
    conditions = []
    for name, formula, figure, worst, advice in _CONDITIONS:
        if figure not in found:
            continue
        figures = found[figure]
        i = int(worst(figures))
        kept = bool(np.all(holds[figure](figures))) and not (figure == "refire" and refires)
        conditions.append(
            Condition(
                name, formula, kept, float(figures[i]), float(times[i]), int(components[i]), advice
            )
        )
    return ConditionsReport(tuple(conditions), len(times))
