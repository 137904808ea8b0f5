"""The event solver."""

from ._adjoints import AbstractEventAdjoint as AbstractEventAdjoint
from ._adjoints import ReverseMode as ReverseMode
from ._assumptions import ConditionsError as ConditionsError
from ._eventsolve import eventsolve as eventsolve
from ._forward import EligibilityTraces as EligibilityTraces
from ._forward import ForwardMode as ForwardMode
from ._sampling import NoGradient as NoGradient
from ._solution import RESULTS as RESULTS
from ._solution import EventSolution as EventSolution
from ._solution import EventSolveError as EventSolveError
from ._stochastic_adjoint import StochasticAdjoint as StochasticAdjoint

__all__ = [
    "RESULTS",
    "AbstractEventAdjoint",
    "ConditionsError",
    "EligibilityTraces",
    "EventSolution",
    "EventSolveError",
    "ForwardMode",
    "NoGradient",
    "ReverseMode",
    "StochasticAdjoint",
    "eventsolve",
]
