"""The event solver.

`__all__` is what users need of it; the other names are for the rooms that stand on this one.
"""

from ._adjoints import AbstractEventAdjoint as AbstractEventAdjoint
from ._adjoints import ReverseMode as ReverseMode
from ._arguments import Interpretation as Interpretation
from ._arguments import chosen_solver as chosen_solver
from ._arguments import clock_of as clock_of
from ._arguments import differentiable_stages as differentiable_stages
from ._arguments import levy_area_for as levy_area_for
from ._arguments import since_start as since_start
from ._arguments import solver_for_noise as solver_for_noise
from ._assumptions import ConditionsError as ConditionsError
from ._assumptions import ConditionsReport as ConditionsReport
from ._assumptions import figures_of_event as figures_of_event
from ._assumptions import increment_structure as increment_structure
from ._assumptions import report as report
from ._assumptions import tolerance as tolerance
from ._eventsolve import eventsolve as eventsolve
from ._forward import EligibilityTraces as EligibilityTraces
from ._forward import ForwardMode as ForwardMode
from ._guard import CLIPPED as CLIPPED
from ._guard import GRAZES as GRAZES
from ._guard import Conditions as Conditions
from ._guard import check_policy as check_policy
from ._marcus import marcus_flow as marcus_flow
from ._problem import freeze as freeze
from ._problem import step_is_too_long as step_is_too_long
from ._refusal import refused_where_used as refused_where_used
from ._sampling import NoGradient as NoGradient
from ._solution import RESULTS as RESULTS
from ._solution import EventSolution as EventSolution
from ._solution import EventSolveError as EventSolveError
from ._solution import raise_unless_successful as raise_unless_successful
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
