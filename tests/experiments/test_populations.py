"""Populations with shared slow currents."""

import dataclasses

import numpy as np
import pytest

from experiments.recorded_spike_trains.population.baselines import renewal_samples
from experiments.recorded_spike_trains.population.judging import (
    Recorded,
    fit_recorded,
    read_population,
    run_away,
    score,
)
from experiments.recorded_spike_trains.population.latents import Latents, find_latents
from experiments.recorded_spike_trains.population.network import generate
from experiments.recorded_spike_trains.reading import RecordingError

RHYTHM = Latents(np.array([[-0.1, 1.5], [-1.5, -0.1]]), np.eye(2), np.zeros((0, 2)), 0.1)


def inhomogeneous(random, path, bin, loads):
    """Poisson neurons whose log rates follow the currents."""
    rates = np.exp(0.9 * path @ loads + 0.5)
    counts = random.poisson(rates * bin)
    return [
        np.sort((np.repeat(np.arange(len(own)), own) + random.uniform(size=own.sum())) * bin)
        for own in counts.T
    ]


def recording(seconds=60.0, neurons=5):
    random = np.random.default_rng(1)
    path = RHYTHM.sample(round(seconds / 0.1), random)
    loads = random.normal(size=(2, neurons))
    spikes = inhomogeneous(random, path, 0.1, loads)
    return Recorded(spikes, 2 * seconds / 3, seconds, [str(n) for n in range(neurons)])


def test_paths_are_stationary_and_forget_as_the_drift_says():
    path = RHYTHM.sample(200_000, np.random.default_rng(0))
    # 20,000 s are two thousand times of forgetting: a few per cent
    np.testing.assert_allclose(path.T @ path / len(path), RHYTHM.covariance, atol=0.1)
    found = find_latents(np.tile(path[:40_000], 4), 0.1, width=0.01, lag=0.5)
    assert found.path.shape[1] == 2
    np.testing.assert_allclose(found.time_constants, 10.0, rtol=0.2)
    np.testing.assert_allclose(found.periods, 2 * np.pi / 1.5, rtol=0.05)


def test_shared_currents_bring_the_counts_and_correlations_of_the_population():
    recorded = recording()
    fitted = fit_recorded(recorded)
    seconds = recorded.seconds - recorded.cut
    own = generate(fitted, seconds, 5, 0)
    alone = renewal_samples(recorded.train, recorded.cut, seconds, 10, 0)
    assert run_away(own, recorded) == 0
    ours, renewal = score(recorded, [own], 0.2), score(recorded, [alone], 0.2)
    assert ours.count_kl < 0.75 * renewal.count_kl
    assert ours.correlation_rmse < 0.75 * renewal.correlation_rmse


def test_renewal_samples_have_the_rates():
    recorded = recording()
    samples = renewal_samples(recorded.train, recorded.cut, 40.0, 20, 0)
    rates = np.mean([[x.size for x in sample] for sample in samples], axis=0) / 40.0
    expected = np.array([x.size for x in recorded.train]) / recorded.cut
    # clustered spikes: of the mean of twenty samples some ten per cent
    np.testing.assert_allclose(rates, expected, rtol=0.4)
    twice = [[np.sort(np.r_[x, x]) for x in s] + [np.arange(0, 40, 0.001)] for s in samples]
    away = dataclasses.replace(recorded, spikes=[*recorded.spikes, np.arange(0.0, 80.0, 1.0)])
    assert run_away(twice, away) == 1


def test_what_is_no_population_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("time\n" + "\n".join(f"{0.1 * i:.1f}" for i in range(1, 90)))
    with pytest.raises(RecordingError, match="1 trials of 1 neurons; a population is two"):
        read_population(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="must last three lags"):
        find_latents(np.ones((20, 2)), 0.1, width=0.1, lag=1.0)
