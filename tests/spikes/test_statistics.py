"""Statistics beside elephant's, NumPy's and SciPy's."""

import warnings

import elephant.statistics as elephant
import jax
import jax.numpy as jnp
import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import cross_correlation_histogram
from scipy.stats import variation

import roughsnn as rs
from tests.strategies import given_trains

RATE = 20.0


@pytest.fixture(scope="module")
def recording() -> rs.SpikeTrains:
    """Forty trials of two neurons on [-0.5, 1.5]."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(RATE, (40, 2))
    counts[:3, 0] = [0, 1, 2]
    trials = [[np.sort(rng.uniform(-0.5, 1.5, n)) for n in row] for row in counts]
    return rs.SpikeTrains.from_lists(trials, t0=-0.5, t1=1.5)


def each(trains, statistic):
    return np.array([[statistic(np.diff(t)) for t in trial] for trial in trains.to_lists()])


def test_rates_and_intervals(recording):
    counts = np.asarray(recording.counts_by_neuron)
    np.testing.assert_allclose(rs.spike_rates(recording), counts / 2)
    intervals = np.asarray(rs.inter_spike_intervals(recording))
    for trial, row in zip(recording.to_lists(), intervals, strict=True):
        for times, own in zip(trial, row, strict=True):
            expected = np.diff(times)
            # Times of the recording are rounded once more than those since its start.
            np.testing.assert_allclose(own[: expected.size], expected, rtol=0, atol=1e-15)
            assert np.isinf(own[expected.size :]).all()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(rs.cv, variation), (rs.cv2, elephant.cv2), (rs.lv, elephant.lv)]
)
def test_irregularity_equals_elephants(recording, ours, theirs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of elephant, where there are too few intervals
        options = {} if theirs is variation else {"with_nan": True}
        expected = each(recording, lambda isi: theirs(isi, **options))
    np.testing.assert_allclose(ours(recording), expected, rtol=0, atol=1e-12)


def test_pooled_intervals(recording):
    isi = [np.concatenate([np.diff(trial[k]) for trial in recording.to_lists()]) for k in range(2)]
    np.testing.assert_allclose(rs.cv(recording, pooled=True), list(map(variation, isi)), rtol=1e-12)
    contrasts = [[], []]
    for trial in recording.to_lists():
        for neuron, times in enumerate(trial):
            intervals = np.diff(times)
            contrasts[neuron] += list(
                2 * abs(np.diff(intervals)) / (intervals[1:] + intervals[:-1])
            )
    expected = [np.mean(own) for own in contrasts]
    np.testing.assert_allclose(rs.cv2(recording, pooled=True), expected, rtol=1e-12)


def test_fano_factor_equals_elephants(recording):
    neurons = list(zip(*recording.to_lists(), strict=True))
    expected = [elephant.fanofactor(list(trials)) for trials in neurons]
    np.testing.assert_allclose(rs.fano_factor(recording), expected, rtol=1e-12)
    halves = [
        [np.sum(trial < 0.5) for trial in trials] + [np.sum(trial >= 0.5) for trial in trials]
        for trials in neurons
    ]
    expected = [np.var(counts) / np.mean(counts) for counts in halves]
    np.testing.assert_allclose(rs.fano_factor(recording, num_bins=2), expected, rtol=1e-12)


@given_trains()
def test_counts_are_those_of_numpy_with_spikes_on_the_edges(trains):
    for num_bins in (1, 8):
        counts = np.asarray(rs.binned_counts(trains, num_bins))
        edges = np.asarray(rs.bin_edges(trains, num_bins))
        for trial, rows in zip(trains.to_lists(), counts, strict=True):
            for times, row in zip(trial, rows, strict=True):
                np.testing.assert_array_equal(row, np.histogram(times, edges)[0])


def test_psth(recording):
    pooled = np.concatenate([trial[1] for trial in recording.to_lists()])
    expected = np.histogram(pooled, 10, (-0.5, 1.5))[0] / 40 / 0.2
    np.testing.assert_allclose(rs.psth(recording, 10)[1], expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::quantities.QuantitiesDeprecationWarning")
def test_correlograms_equal_elephants(recording):
    ours = rs.correlograms(recording, num_bins=200, max_lag=15)
    assert ours.shape == (2, 2, 31)
    expected = np.zeros((2, 2, 31))
    for trial in recording.to_lists():
        binned = [
            BinnedSpikeTrain(
                neo.SpikeTrain(times, units="s", t_start=-0.5 * pq.s, t_stop=1.5 * pq.s),
                bin_size=0.01 * pq.s,
            )
            for times in trial
        ]
        for i, j in np.ndindex(2, 2):
            found, _ = cross_correlation_histogram(binned[i], binned[j], window=[-15, 15])
            expected[i, j] += found.magnitude[:, 0]
    np.testing.assert_array_equal(ours, expected)


def test_silence_and_single_spikes():
    trains = rs.SpikeTrains.from_lists([[[], [0.5]], [[], [0.1, 0.3]]], t0=0, t1=1)
    np.testing.assert_array_equal(rs.cv(trains), [[np.nan, np.nan], [np.nan, 0]])
    assert np.isnan(rs.cv2(trains)).all()
    np.testing.assert_allclose(rs.fano_factor(trains), [np.nan, 0.25 / 1.5])
    none = rs.SpikeTrains.from_lists([[[], []]], t0=0, t1=1)
    assert rs.inter_spike_intervals(none).shape == (1, 2, 0)
    assert np.isnan(rs.cv(none)).all()
    np.testing.assert_array_equal(rs.psth(none, 3), np.zeros((2, 3)))


@pytest.mark.parametrize("statistic", [rs.cv, rs.cv2, rs.lv])
def test_derivatives(statistic, recording):
    # Padded trains; central differences with step 1e-6 have an error of about 1e-9.
    trains = recording[5:6].pad_to(60)

    def total(shift):
        times = trains.times + shift * jnp.sin(7 * jnp.where(trains.mask, trains.times, 0))
        moved = rs.SpikeTrains(times, trains.neurons, -0.5, 1.5, num_neurons=2)
        return jnp.sum(statistic(moved))

    total = jax.jit(total)
    ends = [total(jnp.asarray(step)) for step in (1e-6, -1e-6)]
    exact = jax.jit(jax.grad(total))(jnp.asarray(0.0))
    np.testing.assert_allclose(exact, (ends[0] - ends[1]) / 2e-6, atol=1e-6)


def test_errors(recording):
    with pytest.raises(ValueError, match="`num_bins` is 0; it must be 1 or more"):
        rs.binned_counts(recording, 0)
    with pytest.raises(ValueError, match="`max_lag` is 10; it must lie between 0 and"):
        rs.correlograms(recording, num_bins=10, max_lag=10)
