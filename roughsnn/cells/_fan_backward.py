"""The adjoint of a network whose synapses are a list, from its last cell to the first.

Only neurons that fire send anything back, along their own synapses: what comes back to a spike is
read off the derivatives in the states at the ends of the cells in which it arrived, and in the
spikes that came after it there. Those of the last cells lie in a ring.
"""

from typing import NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._adjoint import weights_of_potentials
from ._bits import divided
from ._cell import Found, Rates, Releases, State, of_lanes
from ._fan_given import FanGiven, FanKept, FanRooms, FanWiring, of_neurons
from ._fan_lanes import Items, Sent, sent_by
from ._fans import arriving, counted, rows_from
from ._forward import of_cell
from ._responses import lifted, response, summed_to
from ._walk import NO_SPIKE


class _Ring(NamedTuple):
    """Derivatives of the last cells, flat: in potentials and currents at their ends, and in the
    potentials at the spikes and releases in them, which are at `slots`."""

    from_v: Float[Array, " back_L"]
    from_i: Float[Array, " back_L"]
    slots: tuple[Float[Array, " back_L"], ...]
    heights: tuple[Float[Array, " back_L"], ...]


class _Totals(NamedTuple):
    """Derivatives that are summed up over all cells; `weights` and `delays` (where each synapse has
    its own) in the order of the neurons that the synapses lead from."""

    rates: Rates
    weights: Float[Array, " E"]
    delays: Float[Array, "..."]
    refractory: Float[Array, "..."]
    current: Float[Array, "..."]


