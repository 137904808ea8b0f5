"""Estimators of the gradient of an expected loss, behind one interface."""

from ._base import AbstractGradientEstimator, AbstractRuleWithMemory, GradientEstimate
from ._base import spikes_of as spikes_of
from ._changes import Against, loss_changes
from ._pathwise import Pathwise, PathwiseWithBoundary
from ._score import ScoreFunction

__all__ = [
    "AbstractGradientEstimator",
    "AbstractRuleWithMemory",
    "Against",
    "GradientEstimate",
    "Pathwise",
    "PathwiseWithBoundary",
    "ScoreFunction",
    "loss_changes",
]
