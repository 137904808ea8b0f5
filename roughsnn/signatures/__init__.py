"""Signatures of paths."""

from .truncated import (
    expected_signature,
    num_channels,
    num_coordinates,
    signature,
    signature_levels,
)

__all__ = ["expected_signature", "num_channels", "num_coordinates", "signature", "signature_levels"]
