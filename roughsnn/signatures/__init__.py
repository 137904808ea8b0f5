"""Signatures of paths."""

from .conditional_test import ConditionalTestResult, conditional_test
from .event_kernel import event_kernel, event_kernel_gram, suggested_neuron_scale
from .event_signature import event_signature, mean_event_signature
from .event_words import all_words, event_words, random_words
from .goursat import refined_paths, signature_kernel_gram
from .interval_kernel import IntervalKernel
from .joint_lift import joint_lift
from .kernel_ensemble import KernelEnsemble
from .landmarks import LandmarkFeatures, landmark_mmd2
from .log_signature import (
    event_log_signature,
    log_signature,
    logarithm,
    lyndon_words,
    num_log_coordinates,
)
from .mmd import mean_within, mmd2, mmd2_from_grams, mmd2_standard_error
from .permutations import aggregated_statistics
from .scale_selection import (
    ScaleSelection,
    count_distances,
    median_neuron_scale,
    neuron_scale_by_power,
)
from .signature_kernel import SignatureKernel
from .static_kernels import RBF, AbstractStaticKernel, Linear, Matern, RationalQuadratic
from .tensor_normalisation import TensorNormalisation
from .truncated import (
    expected_signature,
    num_channels,
    num_coordinates,
    signature,
    signature_levels,
)
from .two_sample import (
    TwoSampleResult,
    permutation_test,
    two_sample_test,
    witness_function,
)

__all__ = [
    "RBF",
    "AbstractStaticKernel",
    "ConditionalTestResult",
    "IntervalKernel",
    "KernelEnsemble",
    "LandmarkFeatures",
    "Linear",
    "Matern",
    "RationalQuadratic",
    "ScaleSelection",
    "SignatureKernel",
    "TensorNormalisation",
    "TwoSampleResult",
    "aggregated_statistics",
    "all_words",
    "conditional_test",
    "count_distances",
    "event_kernel",
    "event_kernel_gram",
    "event_log_signature",
    "event_signature",
    "event_words",
    "expected_signature",
    "joint_lift",
    "landmark_mmd2",
    "log_signature",
    "logarithm",
    "lyndon_words",
    "mean_event_signature",
    "mean_within",
    "median_neuron_scale",
    "mmd2",
    "mmd2_from_grams",
    "mmd2_standard_error",
    "neuron_scale_by_power",
    "num_channels",
    "num_coordinates",
    "num_log_coordinates",
    "permutation_test",
    "random_words",
    "refined_paths",
    "signature",
    "signature_kernel_gram",
    "signature_levels",
    "suggested_neuron_scale",
    "two_sample_test",
    "witness_function",
]
