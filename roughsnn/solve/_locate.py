"""The search for the next event of one sample inside its grid cell, without derivatives.

It runs in every step of every sample, and on a CPU each reduction over components is a kernel of
its own: hence few of them, indexing instead, and one integer for the whole decision.
"""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NO_EVENT, NONFINITE = -1, -2
# looks by interpolation alone, which nearly always suffice, and all looks
_SWIFT_LOOKS, _MAX_LOOKS = 6, 64


def component(values: Array, index: Int[Array, ""]) -> Array:
    """One entry along the components, none of it differentiated. There is nothing to look up
    where there is one component only."""
    return values[0] if values.shape[0] == 1 else values[jnp.maximum(index, 0)]


def time_tolerance(t: Array, length: Array) -> Array:
    """How short a bracket around an event may get in a stretch that ends at `t`: two roundings."""
    return 2 * jnp.finfo(t.dtype).eps * (jnp.abs(t) + length)


class Search(eqx.Module):
    """Where the search for one event stands.

    - `tau`: the next time to look at.
    - `lower`, `upper`: the bracket around the event.
    - `b`, `c`: the two times seen before, and the values of E there.
    - `looks`: how many there have been.
    """

    tau: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    b: tuple[Float[Array, ""], Float[Array, " K"]]
    c: tuple[Float[Array, ""], Float[Array, " K"]]
    looks: Int[Array, ""]

    def judge(self, e, e0, crosses, standing, t_tol):
        """Of the values at tau: what a rounding may make of each of them, by the slope towards the
        two points seen before; and the component that is furthest with its value in these units:
        zero at the event, infinite where a component stands at zero already."""
        own_tol = 2 * jnp.finfo(e.dtype).eps * jnp.abs(e0)
        slope = jnp.minimum(*(_slope(self.tau, e, *x) for x in (self.b, self.c)))
        tol = own_tol + slope * t_tol.astype(e.dtype)
        score = jnp.where(crosses, e / tol, -jnp.inf)
        score = jnp.where(standing, jnp.inf, score)
        several = e.shape[0] > 1
        index = jnp.argmax(score).astype(jnp.int32) if several else jnp.zeros((), jnp.int32)
        return tol, component(score, index), index

    def settled(self, top, t_tol):
        """Whether the search ends here."""
        unsettled = (jnp.abs(top) > 1) & (self.upper - self.lower > t_tol)
        return ~unsettled | (self.looks >= _MAX_LOOKS)

    def refined(self, e, top, crosses) -> "Search":
        """What to look at next, from the values at tau."""
        tau, b, c = self.tau, self.b, self.c
        lower = jnp.where(top >= 0, self.lower, tau)
        upper = jnp.where(top >= 0, tau, self.upper)
        shift = _inverse_quadratic(e, b[0] - tau, b[1], c[0] - tau, c[1])
        shift = jnp.min(jnp.where(crosses & jnp.isfinite(shift), shift, jnp.inf))
        proposed = tau + shift.astype(tau.dtype)
        inside = (proposed > lower) & (proposed < upper)
        # what has not settled by now halves its bracket every other time
        slow = (self.looks >= _SWIFT_LOOKS) & (self.looks % 2 == 0)
        return Search(
            tau=jnp.where(inside & ~slow, proposed, 0.5 * (lower + upper)),
            lower=lower,
            upper=upper,
            b=(tau, e),
            c=b,
            looks=self.looks + 1,
        )


def begin_search(t, end, e0, e1, guess) -> Search:
    """A search between two times, from the values there."""
    zero = jnp.zeros((), jnp.int32)
    return Search(guess, t, end, (end, e1), (t, e0), zero)


def first_crossing(e0, e1, standing):
    """Which components rise through zero between two times, and the share of the stretch after
    which the first of them does by the secant: -1 where one stands at zero already, 2 for none."""
    crosses = (e0 < 0) & (e1 >= 0)
    share = jnp.where(crosses, e0 / jnp.where(crosses, e0 - e1, -1), 2)
    return crosses, jnp.min(jnp.where(standing, -1, share))


def is_finite(*trees) -> Bool[Array, ""]:
    """Whether all numbers are."""
    # 0 * x is not 0 where x is not finite
    leaves = jax.tree.leaves(trees)
    zeros = [0 * x.astype(leaves[0].dtype) for x in leaves]
    return sum(jnp.sum(z) for z in _added_by_shape(zeros)) == 0


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


