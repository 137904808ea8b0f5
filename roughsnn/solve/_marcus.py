"""Jumps of the driver, by the Marcus rule."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._stages import written_out


def marcus_flow(
    sde, t: Float[Array, ""], y: PyTree, size: PyTree, length: Float[Array, ""], args, substeps: int
) -> PyTree:
    r"""The state after the share `length` of a jump $\Delta X$ of the driver at time t.

    $z(\text{length})$ of $dz/du = \sigma(t, z)\,\Delta X$, $z(0) = y$: the driver runs through its
    jump along a straight line, in fictitious time (Marcus 1978). Where $\sigma$ does not depend
    on the state it is $y + \sigma\,\Delta X$. Otherwise `substeps` steps of an eighth-order
    Runge--Kutta method.
    """

    def field(z):
        term = dfx.ControlTerm(lambda *_: sde.diffusion(t, z, args), _no_control)
        return term.prod(sde.diffusion(t, z, args), size)

    def times(c, z):
        return jax.tree.map(lambda x: c.astype(x.dtype) * x, z)

    if not depends_on_state(sde, t, y, args):
        return jax.tree.map(jnp.add, y, times(length, field(y)))
    solver = written_out(dfx.Dopri8())
    term = dfx.ODETerm(lambda u, z, _: times(length, field(z)))

    def step(z, k):
        u0, u1 = k / substeps, (k + 1) / substeps
        state = solver.init(term, u0, u1, z, None)
        return solver.step(term, u0, u1, z, None, state, made_jump=False)[0], None

    return lax.scan(step, y, jnp.arange(substeps, dtype=t.dtype))[0]


def _no_control(t0, t1, **kwargs):
    raise NotImplementedError


def depends_on_state(sde, t, y, args) -> bool:
    """Whether the diffusion uses the state at all, read off its trace."""

    def coefficients(y):
        return eqx.filter(sde.diffusion(t, y, args), eqx.is_array)

    return uses_argument(coefficients, y)


def uses_argument(function, argument) -> bool:
    """Whether the result of a function uses its argument at all, read off its trace."""
    jaxpr = jax.make_jaxpr(function)(argument)
    used = {v for v in jaxpr.jaxpr.outvars if not hasattr(v, "val")}
    for eqn in reversed(jaxpr.eqns):
        if used.intersection(eqn.outvars):
            used |= {v for v in eqn.invars if not hasattr(v, "val")}
    return bool(used.intersection(jaxpr.jaxpr.invars))
