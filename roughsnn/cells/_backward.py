"""The adjoint of all cells, from the last to the first.

The search for spikes has no derivative and is never repeated: this needs when they happened and how
steep the potential was there. Neurons without a spike in a cell send nothing back from it.
"""

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._adjoint import cotangents_of_heights, free_run, potentials, weights_of_potentials
from ._arrivals import Own, spread_back
from ._bits import divided, packed, places_of
from ._cell import (
    FEW,
    Arrivals,
    Rates,
    Rooms,
    State,
    felt_by_products,
    felt_from,
    few_arrivals,
    lane_parameters,
    num_handfuls,
)
from ._forward import Chunks, Given, Kept, inside_noise, of_cell, share_rates
from ._responses import lifted, response, summed_to


def backward(kept: Kept, from_offsets, perturbed: Given, given: Given, rooms: Rooms) -> Given:
    """The derivative of a loss in all that the spikes depend on.

    Args:
        kept: what the run has kept of every cell.
        from_offsets: the derivative in the offsets of the spikes; `None` for zero.
        perturbed: what of `given` is asked for, as bools.
        given: what the spikes depend on.
        rooms: as in the run.
    """
    num_cells, _, num_samples = given.inputs.shape
    num_rows, num_neurons = given.weights.shape
    rates, dtype = given.rates, given.start.v.dtype
    padded = jnp.pad(given.weights, ((0, 1), (0, 0)))
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    chunks = Chunks.of(num_cells)
    moves_time = perturbed.rates.a or perturbed.rates.b
    # what arrivals have done by the ends of their cells: for a whole chunk by products, or a few
    # after the other. Own spikes have to be told at once.
    by_products = own is None and share_rates(rates)
    wants_offsets = own is not None or perturbed.inputs
    shares_current = given.current.shape[0] == 1
    by_spikes = perturbed.weights, moves_time, wants_offsets

    def add_rates(total, more):
        # what nobody asks for is not worked out
        return Rates(*(
            x + y if wanted else x
            for x, y, wanted in zip(total, more, perturbed.rates, strict=True)
        ))  # fmt: skip

    def cell_step(carry, x):
        (
            from_state,
            from_held,
            from_history,
            from_rates,
            from_weights,
            from_current,
            from_delays,
            from_period,
        ) = carry
        cell, kept, from_offsets, noise = x
        from_v, from_i = from_state
        if own is not None:
            from_offsets = from_history.at[cell].get(mode="fill", fill_value=0)
        found = kept.found
        state = kept.states
        if state is None:
            state = State(*jnp.zeros((2, num_samples, num_neurons), dtype))
        shared = of_cell(given.current, cell)
        state, current = inside_noise(state, shared, noise)
        from_end = from_i
        if given.refractory is None or found.releases is None:
            slots = found.offsets
            heights = cotangents_of_heights(rates, from_v, slots, found.speeds, from_offsets)
            _, pull = jax.vjp(
                lambda rates, v, i, current: free_run(rates, v, i, current, slots),
                rates, *state, current,
            )  # fmt: skip
            by_rates, before_v, before_i, by_current = pull((from_v, from_i, heights))
        else:
            by = weights_of_potentials(
                rates, from_v, from_held, kept.held, found, found.releases, from_offsets
            )
            slots, heights, from_v, from_held = by.slots, by.heights, by.end, by.held
            _, pull = jax.vjp(
                lambda rates, v, i, current: potentials(rates, v, i, current, slots),
                rates, *state, current,
            )  # fmt: skip
            by_rates, before_v, before_i, by_current = pull((from_v, from_i, heights))
            by_rates = by_rates._replace(
                a=by_rates.a + _of_parameter(by.a, rates.a),
                threshold=_of_parameter(by.threshold, rates.threshold),
                reset=_of_parameter(by.reset, rates.reset),
            )
            from_period = from_period + _of_parameter(by.period, given.refractory)
        from_rates = add_rates(from_rates, by_rates)

        arrivals = kept.arrivals
        by_arrival = jnp.zeros_like(arrivals.offsets)
        if not by_products:

            def back(n, carry):
                from_weights, from_rates, by_arrival = carry
                few = few_arrivals(arrivals, n, num_rows)
                _, pull = jax.vjp(felt_from, rates, padded[few.sources], few.offsets)
                by_rates, by_rows, by_offsets = pull((from_v, from_i))
                if perturbed.weights:
                    from_weights = from_weights.at[few.sources].add(by_rows)
                if moves_time:
                    from_rates = add_rates(from_rates, by_rates)
                by_arrival = lax.dynamic_update_slice_in_dim(by_arrival, by_offsets, FEW * n, 0)
                return from_weights, from_rates, by_arrival

            by_arrival = jnp.pad(by_arrival, ((0, -by_arrival.shape[0] % FEW), (0, 0)))
            from_weights, from_rates, by_arrival = lax.fori_loop(
                0, num_handfuls(arrivals, num_rows), back, (from_weights, from_rates, by_arrival)
            )
            by_arrival = by_arrival[: arrivals.offsets.shape[0]]
        # and what they do to spikes that come after them in the cell
        from_weights, from_rates, by_arrival = _before_spikes(
            rates, padded, arrivals, slots, heights, rooms, from_weights, from_rates,
            by_arrival, by_spikes,
        )  # fmt: skip
        if own is not None:
            from_history, from_delays, by_arrival = spread_back(
                own, from_history, from_delays, cell, by_arrival, kept.places,
                given.inputs.shape[1],
            )  # fmt: skip
        by_noise = None
        if noise is not None:
            by_noise = by_current - before_i + from_end
            by_current = summed_to(by_current, shared)
        if not perturbed.current:
            by_current = None
        elif shares_current:
            from_current, by_current = from_current + by_current, None
        carry = (
            State(before_v, before_i), from_held, from_history, from_rates, from_weights,
            from_current, from_delays, from_period,
        )  # fmt: skip
        at_end = State(from_v, from_i) if by_products else None
        return carry, (by_arrival if perturbed.inputs else None, by_current, by_noise, at_end)

    def chunk_step(carry, x):
        carry, (by_inputs, by_current, by_noise, at_ends) = lax.scan(
            cell_step, carry, x, reverse=True
        )
        if at_ends is not None:
            state, held, history, from_rates, from_weights, *rest = carry
            arrivals = x[1].arrivals
            _, pull = jax.vjp(
                lambda *given: felt_by_products(*given, arrivals.sources),
                rates, padded, arrivals.offsets,
            )  # fmt: skip
            by_rates, by_weights, by_offsets = pull(tuple(at_ends))
            if perturbed.weights:
                from_weights = from_weights + by_weights
            if moves_time:
                from_rates = add_rates(from_rates, by_rates)
            if perturbed.inputs:
                by_inputs = by_inputs + by_offsets
            carry = (state, held, history, from_rates, from_weights, *rest)
        return carry, (by_inputs, by_current, by_noise)

    if from_offsets is None:
        shape = (num_cells, rooms.spikes, num_samples, num_neurons)
        from_offsets = jnp.zeros(shape, dtype)
    in_carry = beside = None
    if own is None:
        beside = chunks.split(from_offsets, 0)
    else:
        in_carry = from_offsets
    state = State(*jnp.zeros((2, num_samples, num_neurons), dtype))
    zeros = jax.tree.map(jnp.zeros_like, (rates, padded, given.current[0]))
    from_delays = None if own is None else jnp.zeros(num_neurons, dtype)
    from_held = from_period = None
    if given.refractory is not None:
        from_held, from_period = jnp.zeros_like(state.v), jnp.zeros_like(given.refractory)
    carry = (state, from_held, in_carry, *zeros, from_delays, from_period)
    noise = None if given.noise is None else chunks.split(given.noise, 0)
    carry, (by_inputs, by_current, by_noise) = lax.scan(
        chunk_step, carry, (chunks.cells, kept, beside, noise), reverse=True
    )
    from_state, _, _, from_rates, from_weights, from_current, from_delays, from_period = carry
    if given.delays is not None and given.delays.ndim == 0:
        from_delays = jnp.sum(from_delays)
    return Given(
        from_rates, from_state,
        from_current[None] if by_current is None else chunks.joined(by_current), from_weights[:-1],
        None if by_inputs is None else chunks.joined(by_inputs), from_delays, from_period,
        None if by_noise is None else chunks.joined(by_noise),
    )  # fmt: skip


