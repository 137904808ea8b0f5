"""One cell of all neurons: the state at its end and the spikes in it."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._bits import divided, packed, places_of
from ._responses import lifted, response
from ._walk import NO_SPIKE, Lanes, walk

# the number of lanes is one of this
_MULTIPLE = 16

FEW = 4
"""So many arrivals are taken at a time, where they are taken row by row of the weights."""


class Rooms(eqx.Module):
    """For how much there is room; static.

    Attributes:
        inputs: input spikes in one cell of one sample.
        arrivals: all spikes that arrive in one cell of one sample.
        spikes: spikes of one neuron in one cell.
        share: the share of all neurons, of all samples, that are looked at side by side; more
            take more rounds.
    """

    inputs: int = eqx.field(static=True)
    arrivals: int = eqx.field(static=True)
    spikes: int = eqx.field(static=True)
    share: float = eqx.field(static=True)

    def lanes(self, size: int) -> int:
        """How many neurons of `size` are looked at side by side."""
        return min(size, max(1, math.ceil(self.share * size / _MULTIPLE)) * _MULTIPLE)


class Rates(NamedTuple):
    """Parameters of the neurons, per cell: numbers, or one for each neuron.

    Attributes:
        a: leak rate of the potential.
        b: decay rate of the synaptic current.
        threshold: where a neuron fires.
        reset: potential after a spike.
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]
    threshold: Float[Array, "..."]
    reset: Float[Array, "..."]


class Hold(NamedTuple):
    """Refractory periods: for a time after its spike the potential of a neuron stays at the reset.

    Attributes:
        period: how long that is, in cells, a number or one for each neuron.
        left: for how long each neuron is held still.
    """

    period: Float[Array, "..."]
    left: Float[Array, "B N"]


class Releases(NamedTuple):
    """When potentials are let go after their refractory periods in a cell; see `Released`."""

    offsets: Float[Array, "places_and_1 B N"]
    speeds: Float[Array, "places_and_1 B N"]
    drops: Float[Array, "places_and_1 B N"]


class Found(NamedTuple):
    """What happens in a cell; see `Spikes`.

    Attributes:
        offsets: of the spikes.
        speeds: slopes of the potential just before them.
        more: which samples had more spikes than there are places.
        active: how many lanes were looked at.
        releases: `None` without refractory periods.
    """

    offsets: Float[Array, "places B N"]
    speeds: Float[Array, "places B N"]
    more: Bool[Array, " B"]
    active: Int[Array, ""]
    releases: Releases | None


class State(NamedTuple):
    """Potentials and synaptic currents of all samples and neurons."""

    v: Float[Array, "B N"]
    i: Float[Array, "B N"]


class Arrivals(NamedTuple):
    """What arrives in a cell, at all neurons of a sample.

    Attributes:
        offsets: when, ascending for each sample; 1 in a free place.
        sources: from where: a row of the weights; their number in a free place.
    """

    offsets: Float[Array, "K B"]
    sources: Int[Array, "K B"]


class Felt(NamedTuple):
    """What arrivals have added by the end of their cell.

    Attributes:
        to_v: to the potential.
        to_i: to the current.
        negative: the sum of their negative weights, as a positive number.
    """

    to_v: Float[Array, "*cells B N"]
    to_i: Float[Array, "*cells B N"]
    negative: Float[Array, "*cells B N"]


def felt_by_rows(rates: Rates, weights: Float[Array, "sources N"], arrivals: Arrivals) -> Felt:
    """The effect of arrivals in one cell, a few at a time: for few arrivals, and for neurons with
    rates of their own."""

    def add(n, total):
        few = few_arrivals(arrivals, n, weights.shape[0] - 1)
        rows = weights[few.sources]
        to_v, to_i = felt_from(rates, rows, few.offsets)
        negative = jnp.sum(jnp.maximum(-rows, 0), axis=0)
        return Felt(total[0] + to_v, total[1] + to_i, total[2] + negative)

    shape = arrivals.offsets.shape[1], weights.shape[1]
    nothing = Felt(*jnp.zeros((3, *shape), weights.dtype))
    return lax.fori_loop(0, num_handfuls(arrivals, weights.shape[0] - 1), add, nothing)


def num_handfuls(arrivals: Arrivals, num_rows: int) -> Int[Array, ""]:
    """How many times a few arrivals there are, in the sample with the most of them; free places,
    which come last, point to row number `num_rows`."""
    here = arrivals.sources < num_rows
    most = jnp.max(jnp.sum(here, axis=0, dtype=jnp.int32), initial=0)
    return (most + FEW - 1) // FEW


