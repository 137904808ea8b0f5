"""The test of conditional laws: exact for the true model, awake for one that ignores what it is
given."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.signatures import conditional_test

WINDOWS, EACH, ROOM = 12, 5, 8


def trains(random, rates):
    """Poisson trains in a window of length 1, with at most `ROOM` spikes."""
    rates = np.asarray(rates)
    counts = np.minimum(random.poisson(rates), ROOM)
    times = np.sort(random.uniform(size=(*rates.shape, ROOM)), axis=-1)
    mask = np.arange(ROOM) < counts[..., None]
    first = np.sort(np.where(mask, times, np.inf), axis=-1)
    return rs.SpikeTrains(
        jnp.asarray(first), jnp.asarray(np.where(mask, 0, -1), jnp.int32), 0.0, 1.0, num_neurons=1
    )


def p_values(repeats, generated_rates):
    """p-values of tests of a sample whose rate is its condition, 1 to 4."""
    random = np.random.default_rng(0)
    conditions = np.linspace(1.0, 4.0, WINDOWS)
    found = []
    for number in range(repeats):
        observed = trains(random, conditions)
        rates = np.repeat(generated_rates(conditions)[:, None], EACH, axis=1)
        result = conditional_test(
            observed, trains(random, rates), jnp.asarray(conditions), key=jr.key(number),
            num_assignments=99,
        )  # fmt: skip
        found.append(float(result.p_value))
    return np.array(found)


def test_the_true_model_is_rejected_as_often_as_the_level_says():
    found = p_values(60, lambda c: c)
    # of 60 uniform p-values 12 are below 0.2; five standard deviations are 15
    assert abs(np.sum(found <= 0.2) - 12) <= 15
    assert 0.35 < found.mean() < 0.65  # 0.5 with a standard error of 0.037


def test_a_model_that_answers_the_wrong_way_is_rejected():
    found = p_values(8, lambda c: c[::-1])
    assert np.sum(found <= 0.05) >= 6


def test_shapes_that_do_not_fit_are_refused():
    random = np.random.default_rng(0)
    observed = trains(random, np.ones(WINDOWS))
    with pytest.raises(ValueError, match=r"they must be \(W,\), \(W, M\) and W"):
        conditional_test(observed, observed, jnp.ones(WINDOWS), key=jr.key(0))
