"""Signatures of paths."""

from .mmd import mean_within, mmd2, mmd2_from_grams, mmd2_standard_error
from .scale_selection import (
    ScaleSelection,
    count_distances,
    median_neuron_scale,
    neuron_scale_by_power,
)
from .signature_kernel import SignatureKernel
from .truncated import (
    expected_signature,
    num_channels,
    num_coordinates,
    signature,
    signature_levels,
)
from .two_sample import TwoSampleResult, permutation_test, two_sample_test, witness_function

__all__ = [
    "ScaleSelection",
    "SignatureKernel",
    "TwoSampleResult",
    "count_distances",
    "expected_signature",
    "mean_within",
    "median_neuron_scale",
    "mmd2",
    "mmd2_from_grams",
    "mmd2_standard_error",
    "neuron_scale_by_power",
    "num_channels",
    "num_coordinates",
    "permutation_test",
    "signature",
    "signature_levels",
    "two_sample_test",
    "witness_function",
]