def few_arrivals(arrivals: Arrivals, n: Int[Array, ""], num_rows: int) -> Arrivals:
    """A few of the arrivals."""
    pad = (0, -arrivals.offsets.shape[0] % FEW), (0, 0)
    offsets = jnp.pad(arrivals.offsets, pad, constant_values=1)
    sources = jnp.pad(arrivals.sources, pad, constant_values=num_rows)
    return Arrivals(*(lax.dynamic_slice_in_dim(x, FEW * n, FEW) for x in (offsets, sources)))


def felt_from(rates: Rates, rows: Float[Array, "few B N"], offsets: Float[Array, "few B"]):
    """What arrivals add to potential and current by the end of the cell."""
    a, b = lifted(rates.a, 3), lifted(rates.b, 3)
    left = 1 - offsets[..., None]
    to_v = jnp.sum(rows * response(a, b, left), axis=0)
    return to_v, jnp.sum(rows * jnp.exp(-b * left), axis=0)


def felt_by_products(
    rates: Rates, weights: Float[Array, "sources N"], offsets: Float[Array, "T K B"],
    sources: Int[Array, "T K B"],
):  # fmt: skip
    """The effect of arrivals in several cells on potentials and currents by the ends of their
    cells: the response to each source times its weights, for neurons that share their rates."""
    left = 1 - offsets
    felt = response(rates.a, rates.b, left), jnp.exp(-rates.b * left)
    return tuple(_by_source(x, sources, weights.shape[0]) @ weights for x in felt)


def negative_by_products(
    weights: Float[Array, "sources N"], offsets: Float[Array, "T K B"], sources
):
    """The sum of negative weights of the arrivals in several cells, as a positive number."""
    count = _by_source(jnp.ones_like(offsets), sources, weights.shape[0])
    return count @ jnp.maximum(-weights, 0)


def _by_source(values, sources, num_sources: int):
    """The sum of values from each source, (T, B, sources)."""
    num_cells, _, num_samples = values.shape
    cell = jnp.arange(num_cells, dtype=jnp.int32)[:, None, None]
    sample = jnp.arange(num_samples, dtype=jnp.int32)[None, None]
    total = jnp.zeros((num_cells, num_samples, num_sources), values.dtype)
    return total.at[cell, sample, sources].add(values)


class FreeEnd(NamedTuple):
    """The end of a cell without spikes.

    Attributes:
        v: potentials.
        i: synaptic currents.
        highest: a bound of current and input current in the cell.
        above: not negative where a neuron may fire, or is let go.
    """

    v: Float[Array, "B N"]
    i: Float[Array, "B N"]
    highest: Float[Array, "B N"]
    above: Float[Array, "B N"]


def free_end(
    rates: Rates, state: State, current: Float[Array, "..."], felt: Felt,
    left: Float[Array, "B N"] | None,
) -> FreeEnd:  # fmt: skip
    """The end of a cell without spikes, and who may fire in it; `left` is for how long neurons are
    held still."""
    v, i = state
    a, b, threshold, _ = (lifted(x, 2) for x in rates)
    to_v, to_i, negative = felt
    rise = -jnp.expm1(-a)
    end = jnp.exp(-a) * v + response(a, b, jnp.ones((), v.dtype)) * i + rise * current + to_v
    i_end = jnp.exp(-b) * i + to_i
    # The current i + c is at most `highest`. A potential that is below the threshold at the end has
    # risen to it and fallen again: it rose where i + c was not below the threshold, which then can
    # decay, and be inhibited, by no more than `lost`.
    own = jnp.maximum(i, jnp.exp(-b) * i)
    highest = own + jnp.exp(b) * jnp.maximum(to_i + negative, 0) + current
    decayed = jnp.maximum((threshold - current) * -jnp.expm1(-b), 0)
    lost = rise * (decayed + negative)
    # (one number and no comparisons: these are not vectorised on a CPU where so much is fused)
    reach = jnp.minimum(highest, v + rise * (highest - v)) - threshold
    above = jnp.maximum(end - threshold, jnp.minimum(reach, end - threshold + lost))
    if left is not None:
        # one that is let go in this cell is looked at in any case
        above = jnp.where(left > 0, jnp.where(left < 1, 1.0, -1.0), above)
    return FreeEnd(end, i_end, highest, above)


def step(
    rates: Rates,
    state: State,
    hold: Hold | None,
    current: Float[Array, "..."],
    weights: Float[Array, "sources N"],
    arrivals: Arrivals,
    felt: Felt,
    rooms: Rooms,
) -> tuple[State, Any, Found]:
    """The state after a cell, for how long neurons are held then, and what has happened in it.

    `weights` has a last row of zeros, to which free places of `arrivals` point.
    """
    left = None if hold is None else hold.left
    a, threshold, reset = (lifted(x, 2) for x in (rates.a, rates.threshold, rates.reset))
    end, i_end, highest, above = free_end(rates, state, current, felt, left)
    active = above >= 0
    known = _Known(rates, state, hold, current, weights, arrivals, highest, active)
    found, shift, left = _walk_active(known, rooms)
    if hold is None:
        by_reset = (reset - threshold)[None] if reset.ndim else reset - threshold
        by_reset = by_reset * jnp.exp(-lifted(rates.a, 3) * (1 - found.offsets))
        end = end + jnp.sum(jnp.where(found.offsets <= 1, by_reset, 0), axis=0)
        return State(end, i_end), None, found
    assert shift is not None
    assert left is not None
    is_held = hold.left >= 1
    end = jnp.where(is_held | (left >= 0), reset, end + jnp.exp(-a) * shift)
    left = jnp.where(is_held, hold.left - 1, jnp.maximum(left, 0))
    return State(end, i_end), left, found


