"""Sampling by spikes: populations whose readout draws from a distribution."""

from .balanced import BalancedSampler, SamplerState
from .clock import run_by_clock
from .metropolis import MetropolisNetwork, SampledPath
from .moments import convergence_time, covariance_error, covariance_of, marginal_wasserstein
from .readouts import PiecewiseConstant, random_readout
from .targets import (
    AbstractTarget,
    GaussianTarget,
    LinearGaussianModel,
    LogDensity,
    equicorrelated_covariance,
)

__all__ = [
    "AbstractTarget",
    "BalancedSampler",
    "GaussianTarget",
    "LinearGaussianModel",
    "LogDensity",
    "MetropolisNetwork",
    "PiecewiseConstant",
    "SampledPath",
    "SamplerState",
    "convergence_time",
    "covariance_error",
    "covariance_of",
    "equicorrelated_covariance",
    "marginal_wasserstein",
    "random_readout",
    "run_by_clock",
]
