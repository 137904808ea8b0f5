"""Neuron models, one a file; each is an event SDE."""

from ._base import AbstractNeuron as AbstractNeuron
from ._stochastic_lif import LIFState as LIFState
from ._stochastic_lif import StochasticLIF as StochasticLIF

__all__ = ["AbstractNeuron", "LIFState", "StochasticLIF"]