class _Known(NamedTuple):
    """What is known at the start of a cell, and who may fire in it."""

    rates: Rates
    state: State
    hold: Hold | None
    current: Array
    weights: Array
    arrivals: Arrivals
    highest: Array
    active: Array


def _walk_active(known: _Known, rooms: Rooms):
    """Spikes of the lanes that may fire, in as many rounds as it takes; and with refractory periods
    what resets do to each neuron and for how long it is held after the cell, negative where it is
    not."""
    (num_samples, num_neurons), dtype = known.state.v.shape, known.state.v.dtype
    size = num_samples * num_neurons
    arrivals, current, hold = known.arrivals, known.current, known.hold
    flat_v, flat_i, flat_highest = (x.reshape(-1) for x in (*known.state, known.highest))
    flat_weights = known.weights.reshape(-1)
    bits = packed(known.active)
    rank = jnp.arange(rooms.lanes(size), dtype=jnp.int32)

    def look(carry):
        first, lane, values, more = carry
        place = jnp.minimum(lane, size - 1)
        sample, neuron = divided(place, num_neurons)
        own = lane_parameters(known.rates, neuron)
        lanes = Lanes(
            flat_v[place], flat_i[place], of_lanes(current, sample, neuron), own.a, own.b,
            own.threshold, own.reset,
        )  # fmt: skip
        if hold is not None:
            period = of_lanes(hold.period, sample, neuron)
            lanes = lanes._replace(refractory=period, held=hold.left.reshape(-1)[place])
        at = arrivals.sources[:, sample] * num_neurons + neuron[None]
        is_lane = lane < size
        found = walk(
            lanes, flat_weights[at], arrivals.offsets[:, sample], flat_highest[place],
            rooms.spikes, is_lane,
        )  # fmt: skip
        new = [*found.offsets, *found.speeds]
        if found.released is not None:
            new += [row for rows in found.released[:3] for row in rows]
            new += found.released[3:]
        values = tuple(x.at[lane].set(y, mode="drop") for x, y in zip(values, new, strict=True))
        more = more.at[sample].max(found.more & is_lane)
        first = first + rank.size
        lane = lax.cond(
            first < bits.total, lambda: places_of(bits, first + rank, size), lambda: lane
        )
        return first, lane, values, more

    # (one flat array for each number: a short last axis is what a CPU is slowest at)
    fills = [NO_SPIKE] * rooms.spikes + [1.0] * rooms.spikes
    if hold is not None:
        places = rooms.spikes + 1
        fills += [NO_SPIKE] * places + [0.0] * (2 * places) + [0.0, -1.0]
    blank = tuple(jnp.full(size, fill, dtype) for fill in fills)
    # which lanes are next is carried, as XLA would otherwise work it out again for each number that
    # is looked up for a lane
    carry = jnp.int32(0), places_of(bits, rank, size), blank, jnp.zeros(num_samples, bool)
    _, _, values, more = lax.while_loop(lambda c: c[0] < bits.total, look, carry)
    values = [x.reshape(num_samples, num_neurons) for x in values]
    offsets, speeds = (jnp.stack(values[n * rooms.spikes :][: rooms.spikes]) for n in (0, 1))
    if hold is None:
        return Found(offsets, speeds, more, bits.total, None), None, None
    rest = values[2 * rooms.spikes :]
    releases = Releases(*(jnp.stack(rest[n * places :][:places]) for n in range(3)))
    return Found(offsets, speeds, more, bits.total, releases), *rest[-2:]


def lane_parameters(rates: Rates, neuron: Int[Array, " R"]) -> Rates:
    """The parameters of single neurons."""
    return Rates(*(x if x.ndim == 0 else x[neuron] for x in rates))


def of_lanes(values, sample, neuron):
    """Values that are one number, one for each neuron, or (where an axis has length 1, shared) of
    shape (samples, neurons), at single lanes."""
    if values.ndim == 0:
        return values
    if values.ndim == 1:
        return values[neuron]
    zero = jnp.zeros_like(sample)
    rows, columns = values.shape
    return values[sample if rows > 1 else zero, neuron if columns > 1 else zero]
