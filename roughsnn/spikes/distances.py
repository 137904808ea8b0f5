"""Distances between spike trains: the frame that all of them share."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .checks import refuse_if
from .first_times import ByNeuron, OnGrid, by_neuron, on_grid, room_of_a_neuron
from .trains import SpikeTrains
from .windows import common_duration, durations_differ

_SPIKES_AT_ONCE = 2**20
"""Room for spikes of the pairs of neurons that are compared side by side: it bounds the memory."""

_Trains = ByNeuron | OnGrid

Neuron = Float[Array, "_"]
"""Spike times of one neuron in one trial, sorted and padded with `inf`."""


class AbstractDistance(eqx.Module):
    """A distance between spike trains, as a function that makes matrices.

    Each neuron of a train is compared with the same neuron of the other train; what the neurons
    say together is one number, by a rule that each distance names. Every distance takes trains of
    any padding, passes through `jit` and `vmap`, and is differentiated in the spike times; one that
    `takes_presence`, in the presence of spikes, where the trains hold it.
    """

    takes_presence: ClassVar[bool] = False

    def __call__(
        self, x: SpikeTrains, y: SpikeTrains | None = None, *, by_neuron: bool = False
    ) -> Float[Array, "m n"] | Float[Array, "m n num_neurons"]:
        """Matrix of the distances of the trains of `x` to those of `y`, or of `x` to itself.

        Args:
            x: trains of batch shape `(m,)`.
            y: trains of batch shape `(n,)` of the same neurons and length; `x` when left out, which
                costs half, as the matrix is symmetric with zeros on its diagonal.
            by_neuron: give the distance for each neuron, in one more axis.

        Raises:
            ValueError: more or less than one batch axis, different neurons, or windows of
                different lengths.
        """
        for name, trains in (("x", x), ("y", x if y is None else y)):
            if len(trains.batch_shape) != 1:
                raise ValueError(
                    f"`{name}` has batch shape {trains.batch_shape}; a matrix needs one batch "
                    "axis. Use `reshape(-1)`, or `pairs` for trains that belong together."
                )
        own, other, room, end = self._comparable(x, x if y is None else y)
        m, n = len(x), len(x if y is None else y)
        if y is None:
            rows, columns = jnp.triu_indices(m, k=1)
        else:
            rows, columns = (index.ravel() for index in jnp.indices((m, n)))
        values = self._of_pairs(rows, columns, own, other, end, room, by_neuron)
        matrix = jnp.zeros((m, n, *values.shape[1:]), values.dtype)
        matrix = matrix.at[rows, columns].set(values)
        return matrix if y is not None else matrix + jnp.swapaxes(matrix, 0, 1)

    def pairs(
        self, x: SpikeTrains, y: SpikeTrains, *, by_neuron: bool = False
    ) -> Float[Array, "*batch"] | Float[Array, "*batch num_neurons"]:
        """Distance of each train of `x` to the train of `y` at the same place.

        Args:
            x: trains of any batch shape.
            y: trains of the same batch shape, neurons and length.
            by_neuron: give the distance for each neuron, in one more axis.

        Raises:
            ValueError: different batch shapes or neurons, or windows of different lengths.
        """
        if x.batch_shape != y.batch_shape:
            raise ValueError(
                f"`x` has batch shape {x.batch_shape} and `y` {y.batch_shape}; pairs need as many "
                "trains on both sides. Call the distance itself for a matrix."
            )
        own, other, room, end = self._comparable(x, y)
        index = jnp.arange(math.prod(x.batch_shape))
        values = self._of_pairs(index, index, own, other, end, room, by_neuron)
        return values.reshape(*x.batch_shape, *values.shape[1:])

    @abc.abstractmethod
    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        """Distance of two neurons' spike times on the window from 0 to `end`."""

    def _between_sized(
        self, x: Neuron, y: Neuron, sizes_x: Neuron, sizes_y: Neuron, end: Array
    ) -> Float[Array, ""]:
        """The same with the presence of each spike; by default every spike is there."""
        return self._between(x, y, end)

    @abc.abstractmethod
    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        """One number from the distances of the neurons."""

    @eqx.filter_jit
    def _of_pairs(
        self, rows: Array, columns: Array, x: _Trains, y: _Trains, end: Array,
        room: tuple[int, int], by_neuron: bool,
    ) -> Float[Array, "pairs ..."]:  # fmt: skip
        """Distances of the pairs `(x[rows], y[columns])`, by neuron or together.

        The memory is that of the spikes: each pair of neurons takes its own out of the lists, and
        as many pairs are compared side by side as there is room for.
        """
        num_neurons = x.num_neurons
        if rows.size == 0:
            shape = (0, num_neurons) if by_neuron else (0,)
            return jnp.zeros(shape, x.times.dtype)
        neurons = jnp.arange(num_neurons, dtype=jnp.int32)
        at_once = max(1, _SPIKES_AT_ONCE // sum(room))

        def of_pair(pair: tuple[Array, Array]) -> Array:
            row, column = pair

            def of_neuron(neuron: Array) -> Array:
                places = (x, row, room[0]), (y, column, room[1])
                times = [side.of(train, neuron, room) for side, train, room in places]
                sizes = [side.sizes(train, neuron, room) for side, train, room in places]
                return self._between_sized(*times, *sizes, end)

            values = _mapped(of_neuron, neurons, at_once)
            return values if by_neuron else self._together(values)

        return _mapped(of_pair, (rows, columns), max(1, at_once // num_neurons))

    def _comparable(
        self, x: SpikeTrains, y: SpikeTrains
    ) -> tuple[_Trains, _Trains, tuple[int, int], Array]:
        """The spikes of both by neuron, room for those of a neuron, and the length of the
        windows."""
        if x.num_neurons != y.num_neurons:
            raise ValueError(
                f"`x` has {x.num_neurons} neurons and `y` {y.num_neurons}; only trains of the same "
                "neurons can be compared. Use `select` to choose them."
            )
        end = common_duration(x, "A distance")
        end = refuse_if(
            end,
            durations_differ(x.window_bits, x.duration, y.window_bits, y.duration),
            "The trains have windows of different lengths; bring them to one with `window` or "
            "`cut`.",
        )
        (x_spikes, x_room), (y_spikes, y_room) = (self._spikes(trains) for trains in (x, y))
        return x_spikes, y_spikes, (x_room, y_room), end

    def _spikes(self, trains: SpikeTrains) -> tuple[_Trains, int]:
        """The spikes by neuron, and room for those of a neuron."""
        if self.takes_presence and trains.presence is not None:
            return on_grid(trains.presence), trains.presence.times.shape[0]
        trains = trains if trains.max_spikes else trains.pad_to(1)
        return by_neuron(trains), max(room_of_a_neuron(trains), 1)


def _mapped(function: Callable, items: Any, at_once: int) -> Array:
    """`function` of each item; so many at once, whose intermediate results are not kept."""
    if jax.tree.leaves(items)[0].shape[0] <= at_once:
        return jax.vmap(function)(items)
    return jax.lax.map(jax.checkpoint(function), items, batch_size=at_once)
