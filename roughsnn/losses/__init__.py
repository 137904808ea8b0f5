"""Losses: what training minimises, each a function of what is generated, and of observed spike
trains or labels."""

from .base import AbstractLoss
from .classification import (
    AbstractClassificationLoss,
    FirstSpikeCrossEntropy,
    ReadoutCrossEntropy,
    SpikeCountCrossEntropy,
)
from .conditional_mmd import ConditionalMMDLoss, ConditionedTrains
from .expected_signature import ExpectedSignatureLoss
from .first_spikes import FirstSpikesLoss
from .kernel_loss import AbstractKernelLoss, KernelTarget
from .kernel_mmd import SignatureMMDLoss
from .kernel_score import SignatureScoreLoss
from .mean_loss import MeanLoss
from .paired_signature import PairedTruncatedSignatureLoss
from .summary import AbstractSummaryLoss, SummaryTarget

__all__ = [
    "AbstractClassificationLoss",
    "AbstractKernelLoss",
    "AbstractLoss",
    "AbstractSummaryLoss",
    "ConditionalMMDLoss",
    "ConditionedTrains",
    "ExpectedSignatureLoss",
    "FirstSpikeCrossEntropy",
    "FirstSpikesLoss",
    "KernelTarget",
    "MeanLoss",
    "PairedTruncatedSignatureLoss",
    "ReadoutCrossEntropy",
    "SignatureMMDLoss",
    "SignatureScoreLoss",
    "SpikeCountCrossEntropy",
    "SummaryTarget",
]
