"""The cells of a window, one after the other, of a network whose synapses are a list.

What a spike adds to the ends of cells is summed up where it happens, synapse by synapse; a neuron
that may fire looks along its own synapses for what has reached it. So a cell costs a few operations
for each neuron, and then for each spike times the synapses of its neuron. All neurons of all
samples are in one row of lanes.
"""

import jax.lax as lax
import jax.numpy as jnp

from ._bits import divided, packed, places_of
from ._cell import Felt, free_end, of_lanes
from ._fan_compiled import Walked, compiled_target, walked_by_compiled
from ._fan_given import (
    FanGiven,
    FanKept,
    FanNeed,
    FanResponse,
    FanRooms,
    FanWiring,
    Records,
    of_neurons,
)
from ._fan_lanes import Items, Reached, Sums, pushed, reaching, sent_by
from ._fans import Delays
from ._forward import inside_noise, of_cell
from ._responses import lifted
from ._walk import NO_SPIKE, Lanes, walk


def forward(given: FanGiven, wiring: FanWiring, rooms: FanRooms, keeps_states: bool):
    """The spikes of a network, and what the adjoint needs; by compiled code where it can be had."""
    given = lax.stop_gradient(given)
    target = compiled_target(given.start.v.dtype, backward=False)
    if target is None:
        walked = _walked_by_jax(given, wiring, rooms, keeps_states)
    else:
        length = wiring.num_records + 1 + rooms.lanes
        walked = walked_by_compiled(
            target, given, wiring, rooms, sent_by(given, wiring), length, keeps_states
        )
    return _response(given, wiring, rooms, walked)


