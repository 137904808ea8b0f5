"""Signatures of paths."""

from .event_kernel import event_kernel, event_kernel_gram, suggested_neuron_scale
from .event_signature import event_signature
from .goursat import signature_kernel_gram
from .mmd import mean_within, mmd2, mmd2_from_grams, mmd2_standard_error
from .scale_selection import (
    ScaleSelection,
    count_distances,
    median_neuron_scale,
    neuron_scale_by_power,
)
from .signature_kernel import SignatureKernel
from .static_kernels import RBF, AbstractStaticKernel, Linear, Matern, RationalQuadratic
from .truncated import (
    expected_signature,
    num_channels,
    num_coordinates,
    signature,
    signature_levels,
)
from .two_sample import (
    TwoSampleResult,
    aggregated_statistics,
    permutation_test,
    two_sample_test,
    witness_function,
)

__all__ = [
    "RBF",
    "AbstractStaticKernel",
    "Linear",
    "Matern",
    "RationalQuadratic",
    "ScaleSelection",
    "SignatureKernel",
    "TwoSampleResult",
    "aggregated_statistics",
    "count_distances",
    "event_kernel",
    "event_kernel_gram",
    "event_signature",
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
    "signature_kernel_gram",
    "signature_levels",
    "suggested_neuron_scale",
    "two_sample_test",
    "witness_function",
]
