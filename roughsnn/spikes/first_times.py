"""The first spike times of each neuron."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .trains import SpikeTrains


def first_spike_times(trains: SpikeTrains, n: int) -> Float[Array, "*batch num_neurons n"]:
    r"""Times $\tau^k_1 \le \dots \le \tau^k_n$ of the first `n` spikes of each neuron $k$.

    A spike that does not occur within the window is `inf`. Differentiable in the spike times.

    Raises:
        ValueError: `n < 1`.
    """
    if n < 1:
        raise ValueError(f"`n` is {n}; it must be 1 or more.")
    size = math.prod(trains.batch_shape)
    times = trains.times.reshape(size, trains.max_spikes)
    neurons = trains.neurons.reshape(size, trains.max_spikes)
    own = jax.nn.one_hot(neurons, trains.num_neurons, dtype=jnp.int32)
    # Number of earlier spikes of the same neuron; padding is sent past the end and dropped.
    rank = jnp.sum((jnp.cumsum(own, axis=1) - own) * own, axis=-1)
    neuron = jnp.where(neurons >= 0, neurons, trains.num_neurons)
    first = jnp.full((size, trains.num_neurons, n), jnp.inf, dtype=times.dtype)
    first = first.at[jnp.arange(size)[:, None], neuron, rank].set(times, mode="drop")
    return first.reshape(*trains.batch_shape, trains.num_neurons, n)
