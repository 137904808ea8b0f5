"""The event solver."""

from ._eventsolve import eventsolve as eventsolve
from ._solution import RESULTS as RESULTS
from ._solution import EventSolution as EventSolution
from ._solution import EventSolveError as EventSolveError

__all__ = ["RESULTS", "EventSolution", "EventSolveError", "eventsolve"]
