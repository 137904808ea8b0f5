"""The resetting stochastic LIF neuron against a Fokker-Planck equation and the inverse Gaussian."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import roughsnn as rs

from .independent import survival


def test_intervals_have_the_law_of_a_killed_diffusion():
    mu1, current, sigma, reset_to = 0.8, 1.6, 0.9, -0.2
    neuron = rs.ResettingStochasticLIF(
        1, mu1=mu1, sigma=sigma, reset_to=reset_to, alpha=1e-4,
        intensity=rs.ExponentialIntensity(1.0, 4.0, 0.5),
    )  # fmt: skip
    trains = rs.simulate(
        neuron, 0.0, 30.0, 0.01, key=jr.key(0), num_samples=700, max_spikes=6, stop_after=6,
        input_current=jnp.asarray(current),
    )  # fmt: skip
    times = np.asarray(trains.times)
    assert np.all(np.isfinite(times))
    x = np.diff(times, axis=1, prepend=0.0)
    at = np.array([0.2, 0.4, 0.6, 0.9, 1.3, 2.0])
    expected = survival(
        mu1, current, sigma, reset_to, lambda v: np.exp(4 * (v - 1)) / 0.5, at, -4.0, 3.5
    )
    found = (x.ravel()[:, None] > at).mean(axis=0)
    # five standard errors of 4200 intervals, and 0.01 for Euler's step and the scheme
    slack = 5 * np.sqrt(expected * (1 - expected) / x.size) + 0.01
    assert np.all(np.abs(found - expected) < slack)
    assert 0.05 < expected[-1] < expected[0] < 0.99
    # they are independent: correlations of 700 pairs, five standard errors
    correlation = np.corrcoef(x.T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(x))


def test_a_steep_intensity_is_a_threshold_where_the_docstring_says():
    """Against the inverse Gaussian law, by the same equation on a fine grid, without simulation."""
    sigma, drift, beta = 1.0, 1.0, 40.0
    v_star = 2 / beta * (np.log(beta * sigma / np.sqrt(2)) - np.euler_gamma)
    at = np.array([0.15, 0.3, 0.6, 1.0, 2.0, 3.0])
    # no leak: a drift far from the current that pulls
    found = survival(
        1e-6, drift * 1e6, sigma, v_star - 1.0, lambda v: np.exp(np.minimum(beta * v, 25.0)), at,
        -6.0, 1.0, points=6000, steps=3000,
    )  # fmt: skip
    expected = stats.invgauss(1.0 / 1.0, scale=1.0).sf(at)
    # a threshold as soft as 1/beta shifts the law by about its square; the grid by its first order
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_formulas_and_conditions():
    neuron = rs.ResettingStochasticLIF(
        2, mu1=3.0, mu2=2.0, reset_to=jnp.array([-0.3, 0.1]), alpha=0.1,
        intensity=rs.SigmoidIntensity(0.5, 2.0, 4.0),
    )  # fmt: skip
    start = neuron.initial_state(jr.key(0))
    np.testing.assert_array_equal(start.v, [-0.3, 0.1])
    y = rs.LIFState(jnp.array([0.2, 1.1]), jnp.array([0.3, -0.2]), jnp.array([-0.4, -1e-9]))
    t = jnp.zeros(())
    dy = neuron.drift(t, y, 1.0)
    np.testing.assert_allclose(dy.v, 3 * (np.array([1.3, 0.8]) - y.v))
    np.testing.assert_allclose(dy.i, [-0.6, 0.4])
    np.testing.assert_allclose(dy.s, 4 / (1 + np.exp(-2 * (np.array([0.2, 1.1]) - 0.5))))
    after = neuron.transition(t, y, jnp.asarray(1), jnp.asarray(0.25), None)
    np.testing.assert_allclose(after.v, [0.2, 0.1])
    np.testing.assert_array_equal(after.i, y.i)
    np.testing.assert_allclose(after.s, [-0.4, np.log(0.25) - 0.1])
    # what a spike forgets: nothing but the potential; so noise of the current commutes with it
    jump = jax.jacobian(lambda y: neuron.transition(t, y, jnp.asarray(1), jnp.asarray(0.5), None))(
        y
    )
    np.testing.assert_array_equal(jump.v.v, np.diag([1.0, 0.0]))
    np.testing.assert_array_equal(jump.i.i, np.eye(2))
    with pytest.raises(TypeError, match="intensity"):
        rs.ResettingStochasticLIF(1, intensity=3.0)
