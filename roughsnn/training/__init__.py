"""Training: fit a model to spike trains, or to labels, by gradient descent on a loss."""

from .early_stop import EarlyStop
from .evaluate import evaluate, predict
from .fit import fit, fit_many
from .fractional import FractionalState, fractional_descent
from .labelled import LabelledData
from .minibatches import minibatch_indices
from .result import FitResult, FitStatus, TrainingError
from .step import StepRecord, TrainState, TrainStep

__all__ = [
    "EarlyStop",
    "FitResult",
    "FitStatus",
    "FractionalState",
    "LabelledData",
    "StepRecord",
    "TrainState",
    "TrainStep",
    "TrainingError",
    "evaluate",
    "fit",
    "fit_many",
    "fractional_descent",
    "minibatch_indices",
    "predict",
]
