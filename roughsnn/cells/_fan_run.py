"""Spikes of a network whose synapses are a list, as a differentiable function of all that they
depend on, and as spike trains."""

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp

from ._bits import divided
from ._fan_backward import backward
from ._fan_compiled import backward_by_compiled, compiled_target
from ._fan_forward import forward
from ._fan_given import FanGiven, FanResponse, FanRooms, FanWiring, Order


def respond_by_fans(given: FanGiven, wiring: FanWiring, rooms: FanRooms) -> FanResponse:
    """The spikes of a network, differentiable in all that they depend on."""
    return _respond(given, wiring, rooms)


@eqx.filter_custom_vjp
def _respond(given: FanGiven, wiring, rooms):
    return forward(given, wiring, rooms, keeps_states=False)[0]


@_respond.def_fwd
def _(perturbed, given, wiring, rooms):
    # everything but the rates is linear in the state
    keeps_states = bool(perturbed.rates.a or perturbed.rates.b)
    return forward(given, wiring, rooms, keeps_states)


@_respond.def_bwd
def _(kept, cotangents, perturbed, given, wiring, rooms):
    target = compiled_target(given.start.v.dtype, backward=True)
    arguments = kept, cotangents.offsets, perturbed, given, wiring, rooms
    return backward(*arguments) if target is None else backward_by_compiled(target, *arguments)


def collected_records(
    response: FanResponse, num_samples: int, num_neurons: int, num_cells: int, width: float,
    last: float, max_spikes: int,
):  # fmt: skip
    """Spike times in their order, padded with infinity, whose they are, of shape (samples,
    max_spikes), and how many there were; arguments as of `collected`."""
    if response.order is not None:
        return _collected_in_order(
            response, response.order, num_neurons, num_cells, width, last, max_spikes
        )
    places = response.offsets.shape[0]
    offsets = response.offsets.reshape(-1)
    cell, lane = (jnp.tile(x, places) for x in (response.cells, response.lanes))
    known = jnp.minimum(lane, num_samples * num_neurons - 1)
    sample, neuron = divided(known, num_neurons)
    value = lax.stop_gradient(offsets)
    happens = (value <= 1) & ((cell < num_cells - 1) | (value <= last))
    sample = jnp.where(happens, sample, num_samples)
    number = jnp.arange(offsets.shape[0], dtype=jnp.int32)
    sample, cell, value, neuron, place = lax.sort((sample, cell, value, neuron, number), num_keys=4)
    ends = jnp.searchsorted(sample, jnp.arange(num_samples, dtype=jnp.int32), side="right")
    begins = jnp.concatenate([jnp.zeros(1, ends.dtype), ends[:-1]]).astype(jnp.int32)
    count = ends.astype(jnp.int32) - begins
    at = begins[:, None] + jnp.arange(max_spikes, dtype=jnp.int32)[None]
    is_spike = jnp.arange(max_spikes, dtype=jnp.int32)[None] < count[:, None]
    at = jnp.minimum(at, offsets.shape[0] - 1)
    times = (cell[at].astype(offsets.dtype) + offsets[place[at]]) * width
    return jnp.where(is_spike, times, jnp.inf), jnp.where(is_spike, neuron[at], -1), count


def _collected_in_order(
    response: FanResponse, order: Order, num_neurons: int, num_cells: int, width: float,
    last: float, max_spikes: int,
):  # fmt: skip
    """The same, where the order is known."""
    num_records = response.lanes.shape[0]
    sample, neuron = divided(response.lanes, num_neurons)
    count = order.begins[1:] - order.begins[:-1]
    if last < 1:
        # the window ends within its last cell: what would come after it comes last
        value = lax.stop_gradient(response.offsets)
        at_end = (response.cells == num_cells - 1)[None]
        late = jnp.sum(at_end & (value > last) & (value <= 1), axis=0, dtype=jnp.int32)
        count = count.at[sample].add(-late, mode="drop")
    rank = jnp.arange(max_spikes, dtype=jnp.int32)[None]
    at = jnp.minimum(order.begins[:-1, None] + rank, order.places.shape[0] - 1)
    is_spike = rank < count[:, None]
    place = order.places[at]
    record = lax.rem(place, jnp.int32(num_records))
    offsets = response.offsets.reshape(-1)[place]
    times = (response.cells[record].astype(offsets.dtype) + offsets) * width
    return jnp.where(is_spike, times, jnp.inf), jnp.where(is_spike, neuron[record], -1), count
