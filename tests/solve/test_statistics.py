"""The law of the first spike, against simulators and formulas that share no code with the package:
the study `first-spike-statistics`, whose simulators by thinning are numpy alone."""

import pytest

from experiments.benchmarks.first_spike_statistics import (
    constant_intensity,
    ornstein_uhlenbeck_intensity,
)

# the level of each test; seeds are fixed, so that a right solver passes always
P_VALUE = 0.01


def _judge(found):
    for name, p in found.items():
        # a law that is another one is told apart by so many samples
        assert p < P_VALUE if "another" in name else p > P_VALUE, (name, p)


def test_constant_intensity():
    _judge(constant_intensity(100_000, 1))


def test_intensity_driven_by_an_ornstein_uhlenbeck_process():
    _judge(ornstein_uhlenbeck_intensity(20_000, 3))


@pytest.mark.slow
def test_intensity_driven_by_an_ornstein_uhlenbeck_process_with_many_samples():
    _judge(ornstein_uhlenbeck_intensity(100_000, 4))
