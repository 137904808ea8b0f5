"""The synapses of a network by number: their weights, their delays, and what a spike sends."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..neurons import AbstractNeuron
from ._connections import SparseConnections, taken


class AbstractWiring(AbstractNeuron):
    """Who is connected to whom, how strongly and how late, given as matrices or as lists."""

    weights: eqx.AbstractVar[Float[Array, "..."]]
    connections: eqx.AbstractVar[Bool[Array, "K K"] | SparseConnections | None]
    signs: eqx.AbstractVar[Int[Array, " K"] | None]
    axonal_delays: eqx.AbstractVar[Float[Array, "..."] | None]
    synaptic_delays: eqx.AbstractVar[Float[Array, "..."] | None]
    listed: eqx.AbstractVar[SparseConnections | None]

    @property
    def _is_delayed(self) -> bool:
        return self.axonal_delays is not None or self.synaptic_delays is not None

    @property
    def _listed_synapses(self) -> SparseConnections:
        """The synapses as a list, of a network that has one."""
        assert self.listed is not None, "a network of matrices without delays has no list"
        return self.listed

    @property
    def effective_weights(self) -> Float[Array, "..."]:
        """The weights with their signs, and with zeros where there is no synapse; of the shape of
        `weights`."""
        weights = self.weights
        if self.signs is not None:
            signs = self.signs.astype(weights.dtype)
            own = self.connections
            by_synapse = signs[own.pre] if isinstance(own, SparseConnections) else signs[:, None]
            weights = jnp.abs(weights) * by_synapse
        if self.connections is None or isinstance(self.connections, SparseConnections):
            return weights
        return jnp.where(self.connections, weights, 0)

    def _jump(self, what: Int[Array, ""], happens: Bool[Array, ""], part=lambda w: w):
        """The sum of the weights, or of a part of each, that arrive at every neuron."""
        k = self.num_neurons
        if self.listed is None:
            weights = self.effective_weights
            fires = (jnp.arange(k, dtype=jnp.int32) == what) & happens
            # a product with a one-hot row: over a batch one matrix product, both ways
            return fires.astype(weights.dtype) @ part(weights)
        if self.synaptic_delays is None:
            row = jnp.minimum(what, k - 1)
            edges, targets = self.listed.of(row)
        else:
            edges = what[None]
            targets = taken(self.listed.post, edges, k)
        weights = jnp.where(happens, part(self.weights_of(edges)), 0)
        return jnp.zeros(k, weights.dtype).at[targets].add(weights, mode="drop")

    def weights_of(self, edges: Int[Array, "*n"]) -> Float[Array, "*n"]:
        """The signed weights of the synapses of these numbers, zero past the last one."""
        pre = taken(self._listed_synapses.pre, edges, 0)
        weights = self._of_synapses(self.weights, edges)
        if self.signs is None:
            return weights
        return jnp.abs(weights) * self.signs[pre].astype(weights.dtype)

    def _of_synapses(self, values: Float[Array, "..."], edges: Int[Array, "*n"]):
        """A number for each of these synapses, from one for each, one for all, or a matrix."""
        if values.ndim == 0:
            return jnp.broadcast_to(values, edges.shape)
        if values.ndim == 1:
            return taken(values, edges, 0)
        k, listed = self.num_neurons, self._listed_synapses
        pre, post = taken(listed.pre, edges, k), taken(listed.post, edges, k)
        return values.at[pre, post].get(mode="fill", fill_value=0)

    def delays_of(self, edges: Int[Array, "*n"], pre: Int[Array, "*n"]) -> Float[Array, "*n"]:
        """The delays of these synapses, from these neurons."""
        total: Any = jnp.zeros(edges.shape, self.weights.dtype)
        if self.axonal_delays is not None:
            axonal = self.axonal_delays
            total = total + (axonal if axonal.ndim == 0 else axonal[pre])
        if self.synaptic_delays is not None:
            total = total + self._of_synapses(self.synaptic_delays, edges)
        return total

    def _sendings(self, who: Int[Array, ""]):
        """After which times the spikes of a neuron arrive, what they are, and how many there
        are."""
        if self.synaptic_delays is None:
            one = who[None]
            return self.delays_of(one, one), one, jnp.asarray(1, jnp.int32)
        listed = self._listed_synapses
        edges, _ = listed.of(who)
        delays = self.delays_of(edges, jnp.full(edges.shape, who))
        return delays, edges, jnp.sum(edges < len(listed), dtype=jnp.int32)
