"""Losses: what training minimises, each a function of generated and observed spike trains."""

from .conditional_mmd import ConditionalMMDLoss
from .expected_signature import ExpectedSignatureLoss
from .first_spikes import FirstSpikesLoss
from .kernel_loss import AbstractKernelLoss, KernelTarget
from .kernel_mmd import SignatureMMDLoss
from .kernel_score import SignatureScoreLoss
from .mean_loss import MeanLoss
from .paired_signature import PairedTruncatedSignatureLoss
from .summary import AbstractSummaryLoss, SummaryTarget

__all__ = [
    "AbstractKernelLoss",
    "AbstractSummaryLoss",
    "ConditionalMMDLoss",
    "ExpectedSignatureLoss",
    "FirstSpikesLoss",
    "KernelTarget",
    "MeanLoss",
    "PairedTruncatedSignatureLoss",
    "SignatureMMDLoss",
    "SignatureScoreLoss",
    "SummaryTarget",
]
