"""Balanced networks: signals in spikes, and local rules that learn to put them there."""

from .network import (
    BalancedNetwork,
    distance_to,
    matched_decoder,
    optimal_network,
    recovered_dynamics,
)
from .readout import leaky_readout, refitted_decoder
from .rules import (
    AbstractLocalRule,
    CurrentRule,
    LocalSignals,
    SpikeVoltageRule,
    VoltageRule,
)
from .solve import BalancedSolution, BalancedState, resting_state, solve_balanced

__all__ = [
    "AbstractLocalRule",
    "BalancedNetwork",
    "BalancedSolution",
    "BalancedState",
    "CurrentRule",
    "LocalSignals",
    "SpikeVoltageRule",
    "VoltageRule",
    "distance_to",
    "leaky_readout",
    "matched_decoder",
    "optimal_network",
    "recovered_dynamics",
    "refitted_decoder",
    "resting_state",
    "solve_balanced",
]
