"""The state of a network."""

from typing import NamedTuple

from jaxtyping import Array, Float, PyTree

from ._arrivals import Arrivals
from ._synapses import Conductances


class NetworkState(NamedTuple):
    """State of a network that has more than its neurons to keep.

    Attributes:
        neurons: the state of the neurons.
        conductances: `None` with current synapses.
        arrivals: delayed spikes on their way; `None` without delays.
        held_for: what is left of each neuron's refractory period, 1e30 outside one; `None` without
            refractory periods.
    """

    neurons: PyTree
    conductances: Conductances | None
    arrivals: Arrivals | None
    held_for: Float[Array, " K"] | None

    @property
    def v(self) -> Float[Array, "..."]:
        """The membrane potentials."""
        return self.neurons.v