def _walked_by_jax(given: FanGiven, wiring: FanWiring, rooms: FanRooms, keeps_states: bool):
    rates, dtype, num_sources = given.rates, given.start.v.dtype, wiring.num_sources
    num_cells, num_inputs, num_samples = given.inputs.shape
    num_neurons = given.start.v.shape[1]
    size, places, num_lanes = num_samples * num_neurons, rooms.spikes, rooms.lanes
    sent = sent_by(given, wiring)
    into = wiring.into
    to_weights = given.weights[into.synapses]
    to_delays = Delays.of(given.delays).ordered(into.synapses)
    ring = places * num_samples * num_sources
    reset = lifted(rates.reset, 2)
    rank = jnp.arange(num_lanes, dtype=jnp.int32)
    sample_of_input = jnp.broadcast_to(
        jnp.arange(num_samples, dtype=jnp.int32), (num_inputs, num_samples)
    ).reshape(-1)

    def at_history(slot, place, sample, source):
        return slot * ring + (place * num_samples + sample) * num_sources + source

    def take_inputs(sums, history, bursting, cell, slot, offsets, sources):
        """The input spikes of a cell, sent on and written down."""
        is_spike = sources < num_sources
        # which spike of its source it is in the cell
        same = (sources[:, None] == sources[None]) & jnp.tri(num_inputs, k=-1, dtype=bool)[
            ..., None
        ]
        place = jnp.sum(same, axis=1, dtype=jnp.int32)
        bursting = bursting | jnp.any(is_spike & (place >= places), axis=0)
        at = at_history(slot, place, sample_of_input.reshape(sources.shape), sources)
        at = jnp.where(is_spike & (place < places), at, history.size)
        history = history.at[at].set(offsets, mode="drop")
        items = Items(sources.reshape(-1), sample_of_input, offsets.reshape(-1))
        sums, rows = pushed(sums, sent, rates, items, cell, num_neurons, size, rooms)
        return sums, history, bursting, rows

    def cell_step(carry, x):
        state, left, sums, history, records, count, crowded, bursting, most, spilled = carry
        cell, offsets, sources, noise = x
        slot = lax.rem(cell, jnp.int32(rooms.back))
        # (the cell before is cleared, and not this one once it has been read: what is read by
        # several operations and overwritten then would be copied as a whole)
        slot_before = lax.rem(cell + rooms.back - 1, jnp.int32(rooms.back))
        sums = sums.without(slot_before * size, size)
        history = lax.dynamic_update_slice(history, jnp.full(ring, NO_SPIKE, dtype), (slot * ring,))
        rows = jnp.int32(0)
        if num_inputs:
            sums, history, bursting, rows = take_inputs(
                sums, history, bursting, cell, slot, offsets, sources
            )
        felt = sums.at(slot * size, size)
        felt = Felt(*(x.reshape(num_samples, num_neurons) for x in felt))
        inner, current = inside_noise(state, of_cell(given.current, cell), noise)
        end, i_end, highest, above = free_end(rates, inner, current, felt, left)
        is_held = left >= 1
        after = jnp.where(is_held, reset, end).reshape(-1)
        left_after = jnp.where(is_held, left - 1, 0).reshape(-1)
        bits = packed(above >= 0)
        flat_v, flat_i, flat_left, flat_highest, flat_end, flat_reached = (
            x.reshape(-1) for x in (*inner, left, highest, end, jnp.abs(felt.to_i) + felt.negative)
        )

        def look(carry):
            first, lane, after, i_end, left, sums, history, records, *rest = carry
            count, crowded, bursting, most = rest
            is_lane = lane < size
            known = jnp.minimum(lane, size - 1)
            sample, neuron = divided(known, num_neurons)
            # (nothing has arrived where nothing was added)
            is_reached = is_lane & (flat_reached[known] > 0)
            who = jnp.where(is_reached, neuron, num_neurons)
            reached = Reached(into, to_weights, to_delays, history)
            arrivals = reaching(reached, cell, who, sample, (num_samples, num_sources), rooms)
            parameters = (of_neurons(x, neuron) for x in rates)
            lanes = Lanes(
                flat_v[known], flat_i[known], of_lanes(current, sample, neuron), *parameters,
                of_neurons(given.refractory, neuron), flat_left[known],
            )  # fmt: skip
            found = walk(
                lanes, arrivals.weights, arrivals.offsets, flat_highest[known], places, is_lane
            )
            released = found.released
            assert released is not None
            crowded = crowded.at[sample].max(arrivals.crowded & is_lane)
            bursting = bursting.at[sample].max(found.more & is_lane)
            without_spikes = flat_end[known] + jnp.exp(-lanes.a) * released.shift
            own_end = jnp.where(released.left >= 0, lanes.reset, without_spikes)
            after = after.at[lane].set(own_end, mode="drop")
            left = left.at[lane].set(jnp.maximum(released.left, 0), mode="drop")
            # (as it is: this way it is computed before the sums are written to)
            i_end = i_end.at[lane].set(i_end[known], mode="drop")
            fires = (found.offsets <= 1) & is_lane[None]
            for m in range(places):
                at = at_history(slot, m, sample, neuron)
                at = jnp.where(fires[m], at, history.size)
                history = history.at[at].set(found.offsets[m], mode="drop")
            # those in which something has happened are kept
            happens = packed(jnp.any(fires, axis=0) | ((released.offsets[0] <= 1) & is_lane))
            row = places_of(happens, rank, num_lanes)
            kept = jnp.minimum(row, num_lanes - 1)
            new = Records(
                jnp.where(row < num_lanes, lane[kept], size),
                *(
                    tuple(x[m][kept] for m in range(x.shape[0]))
                    for x in (found.offsets, found.speeds, *released[:3])
                ),
            )
            records = _written(records, new, count)
            count = count + happens.total
            items = Items(
                jnp.where(fires, neuron[None], num_sources).reshape(-1),
                jnp.tile(sample, places), jnp.where(fires, found.offsets, 0).reshape(-1),
            )  # fmt: skip
            sums, rows = pushed(sums, sent, rates, items, cell, num_neurons, size, rooms)
            most = FanNeed(
                jnp.maximum(most.arrivals, arrivals.most),
                jnp.maximum(most.events, arrivals.total), most.back, most.active,
                most.rows + rows.astype(dtype) / num_cells,
            )  # fmt: skip
            first = first + num_lanes
            lane = lax.cond(
                first < bits.total, lambda: places_of(bits, first + rank, size), lambda: lane
            )
            # one more round must find room behind the records
            count = jnp.minimum(count, wiring.num_records + 1)
            return (
                first, lane, after, i_end, left, sums, history, records, count, crowded, bursting,
                most,
            )  # fmt: skip

        most = most._replace(
            active=most.active + bits.total.astype(dtype) / num_cells,
            rows=most.rows + rows.astype(dtype) / num_cells,
        )
        lane = places_of(bits, rank, size)
        inner_carry = (
            jnp.int32(0), lane, after, i_end.reshape(-1), left_after, sums, history, records, count,
            crowded, bursting, most,
        )  # fmt: skip
        ended = lax.while_loop(lambda c: c[0] < bits.total, look, inner_carry)
        _, _, after, i_end, left_after, sums, history, records, *rest = ended
        later, crowded, bursting, most = rest
        i_end = i_end.reshape(num_samples, num_neurons)
        spilled = spilled | (later > wiring.num_records)
        if noise is not None:
            i_end = i_end + noise
        shape = num_samples, num_neurons
        carry = (
            type(state)(after.reshape(shape), i_end), left_after.reshape(shape), sums, history,
            records, later, crowded, bursting, most, spilled,
        )  # fmt: skip
        return carry, (count, inner if keeps_states else None)

    none = jnp.zeros(num_samples, bool)
    need = FanNeed(
        jnp.int32(0), jnp.int32(0), jnp.max(sent.delays.whole, initial=0).astype(jnp.int32) + 2,
        jnp.zeros((), dtype), jnp.zeros((), dtype),
    )  # fmt: skip
    carry = (
        given.start, jnp.zeros_like(given.start.v), Sums.empty(rooms.back * size, dtype),
        jnp.full(rooms.back * ring, NO_SPIKE, dtype),
        _blank(wiring.num_records + 1 + num_lanes, places, size, dtype),
        jnp.int32(0), none, none, need, jnp.asarray(False),
    )  # fmt: skip
    cells = jnp.arange(num_cells, dtype=jnp.int32)
    carry, (firsts, states) = lax.scan(
        cell_step, carry, (cells, given.inputs, wiring.inputs, given.noise)
    )
    state, left, _, _, records, count, crowded, bursting, need, spilled = carry
    # (so that it is seen that there were too many)
    count = jnp.where(spilled, wiring.num_records + 1, count)
    firsts = jnp.concatenate([firsts, count[None]])
    number = jnp.arange(records.lane.shape[0], dtype=jnp.int32)
    cell = jnp.searchsorted(firsts, number, side="right").astype(jnp.int32) - 1
    cell = jnp.minimum(cell, num_cells - 1)
    return Walked(records, cell, firsts, None, left, state, crowded, bursting, need, states)


