"""How a network is computed cell by cell: in which order its neurons are, and what it must not
have."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..networks import SparseConnections, SpikingNetwork
from ..neurons import LIF, StochasticLIF

# up to so many neurons a list of synapses is made a matrix
_MOST_IN_MATRIX = 256

_OTHERWISE = "Use roughsnn.EventEngine(), which takes any model."


class Layout(eqx.Module):
    """Groups of neurons, each of which needs the spikes of earlier ones only; static.

    Attributes:
        groups: the neurons of each group.
        parents: for each group, the earlier groups that have synapses into it.
        is_delayed: whether there is one group, whose spikes reach itself later.
        by_list: whether its synapses are taken one by one, as a list; otherwise as a matrix.
    """

    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    parents: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    is_delayed: bool = eqx.field(static=True)
    by_list: bool = eqx.field(static=True, default=False)

    @property
    def order(self) -> np.ndarray:
        """The neurons, group by group."""
        return np.concatenate([np.asarray(group, np.int32) for group in self.groups])

    def allows(self) -> np.ndarray:
        """From which neuron to which there may be a synapse."""
        size = self.order.size
        allowed = np.zeros((size, size), bool)
        for group, parents in zip(self.groups, self.parents, strict=True):
            for parent in parents:
                allowed[np.ix_(self.groups[parent], group)] = True
        return allowed


def neurons_of(model: Any) -> LIF | StochasticLIF:
    """The neurons of a model that can be computed cell by cell, refused by name if it cannot."""
    neurons = model.neurons if isinstance(model, SpikingNetwork) else model
    if not isinstance(neurons, LIF | StochasticLIF) or type(neurons) not in (LIF, StochasticLIF):
        raise TypeError(
            "`model` must be made of roughsnn.LIF or roughsnn.StochasticLIF neurons for a "
            f"CellEngine, got {type(neurons).__name__}. {_OTHERWISE}"
        )
    if isinstance(model, SpikingNetwork):
        if model.synapses is not None:
            raise ValueError(
                "`model` has synaptic conductances (`synapses`), which a CellEngine does not "
                f"compute. {_OTHERWISE}"
            )
        if model.synaptic_delays is not None and type(neurons) is StochasticLIF:
            raise ValueError(
                "`model` has a delay for each synapse (`synaptic_delays`), which a CellEngine does "
                f"not compute for neurons that fire by an intensity. {_OTHERWISE}"
            )
    return neurons


def layout_of(model: Any) -> Layout:
    """The groups of a model whose connections are known.

    Raises:
        ValueError: neurons that reach each other in a circle without delay.
    """
    count = neurons_of(model).num_neurons
    everyone = tuple(range(count))
    if not isinstance(model, SpikingNetwork):
        return Layout((everyone,), ((),), False)
    if has_delays(model):
        return Layout((everyone,), ((),), True, _takes_list(model))
    leads = connected(model)
    # round by round the neurons all of whose parents have been placed
    groups, unplaced = [], leads.sum(axis=0)
    while (ready := np.flatnonzero(unplaced == 0)).size:
        groups.append(tuple(map(int, ready)))
        unplaced = unplaced - leads[ready].sum(axis=0)
        unplaced[ready] = -1
    if (unplaced > 0).any():
        raise ValueError(
            "`connections` lead in a circle, and spikes arrive at once: in a CellEngine a neuron "
            "must not act on itself within a cell. Give the network `axonal_delays` of at least a "
            "cell (dt0), or connections without circles, such as roughsnn.layered_connections(...)"
            f"{_where_all(model)}. Or use roughsnn.EventEngine()."
        )
    parents = tuple(
        tuple(m for m in range(n) if leads[np.ix_(groups[m], groups[n])].any())
        for n in range(len(groups))
    )
    return Layout(tuple(groups), parents, False)


def has_delays(model: SpikingNetwork) -> bool:
    return model.axonal_delays is not None or model.synaptic_delays is not None


def _takes_list(model: SpikingNetwork) -> bool:
    if type(neurons_of(model)) is StochasticLIF:
        return False
    is_large = model.num_neurons > _MOST_IN_MATRIX
    is_list = isinstance(model.connections, SparseConnections)
    return model.synaptic_delays is not None or (is_list and is_large)


def _where_all(model: SpikingNetwork) -> str:
    return "" if model.connections is not None else " (this network has all connections)"


def is_known(model: Any) -> bool:
    """Whether the connections of a model are known, and not inside a JAX transformation."""
    connections = getattr(model, "connections", None)
    return not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(connections))


def connected(model: SpikingNetwork) -> np.ndarray:
    """From which neuron to which there is a synapse."""
    count, connections = model.num_neurons, model.connections
    if connections is None:
        return np.ones((count, count), bool)
    is_list = isinstance(connections, SparseConnections)
    return np.asarray(connections.mask if is_list else connections)


def strays(model: Any, layout: Layout) -> Any:
    """Whether a network has a synapse for which its layout has no place."""
    if not isinstance(model, SpikingNetwork):
        return jnp.asarray(False)
    is_delayed = has_delays(model)
    if is_delayed or layout.is_delayed:
        return jnp.asarray(is_delayed != layout.is_delayed)
    if model.connections is None:
        return jnp.asarray(True)
    mask = model.connections
    if isinstance(mask, SparseConnections):
        mask = mask.mask
    return jnp.any(mask & ~jnp.asarray(layout.allows()))


def dense_weights(model: SpikingNetwork) -> Any:
    """The weights with their signs as a matrix, from row to column."""
    connections, count = model.connections, model.num_neurons
    if not isinstance(connections, SparseConnections):
        return model.effective_weights
    weights = jnp.zeros((count, count), model.weights.dtype)
    return weights.at[connections.pre, connections.post].set(model.effective_weights)
