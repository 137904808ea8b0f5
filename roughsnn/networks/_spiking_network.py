"""Networks of neurons with current synapses."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..neurons import AbstractNeuron
from ..neurons._parameters import parameter


class SpikingNetwork(AbstractNeuron):
    r"""Neurons coupled by current synapses: when neuron k fires, $i^j \to i^j + w_{kj}$ for all j.

    Attributes:
        neurons: the population, any neuron model of the library.
        weights: $w$ of shape (K, K), from row to column. A trainable leaf.
        connections: boolean mask of shape (K, K), where there is a synapse; default everywhere.
            Weights outside it have no effect and no gradient.
    """

    neurons: AbstractNeuron
    weights: Float[Array, "K K"]
    connections: Bool[Array, "K K"] | None

    def __init__(self, neurons: AbstractNeuron, weights, connections=None):
        if not isinstance(neurons, AbstractNeuron):
            raise TypeError(f"`neurons` must be a neuron model, got {type(neurons).__name__}.")
        k = neurons.num_neurons
        self.neurons = neurons
        self.weights = parameter("weights", weights, shapes=((k, k),))
        self.connections = None
        if connections is not None:
            connections = jnp.asarray(connections)
            if connections.shape != (k, k) or connections.dtype != bool:
                raise ValueError(
                    f"`connections` must be a boolean array of shape ({k}, {k}), got "
                    f"{connections.dtype} of shape {connections.shape}."
                )
            self.connections = connections

    @property
    def num_neurons(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.neurons.num_neurons

    @property
    def effective_weights(self) -> Float[Array, "K K"]:
        """The weights with zeros where there is no synapse."""
        if self.connections is None:
            return self.weights
        return jnp.where(self.connections, self.weights, 0)

    @property
    def dead_intensity(self):
        return self.neurons.dead_intensity

    def neuron_axes(self):
        # weights[k, j] belongs to the neuron j that it leads to
        axes = jax.tree.map(lambda _: -1, self)
        return eqx.tree_at(lambda m: (m.neurons, m.weights), axes, (self.neurons.neuron_axes(), 1))

    def initial_state(self, key):
        return self.neurons.initial_state(key)

    def drift(self, t, y, args):
        return self.neurons.drift(t, y, args)

    @property
    def noise_shape(self):
        return self.neurons.noise_shape

    def diffusion(self, t, y, args):
        return self.neurons.diffusion(t, y, args)

    def event(self, t, y, args):
        return self.neurons.event(t, y, args)

    def mark(self, key):
        return self.neurons.mark(key)

    def receive(self, y, jump):
        return self.neurons.receive(y, jump)

    def transition(self, t, y, event_index, mark, args):
        y = self.neurons.transition(t, y, event_index, mark, args)
        weights = self.effective_weights
        fires = (jnp.arange(self.num_neurons, dtype=jnp.int32) == event_index).astype(weights.dtype)
        # a product with a one-hot row: over a batch one matrix product, forwards and backwards
        return self.neurons.receive(y, fires @ weights)


def layered_connections(*sizes: int) -> Bool[Array, "K K"]:
    """The mask of a feed-forward network with all connections between consecutive layers."""
    if not sizes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"`sizes` must be positive integers, one for each layer, got {sizes}.")
    layer = jnp.repeat(jnp.arange(len(sizes)), jnp.asarray(sizes))
    return layer[:, None] + 1 == layer[None, :]
