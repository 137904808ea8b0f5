"""Spikes neuron by neuron: each train as one list, sorted by neuron and time."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .checks import is_traced
from .presence import Presence
from .trains import SpikeTrains


class ByNeuron(NamedTuple):
    """Trains, with one batch axis, whose spikes are sorted by neuron and then by time.

    It takes the room of the spikes, however many neurons there are.

    Attributes:
        times: spike times, padding (`inf`) last.
        neurons: the neuron of each, `num_neurons` for padding.
        starts: where the spikes of each neuron begin in the list.
        counts: how many spikes each neuron has.
    """

    times: Float[Array, "trains max_spikes"]
    neurons: Int[Array, "trains max_spikes"]
    starts: Int[Array, "trains num_neurons"]
    counts: Int[Array, "trains num_neurons"]

    def of(self, train: Array, neuron: Array, room: int) -> Float[Array, " room"]:
        """The first `room` spike times of one neuron in one train, padded with `inf`."""
        place = jnp.arange(room, dtype=jnp.int32)
        within = place < self.counts[train, neuron]
        last = max(self.times.shape[1] - 1, 0)
        index = jnp.minimum(self.starts[train, neuron] + place, last)
        return jnp.where(within, self.times[train, index], jnp.inf)

    def sizes(self, train: Array, neuron: Array, room: int) -> Float[Array, " room"]:
        """One for each of these spikes, zero for padding."""
        place = jnp.arange(room, dtype=jnp.int32)
        return (place < self.counts[train, neuron]).astype(self.times.dtype)

    @property
    def num_neurons(self) -> int:
        """How many neurons there are."""
        return self.counts.shape[1]


class OnGrid(NamedTuple):
    """Trains whose spikes have a presence: each step of the grid is a spike, of that size.

    Attributes:
        times: ends of the steps.
        values: the presence.
    """

    times: Float[Array, " steps"]
    values: Float[Array, "trains steps num_neurons"]

    def of(self, train: Array, neuron: Array, room: int) -> Float[Array, " room"]:
        """The ends of the steps, of which there are `room`."""
        return self.times

    def sizes(self, train: Array, neuron: Array, room: int) -> Float[Array, " room"]:
        """The presence of a spike of a neuron at each of them."""
        return self.values[train, :, neuron]

    @property
    def num_neurons(self) -> int:
        """How many neurons there are."""
        return self.values.shape[-1]


def on_grid(presence: Presence) -> OnGrid:
    """The presence of trains of any batch shape, with one batch axis."""
    return OnGrid(presence.times, presence.values.reshape(-1, *presence.values.shape[-2:]))


def by_neuron(trains: SpikeTrains) -> ByNeuron:
    """The spikes of each train, sorted by neuron and then by time."""
    size = math.prod(trains.batch_shape)
    neurons = jnp.where(trains.mask, trains.neurons, trains.num_neurons)
    neurons = neurons.reshape(size, trains.max_spikes)
    order = jnp.argsort(neurons, axis=1, stable=True)
    times = jnp.take_along_axis(trains.times.reshape(size, trains.max_spikes), order, axis=1)
    counts = trains.counts_by_neuron.reshape(size, trains.num_neurons)
    starts = jnp.cumsum(counts, axis=1, dtype=jnp.int32) - counts
    return ByNeuron(times, jnp.take_along_axis(neurons, order, axis=1), starts, counts)


def room_of_a_neuron(trains: SpikeTrains) -> int:
    """Spikes of the busiest neuron in a train, or where that is not known the room of a train."""
    if is_traced(trains.neurons):
        return trains.max_spikes
    neurons = np.asarray(trains.neurons).reshape(math.prod(trains.batch_shape), trains.max_spikes)
    most = [np.bincount(row[row >= 0]).max(initial=0) for row in neurons]
    return int(max(most, default=0))


def first_spike_times(trains: SpikeTrains, n: int) -> Float[Array, "*batch num_neurons n"]:
    r"""Times $\tau^k_1 \le \dots \le \tau^k_n$ of the first `n` spikes of each neuron $k$.

    They count from the start of the window. A spike that does not occur within the window is `inf`.
    Differentiable in the spike times, not in the presence of spikes.

    Raises:
        ValueError: `n < 1`.
    """
    if n < 1:
        raise ValueError(f"`n` is {n}; it must be 1 or more.")
    shape = (*trains.batch_shape, trains.num_neurons, n)
    if trains.times.size == 0:
        return jnp.full(shape, jnp.inf, trains.times.dtype)
    spikes = by_neuron(trains)
    of_neurons = jax.vmap(lambda train, neuron: spikes.of(train, neuron, n), (None, 0))
    size = math.prod(trains.batch_shape)
    numbers = jnp.arange(trains.num_neurons, dtype=jnp.int32)
    first = jax.vmap(of_neurons, (0, None))(jnp.arange(size, dtype=jnp.int32), numbers)
    return first.reshape(shape)
