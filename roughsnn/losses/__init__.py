"""Losses: what training minimises, each a function of generated and observed spike trains."""

from .expected_signature import ExpectedSignatureLoss
from .first_spikes import FirstSpikesLoss
from .paired_signature import PairedTruncatedSignatureLoss
from .summary import AbstractSummaryLoss, SummaryTarget

__all__ = [
    "AbstractSummaryLoss",
    "ExpectedSignatureLoss",
    "FirstSpikesLoss",
    "PairedTruncatedSignatureLoss",
    "SummaryTarget",
]
