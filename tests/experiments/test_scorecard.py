"""The scorecard of population activity."""

import numpy as np
import pytest

from experiments.recorded_spike_trains.scorecard import Activity, count_kl, scorecard


def poisson(random, rates, seconds, shared=0.0):
    """Neurons with rates in spikes per second, and spikes that all of them share."""
    common = random.uniform(0, seconds, random.poisson(shared * seconds))
    own = [random.uniform(0, seconds, random.poisson(rate * seconds)) for rate in rates]
    return [np.sort(np.r_[x, common]) for x in own]


def test_the_same_activity_scores_nothing_and_another_law_more_than_the_floor():
    random = np.random.default_rng(0)
    rates, spans = [4.0, 7.0, 11.0], np.array([[0.0, 90.0], [110.0, 200.0]])
    first = Activity(poisson(random, rates, 200.0, shared=3.0), spans)
    same = scorecard(first, first, 0.05)
    assert (same.count_kl, same.correlation_rmse) == (0.0, 0.0)
    assert (same.interval_mean_rmse, same.interval_sd_rmse) == (0.0, 0.0)
    floor = scorecard(first, Activity(poisson(random, rates, 200.0, shared=3.0), spans), 0.05)
    alone = [rate + 3.0 for rate in rates]
    other = scorecard(first, Activity(poisson(random, alone, 200.0), spans), 0.05)
    # independent neurons of the same rates: intervals as good as the floor, the rest far above it
    assert other.count_kl > 5 * floor.count_kl
    assert other.correlation_rmse > 5 * floor.correlation_rmse
    assert other.interval_mean_rmse < 0.03


def test_counts_and_intervals_stay_within_their_stretches():
    spikes = [np.array([0.5, 1.5, 1.6, 5.1, 5.4]), np.array([1.2])]
    activity = Activity(spikes, np.array([[1.0, 2.0], [5.0, 6.0]]))
    np.testing.assert_array_equal(activity.counts(0.5), [[0, 1], [2, 0], [2, 0], [0, 0]])
    np.testing.assert_allclose(activity.intervals(0), [0.1, 0.3])
    assert activity.seconds == 2.0


def test_the_divergence_of_counts_by_hand():
    # none, one, more: (1, 3, 0) + 1/2 against (2, 1, 1) + 1/2, of four each
    p, q = np.array([1.5, 3.5, 0.5]) / 5.5, np.array([2.5, 1.5, 1.5]) / 5.5
    found = count_kl(np.array([0, 1, 1, 1]), np.array([0, 0, 9000, 1]))
    assert found == pytest.approx(np.sum(p * np.log(p / q)))


def test_what_cannot_be_compared_is_refused():
    activity = Activity([np.array([0.1])], np.array([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="they must have the same"):
        scorecard(activity, Activity([np.zeros(1)] * 2, activity.spans), 0.1)
    with pytest.raises(ValueError, match="`bin` is 1 s"):
        scorecard(activity, activity, 1.0)
