"""Neuron models, one a file; each is an event SDE."""

from ._adaptive_stochastic_lif import AdaptiveLIFState as AdaptiveLIFState
from ._adaptive_stochastic_lif import AdaptiveStochasticLIF as AdaptiveStochasticLIF
from ._base import AbstractNeuron as AbstractNeuron
from ._current_on_grid import CurrentOnGrid as CurrentOnGrid
from ._input_conductances import InputConductances as InputConductances
from ._input_conductances import check_conductances as check_conductances
from ._intensities import AbstractIntensity as AbstractIntensity
from ._intensities import ExponentialIntensity as ExponentialIntensity
from ._intensities import RectifiedPowerIntensity as RectifiedPowerIntensity
from ._intensities import SigmoidIntensity as SigmoidIntensity
from ._intensities import SoftplusIntensity as SoftplusIntensity
from ._intensity_neuron import AbstractIntensityNeuron as AbstractIntensityNeuron
from ._intensity_neuron import AbstractSubtractiveNeuron as AbstractSubtractiveNeuron
from ._intensity_neuron import LIFState as LIFState
from ._izhikevich import Izhikevich as Izhikevich
from ._izhikevich import IzhikevichState as IzhikevichState
from ._lif import LIF as LIF
from ._lif import ThresholdLIFState as ThresholdLIFState
from ._parameters import parameter as parameter
from ._resetting_stochastic_lif import ResettingStochasticLIF as ResettingStochasticLIF
from ._stochastic_exponential import StochasticExponential as StochasticExponential
from ._stochastic_lif import StochasticLIF as StochasticLIF
from ._stochastic_quadratic import StochasticQuadratic as StochasticQuadratic

__all__ = [
    "LIF",
    "AbstractIntensity",
    "AbstractIntensityNeuron",
    "AbstractNeuron",
    "AbstractSubtractiveNeuron",
    "AdaptiveLIFState",
    "AdaptiveStochasticLIF",
    "CurrentOnGrid",
    "ExponentialIntensity",
    "InputConductances",
    "Izhikevich",
    "IzhikevichState",
    "LIFState",
    "RectifiedPowerIntensity",
    "ResettingStochasticLIF",
    "SigmoidIntensity",
    "SoftplusIntensity",
    "StochasticExponential",
    "StochasticLIF",
    "StochasticQuadratic",
    "ThresholdLIFState",
    "parameter",
]
