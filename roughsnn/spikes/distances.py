"""Distances between spike trains: the frame that all of them share."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .checks import refuse_if
from .first_times import first_spike_times
from .trains import SpikeTrains
from .windows import common_duration, durations_differ

_PAIRS_AT_ONCE = 4096
"""How many pairs of neurons are compared side by side, to bound the memory of a large matrix."""

Neuron = Float[Array, "_"]
"""Spike times of one neuron in one trial, sorted and padded with `inf`."""


class AbstractDistance(eqx.Module):
    """A distance between spike trains, as a function that makes matrices.

    Each neuron of a train is compared with the same neuron of the other train; what the neurons
    say together is one number, by a rule that each distance names. Every distance takes trains of
    any padding, passes through `jit` and `vmap`, and is differentiated in the spike times.
    """

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
        times_x, times_y, end = _comparable(x, x if y is None else y)
        m, n = times_x.shape[0], times_y.shape[0]
        if y is None:
            rows, columns = jnp.triu_indices(m, k=1)
        else:
            rows, columns = (index.ravel() for index in jnp.indices((m, n)))
        values = self._of_pairs(rows, columns, times_x, times_y, end)
        if not by_neuron:
            values = self._together(values)
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
        times_x, times_y, end = _comparable(x, y)
        index = jnp.arange(math.prod(x.batch_shape))
        values = self._of_pairs(index, index, times_x, times_y, end)
        values = values.reshape(*x.batch_shape, x.num_neurons)
        return values if by_neuron else self._together(values)

    @abc.abstractmethod
    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        """Distance of two neurons' spike times on the window from 0 to `end`."""

    @abc.abstractmethod
    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        """One number from the distances of the neurons."""

    @eqx.filter_jit
    def _of_pairs(
        self, rows: Array, columns: Array, x: Array, y: Array, end: Array
    ) -> Float[Array, "pairs num_neurons"]:
        """Distances by neuron of the pairs `(x[rows], y[columns])`, in bounded memory."""
        num_neurons = x.shape[1]
        if rows.size == 0:
            return jnp.zeros((0, num_neurons), x.dtype)
        of_neurons: Callable = jax.vmap(self._between, in_axes=(0, 0, None))

        def of_pair(pair: tuple[Array, Array]) -> Float[Array, " num_neurons"]:
            row, column = pair
            return of_neurons(x[row], y[column], end)

        at_once = max(1, _PAIRS_AT_ONCE // num_neurons)
        if rows.size <= at_once:
            return jax.vmap(of_pair)((rows, columns))
        return jax.lax.map(of_pair, (rows, columns), batch_size=at_once)


def _comparable(x: SpikeTrains, y: SpikeTrains) -> tuple[Array, Array, Array]:
    """Times by neuron of both, with one batch axis, and the length of their windows."""
    if x.num_neurons != y.num_neurons:
        raise ValueError(
            f"`x` has {x.num_neurons} neurons and `y` {y.num_neurons}; only trains of the same "
            "neurons can be compared. Use `select` to choose them."
        )
    end = common_duration(x, "A distance")
    end = refuse_if(
        end,
        durations_differ(x.window_bits, x.duration, y.window_bits, y.duration),
        "The trains have windows of different lengths; bring them to one with `window` or `cut`.",
    )
    by_neuron = [
        first_spike_times(trains, max(trains.max_spikes, 1)).reshape(
            -1, trains.num_neurons, max(trains.max_spikes, 1)
        )
        for trains in (x, y)
    ]
    return by_neuron[0], by_neuron[1], end
