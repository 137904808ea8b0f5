"""Networks of neurons; a network is an event SDE like the neurons it is made of."""

from ._connections import SparseConnections as SparseConnections
from ._connections import layered_connections as layered_connections
from ._connections import random_connections as random_connections
from ._spiking_network import SpikingNetwork as SpikingNetwork
from ._state import NetworkState as NetworkState
from ._synapses import ConductanceSynapses as ConductanceSynapses

__all__ = [
    "ConductanceSynapses",
    "NetworkState",
    "SparseConnections",
    "SpikingNetwork",
    "layered_connections",
    "random_connections",
]
