"""A solution that is differentiated has to be one whose derivative exists."""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

from ._assumptions import (
    ConditionsError,
    figures_of_noise,
    increment_structure,
    report,
    tolerance,
)
from ._problem import freeze

_OVERRIDE = (
    'To differentiate all the same, pass `conditions="ignore"`: the derivative of the discretised '
    "path then need not converge to anything as dt0 falls."
)


def guard_derivatives(inputs, settings, solution, seen):
    """The solution, which raises a report where it is differentiated though an event breaks
    an assumption of the theorem on pathwise gradients.

    `seen` is the event at which the event function rose most slowly, the one that comes nearest
    to grazing zero: its time, component (-1 if there was none), the state before it and that speed.
    Its figures are only used by the derivative, and so never computed where there is none.
    """
    if not settings.check or seen is None:
        return solution
    sde, _, args, _ = freeze(inputs)
    t, component, left, _ = freeze(seen)
    figures = freeze(
        figures_of_noise(
            sde, args, t, jnp.maximum(component, 0), left,
            _increments(sde, settings.key, t.dtype), settings.key,
        )
    )  # fmt: skip
    arrays, rest = eqx.partition(solution, eqx.is_inexact_array)
    return eqx.combine(_watched(arrays, t=t, component=component, figures=figures), rest)


@eqx.filter_custom_jvp
def _watched(arrays, *, t, component, figures):
    return arrays


@_watched.def_jvp
def _(primals, tangents, *, t, component, figures):
    (arrays,), (arrays_dot,) = primals, tangents
    small = tolerance(t.dtype)
    broken = (figures["tangent"] > small) | (figures["commute"] > small)
    grazes = ~(figures["speed"] > 0)
    if "rise" in figures:
        grazes = grazes | (figures["rise"] < small)
    broken = (component >= 0) & (broken | grazes)
    names = tuple(sorted(figures))

    one = jnp.ones_like(t)

    def complain(one):
        return jax.pure_callback(
            lambda *values: _raise(names, *values),
            jax.ShapeDtypeStruct(one.shape, one.dtype),
            one, t, component, broken, *(figures[name] for name in names),
            vmap_method="broadcast_all",
        )  # fmt: skip

    # a factor of one that only the callback can fail to give: whoever needs the derivative has to
    # ask for it, also where the solution itself is not used
    one = lax.cond(eqxi.unvmap_any(broken), complain, lambda x: x, one)
    return arrays, jax.tree.map(lambda x: x * one.astype(x.dtype), arrays_dot)


def _increments(sde, key, dtype):
    """One increment in a direction drawn at random: what is broken shows in almost every one."""
    if sde.noise_shape is None:
        return None
    flat, unravel = ravel_pytree(increment_structure(sde, dtype))
    return jax.vmap(unravel)(jr.normal(key, (1, flat.size), dtype))


def _raise(names, one, t, component, broken, *figures):
    t, component, broken, *figures = (np.ravel(x) for x in (t, component, broken, *figures))
    found = {name: values[broken] for name, values in zip(names, figures, strict=True)}
    text = str(report(found, t[broken], component[broken]))
    raise ConditionsError(
        f"A solution is differentiated that has no derivative. {text}\n{_OVERRIDE}"
    )
