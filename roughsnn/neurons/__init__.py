"""Neuron models, one a file; each is an event SDE."""

from ._adaptive_stochastic_lif import AdaptiveLIFState as AdaptiveLIFState
from ._adaptive_stochastic_lif import AdaptiveStochasticLIF as AdaptiveStochasticLIF
from ._base import AbstractNeuron as AbstractNeuron
from ._intensities import AbstractIntensity as AbstractIntensity
from ._intensities import ExponentialIntensity as ExponentialIntensity
from ._intensities import RectifiedPowerIntensity as RectifiedPowerIntensity
from ._intensities import SigmoidIntensity as SigmoidIntensity
from ._intensities import SoftplusIntensity as SoftplusIntensity
from ._lif import LIF as LIF
from ._lif import ThresholdLIFState as ThresholdLIFState
from ._stochastic_lif import LIFState as LIFState
from ._stochastic_lif import StochasticLIF as StochasticLIF

__all__ = [
    "LIF",
    "AbstractIntensity",
    "AbstractNeuron",
    "AdaptiveLIFState",
    "AdaptiveStochasticLIF",
    "ExponentialIntensity",
    "LIFState",
    "RectifiedPowerIntensity",
    "SigmoidIntensity",
    "SoftplusIntensity",
    "StochasticLIF",
    "ThresholdLIFState",
]
