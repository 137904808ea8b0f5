"""Networks: connectivity and synapses. A network is an event SDE."""

from ._spiking_network import SpikingNetwork as SpikingNetwork
from ._spiking_network import layered_connections as layered_connections

__all__ = ["SpikingNetwork", "layered_connections"]
