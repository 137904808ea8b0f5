"""A solution that is differentiated has to be one whose derivative exists: what happens where it
does not."""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ._assumptions import (
    ConditionsError,
    figures_of_noise,
    increment_structure,
    report,
    tolerance,
)
from ._problem import freeze
from ._refusal import refused_where_used

Conditions = Literal["refuse", "leave-out", "clip", "ignore"]

# `EventSolution.grazing`, where it is not 0: an event has no derivative; one was clipped
GRAZES, CLIPPED = 1, 2

_OF_MODEL = (
    'To differentiate all the same, pass `conditions="ignore"`: the derivative of the discretised '
    "path then need not converge to anything as dt0 falls."
)
_GRAZES = (
    "Where that happens to a sample now and then, as it does in training, pass "
    '`conditions="leave-out"`, which leaves the derivative of that sample out, or "clip", which '
    "bounds it; both are counted (`grazing`). `roughsnn.fit` leaves such samples out by itself if "
    'its `simulate` returns their spike trains. `conditions="ignore"` differentiates all the same.'
)


def check_policy(conditions: str) -> None:
    """Fail unless it names what is to happen."""
    if conditions not in get_args(Conditions):
        names = ", ".join(f'"{name}"' for name in get_args(Conditions))
        raise ValueError(f"`conditions` must be one of {names}, got {conditions!r}.")


def guard_derivatives(inputs, settings, solution, shown):
    """The solution, with what `settings.conditions` says where it is differentiated though an event
    breaks an assumption of the theorem on pathwise gradients.

    `shown` are the events `seen` and `passed` of `Carry`. Their figures are only used by the
    derivative, and so never computed where there is none; `grazing` is 0 then.
    """
    seen, passed = freeze(shown)
    if seen is None:
        return solution
    sde, _, args, _ = freeze(inputs)
    key = settings.key

    def figures(seen):
        found = figures_of_noise(
            sde, args, seen.time, jnp.maximum(seen.component, 0), seen.left,
            _increments(sde, key, seen.time.dtype), key, seen.speed,
        )  # fmt: skip
        # (frozen on the way out as well, for parameters that a function closes over)
        return freeze(found)

    found = figures(seen)
    if settings.stop_after is not None:
        # what the transition makes of the noise matters where the path goes on
        del found["commute"]
        if passed is not None:
            found["commute"] = jnp.where(passed.component >= 0, figures(passed)["commute"], 0)
    small = tolerance(seen.time.dtype)
    of_model = jnp.zeros_like(seen.component, bool)
    for name in ("tangent", "commute"):
        if name in found:
            of_model = of_model | (found[name] > small)
    grazes = ~(found["speed"] > 0)
    if "rise" in found:
        grazes = grazes | (found["rise"] < small)
    happened = seen.component >= 0
    of_model, grazes = happened & of_model, happened & grazes
    judged = _Judged(seen.time, seen.component, of_model, grazes, happened & seen.clipped, found)
    arrays, rest = eqx.partition(solution, eqx.is_inexact_array)
    inputs = eqx.filter((inputs, key), eqx.is_array)
    nothing = _none_grazes(jax.tree.leaves((inputs, solution.num_events)))
    arrays, grazing = _watched((arrays, nothing), judged=judged, conditions=settings.conditions)
    return eqx.tree_at(lambda s: s.grazing, eqx.combine(arrays, rest), grazing)


class _Judged(eqx.Module):
    """What was found of the event that is shown: when, of which component, whether the model breaks
    an assumption there, whether it grazes, whether a derivative was clipped, and the figures."""

    time: Float[Array, ""]
    component: Int[Array, ""]
    of_model: Bool[Array, ""]
    grazes: Bool[Array, ""]
    clipped: Bool[Array, ""]
    figures: dict[str, Float[Array, ""]]


def _none_grazes(arrays) -> Int[Array, ""]:
    """0, with the axes of the batch that any of the arrays has: JAX wants the rule of a derivative
    to return what the function itself does, axes and all."""
    firsts = [jnp.ravel(x)[:1] for x in arrays]
    token = sum((jnp.sum(x != x, dtype=jnp.int32) for x in firsts), jnp.zeros((), jnp.int32))
    return jnp.minimum(token, 0)


@eqx.filter_custom_jvp
def _watched(outputs, *, judged: _Judged, conditions: str):
    return outputs


@_watched.def_jvp
def _(primals, tangents, *, judged: _Judged, conditions: str):
    (arrays, nothing), (moved, _) = primals[0], tangents[0]
    left_out = jnp.zeros_like(judged.grazes)
    if conditions in ("leave-out", "clip"):
        left_out = judged.grazes
        moved = jax.tree.map(lambda x: jnp.where(left_out, 0, x), moved)
    grazing = jnp.where(judged.clipped, CLIPPED, nothing)
    grazing = jnp.where(judged.grazes, GRAZES, grazing).astype(nothing.dtype)
    if conditions != "ignore":
        names = tuple(sorted(judged.figures))
        leaves, treedef = jax.tree.flatten(moved)
        refused = judged.of_model | (judged.grazes & ~left_out)
        told = (judged.of_model, judged.time, judged.component)
        told = (*told, *(judged.figures[name] for name in names))
        leaves = refused_where_used(leaves, refused, told, _Complaint(names))
        moved = jax.tree.unflatten(treedef, leaves)
    return (arrays, grazing), (moved, None)


def _increments(sde, key, dtype):
    """One increment in a direction drawn at random: what is broken shows in almost every one."""
    if sde.noise_shape is None:
        return None
    flat, unravel = ravel_pytree(increment_structure(sde, dtype))
    return jax.vmap(unravel)(jr.normal(key, (1, flat.size), dtype))


class _Complaint(NamedTuple):
    """Raises the report of the samples that are refused."""

    names: tuple[str, ...]

    def __call__(self, refused, of_model, times, components, *figures):
        refused, of_model, times, components, *figures = (
            np.ravel(x) for x in (refused, of_model, times, components, *figures)
        )
        found = {n: x[refused] for n, x in zip(self.names, figures, strict=True)}
        text = str(report(found, times[refused], components[refused], alone=True))
        share = f" This happened in {refused.sum()} of {refused.size} samples."
        raise ConditionsError(
            "A solution is differentiated that has no derivative."
            f"{share if refused.size > 1 else ''} {text}\n"
            f"{_OF_MODEL if (refused & of_model).any() else _GRAZES}"
        )