def _response(given: FanGiven, wiring: FanWiring, rooms: FanRooms, walked: Walked):
    records, cells, firsts, order, left, state, crowded, bursting, need, states = walked
    num_samples, size, count = given.inputs.shape[2], given.start.v.size, firsts[-1]
    # a spike that arrives after more cells than there is room for makes everything wrong
    crowded = crowded | (need.back > rooms.back)
    number = jnp.arange(records.lane.shape[0], dtype=jnp.int32)
    is_record = number < count
    offsets = jnp.stack([jnp.where(is_record, x, NO_SPIKE) for x in records.offsets])
    records = records._replace(lane=jnp.where(is_record, records.lane, size))
    finite = jnp.all(jnp.isfinite(state.v) & jnp.isfinite(state.i), axis=1)
    slowest = _slowest(given, records, offsets, num_samples)
    response_ = FanResponse(
        offsets, jnp.stack(records.speeds), records.lane, cells, crowded, bursting,
        count > wiring.num_records, finite, slowest, need, order,
    )  # fmt: skip
    return response_, FanKept(records, firsts, (left > 0).reshape(-1), states)


def _blank(length: int, places: int, size: int, dtype) -> Records:
    def rows(number, fill):
        return tuple(jnp.full(length, fill, dtype) for _ in range(number))

    return Records(
        jnp.full(length, size, jnp.int32), rows(places, NO_SPIKE), rows(places, 1),
        rows(places + 1, NO_SPIKE), rows(places + 1, 0), rows(places + 1, 0),
    )  # fmt: skip


def _written(records: Records, new: Records, begin) -> Records:
    def write(old, new):
        if isinstance(old, tuple):
            return tuple(write(x, y) for x, y in zip(old, new, strict=True))
        return lax.dynamic_update_slice(old, new, (begin,))

    return Records(*(write(x, y) for x, y in zip(records, new, strict=True)))


def _slowest(given: FanGiven, records: Records, offsets, num_samples: int):
    num_neurons = given.start.v.shape[1]
    sample, neuron = divided(records.lane, num_neurons)
    rates = type(given.rates)(*(of_neurons(x, neuron) for x in given.rates))
    unit = rates.a * (jnp.abs(rates.threshold) + jnp.abs(rates.threshold - rates.reset))
    slow = jnp.stack([speeds / unit for speeds in records.speeds])
    slow = jnp.where(offsets <= 1, slow, jnp.inf)
    slowest = jnp.full(num_samples, jnp.inf, offsets.dtype)
    return slowest.at[sample].min(jnp.min(slow, axis=0), mode="drop")
