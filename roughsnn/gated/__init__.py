"""Gated synapses: networks whose synapses, not spikes, are differentiable."""

from .adjoint import adjoint_gradient
from .gates import AbstractGate, BoxGate, CumulativeGate, RaisedCosineGate
from .network import GatedNetwork
from .neurons import LIF, NIF, AbstractGatedNeuron, ThetaNeuron
from .solve import GatedSolution, solve_gated

__all__ = [
    "LIF",
    "NIF",
    "AbstractGate",
    "AbstractGatedNeuron",
    "BoxGate",
    "CumulativeGate",
    "GatedNetwork",
    "GatedSolution",
    "RaisedCosineGate",
    "ThetaNeuron",
    "adjoint_gradient",
    "solve_gated",
]
