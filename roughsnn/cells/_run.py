"""All cells of a window, one after the other, with an adjoint written by hand.

The search for spikes has no derivative and is never repeated: the adjoint needs when they happened
and how steep the potential was there. Neurons without a spike in a cell send nothing back from it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._arrivals import Own, own_arrivals, spread_back
from ._bits import packed, places_of
from ._cell import (
    Arrivals,
    Rates,
    Rooms,
    State,
    arrived,
    cotangents_of_heights,
    free_run,
    lane_parameters,
    step,
)
from ._responses import lifted, response
from ._walk import NO_SPIKE


class Given(NamedTuple):
    """What the spikes of a group of neurons depend on.

    Attributes:
        rates: the parameters of the neurons.
        start: potentials and currents at the start.
        current: the input current, of shape (T, B, N), where an axis of length 1 is shared.
        weights: row for row, of the neurons themselves (if they have synapses with one another)
            and of the inputs.
        inputs: when inputs arrive, (T, K, B), ascending; 1 in a free place.
        delays: of the neurons' own spikes, in cells, a number or one for each; `None` where they
            have no synapses with one another.
    """

    rates: Rates
    start: State
    current: Float[Array, "..."]
    weights: Float[Array, "sources N"]
    inputs: Float[Array, "T K B"]
    delays: Float[Array, "..."] | None


class Response(NamedTuple):
    """Spikes of a group of neurons.

    Attributes:
        offsets: of each cell, place, sample and neuron; `NO_SPIKE` in a free place.
        crowded: samples in which more arrived in a cell than there is room for.
        bursting: samples in which a neuron had more spikes in a cell than there is room for.
        early: whether a delay was shorter than a cell.
        most_active: how many neurons were looked at in the busiest cell.
        most_arrivals: how many spikes arrived in the busiest cell of a sample.
        slowest: of each sample, the least speed of a spike over a (|v_th| + |v_th - v_to|).
    """

    offsets: Float[Array, "T places B N"]
    crowded: Bool[Array, " B"]
    bursting: Bool[Array, " B"]
    early: Bool[Array, ""]
    most_active: Int[Array, ""]
    most_arrivals: Int[Array, ""]
    slowest: Float[Array, " B"]


class _Kept(NamedTuple):
    """What the adjoint needs of every cell."""

    speeds: Array
    arrivals: Arrivals
    # where in the list of what could arrive each arrival was; `None` without own synapses
    places: Array | None
    states: State


def respond(given: Given, sources: Int[Array, "T K B"], rooms: Rooms) -> Response:
    """The spikes of a group of neurons, differentiable in all that they depend on."""
    return _respond(given, sources, rooms)


@eqx.filter_custom_vjp
def _respond(given: Given, sources, rooms):
    return _forward(given, sources, rooms)[0]


def _forward(given: Given, sources, rooms: Rooms):
    given = lax.stop_gradient(given)
    num_cells, num_samples = given.inputs.shape[0], given.inputs.shape[2]
    num_neurons = given.weights.shape[1]
    dtype = given.start.v.dtype
    padded = jnp.pad(given.weights, ((0, 1), (0, 0)))
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    shape = (num_cells, rooms.spikes, num_samples, num_neurons)
    cells = jnp.arange(num_cells, dtype=jnp.int32)
    rates = given.rates
    unit = lifted(rates.a, 3) * lifted(
        jnp.abs(rates.threshold) + jnp.abs(rates.threshold - rates.reset), 3
    )

    def body(carry, x):
        state, history, crowded, bursting, most, slowest = carry
        cell, offsets, source = x
        arrivals, places = Arrivals(offsets, source), None
        if own is not None:
            arrivals, places, count = own_arrivals(
                own, history, cell, arrivals, given.weights.shape[0], rooms.arrivals
            )
            crowded = crowded | (count > rooms.arrivals)
            most = (most[0], jnp.maximum(most[1], jnp.max(count, initial=0)))
        current = of_cell(given.current, cell)
        after, offsets, speeds, more, active = step(
            given.rates, state, current, padded, arrivals, rooms
        )
        slow = jnp.where(offsets <= 1, speeds / unit, jnp.inf)
        slowest = jnp.minimum(slowest, jnp.min(slow, axis=(0, 2), initial=jnp.inf))
        most = (jnp.maximum(most[0], active), most[1])
        if own is not None:
            history, offsets = history.at[cell].set(offsets), None
        carry = (after, history, crowded, bursting | more, most, slowest)
        return carry, (offsets, _Kept(speeds, arrivals, places, state))

    none = jnp.zeros(num_samples, bool)
    carry = (
        given.start, None if own is None else jnp.full(shape, NO_SPIKE, dtype), none, none,
        (jnp.int32(0), jnp.int32(0)), jnp.full(num_samples, jnp.inf, dtype),
    )  # fmt: skip
    carry, (offsets, kept) = lax.scan(body, carry, (cells, given.inputs, sources))
    _, history, crowded, bursting, most, slowest = carry
    history = offsets if own is None else history
    early = jnp.asarray(False) if given.delays is None else jnp.any(given.delays < 1)
    response_ = Response(history, crowded, bursting, early, *most, slowest)
    return response_, kept


@_respond.def_fwd
def _(perturbed, given, sources, rooms):
    out, kept = _forward(given, sources, rooms)
    moves_time = perturbed.rates.a or perturbed.rates.b
    if not moves_time:
        # everything else is linear in the state
        kept = kept._replace(states=None)
    return out, (out.offsets, kept)


@_respond.def_bwd
def _(residuals, cotangents, perturbed, given, sources, rooms):
    history, kept = residuals
    num_cells, _, num_samples, num_neurons = history.shape
    rates, dtype = given.rates, history.dtype
    padded = jnp.pad(given.weights, ((0, 1), (0, 0)))
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    wants_offsets = own is not None or perturbed.inputs
    moves_time = perturbed.rates.a or perturbed.rates.b
    shares_rates = rates.a.ndim == 0 and rates.b.ndim == 0
    by_product = perturbed.weights and shares_rates
    shares_current = given.current.shape[0] == 1
    zeros = jax.tree.map(jnp.zeros_like, (rates, padded, given.current[0]))

    def body(carry, x):
        from_state, from_history, from_rates, from_weights, from_current, from_delays = carry
        cell, offsets, kept, from_offsets = x
        from_v, from_i = from_state
        if own is not None:
            from_offsets = from_history[cell]
        heights = cotangents_of_heights(rates, from_v, offsets, kept.speeds, from_offsets)
        state = kept.states
        if state is None:
            state = State(*jnp.zeros((2, num_samples, num_neurons), dtype))
        current = of_cell(given.current, cell)
        _, pull = jax.vjp(
            lambda rates, v, i, current: free_run(rates, v, i, current, offsets),
            rates, *state, current,
        )  # fmt: skip
        by_rates, before_v, before_i, by_current = pull((from_v, from_i, heights))
        from_rates = jax.tree.map(jnp.add, from_rates, by_rates)

        # arrivals, as they are felt at the end of the cell
        rows = padded[kept.arrivals.sources]
        _, pull = jax.vjp(arrived, rates, rows, kept.arrivals.offsets)
        by_rates, by_rows, by_arrival = pull((from_v, from_i))
        if moves_time:
            from_rates = jax.tree.map(jnp.add, from_rates, by_rates)
        if perturbed.weights and not by_product:
            from_weights = from_weights.at[kept.arrivals.sources].add(by_rows)
        # and by the spikes that come after them in the cell
        found = _before_spikes(
            rates, padded, kept.arrivals, offsets, heights, rooms, from_weights, from_rates,
            by_arrival, (perturbed.weights, moves_time, wants_offsets),
        )  # fmt: skip
        from_weights, from_rates, by_arrival = found
        by_inputs = by_arrival
        if own is not None:
            from_history, from_delays, by_inputs = spread_back(
                own, from_history, from_delays, cell, by_arrival, kept.places,
                given.inputs.shape[1],
            )  # fmt: skip
        if shares_current:
            from_current, by_current = from_current + by_current, None
        carry = (
            State(before_v, before_i), from_history, from_rates, from_weights, from_current,
            from_delays,
        )  # fmt: skip
        at_ends = (from_v, from_i) if by_product else None
        return carry, (by_inputs if perturbed.inputs else None, by_current, at_ends)

    from_history = cotangents.offsets
    if from_history is None:
        from_history = jnp.zeros_like(history)
    state = State(*jnp.zeros((2, num_samples, num_neurons), dtype))
    from_delays = None if own is None else jnp.zeros(num_neurons, dtype)
    in_carry, beside = (None, from_history) if own is None else (from_history, None)
    carry = (state, in_carry, *zeros, from_delays)
    cells = jnp.arange(num_cells, dtype=jnp.int32)
    carry, (by_inputs, by_current, at_ends) = lax.scan(
        body, carry, (cells, history, kept, beside), reverse=True
    )
    from_state, _, from_rates, from_weights, from_current, from_delays = carry
    from_weights = from_weights[:-1]
    if by_product:
        from_weights = from_weights + _products(rates, kept.arrivals, at_ends, padded.shape[0])
    if given.delays is not None and given.delays.ndim == 0:
        from_delays = jnp.sum(from_delays)
    return Given(
        from_rates, from_state, from_current[None] if shares_current else by_current,
        from_weights, by_inputs, from_delays,
    )  # fmt: skip


def _products(rates: Rates, arrivals: Arrivals, at_ends, num_rows: int):
    """The derivative in the weights of what arrivals have done by the ends of their cells: the
    response to each source at the end of each cell, times the derivative in the state there."""
    num_cells, _, num_samples = arrivals.offsets.shape
    left = 1 - arrivals.offsets
    cell = jnp.arange(num_cells, dtype=jnp.int32)[:, None, None]
    sample = jnp.arange(num_samples, dtype=jnp.int32)[None, None]
    total = 0.0
    for felt, cotangent in zip(
        (response(rates.a, rates.b, left), jnp.exp(-rates.b * left)), at_ends, strict=True
    ):
        by_source = jnp.zeros((num_cells, num_samples, num_rows), felt.dtype)
        by_source = by_source.at[cell, sample, arrivals.sources].add(felt)
        total = total + jnp.einsum("tbs,tbn->sn", by_source, cotangent)
    return total[:-1]


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
    rank = jnp.arange(min(rooms.lanes, size), dtype=jnp.int32)
    flat_offsets, flat_heights = offsets.reshape(-1), heights.reshape(-1)
    flat_weights = padded.reshape(-1)

    def look(carry):
        first, from_weights, from_rates, by_arrival = carry
        spike = places_of(bits, first + rank, size)
        known = jnp.minimum(spike, size - 1)
        sample, neuron = (known // num_neurons) % num_samples, known % num_neurons
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
        return first + rank.size, from_weights, from_rates, by_arrival

    carry = (jnp.int32(0), from_weights.reshape(-1), from_rates, by_arrival)
    carry = lax.while_loop(lambda c: c[0] < bits.total, look, carry)
    return carry[1].reshape(padded.shape), *carry[2:]


def _added(total, neuron, values):
    return total + values if total.ndim == 0 else total.at[neuron].add(values)


def of_cell(current: Float[Array, "..."], cell: Int[Array, ""]) -> Float[Array, "..."]:
    """The input current in a cell."""
    return current[jnp.minimum(cell, current.shape[0] - 1)]