def _before_spikes(
    rates: Rates, padded, arrivals: Arrivals, offsets, heights, rooms: Rooms, from_weights,
    from_rates, by_arrival, wanted,
):  # fmt: skip
    """What arrivals do to the spikes that come after them in their own cell, spike by spike."""
    wants_weights, wants_rates, wants_offsets = wanted
    if not any(wanted):
        return from_weights, from_rates, by_arrival
    _, num_samples, num_neurons = offsets.shape
    size = offsets.size
    bits = packed(offsets <= 1)
    rank = jnp.arange(min(rooms.lanes(num_samples * num_neurons), size), dtype=jnp.int32)
    flat_offsets, flat_heights = offsets.reshape(-1), heights.reshape(-1)
    flat_weights = padded.reshape(-1)

    def look(carry):
        first, spike, from_weights, from_rates, by_arrival = carry
        known = jnp.minimum(spike, size - 1)
        row, neuron = divided(known, num_neurons)
        _, sample = divided(row, num_samples)
        x, height = flat_offsets[known], jnp.where(spike < size, flat_heights[known], 0)
        times = arrivals.offsets[:, sample]
        at = arrivals.sources[:, sample] * num_neurons + neuron[None]
        own = lane_parameters(rates, neuron)

        def felt(a, b, weights, times):
            value = weights * response(lifted(a, 2), lifted(b, 2), x[None] - times)
            return jnp.sum(jnp.where(times < x[None], value, 0), axis=0)

        _, pull = jax.vjp(felt, own.a, own.b, flat_weights[at], times)
        by_a, by_b, by_weights, by_times = pull(height)
        if wants_weights:
            from_weights = from_weights.at[at].add(by_weights)
        if wants_offsets:
            by_arrival = by_arrival.at[:, sample].add(by_times)
        if wants_rates:
            from_rates = from_rates._replace(
                a=_added(from_rates.a, neuron, by_a), b=_added(from_rates.b, neuron, by_b)
            )
        first = first + rank.size
        spike = lax.cond(
            first < bits.total, lambda: places_of(bits, first + rank, size), lambda: spike
        )
        return first, spike, from_weights, from_rates, by_arrival

    # (carried for the same reason as the lanes of a cell)
    spikes = places_of(bits, rank, size)
    carry = (jnp.int32(0), spikes, from_weights.reshape(-1), from_rates, by_arrival)
    carry = lax.while_loop(lambda c: c[0] < bits.total, look, carry)
    return carry[2].reshape(padded.shape), *carry[3:]


def _of_parameter(values: Float[Array, "B N"], parameter):
    """Derivatives of all neurons in a number that they share, or in one of each."""
    return jnp.sum(values) if parameter.ndim == 0 else jnp.sum(values, axis=0)


def _added(total, neuron, values):
    return total + values if total.ndim == 0 else total.at[neuron].add(values)