def backward(
    kept: FanKept, from_offsets, perturbed: FanGiven, given: FanGiven, wiring: FanWiring,
    rooms: FanRooms,
) -> FanGiven:  # fmt: skip
    """The derivative of a loss in all that the spikes depend on; arguments as in the adjoint of
    the dense form."""
    rates, dtype, num_sources = given.rates, given.start.v.dtype, wiring.num_sources
    num_cells, num_inputs, num_samples = given.inputs.shape
    num_neurons = given.start.v.shape[1]
    size, places, num_lanes = num_samples * num_neurons, rooms.spikes, rooms.lanes
    shape = num_samples, num_neurons
    sent = sent_by(given, wiring)
    moves_time = perturbed.rates.a or perturbed.rates.b
    shares_current = given.current.shape[0] == 1
    lane_rank = jnp.arange(num_lanes, dtype=jnp.int32)
    records = kept.records
    if from_offsets is None:
        from_offsets = jnp.zeros((places, records.lane.shape[0]), dtype)
    from_offsets = tuple(from_offsets)
    sample_of_input = jnp.broadcast_to(
        jnp.arange(num_samples, dtype=jnp.int32), (num_inputs, num_samples)
    ).reshape(-1)

    def back_to(items, cell, ring, totals):
        return _sent_back(
            items, cell, ring, totals, sent, rates, num_neurons, size, rooms, perturbed
        )

    def cell_step(carry, x):
        from_state, from_held, held_after, ring, totals = carry
        cell, first, last, offsets, sources, noise, state = x
        from_v, from_i = (x.reshape(-1) for x in from_state)
        slot = lax.rem(cell, jnp.int32(rooms.back))
        shared = of_cell(given.current, cell)
        current = shared if noise is None else shared + noise
        if state is None:
            state = State(*jnp.zeros((2, *shape), dtype))
        flat_v, flat_i = (x.reshape(-1) for x in state)
        nothing = jnp.zeros(size, dtype)
        ring = ring._replace(
            slots=tuple(_put(x, jnp.full(size, NO_SPIKE, dtype), slot) for x in ring.slots),
            heights=tuple(_put(x, nothing, slot) for x in ring.heights),
        )

        def look(carry):
            begin, ends, from_held, is_held, held_before, extra, ring, totals = carry
            here = begin + lane_rank < last

            def cut(x, fill=None):
                x = lax.dynamic_slice_in_dim(x, begin, num_lanes)
                return x if fill is None else jnp.where(here, x, fill)

            lane = cut(records.lane, size)
            known = jnp.minimum(lane, size - 1)
            sample, neuron = divided(known, num_neurons)
            tau = jnp.stack([cut(x, NO_SPIKE) for x in records.offsets])
            fires = tau <= 1
            items = Items(
                jnp.where(fires, neuron[None], num_sources).reshape(-1), jnp.tile(sample, places),
                jnp.where(fires, tau, 0).reshape(-1),
            )  # fmt: skip
            back, totals = back_to(items, cell, ring, totals)
            own = jnp.stack([cut(x, 0) for x in from_offsets]) + back.reshape(places, num_lanes)
            own_rates = Rates(*(of_neurons(x, neuron) for x in rates))
            freed = [cut(x, NO_SPIKE) for x in records.release_offsets]
            releases = Releases(
                jnp.stack(freed)[:, None],
                *(
                    jnp.stack([cut(x) for x in part])[:, None]
                    for part in (records.release_speeds, records.drops)
                ),
            )
            speeds = jnp.stack([jnp.where(here, cut(x), 1) for x in records.speeds])[:, None]
            found = Found(tau[:, None], speeds, here[:1], begin, releases)
            by = weights_of_potentials(
                own_rates, from_v[known][None], from_held[known][None],
                jnp.zeros((1, num_lanes), dtype), found, releases, own[:, None],
            )  # fmt: skip
            slots, heights = by.slots[:, 0], by.heights[:, 0]
            _, pull = jax.vjp(
                lambda a, b, v, i, c: _at_slots(a, b, v, i, c, slots), own_rates.a, own_rates.b,
                flat_v[known], flat_i[known],
                jnp.broadcast_to(of_lanes(current, sample, neuron), (num_lanes,)),
            )  # fmt: skip
            by_a, by_b, *more = pull(heights)
            extra = tuple(x.at[lane].set(y, mode="drop") for x, y in zip(extra, more, strict=True))
            by_a = by_a + _of_parameter(by.a[0], own_rates.a)
            by_rates = by_a, by_b, by.threshold[0], by.reset[0]
            totals = totals._replace(
                rates=Rates(*(
                    _added(x, neuron, y) for x, y in zip(totals.rates, by_rates, strict=True)
                )),
                refractory=_added(totals.refractory, neuron, by.period[0]),
            )  # fmt: skip
            ring = ring._replace(
                slots=_put_lanes(ring.slots, slots, slot * size, lane, size),
                heights=_put_lanes(ring.heights, heights, slot * size, lane, size),
            )
            return (
                begin + num_lanes, ends.at[lane].set(by.end[0], mode="drop"),
                from_held.at[lane].set(by.held[0], mode="drop"),
                is_held.at[lane].set(False, mode="drop"),
                held_before.at[lane].set(freed[0] <= 1, mode="drop"), extra, ring, totals,
            )  # fmt: skip

        zeros = nothing, nothing, nothing
        inner = (first, from_v, from_held, held_after, held_after, zeros, ring, totals)
        ended = lax.while_loop(lambda c: c[0] < last, look, inner)
        _, ends, from_held, is_held, held_before, extra, ring, totals = ended
        by_reset = jnp.where(is_held, from_v, 0)
        from_v = jnp.where(is_held, 0, ends)
        ring = ring._replace(
            from_v=_put(ring.from_v, from_v, slot), from_i=_put(ring.from_i, from_i, slot)
        )
        # a period goes on through cells in which a neuron is held
        from_held = jnp.where(held_before, from_held, 0)
        by_inputs = None
        if num_inputs:
            items = Items(sources.reshape(-1), sample_of_input, offsets.reshape(-1))
            back, totals = back_to(items, cell, ring, totals)
            by_inputs = back.reshape(num_inputs, num_samples) if perturbed.inputs else None
        _, pull = jax.vjp(
            lambda a, b, *state: _at_end(a, b, *state), rates.a, rates.b, *state,
            jnp.broadcast_to(current, shape),
        )  # fmt: skip
        by_a, by_b, *before = pull((from_v.reshape(shape), from_i.reshape(shape)))
        before_v, before_i, by_current = (
            x + y.reshape(shape) for x, y in zip(before, extra, strict=True)
        )
        by_rates = totals.rates
        if moves_time:
            by_rates = by_rates._replace(a=by_rates.a + by_a, b=by_rates.b + by_b)
        by_rates = by_rates._replace(
            reset=by_rates.reset + _of_parameter(by_reset.reshape(shape), rates.reset)
        )
        by_noise = None
        if noise is not None:
            by_noise = by_current - before_i + from_i.reshape(shape)
        by_current = summed_to(by_current, shared)
        summed = totals.current
        if not perturbed.current:
            by_current = None
        elif shares_current:
            summed, by_current = summed + by_current, None
        totals = totals._replace(rates=by_rates, current=summed)
        carry = State(before_v, before_i), from_held, held_before, ring, totals
        return carry, (by_inputs, by_current, by_noise)

    num_slots = 2 * places + 1
    ring_size = rooms.back * size
    ring = _Ring(
        jnp.zeros(ring_size, dtype), jnp.zeros(ring_size, dtype),
        tuple(jnp.full(ring_size, NO_SPIKE, dtype) for _ in range(num_slots)),
        tuple(jnp.zeros(ring_size, dtype) for _ in range(num_slots)),
    )  # fmt: skip
    totals = _Totals(
        *(
            jax.tree.map(jnp.zeros_like, x)
            for x in (rates, sent.weights, given.delays, given.refractory, given.current[0])
        )
    )
    state = State(*jnp.zeros((2, *shape), dtype))
    carry = state, jnp.zeros(size, dtype), kept.held, ring, totals
    cells = jnp.arange(num_cells, dtype=jnp.int32)
    xs = (
        cells, kept.firsts[:-1], kept.firsts[1:], given.inputs, wiring.inputs, given.noise,
        kept.states,
    )  # fmt: skip
    carry, (by_inputs, by_current, by_noise) = lax.scan(cell_step, carry, xs, reverse=True)
    from_state, _, _, _, totals = carry
    order = sent.fans.synapses
    delays = totals.delays
    if delays.ndim:
        delays = jnp.zeros_like(delays).at[order].set(delays)
    return FanGiven(
        totals.rates, from_state, totals.current[None] if by_current is None else by_current,
        jnp.zeros_like(totals.weights).at[order].set(totals.weights), delays, by_inputs,
        totals.refractory, by_noise,
    )  # fmt: skip


