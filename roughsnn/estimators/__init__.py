"""Estimators of the gradient of an expected loss, behind one interface."""

from ._base import AbstractGradientEstimator, AbstractRuleWithMemory, GradientEstimate
from ._base import spikes_of as spikes_of
from ._changes import Against, loss_changes
from ._conditional import Conditional
from ._conductance_perturbation import ConductancePerturbation
from ._interval_chain import IntervalChain, interval_chain
from ._interval_law import IntervalLaw, interval_law
from ._node_perturbation import NodePerturbation
from ._pathwise import Pathwise, PathwiseWithBoundary
from ._perturbations import (
    AbstractPerturbation,
    CorrelatedPerturbation,
    PoissonPerturbation,
    WhitePerturbation,
)
from ._removal import SpikeRemoval
from ._score import ScoreFunction
from ._weight_perturbation import WeightPerturbation
from .trainable import trainable_leaves

__all__ = [
    "AbstractGradientEstimator",
    "AbstractPerturbation",
    "AbstractRuleWithMemory",
    "Against",
    "Conditional",
    "ConductancePerturbation",
    "CorrelatedPerturbation",
    "GradientEstimate",
    "IntervalChain",
    "IntervalLaw",
    "NodePerturbation",
    "Pathwise",
    "PathwiseWithBoundary",
    "PoissonPerturbation",
    "ScoreFunction",
    "SpikeRemoval",
    "WeightPerturbation",
    "WhitePerturbation",
    "interval_chain",
    "interval_law",
    "loss_changes",
    "trainable_leaves",
]
