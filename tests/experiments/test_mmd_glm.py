"""The GLM that is trained by the MMD of its free-running samples."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from experiments.recorded_spike_trains.mmd_glm import MMDGLM

BIN, PAST = 0.1, 8


def glm(bias: float, weight: float) -> Any:
    """With two functions of the past, and without the fit to a recording."""
    made = cast(Any, object.__new__(MMDGLM))
    made.bin, made.past = BIN, PAST
    made.kernels = np.stack([np.exp(-np.arange(PAST) / 2.0), np.ones(PAST)], axis=1)
    made._take(np.array([bias, weight, 0.1]))
    return made


def test_scores_are_the_derivatives_of_log_probabilities():
    """Against differences of the probability of each bin, written out with a loop over the past."""
    model = glm(-1.5, 0.6)
    fired = model.simulated(np.random.default_rng(0), 40, 3)
    assert 5 < fired.sum() < 100

    def log_probability(x):
        total = np.zeros(3)
        for train in range(3):
            for step in range(40):
                past = [fired[step - 1 - lag, train] if step > lag else 0.0 for lag in range(PAST)]
                rate = np.exp(x[0] + past @ model.kernels @ x[1:])
                chance = -np.expm1(-rate)
                total[train] += np.log(chance if fired[step, train] else 1 - chance)
        return total

    x, h = np.array([-1.5, 0.6, 0.1]), 1e-5
    expected = [
        (log_probability(x + h * unit) - log_probability(x - h * unit)) / (2 * h)
        for unit in np.eye(3)
    ]
    np.testing.assert_allclose(model._scores_of(fired), np.transpose(expected), atol=1e-6)


def test_a_glm_that_runs_away_is_brought_back():
    """Recorded are Poisson trains of 2 Hz; the GLM excites itself until every bin has a spike."""
    random = np.random.default_rng(0)
    windows = [np.sort(random.uniform(0, 5, random.poisson(10))) for _ in range(40)]
    part = SimpleNamespace(window=5.0, train_windows=windows, train=np.full(400, 0.5))
    model = glm(np.log(0.2), 0.8)
    model.design = np.zeros((2000, 2)), np.repeat([0.0, 1.0], [1600, 400])

    def rate():
        return model.simulated(np.random.default_rng(1), 200, 50)[PAST:].mean() / BIN

    assert rate() > 8
    model.train(part, random, steps=120, trains=32, rate=0.05, likelihood=0.1)
    assert 1.5 < rate() < 2.7