def _sent_back(
    items: Items, cell, ring: _Ring, totals: _Totals, sent: Sent, rates: Rates, num_neurons: int,
    size: int, rooms: FanRooms, perturbed: FanGiven,
):  # fmt: skip
    """The derivative in when these spikes happened, from where they arrived, and the totals with
    what comes back to the synapses."""
    count = counted(sent.fans, items.sources)

    def more(carry):
        begin, back, totals = carry
        rows = rows_from(count, begin, rooms.rows)
        target = sent.fans.others[rows.places]
        weight = jnp.where(rows.here, sent.weights[rows.places], 0)
        when = arriving(sent.delays.at(rows.places), items.offsets[rows.items][:, None])
        place = lax.rem(cell + when.later, jnp.int32(rooms.back)) * size
        at = place + items.samples[rows.items][:, None] * num_neurons + target
        slots = [x[at] for x in ring.slots]

        def felt(a, b, weight, offset):
            left = 1 - offset
            to_v, to_i = weight * response(a, b, left), weight * jnp.exp(-b * left)
            heights = []
            for slot in slots:
                is_later = (offset < slot) & (slot <= 1)
                since = jnp.where(is_later, slot - offset, 0)
                heights.append(jnp.where(is_later, weight * response(a, b, since), 0))
            return to_v, to_i, heights

        a, b = (of_neurons(x, target) for x in (rates.a, rates.b))
        _, pull = jax.vjp(felt, a, b, weight, when.offsets)
        here = rows.here
        from_v, from_i, *heights = (
            jnp.where(here, x[at], 0) for x in (ring.from_v, ring.from_i, *ring.heights)
        )
        by_a, by_b, by_weight, by_offset = pull((from_v, from_i, heights))
        back = back.at[rows.items].add(jnp.sum(by_offset, axis=1))
        if perturbed.weights:
            totals = totals._replace(weights=totals.weights.at[rows.places].add(by_weight))
        if perturbed.delays:
            totals = totals._replace(delays=_added(totals.delays, rows.places, by_offset))
        if perturbed.rates.a or perturbed.rates.b:
            totals = totals._replace(
                rates=totals.rates._replace(
                    a=_added(totals.rates.a, target, by_a), b=_added(totals.rates.b, target, by_b)
                )
            )
        return begin + rooms.rows, back, totals

    carry = jnp.int32(0), jnp.zeros_like(items.offsets), totals
    _, back, totals = lax.while_loop(lambda c: c[0] < count.total, more, carry)
    return back, totals


def _at_slots(a, b, v, i, current, slots):
    """The potential at offsets in a cell, without arrivals and resets."""
    x = jnp.where(slots <= 1, slots, 1)
    a2, b2 = lifted(a, 2), lifted(b, 2)
    v, i, current = v[None], i[None], current[None]
    return jnp.exp(-a2 * x) * v + response(a2, b2, x) * i - jnp.expm1(-a2 * x) * current


def _at_end(a, b, v, i, current):
    """Potential and current at the end of a cell, without arrivals and resets."""
    a, b = lifted(a, 2), lifted(b, 2)
    one = jnp.ones((), v.dtype)
    return jnp.exp(-a) * v + response(a, b, one) * i - jnp.expm1(-a) * current, jnp.exp(-b) * i


def _put(ring, values, slot):
    return lax.dynamic_update_slice(ring, values, (slot * values.size,))


def _put_lanes(rings, values, begin, lane, size: int):
    at = jnp.where(lane < size, begin + lane, rings[0].size)
    return tuple(x.at[at].set(y, mode="drop") for x, y in zip(rings, values, strict=True))


def _of_parameter(values, parameter):
    """Derivatives of all neurons, or lanes, in a number that they share, or in one of each."""
    if jnp.ndim(parameter) == 0:
        return jnp.sum(values)
    return values if values.ndim == 1 else jnp.sum(values, axis=0)


def _added(total, place, values):
    if total.ndim == 0:
        return total + jnp.sum(values)
    return total.at[place].add(values, mode="drop")
