r"""All spikes of single neurons in one cell, by closed forms.

A lane is one neuron of one sample. Its arrivals cut the cell into segments; after k arrivals

$$ v(x) = c + e^{-ax} (C_k + a \psi(x) A_k), \qquad
A_k = i_0 + \sum_{m \le k} w_m e^{b s_m}, \qquad
C_k = v_0 - c - a \sum_{m \le k} w_m e^{b s_m} \psi(s_m), $$

so that segments need no recursion, and $v' = a e^{-ax} D$ with $D = A - C - b \psi A$, which falls
where A > 0: a segment has one top at most. A reset at $\tau$ adds
$(v_{to} - v_{th})\, e^{a \tau}$ to every later C.
"""

from typing import NamedTuple

import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._exponentials import relative_logarithm
from ._responses import growth, lifted

# so many powers of 4 are numbers of single precision
_BLOCK = 60

NO_SPIKE = 2.0
"""The offset of a spike that does not happen."""


class Lanes(NamedTuple):
    """What is known of R lanes at the start of a cell; each entry of shape (R,), or a number that
    they share.

    Attributes:
        v: potential.
        i: synaptic current.
        c: input current.
        a: leak rate of the potential, per cell.
        b: decay rate of the synaptic current, per cell.
        threshold: where it fires.
        reset: potential after a spike.
        refractory: for how long it stays there, in cells; `None` for no time at all.
        held: for how long it has to stay there still; `None` likewise.
    """

    v: Float[Array, " R"]
    i: Float[Array, " R"]
    c: Float[Array, "..."]
    a: Float[Array, "..."]
    b: Float[Array, "..."]
    threshold: Float[Array, "..."]
    reset: Float[Array, "..."]
    refractory: Float[Array, "..."] | None = None
    held: Float[Array, " R"] | None = None


class Released(NamedTuple):
    """What refractory periods bring about in R lanes in a cell.

    Attributes:
        offsets: when the potential is let go in this cell, first of a period that began in an
            earlier one, then after each spike; `NO_SPIKE` where it is not.
        speeds: its slope just after that.
        drops: how far above the reset the potential would be there without any reset.
        shift: what all resets add to C by the end of the cell.
        left: for how long it is held after the cell; negative where it is not.
    """

    offsets: Float[Array, "places_and_1 R"]
    speeds: Float[Array, "places_and_1 R"]
    drops: Float[Array, "places_and_1 R"]
    shift: Float[Array, " R"]
    left: Float[Array, " R"]


class Spikes(NamedTuple):
    """Spikes of R lanes in a cell.

    Attributes:
        offsets: for each place, the offset of the spike; `NO_SPIKE` in a free one.
        speeds: the slope of the potential there, just before the spike, per cell.
        more: whether there was another spike for which there is no place.
        released: `None` without refractory periods.
    """

    offsets: Float[Array, "places R"]
    speeds: Float[Array, "places R"]
    more: Bool[Array, " R"]
    released: Released | None


class _Search(NamedTuple):
    count: Int[Array, " R"]
    offsets: Float[Array, "places R"]
    speeds: Float[Array, "places R"]
    # what resets have added to C
    shift: Float[Array, " R"]
    # where the search goes on, and in which segment
    cursor: Float[Array, " R"]
    segment: Int[Array, " R"]
    live: Bool[Array, " R"]
    more: Bool[Array, " R"]
    released: Released | None


