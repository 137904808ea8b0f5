"""Training: fit a model to spike trains by gradient descent on a loss."""

from .early_stop import EarlyStop
from .fit import fit, fit_many
from .minibatches import minibatch_indices
from .result import FitResult, FitStatus, TrainingError
from .step import StepRecord, TrainState, TrainStep
from .trainable import trainable_leaves

__all__ = [
    "EarlyStop",
    "FitResult",
    "FitStatus",
    "StepRecord",
    "TrainState",
    "TrainStep",
    "TrainingError",
    "fit",
    "fit_many",
    "minibatch_indices",
    "trainable_leaves",
]
