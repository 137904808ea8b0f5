"""The kernel of intervals: its formula written out, and the distance of Anderson and Darling."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.signatures import IntervalKernel, mmd2_from_grams, two_sample_test
from roughsnn.spikes import SpikeTrains

from .test_event_kernel import random_trains


def intervals_by_hand(trains, source, target):
    """Of each train, the times from spikes of one neuron to the next of another, one by one."""
    result = []
    for times, neurons in zip(np.asarray(trains.times), np.asarray(trains.neurons), strict=True):
        from_times, to_times = times[neurons == source], times[neurons == target]
        later = np.greater if source == target else np.greater_equal
        nexts = [to_times[later(to_times, t)] for t in from_times]
        result.append([n.min() - t for t, n in zip(from_times, nexts, strict=True) if n.size])
    return result


def features_by_hand(trains, source, target, num_quantiles):
    intervals = intervals_by_hand(trains, source, target)
    everything = np.sort(np.concatenate(intervals))
    columns = []
    for g in range(num_quantiles):
        length = everything[int((g + 0.5) / num_quantiles * len(everything))]
        share = np.mean(everything <= length)
        if share < 1:
            short = [np.sum(np.asarray(own) <= length) - share * len(own) for own in intervals]
            columns.append(np.array(short) / np.sqrt(share * (1 - share)))
    return np.array(columns).T / num_quantiles**0.5


@pytest.mark.parametrize("between", [False, True])
def test_gram_written_out(between):
    trains = random_trains(6, 3, 12, 0)
    expected = 0
    for source in range(3):
        for target in range(3):
            if (source != target) == between:
                features = features_by_hand(trains, source, target, 16)
                expected = expected + features @ features.T
    gram = jax.jit(IntervalKernel(between, num_quantiles=16))(trains)
    np.testing.assert_allclose(gram, expected, rtol=1e-10, atol=1e-10)
    # Padding is nothing, and time has no unit.
    longer = SpikeTrains(
        4 * trains.pad_to(20).times, trains.pad_to(20).neurons, 0.0, 4.0, num_neurons=3
    )
    again = IntervalKernel(between, num_quantiles=16)(longer)
    np.testing.assert_allclose(again, expected, rtol=1e-10, atol=1e-10)


def test_mmd_is_the_distance_of_anderson_and_darling():
    random = np.random.default_rng(1)
    # Six spikes, five intervals each; quantiles at every interval.
    times = np.sort(random.random((10, 6)), axis=1)
    trains = SpikeTrains(jnp.asarray(times), jnp.zeros((10, 6), int), 0.0, 1.0, num_neurons=1)
    gram = IntervalKernel(num_quantiles=50)(trains)
    x, y = slice(0, 4), slice(4, 10)
    mmd2 = mmd2_from_grams(gram[x, x], gram[y, y], gram[x, y], "biased")
    first, second = np.diff(times[x]).ravel(), np.diff(times[y]).ravel()
    m, n, total = 20, 30, 50
    # Scholz and Stephens, equation 3, for two samples without ties.
    statistic = 0
    for j, length in enumerate(np.sort(np.concatenate([first, second]))[:-1], start=1):
        below = np.sum(first <= length)
        statistic += (total * below - m * j) ** 2 / (j * (total - j)) / (m * n)
    np.testing.assert_allclose(m * n / total * mmd2 / 5**2, statistic, rtol=1e-10)


def test_spikes_at_one_time_are_between_neurons_at_once():
    trains = SpikeTrains.from_lists(
        [[[0.25, 0.5], [0.25, 0.75]], [[0.5], [0.25]]], t0=0.0, t1=1.0, max_spikes=5
    )
    assert intervals_by_hand(trains, 0, 1) == [[0.0, 0.25], []]
    assert intervals_by_hand(trains, 1, 0) == [[0.0], [0.25]]
    gram = IntervalKernel(between=True, num_quantiles=2)(trains)
    expected = sum(
        f @ f.T for f in (features_by_hand(trains, i, 1 - i, 2) for i in (0, 1)) if f.size
    )
    np.testing.assert_allclose(gram, expected, rtol=1e-12)


def test_trains_without_intervals_are_alike():
    empty = SpikeTrains.from_lists([[[]], [[0.5]], [[]], [[0.2]]], t0=0.0, t1=1.0, max_spikes=3)
    np.testing.assert_array_equal(IntervalKernel()(empty), np.zeros((4, 4)))
    nothing = SpikeTrains(jnp.zeros((3, 0)), jnp.zeros((3, 0), int), 0.0, 1.0, num_neurons=2)
    np.testing.assert_array_equal(IntervalKernel(between=True)(nothing), np.zeros((3, 3)))
    result = two_sample_test(
        empty[:2], empty[2:], IntervalKernel(), key=jr.key(0), num_permutations=19
    )
    assert result.p_value == 1


def test_the_default_test_sees_who_fires_first():
    """Each neuron's own law is the same in both samples, and so are all numbers of spikes."""
    random = np.random.default_rng(2)

    def sample(delay):
        leaders = np.sort(random.uniform(0.1, 0.9, (16, 5)), axis=1)
        return SpikeTrains.from_lists(
            [[row, row + delay] for row in leaders], t0=0.0, t1=1.0, max_spikes=10
        )

    result = two_sample_test(sample(0.03), sample(-0.03), key=jr.key(0), num_permutations=199)
    assert result.p_value == 1 / 200


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="`num_quantiles` is 0"):
        IntervalKernel(num_quantiles=0)
    with pytest.raises(ValueError, match="`trains` has batch shape"):
        IntervalKernel()(random_trains(4, 1, 3, 0).reshape(2, 2))