def walk(
    lanes: Lanes,
    weights: Float[Array, "K R"],
    arrivals: Float[Array, "K R"],
    highest: Float[Array, " R"],
    places: int,
    live: Bool[Array, " R"],
) -> Spikes:
    """The spikes of R lanes in a cell, in their order.

    Args:
        lanes: the lanes.
        weights: the weight of each arrival.
        arrivals: their offsets, ascending; 1 with weight 0 for one that there is not.
        highest: a bound of i + c in the cell, which shows that no further spike is possible.
        places: for how many spikes of a lane there is room.
        live: which lanes may fire at all.
    """
    a, b, c, threshold = lanes.a, lanes.b, lanes.c, lanes.threshold
    # as they go with segments
    a2, b2, c2, threshold2 = (lifted(x, 2) for x in (a, b, c, threshold))
    num_arrivals, num_lanes = weights.shape
    dtype = lanes.v.dtype
    step = lanes.reset - threshold

    # the segments: the last one ends with the cell
    past = np.tri(num_arrivals + 1, num_arrivals, -1, dtype=dtype)
    grown, reach = weights * jnp.exp(b2 * arrivals), growth(a2, b2, arrivals)
    both = jnp.concatenate([grown, grown * reach], axis=1)
    sums = jnp.dot(past, both, precision=lax.Precision.HIGHEST)
    amount = lanes.i[None] + sums[:, :num_lanes]
    level = (lanes.v - c)[None] - a2 * sums[:, num_lanes:]
    edge = jnp.ones((1, num_lanes), dtype)
    begin = jnp.concatenate([0 * edge, arrivals])
    end = jnp.concatenate([arrivals, edge])
    reach_begin = jnp.concatenate([0 * edge, reach])
    reach_end = jnp.concatenate([reach, growth(a2, b2, edge)])
    decay_begin, decay_end = jnp.exp(-a2 * begin), jnp.exp(-a2 * end)
    number = jnp.arange(num_arrivals + 1, dtype=jnp.int32)[:, None]
    lane = jnp.arange(num_lanes, dtype=jnp.int32)
    place = jnp.arange(places, dtype=jnp.int32)[:, None]
    release_place = jnp.arange(places + 1, dtype=jnp.int32)[:, None]
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    scale = 0.5 * tolerance * (jnp.abs(threshold) + jnp.abs(step))

    def height(x, level, amount):
        return c + jnp.exp(-a * x) * (level + a * growth(a, b, x) * amount) - threshold

    def slope(x, level, amount):
        return a * jnp.exp(-a * x) * (amount - level - b * growth(a, b, x) * amount)

    def released(x):
        """What is added to C where the potential is let go at x from its reset, in which segment
        that is, the slope of the potential there, and its drop."""
        k = jnp.sum(arrivals <= x[None], axis=0, dtype=jnp.int32)
        at = k * num_lanes + lane
        own_amount, own_level = amount.reshape(-1)[at], level.reshape(-1)[at]
        grown = own_level + a * growth(a, b, x) * own_amount
        shift = (lanes.reset - c) * jnp.exp(a * x) - grown
        slope = a * (own_amount * jnp.exp(-b * x) + c - lanes.reset)
        return shift, k, slope, -shift * jnp.exp(-a * x)

    def look(s: _Search) -> _Search:
        # the first segment that ends above the threshold, or whose top may be above it
        levels = level + s.shift[None]
        at_end = c2 + decay_end * (levels + a2 * reach_end * amount) - threshold2
        turn_begin = amount - levels - b2 * reach_begin * amount
        turn_end = amount - levels - b2 * reach_end * amount
        # between its top and its end the potential falls no faster than this
        fall = -a2 * decay_begin * turn_end * (end - begin)
        has_top = (turn_begin > 0) & (turn_end < 0) & (at_end + fall >= 0)
        candidate = ((at_end >= 0) | has_top) & (number >= s.segment[None]) & (end > begin)
        k = _first_row(candidate)
        found = s.live & (k <= num_arrivals)
        at = jnp.minimum(k, num_arrivals) * num_lanes + lane
        own_amount, own_level, left, right = (
            x.reshape(-1)[at] for x in (amount, level, begin, end)
        )
        own_level = own_level + s.shift
        own_end = height(right, own_level, own_amount)
        left = jnp.maximum(left, s.cursor)
        # its top, where that lies inside
        top = (own_amount - own_level) / (b * jnp.where(own_amount > 0, own_amount, 1))
        top = _offset_of_growth(a, b, top)
        inside = (own_amount > 0) & (top > left) & (top < right)
        right = jnp.where(inside, top, jnp.maximum(right, left))
        at_left, at_right = (height(x, own_level, own_amount) for x in (left, right))
        hit = found & ((at_right >= 0) | (own_end >= 0) | (at_left >= 0))
        x = root(
            left, right, at_left, at_right, slope(left, own_level, own_amount), hit,
            lambda x: (height(x, own_level, own_amount), slope(x, own_level, own_amount)),
            tolerance, scale,
        )  # fmt: skip
        # a potential that stands at the threshold already, by rounding, fires where it stands
        x = jnp.where(at_left >= 0, left, x)
        own_place = (place == s.count[None]) & hit[None]
        more = s.more | (hit & (s.count >= places))
        # after a spike another one needs a current that can bring it; after a top below the
        # threshold the next segments are looked at
        again = lanes.reset + (1 - jnp.exp(-a)) * (highest - lanes.reset) >= threshold
        shift = s.shift + jnp.where(hit, step * jnp.exp(a * x), 0)
        cursor, segment = jnp.where(hit, x, s.cursor), jnp.where(hit, k, k + 1)
        so_far = s.released
        if so_far is not None:
            assert lanes.refractory is not None, "nothing is released without a refractory period"
            free_at = x + lanes.refractory
            freed = hit & (free_at < 1)
            by_release, at_release, release_speed, drop = released(jnp.minimum(free_at, 1))
            shift = jnp.where(freed, by_release, shift)
            cursor = jnp.where(freed, free_at, cursor)
            segment = jnp.where(freed, at_release, segment)
            again = again & freed
            after = (release_place == s.count[None] + 1) & freed[None]
            so_far = Released(
                jnp.where(after, free_at[None], so_far.offsets),
                jnp.where(after, release_speed[None], so_far.speeds),
                jnp.where(after, drop[None], so_far.drops),
                shift,
                jnp.where(hit & ~freed, free_at - 1, so_far.left),
            )
        return _Search(
            s.count + hit.astype(s.count.dtype),
            jnp.where(own_place, x[None], s.offsets),
            jnp.where(own_place, slope(x, own_level, own_amount)[None], s.speeds),
            shift,
            cursor,
            segment,
            found & ~more & (~hit | again),
            more,
            so_far,
        )

    zero, none = jnp.zeros(num_lanes, dtype), jnp.zeros(num_lanes, bool)
    count = jnp.zeros(num_lanes, jnp.int32)
    empty = jnp.full((places, num_lanes), NO_SPIKE, dtype)
    start = _Search(count, empty, jnp.ones_like(empty), zero, zero, count, live, none, None)
    if lanes.held is not None:
        ends = (lanes.held > 0) & (lanes.held < 1)
        by_release, at_release, release_speed, drop = released(jnp.clip(lanes.held, 0, 1))
        before = (release_place == 0) & ends[None]
        shift = jnp.where(ends, by_release, 0)
        so_far = Released(
            jnp.where(before, lanes.held[None], NO_SPIKE),
            jnp.where(before, release_speed[None], 0), jnp.where(before, drop[None], 0), shift,
            -jnp.ones_like(zero),
        )  # fmt: skip
        start = start._replace(
            shift=shift, cursor=jnp.where(ends, lanes.held, 0),
            segment=jnp.where(ends, at_release, 0), released=so_far,
        )  # fmt: skip
    ended = lax.while_loop(lambda s: jnp.any(s.live), look, start)
    return Spikes(ended.offsets, ended.speeds, ended.more, ended.released)


