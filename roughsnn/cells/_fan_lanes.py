"""What spikes do to the neurons that they reach, and what has reached a neuron in a cell."""

from typing import NamedTuple

import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._bits import packed, places_of
from ._cell import Rates
from ._fan_given import FanGiven, FanRooms, FanWiring, of_neurons
from ._fans import Delays, Fans, arriving, counted, rows_from
from ._responses import response
from ._walk import NO_SPIKE


class Sent(NamedTuple):
    """Synapses by the neurons that they lead from."""

    fans: Fans
    weights: Float[Array, " E"]
    delays: Delays


def sent_by(given: FanGiven, wiring: FanWiring) -> Sent:
    """The synapses by the neurons that they lead from."""
    fans = wiring.sent
    delays = Delays.of(given.delays).ordered(fans.synapses)
    return Sent(fans, given.weights[fans.synapses], delays)


class Items(NamedTuple):
    """Spikes of a cell: from which source each is (their number for none), in which sample, and
    when."""

    sources: Int[Array, " S"]
    samples: Int[Array, " S"]
    offsets: Float[Array, " S"]


class Sums(NamedTuple):
    """What will have been added to potentials and currents by the ends of the cells to come, and
    the sum of the negative weights among it as a positive number; cells in a ring, flat."""

    to_v: Float[Array, " back_L"]
    to_i: Float[Array, " back_L"]
    negative: Float[Array, " back_L"]

    @classmethod
    def empty(cls, size: int, dtype) -> "Sums":
        return cls(*(jnp.zeros(size, dtype) for _ in range(3)))

    def at(self, begin, size: int) -> "Sums":
        """What is there for a cell."""
        return Sums(*(lax.dynamic_slice(x, (begin,), (size,)) for x in self))

    def without(self, begin, size: int) -> "Sums":
        """The ring without what is there for a cell."""
        zeros = jnp.zeros(size, self.to_v.dtype)
        return Sums(*(lax.dynamic_update_slice(x, zeros, (begin,)) for x in self))


def pushed(
    sums: Sums, sent: Sent, rates: Rates, items: Items, cell, num_neurons: int, size: int,
    rooms: FanRooms,
):  # fmt: skip
    """The sums with what these spikes will add, synapse by synapse; and how many rows that took."""
    count = counted(sent.fans, items.sources)

    def more(carry):
        begin, sums = carry
        rows = rows_from(count, begin, rooms.rows)
        target = sent.fans.others[rows.places]
        weight = jnp.where(rows.here, sent.weights[rows.places], 0)
        when = arriving(sent.delays.at(rows.places), items.offsets[rows.items][:, None])
        place = lax.rem(cell + when.later, jnp.int32(rooms.back)) * size
        at = place + items.samples[rows.items][:, None] * num_neurons + target
        a, b = (of_neurons(x, target) for x in (rates.a, rates.b))
        left = 1 - when.offsets
        sums = Sums(
            sums.to_v.at[at].add(weight * response(a, b, left)),
            sums.to_i.at[at].add(weight * jnp.exp(-b * left)),
            sums.negative.at[at].add(jnp.maximum(-weight, 0)),
        )
        return begin + rooms.rows, sums

    _, sums = lax.while_loop(lambda c: c[0] < count.total, more, (jnp.int32(0), sums))
    return sums, count.total


class Reached(NamedTuple):
    """Synapses by the neurons that they lead to, and the spikes of the last cells in a ring, flat,
    of shape (back, places, B, sources)."""

    fans: Fans
    weights: Float[Array, " E"]
    delays: Delays
    history: Float[Array, " back_places_B_S"]


class OwnArrivals(NamedTuple):
    """What arrives at each of R neurons in a cell, in its order, the weight of each arrival, at
    which of them there is no room for all, how many arrive at one of them at most, and at all of
    them."""

    offsets: Float[Array, "K R"]
    weights: Float[Array, "K R"]
    crowded: Bool[Array, " R"]
    most: Int[Array, ""]
    total: Int[Array, ""]


def reaching(
    reached: Reached, cell, neurons: Int[Array, " R"], samples: Int[Array, " R"], shape,
    rooms: FanRooms,
) -> OwnArrivals:  # fmt: skip
    """The arrivals at these neurons; the number of neurons stands for none."""
    num_samples, num_sources = shape
    num_lanes, dtype = neurons.shape[0], reached.history.dtype
    count = counted(reached.fans, neurons)
    lane, offsets, weights = (
        jnp.full(rooms.events, num_lanes, jnp.int32), jnp.ones(rooms.events, dtype),
        jnp.zeros(rooms.events, dtype),
    )  # fmt: skip
    rank = jnp.arange(rooms.events, dtype=jnp.int32)

    def more(carry):
        begin, total, lane, offsets, weights = carry
        rows = rows_from(count, begin, rooms.rows)
        source = reached.fans.others[rows.places]
        delays = reached.delays.at(rows.places)
        sample = samples[rows.items][:, None]
        found = []
        for back in (0, 1):
            ago = cell - delays.whole - back
            slot = lax.rem(ago + 2 * rooms.back, jnp.int32(rooms.back))
            for place in range(rooms.spikes):
                at = ((slot * rooms.spikes + place) * num_samples + sample) * num_sources + source
                spike = reached.history[at]
                when = spike + delays.rest - back
                # as `arriving` has it
                inside = (when < 1) if back == 0 else (when >= 0)
                inside = inside & (spike <= 1) & rows.here
                found.append(jnp.where(inside, when, NO_SPIKE))
        found = jnp.stack(found)
        bits = packed(found <= 1)
        place = places_of(bits, rank, found.size)
        known = jnp.minimum(place, found.size - 1)
        entry = lax.rem(known, jnp.int32(rows.places.size))
        to = jnp.where(place < found.size, total + rank, rooms.events)
        item = rows.items[entry // rows.places.shape[1]]
        lane = lane.at[to].set(item, mode="drop")
        offsets = offsets.at[to].set(found.reshape(-1)[known], mode="drop")
        own = reached.weights[rows.places.reshape(-1)[entry]]
        weights = weights.at[to].set(own, mode="drop")
        return begin + rooms.rows, total + bits.total, lane, offsets, weights

    carry = jnp.int32(0), jnp.int32(0), lane, offsets, weights
    _, total, lane, offsets, weights = lax.while_loop(lambda c: c[0] < count.total, more, carry)
    lane, offsets, weights = lax.sort((lane, offsets, weights), num_keys=2)
    is_first = jnp.concatenate([jnp.ones(1, bool), lane[1:] != lane[:-1]])
    place = rank - lax.cummax(jnp.where(is_first, rank, 0))
    here = lane < num_lanes
    crowded = jnp.zeros(num_lanes, bool).at[lane].max(place >= rooms.arrivals, mode="drop")
    at = place, lane
    return OwnArrivals(
        jnp.ones((rooms.arrivals, num_lanes), dtype).at[at].set(offsets, mode="drop"),
        jnp.zeros((rooms.arrivals, num_lanes), dtype).at[at].set(weights, mode="drop"),
        crowded | (total > rooms.events), jnp.max(jnp.where(here, place, -1), initial=-1) + 1,
        total,
    )  # fmt: skip
