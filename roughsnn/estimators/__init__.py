"""Estimators of the gradient of an expected loss, behind one interface."""

from ._base import AbstractGradientEstimator, AbstractRuleWithMemory, GradientEstimate
from ._base import spikes_of as spikes_of
from ._changes import Against, loss_changes
from ._conditional import Conditional
from ._interval_law import IntervalLaw, interval_law
from ._pathwise import Pathwise, PathwiseWithBoundary
from ._removal import SpikeRemoval
from ._score import ScoreFunction
from .trainable import trainable_leaves

__all__ = [
    "AbstractGradientEstimator",
    "AbstractRuleWithMemory",
    "Against",
    "Conditional",
    "GradientEstimate",
    "IntervalLaw",
    "Pathwise",
    "PathwiseWithBoundary",
    "ScoreFunction",
    "SpikeRemoval",
    "interval_law",
    "loss_changes",
    "trainable_leaves",
]
