"""The search for the next event of one sample inside its grid cell, without derivatives.

It runs in every step of every sample, and on a CPU each reduction over components is a kernel of
its own: hence few of them, indexing instead, and one integer for the whole decision.
"""

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NO_EVENT, NONFINITE = -1, -2
_MAX_ITERATIONS = 64


def component(values: Array, index: Int[Array, ""]) -> Array:
    """One entry along the components, none of it differentiated. There is nothing to look up
    where there is one component only."""
    return values[0] if values.shape[0] == 1 else values[jnp.maximum(index, 0)]


class Event(eqx.Module):
    """The next event, if there is one.

    - `time`: its time, or the end of the cell.
    - `decision`: `NO_EVENT`; k for an event of component k that has a time of its own; K + k for
      one that another component's transition has set off and that happens with it; `NONFINITE`
      if the state at the end of the cell is not finite.
    - `tied`: the other components that fire at the same time.
    """

    time: Float[Array, ""]
    decision: Int[Array, ""]
    tied: Bool[Array, " K"]


def locate_event(stretch, tied) -> Event:
    """The earliest time of a stretch at which a component of E reaches zero from below, found on
    the partial steps themselves: tau solves E_k(step(t, tau, y)) = 0.

    The first guess is the secant through both ends of the cell, exact where E is linear along a
    step (Euler and an intensity model). Beyond it, Newton's method kept inside a bracket, until
    |E_k| is at most what two roundings of time make of it, or the bracket is that short.
    """
    t, cell_end = stretch.start, stretch.end

    def values(tau):
        return stretch.reach(tau)[1]

    e0 = stretch.problem.sde.event(stretch.t, stretch.y, stretch.problem.args)
    y1, e1 = stretch.reach(cell_end)
    num = e0.shape[0]

    standing = tied | (e0 >= 0)
    crosses = (e0 < 0) & (e1 >= 0)
    share = jnp.where(crosses, e0 / jnp.where(crosses, e0 - e1, -1), 2)
    first_share = jnp.min(jnp.where(standing, -1, share))
    is_crossing = (first_share <= 1) & (first_share >= 0)
    h = cell_end - t
    guess = jnp.where(is_crossing, t + first_share.astype(t.dtype) * h, cell_end)

    # a rounding of time moves E by its slope, (|e0| + |e1|) / h at a crossing
    t_tol = 2 * jnp.finfo(t.dtype).eps * (jnp.abs(cell_end) + h)
    e_unit = jnp.where(crosses, (e1 - e0) * (t_tol / jnp.maximum(h, t_tol)).astype(e0.dtype), 1)

    def look(tau):
        """The values at tau, and the component that is furthest with its value in units of its
        tolerance: zero at the event, infinite where a component stands at zero already."""
        e = values(tau)
        score = jnp.where(crosses, e / e_unit, -jnp.inf)
        score = jnp.where(standing, jnp.inf, score)
        index = jnp.argmax(score).astype(jnp.int32) if num > 1 else jnp.zeros((), jnp.int32)
        return e, component(score, index), index

    def not_done(state):
        _, lower, upper, (_, top, _), n = state
        unsettled = (jnp.abs(top) > 1) & (upper - lower > t_tol)
        return is_crossing & unsettled & (n < _MAX_ITERATIONS)

    def refine(state):
        tau, lower, upper, (e, top, _), n = state
        lower = jnp.where(top >= 0, lower, tau)
        upper = jnp.where(top >= 0, tau, upper)
        _, e_dot = jax.jvp(values, (tau,), (jnp.ones_like(tau),))
        rising = crosses & (e_dot > 0)
        step = jnp.where(rising, e / jnp.where(rising, e_dot, 1), -jnp.inf)
        newton = tau - jnp.max(step).astype(t.dtype)
        inside = (newton > lower) & (newton < upper)
        # every eighth step halves the bracket, whatever Newton's method proposes
        tau = jnp.where(inside & (n % 8 != 7), newton, 0.5 * (lower + upper))
        return tau, lower, upper, look(tau), n + 1

    start = (guess, t, cell_end, look(guess), jnp.zeros((), jnp.int32))
    tau, _, _, (e, _, index), _ = lax.while_loop(not_done, refine, start)

    # components within a few roundings of zero fire together, one after the other
    is_standing = first_share < 0
    group = jnp.where(is_standing, standing, crosses & (e >= -4 * e_unit) & is_crossing)
    set_off = component(standing & ~tied, index)
    decision = jnp.where(set_off, num + index, index)
    decision = jnp.where(is_standing | is_crossing, decision, NO_EVENT)
    # 0 * x is not 0 where x is not finite
    zeros = [0 * x.astype(e1.dtype) for x in (e1, *jax.tree.leaves(y1))]
    finite = sum(jnp.sum(z) for z in _added_by_shape(zeros)) == 0
    return Event(
        time=jnp.where(is_standing, t, jnp.where(is_crossing, tau, cell_end)),
        decision=jnp.where(finite, decision, NONFINITE).astype(jnp.int32),
        tied=group & (jnp.arange(num, dtype=jnp.int32) != index),
    )


def _added_by_shape(arrays):
    sums = {}
    for x in arrays:
        sums[x.shape] = sums[x.shape] + x if x.shape in sums else x
    return sums.values()
