"""Networks of neurons; a network is an event SDE like the neurons it is made of.

`__all__` is what users need of it; the other names are for the rooms that stand on this one.
"""

from ._arrivals import NEVER as NEVER
from ._arrivals import waiting as waiting
from ._coincidence import CoincidenceDetectors as CoincidenceDetectors
from ._connections import SparseConnections as SparseConnections
from ._connections import layered_connections as layered_connections
from ._connections import random_connections as random_connections
from ._connections import taken as taken
from ._inputs import Inputs as Inputs
from ._spiking_network import SpikingNetwork as SpikingNetwork
from ._state import NetworkState as NetworkState
from ._synapses import ConductanceSynapses as ConductanceSynapses

__all__ = [
    "CoincidenceDetectors",
    "ConductanceSynapses",
    "NetworkState",
    "SparseConnections",
    "SpikingNetwork",
    "layered_connections",
    "random_connections",
]
