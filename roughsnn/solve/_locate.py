"""The search for the next event of one sample inside its grid cell, without derivatives.

It runs in every step of every sample, and on a CPU each reduction over components is a kernel of
its own: hence few of them, indexing instead, and one integer for the whole decision.
"""

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..drivers import is_pure_jump
from ._problem import where_tree

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


def first_crossing(e0, e1, standing, low=None):
    """Which components rise through zero between two times, and the share of the stretch after
    which the first of them does by the secant: -1 where one stands at zero already, 2 for none."""
    crosses = (e0 < 0 if low is None else low) & (e1 >= 0)
    share = jnp.where(crosses, e0 / jnp.where(crosses, e0 - e1, -1), 2)
    return crosses, jnp.min(jnp.where(standing, -1, share))


def is_finite(*trees) -> Bool[Array, ""]:
    """Whether all numbers are."""
    # 0 * x is not 0 where x is not finite
    leaves = jax.tree.leaves(trees)
    zeros = [0 * x.astype(leaves[0].dtype) for x in leaves]
    return jnp.asarray(sum(jnp.sum(z) for z in _added_by_shape(zeros)) == 0)


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


def locate_event(stretch, tied, moves=True, above=None) -> Event:
    """The earliest time of a stretch at which a component of E reaches zero from below, found on
    the partial steps themselves: tau solves E_k(step(x, tau, y)) = 0.

    The first guess is the secant through both ends of the stretch, exact where E is linear along a
    step (Euler and an intensity model). Beyond it, inverse quadratic interpolation kept inside a
    bracket, one step of the solver for each look, until |E_k| is at most what two roundings of
    time make of it plus two of its own, or the bracket is as short as two roundings of time.

    Where the path is smooth within the stretch a component may also rise through zero and fall
    again, or cross zero several times. See `_until_first_rise` for what is found then.

    Components in `above` have crossed zero and not yet come back, in an equation without resets.
    A sample that does not move has no event to look for, so that it keeps no other waiting.
    """
    problem, start, end = stretch.problem, stretch.start, stretch.end

    def values(tau):
        return stretch.reach(tau)[1]

    e0 = problem.sde.event(stretch.time(start), stretch.y, problem.args)
    y1, e1 = stretch.reach(end)
    num = e0.shape[0]
    standing = tied | (e0 >= 0)
    low = e0 < 0
    if above is not None:
        standing, low = (tied | standing) & ~above, low & ~above
    stretch_end, e_end = end, e1
    if problem.turns:
        stretch_end, e1 = _until_first_rise(stretch, y1, e0, e1, moves & low)

    crosses, first_share = first_crossing(e0, e1, standing, low)
    is_crossing = moves & (first_share <= 1) & (first_share >= 0)
    h = stretch_end - start
    guess = jnp.where(is_crossing, start + first_share.astype(start.dtype) * h, stretch_end)

    t_tol = time_tolerance(stretch_end, h)

    def judged(search):
        e = values(search.tau)
        return search, e, *search.judge(e, e0, crosses, standing, t_tol)

    def not_done(state):
        search, _, _, top, _ = state
        return is_crossing & ~search.settled(top, t_tol)

    def refine(state):
        search, e, _, top, _ = state
        return judged(search.refined(e, top, crosses))

    search = begin_search(start, stretch_end, e0, e1, guess)
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
        time=jnp.where(is_standing, start, jnp.where(is_crossing, tau, end)),
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


# how far from zero, in units of its own changes over a stretch, a cubic through both ends may peak
# so that the peak itself is looked at: a smooth function is about so far from its cubic
_MARGIN = 0.02