def locate_event(stretch, tied, moves=True) -> Event:
    """The earliest time of a stretch at which a component of E reaches zero from below, found on
    the partial steps themselves: tau solves E_k(step(t, tau, y)) = 0.

    The first guess is the secant through both ends of the stretch, exact where E is linear along a
    step (Euler and an intensity model). Beyond it, inverse quadratic interpolation kept inside a
    bracket, one step of the solver for each look, until |E_k| is at most what two roundings of
    time make of it plus two of its own, or the bracket is as short as two roundings of time.

    In an equation without noise a component may also rise through zero and fall again within the
    stretch: where it is negative at both ends, rising at the first and falling at the last, its
    highest point is looked for, and where that is not negative the search ends there.

    A sample that does not move has no event to look for, so that it keeps no other waiting.
    """
    problem, t, end = stretch.problem, stretch.start, stretch.end

    def values(tau):
        return stretch.reach(tau)[1]

    e0 = problem.sde.event(stretch.t, stretch.y, problem.args)
    y1, e1 = stretch.reach(end)
    num = e0.shape[0]
    cell_end, e_end = end, e1
    if problem.driver is None:
        cell_end, e1 = _until_first_peak(stretch, y1, e0, e1, moves)

    standing = tied | (e0 >= 0)
    crosses, first_share = first_crossing(e0, e1, standing)
    is_crossing = moves & (first_share <= 1) & (first_share >= 0)
    h = cell_end - t
    guess = jnp.where(is_crossing, t + first_share.astype(t.dtype) * h, cell_end)

    t_tol = time_tolerance(cell_end, h)

    def judged(search):
        e = values(search.tau)
        return search, e, *search.judge(e, e0, crosses, standing, t_tol)

    def not_done(state):
        search, _, _, top, _ = state
        return is_crossing & ~search.settled(top, t_tol)

    def refine(state):
        search, e, _, top, _ = state
        return judged(search.refined(e, top, crosses))

    search = begin_search(t, cell_end, e0, e1, guess)
    search, e, tol, _, index = lax.while_loop(not_done, refine, judged(search))
    tau = search.tau

    # components within a few roundings of zero fire together, one after the other
    is_standing = first_share < 0
    group = jnp.where(is_standing, standing, crosses & (e >= -4 * tol) & is_crossing)
    set_off = component(standing & ~tied, index)
    decision = jnp.where(set_off, num + index, index)
    decision = jnp.where(is_standing | is_crossing, decision, NO_EVENT)
    finite = is_finite(e_end, y1)
    return Event(
        time=jnp.where(is_standing, t, jnp.where(is_crossing, tau, end)),
        decision=jnp.where(finite, decision, NONFINITE).astype(jnp.int32),
        tied=group & (jnp.arange(num, dtype=jnp.int32) != index),
    )


def _added_by_shape(arrays):
    sums = {}
    for x in arrays:
        sums[x.shape] = sums[x.shape] + x if x.shape in sums else x
    return sums.values()


def _slope(tau, e, tau_b, e_b):
    """How steep each component is between two points; infinite where they are one."""
    gap = jnp.abs(tau - tau_b).astype(e.dtype)
    return jnp.where(gap > 0, jnp.abs(e - e_b) / jnp.where(gap > 0, gap, 1), jnp.inf)


def _inverse_quadratic(e, x_b, e_b, x_c, e_c):
    """For each component, how far from the point of value `e` a parabola through it and two others
    at the distances x_b and x_c, drawn sideways, reaches zero; not finite where there is none."""
    x_b, x_c = x_b.astype(e.dtype), x_c.astype(e.dtype)
    by_b, by_c = x_b / (e_b - e), (x_c - x_b) / (e_c - e_b)
    return -e * by_b + e * e_b * (by_c - by_b) / (e_c - e)


def _until_first_peak(stretch, y1, e0, e1, moves):
    """The end of the part of a stretch that has to be searched, and the values of E there: the
    earliest highest point, not negative, of a component that is negative at both ends, or the end
    of the stretch.

    The highest point is where E_dot, along the partial steps, vanishes; it is found by secants in
    a bracket, for each component on its own. A component is let go once its tangent stays below
    zero in all of the bracket, which no peak exceeds if E is concave there.
    """
    sde, args, t, end = stretch.problem.sde, stretch.problem.args, stretch.start, stretch.end

    def dot(time, y):
        """The derivative of E along the solution."""
        direction = (jnp.ones_like(time), sde.drift(time, y, args))
        return jax.jvp(lambda t, y: sde.event(t, y, args), (time, y), direction)[1]

    first, last = dot(stretch.time(t), stretch.y), dot(stretch.time(end), y1)
    humps = moves & (e0 < 0) & (e1 < 0) & (first > 0) & (last < 0)
    if stretch.jumping is not None:
        humps = humps & ~stretch.jumping

    def earlier_peak(earliest, k):
        def not_done(state):
            *_, open_, n = state
            return humps[k] & open_ & (n < _MAX_LOOKS)

        def refine(state):
            _, lower, low_dot, upper, up_dot, _, n = state
            share = low_dot / jnp.where(low_dot > up_dot, low_dot - up_dot, 1)
            # every third step halves the bracket
            share = jnp.where(n % 3 == 2, 0.5, jnp.clip(share, 0, 1))
            tau = lower + share.astype(t.dtype) * (upper - lower)
            e, e_dot = jax.jvp(lambda x: stretch.reach(x)[1], (tau,), (jnp.ones_like(tau),))
            value, slope = component(e, k), component(e_dot, k)
            rising = slope > 0
            lower, low_dot = jnp.where(rising, tau, lower), jnp.where(rising, slope, low_dot)
            upper, up_dot = jnp.where(rising, upper, tau), jnp.where(rising, up_dot, slope)
            may_reach = value + jnp.abs(slope) * (upper - lower).astype(e.dtype) >= 0
            return (tau, e), lower, low_dot, upper, up_dot, (value < 0) & may_reach, n + 1

        n = jnp.zeros((), jnp.int32)
        start = (end, e1), t, component(first, k), end, component(last, k), jnp.asarray(True), n
        (tau, e), *_ = lax.while_loop(not_done, refine, start)
        earlier = humps[k] & (component(e, k) >= 0) & (tau < earliest[0])
        return (jnp.where(earlier, tau, earliest[0]), jnp.where(earlier, e, earliest[1])), None

    # one component after the other, as few have a peak in the same step, and in most steps none
    def look(start):
        return lax.scan(earlier_peak, start, jnp.arange(e0.shape[0], dtype=jnp.int32))[0]

    return lax.cond(eqxi.unvmap_any(humps), look, lambda start: start, (end, e1))