def _first_row(flags: Bool[Array, "rows R"]) -> Int[Array, " R"]:
    """The first row that is set in each column; the number of rows where none is.

    It is read off the exponent of the sum of falling powers of 4, which is a product with a vector:
    a minimum along the first axis is not vectorised on a CPU.
    """
    rows = flags.shape[0]
    first = jnp.full(flags.shape[1], rows, jnp.int32)
    for begin in reversed(range(0, rows, _BLOCK)):
        block = flags[begin : begin + _BLOCK].astype(jnp.float32)
        powers = np.ldexp(np.float32(1), -2 * np.arange(block.shape[0]))
        total = jnp.dot(powers, block, precision=lax.Precision.HIGHEST)
        exponent = (lax.bitcast_convert_type(total, jnp.int32) >> 23) - 127
        first = jnp.where(total > 0, begin - exponent // 2, first)
    return first


def _offset_of_growth(a, b, value):
    r"""Where $\psi$ has a value, which is not negative."""
    value = jnp.maximum(value, 0)
    return value * relative_logarithm(jnp.maximum((a - b) * value, -1 + 1e-7))


def root(left, right, at_left, at_right, slope_left, needed, function, tolerance, scale):
    """Where a function that rises from `left` to `right` is zero: Newton's steps, kept in a
    bracket, from the zero of the parabola through both ends."""
    width = right - left
    linear = slope_left * width
    curve = at_right - at_left - linear
    discriminant = jnp.sqrt(jnp.maximum(linear**2 - 4 * curve * at_left, 0))
    slant = linear + discriminant
    share = -2 * at_left / jnp.where(slant > 0, slant, 1)
    x = left + width * jnp.clip(share, 0, 1)

    def step(state):
        x, low, high, _, count = state
        value, slope = function(x)
        low, high = jnp.where(value < 0, x, low), jnp.where(value < 0, high, x)
        moved = x - value / jnp.where(slope > 0, slope, 1)
        is_inside = (slope > 0) & (moved >= low) & (moved <= high)
        moved = jnp.where(is_inside, moved, 0.5 * (low + high))
        # in single precision the steps may never be small, the value is
        is_zero = jnp.abs(value) <= scale
        done = is_zero | (jnp.abs(moved - x) <= tolerance) | (high - low <= tolerance)
        return jnp.where(is_zero, x, moved), low, high, done, count + 1

    state = (x, left, right, jnp.zeros(x.shape, bool), 0)
    for _ in range(2 if x.dtype == jnp.float32 else 3):
        state = step(state)
    return lax.while_loop(lambda s: jnp.any(needed & ~s[3]) & (s[4] < 60), step, state)[0]