def _until_first_rise(stretch, y1, e0, e1, low):
    """The end of the part of a stretch that has to be searched, and the values of E there: the
    end of the stretch, or an earlier time by which a component in `low`, negative at the start, has
    reached zero from below, and after which it falls again.

    Each component is followed along the cubic that has its values and its derivatives at two times,
    which a smooth function is near to in a step. Where the cubic peaks above zero, or below by less
    than it may be off, the step itself is looked at. So an event is found that is over within the
    step, and the first of several zeros. What a step is too long to resolve, a function that is far
    from a cubic in it, can still be missed. Where no cubic peaks near zero, as in most steps,
    nothing is looked at.
    """
    slope0, slope1 = _slopes_at_ends(stretch, y1)
    h = (stretch.end - stretch.start).astype(e0.dtype)
    cubic = _Cubic(e0, e1, h * slope0, h * slope1)
    # above zero and falling at the end: it has peaked, whatever the cubic says
    turns = low & (cubic.peaks_near_zero()[1] | ((e1 >= 0) & (slope1 < 0)))
    if stretch.jumping is not None:
        turns = turns & ~stretch.jumping

    def earlier_rise(earliest, k):
        def of(values):
            return component(values, k)

        def not_done(state):
            return state[-1] < _MAX_LOOKS

        def refine(state):
            low_end, high_end, found, n = state
            (x_low, low_e, low_slope), (x_high, high_e, high_slope) = low_end, high_end
            width = (x_high - x_low).astype(e0.dtype)
            own = _Cubic(low_e, high_e, width * low_slope, width * high_slope)
            share, goes_on = own.peaks_near_zero()
            # every fourth look halves what is left, should the cubic lead nowhere
            share = jnp.where(n % 4 == 3, 0.5, share)
            x = x_low + share.astype(x_low.dtype) * (x_high - x_low)
            inside = (x > x_low) & (x < x_high)
            (_, e), (_, slope) = jax.jvp(stretch.reach, (x,), (jnp.ones_like(x),))
            value, slope = of(e), of(slope)
            up, rises = value >= 0, slope > 0
            here = (x, value, slope)
            # below zero and falling after a rise: the peak lies before
            passed = up | (~rises & (low_slope > 0))
            # how far above this place the peak is, by a parabola, times its bend
            bend = (low_slope - high_slope) / width
            gain = 0.5 * slope**2
            near_peak = (bend > 0) & (gain <= value * bend)
            below = ~up & (bend > 0) & (value * bend + 2 * gain < 0)
            done = ~goes_on | ~inside | (up & (rises | near_peak)) | below
            looked = goes_on & inside
            found = where_tree(up & looked, (x, e), found)
            return (
                where_tree(passed, low_end, here),
                where_tree(passed, here, high_end),
                found,
                jnp.where(done, _MAX_LOOKS, n + 1),
            )

        n = jnp.where(turns[k], 0, _MAX_LOOKS)
        lows = (stretch.start, of(e0), of(slope0))
        highs = (stretch.end, of(e1), of(slope1))
        *_, (x, e), _ = lax.while_loop(not_done, refine, (lows, highs, (stretch.end, e1), n))
        earlier = turns[k] & (of(e) >= 0) & (x < earliest[0])
        return where_tree(earlier, (x, e), earliest), None

    # one component after the other, as few turn in the same step, and in most steps none
    def look(start):
        return lax.scan(earlier_rise, start, jnp.arange(e0.shape[0], dtype=jnp.int32))[0]

    return lax.cond(eqxi.unvmap_any(turns), look, lambda start: start, (stretch.end, e1))


def _slopes_at_ends(stretch, y1):
    """The derivative of E along the step at its start and at its end."""
    problem = stretch.problem
    sde, args, driver = problem.sde, problem.args, problem.driver

    def along(clock, y, direction):
        moves = (jnp.ones_like(clock), direction)
        return jax.jvp(lambda t, y: sde.event(t, y, args), (stretch.time(clock), y), moves)[1]

    if driver is None or is_pure_jump(driver):
        first = sde.drift(stretch.time(stretch.start), stretch.y, args)
        # a step of Euler's method is a straight line
        straight = isinstance(getattr(problem.solver, "solver", problem.solver), dfx.Euler)
        last = first if straight else sde.drift(stretch.time(stretch.end), y1, args)
        return along(stretch.start, stretch.y, first), along(stretch.end, y1, last)

    def slopes(clock):
        return jax.jvp(stretch.reach, (clock,), (jnp.ones_like(clock),))[1][1]

    return slopes(stretch.start), slopes(stretch.end)


class _Cubic(eqx.Module):
    """The cubic on [0, 1] with the values `e0`, `e1` and the derivatives `d0`, `d1` at its ends."""

    e0: Array
    e1: Array
    d0: Array
    d1: Array

    @property
    def _bend(self):
        """Coefficients of the square and of the cube."""
        rise = self.e1 - self.e0
        return 3 * rise - 2 * self.d0 - self.d1, self.d0 + self.d1 - 2 * rise

    def __call__(self, s):
        square, cube = self._bend
        return self.e0 + s * (self.d0 + s * (square + s * cube))

    @property
    def _off(self):
        """How far a smooth function with these ends may be from it."""
        size = jnp.abs(self.d0) + jnp.abs(self.d1) + jnp.abs(self.e1 - self.e0)
        return _MARGIN * size

    def peak(self):
        """Where in (0, 1) it has its local maximum, and whether it has one there."""
        square, cube = self._bend
        root = square**2 - 3 * cube * self.d0
        q = jnp.sqrt(jnp.maximum(root, 0))
        # of the two forms of the same root the one in which nothing cancels
        by_sum, by_difference = 3 * cube, q - square
        first = (-square - q) / jnp.where(by_sum != 0, by_sum, 1)
        second = self.d0 / jnp.where(by_difference != 0, by_difference, 1)
        s = jnp.where(square > 0, first, second)
        exists = (root > 0) & jnp.where(square > 0, by_sum != 0, by_difference != 0)
        return s, exists & (s > 0) & (s < 1)

    def peaks_near_zero(self):
        """Where it peaks between its ends, above zero or as near below as it may be off; and
        whether it does."""
        s, exists = self.peak()
        s = jnp.clip(s, 0, 1)
        return s, exists & (self(s) >= -self._off)
