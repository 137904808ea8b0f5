"""Networks whose synapses the cell engine takes one by one, as a list."""

# what is optional in a network is there where it is used
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..cells import (
    FanGiven,
    FanNeed,
    FanRooms,
    FanWiring,
    Layout,
    Rates,
    State,
    collected_records,
    fans_of,
    in_one_round,
    lifted,
    respond_by_fans,
)
from ..networks import SpikingNetwork
from ..solve import tolerance
from ._cell_problem import MOST_SPIKES, Outcome, Problem


class ListNeed(eqx.Module):
    """What a network had to have room for."""

    inputs: Any
    most: FanNeed
    crowded: Any
    bursting: Any
    samples: int = eqx.field(static=True)

    def exceeds(self, room: FanRooms) -> bool:
        if room.spikes >= MOST_SPIKES and bool(jnp.any(self.bursting)):
            return False
        return bool(jnp.any(self.crowded) | jnp.any(self.bursting))

    def room(self, room: FanRooms, slack: float = 1.25) -> FanRooms:
        """Enough for this, and by a factor more."""
        room = room.of(self.samples)

        def enough(needed):
            return max(1, math.ceil(slack * int(needed)))

        lanes = in_one_round(slack * float(self.most.active))
        spikes = 2 * room.spikes if bool(jnp.any(self.bursting)) else room.spikes
        events = max(enough(self.most.events), enough(self.most.arrivals))
        if lanes > room.lanes:
            events = math.ceil(events * lanes / room.lanes)
        return FanRooms(
            enough(self.inputs), enough(self.most.arrivals), spikes,
            max(room.back, enough(self.most.back)), events, lanes,
            in_one_round(slack * float(self.most.rows)), self.samples,
        )  # fmt: skip


def first_fan_rooms(samples: int) -> FanRooms:
    """Room for a first try."""
    return FanRooms(16, 16, 1, 4, 256, 64, 256, samples)


def computed_by_list(problem: Problem, layout: Layout, rooms: tuple[FanRooms, ...]) -> Outcome:
    """All neurons, synapse by synapse."""
    room = rooms[0].of(problem.num_samples)
    neurons, network, dtype = problem.neurons, problem.network, problem.dtype
    asked, count, num_samples = problem.asked, problem.neurons.num_neurons, problem.num_samples
    width = asked.grid.dt0
    parameters = width * neurons.mu1, width * neurons.mu2, neurons.v_th, neurons.reset_to
    rates = Rates(*(x.astype(dtype) for x in parameters))
    listed = problem.listed(count, room.inputs)
    weights, delays = _synapses(network)
    delays = (delays / width).astype(dtype)
    early = jnp.any(delays < 1)
    num_inputs, by_synapse = network.num_inputs, network.delays_inputs_by_synapse
    if num_inputs:
        # inputs are listed as they arrive
        at_once = jnp.zeros(num_inputs * count, dtype)
        delays = jnp.concatenate([jnp.broadcast_to(delays, weights.shape), at_once])
        weights = jnp.concatenate([weights, network.input_weights.reshape(-1)])
    sent, into = fans_of(network.listed, num_inputs, by_synapse)
    start = (jnp.broadcast_to(x, (num_samples, count)) for x in (problem.start.v, problem.start.i))
    everyone = np.arange(count)
    refractory = problem.in_cells(network.refractory, everyone)
    noise = None
    if problem.noise is not None:
        noise = problem.noise[1] / lifted(rates.b, 3)
    given = FanGiven(
        rates, State(*start), problem.current, weights.astype(dtype), delays, listed.offsets,
        jnp.zeros((), dtype) if refractory is None else refractory, noise,
    )  # fmt: skip
    # each spike, and the end of each refractory period
    num_records = 2 * num_samples * asked.max_spikes
    wiring = FanWiring(sent, into, listed.sources, count + problem.num_input_rows, num_records)
    response = respond_by_fans(given, wiring, room)
    grid = asked.grid
    times, who, number = collected_records(
        response, num_samples, count, grid.num_cells, grid.dt0, grid.width_of_last / grid.dt0,
        asked.max_spikes,
    )  # fmt: skip
    # without room for all records there were too many spikes
    number = jnp.where(response.spilled, asked.max_spikes + 1, number)
    need = ListNeed(
        listed.most,
        response.need,
        listed.crowded | response.crowded,
        response.bursting,
        num_samples,
    )
    return Outcome(
        times, who, number, (need,), early, response.finite,
        response.slowest < tolerance(dtype),
    )  # fmt: skip


def _synapses(network: SpikingNetwork):
    """The weights of the synapses and their delays, a number or one for each."""
    listed = network.listed
    weights = network.effective_weights
    is_matrix = weights.ndim == 2
    if is_matrix:
        weights = weights[listed.pre, listed.post]
    axonal, synaptic = network.axonal_delays, network.synaptic_delays
    delays = jnp.zeros((), weights.dtype)
    if axonal is not None:
        delays = delays + (axonal if axonal.ndim == 0 else axonal[listed.pre])
    if synaptic is not None:
        if synaptic.ndim == 2:
            synaptic = synaptic[listed.pre, listed.post]
        delays = delays + synaptic
    return weights, delays
