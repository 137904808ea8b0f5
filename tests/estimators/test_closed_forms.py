"""Estimators against derivatives of expected losses that are known without simulating."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import gammainc

import roughsnn as rs

ESTIMATORS = {
    "boundary": rs.PathwiseWithBoundary(),
    "few candidates": rs.PathwiseWithBoundary(num_candidates=40),
    "score": rs.ScoreFunction(),
    "score, steep": rs.ScoreFunction(ramp=0.02),
    "score, no baseline": rs.ScoreFunction(controls=0),
}
COUNT = rs.MeanLoss(lambda trains: trains.counts.astype(trains.times.dtype))


def estimates(estimator, model, simulate, loss, blocks, seed=0):
    """Gradients of several blocks, flattened: their mean, and its standard error."""

    def one(key):
        gradient = estimator(model, simulate, loss, key).gradient
        return jnp.stack(jax.tree.leaves(gradient))

    found = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(seed), blocks)))
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(blocks)


def assert_within(mean, error, truth, width=4.0):
    """Four standard errors: one in 16000 for each entry, and the seed is fixed."""
    z = np.abs(mean - truth) / error
    assert np.all(z < width), f"{mean} +- {error}, not {truth}: z = {z}"


def mean_count(operational_time, alpha):
    """E N_T of a neuron whose n-th spike comes at the integrated intensity n alpha + Gamma(n)."""
    n = np.arange(1, 100)
    return np.sum(gammainc(n, np.maximum(operational_time - n * alpha, 0)))


def derivative(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def renewal(point, key, size, window=1.0):
    alpha, tau_s = point
    neuron = rs.StochasticLIF(1, mu1=1.0, mu2=1.0, beta=0.0, sigma=None, alpha=alpha, tau_s=tau_s)
    return rs.simulate_trials(
        neuron, 0.0, window, 0.25, key=key, num_samples=size, max_spikes=10, throw=False
    )


POINT = (jnp.asarray(0.3), jnp.asarray(0.4))
TRUTH = np.array(
    [
        derivative(lambda a: mean_count(1 / 0.4, a), 0.3),
        derivative(lambda tau: mean_count(1 / tau, 0.3), 0.4),
    ]
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in ("boundary", "score") else pytest.mark.slow)
        for n in ESTIMATORS
    ],
)
def test_count_of_a_renewal_process(name):
    def simulate(point, key):
        return renewal(point, key, 50)

    blocks = 1000 if name == "score, no baseline" else 200
    mean, error = estimates(ESTIMATORS[name], POINT, simulate, COUNT, blocks)
    assert_within(mean, error, TRUTH)
    if name == "boundary":
        # not by being vague: a few percent of the derivative
        assert np.all(error < 0.05 * np.abs(TRUTH))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boundary", "score"])
def test_a_single_trial_at_a_time(name):
    def simulate(point, key):
        return renewal(point, key, 1)

    mean, error = estimates(ESTIMATORS[name], POINT, simulate, COUNT, 20_000)
    assert_within(mean, error, TRUTH)


def test_each_term_of_the_correction():
    """Trial by trial: with N spikes so far the residual is T / tau_s - (N + 1) alpha + the sum of
    N + 1 logarithms."""
    trials = jax.jit(lambda: renewal(POINT, jr.key(1), 64))()
    last = np.max(np.where(trials.trains.mask, trials.trains.times, 0), axis=-1)
    excess = (1 - last) / 0.4 - 0.3
    np.testing.assert_allclose(np.asarray(trials.excess[:, 0]), excess, atol=1e-12)
    number = np.asarray(trials.trains.counts) + 1
    expected = [-np.mean((excess > 0) * number), -np.mean(excess > 0) / 0.4**2]

    @jax.jit
    def run(point, key):
        simulate = lambda p, k: renewal(p, k, 64)  # noqa: E731
        pathwise = rs.Pathwise()(point, simulate, COUNT, key).gradient
        return rs.PathwiseWithBoundary()(point, simulate, COUNT, key), pathwise

    estimate, pathwise = run(POINT, jr.key(1))
    # a count is flat in the spike times
    assert [float(x) for x in pathwise] == [0.0, 0.0]
    np.testing.assert_allclose(np.asarray(estimate.gradient), expected, rtol=1e-10)
    np.testing.assert_allclose(estimate.diagnostics["exposed"], np.mean(excess > 0))
    np.testing.assert_allclose(estimate.diagnostics["largest_change"], 1 / 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boundary", "score"])
def test_first_spike_with_a_known_potential(name):
    """P(a spike in [0, T]) = 1 - exp(alpha - Lambda), with Lambda of v = c (1 - exp(-mu t)); the
    spikes of the trials end them, except in those that have none."""
    mu, beta, window, alpha = 5.0, 2.0, 0.6, 0.1

    def simulate(current, key):
        neuron = rs.StochasticLIF(1, mu1=mu, beta=beta, sigma=None, alpha=alpha)
        return rs.simulate_trials(
            neuron, 0.0, window, 0.01, key=key, num_samples=100, max_spikes=1, stop_after=1,
            input_current=current,
        )  # fmt: skip

    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = window * (nodes + 1) / 2

    def probability(current):
        rate = np.exp(beta * (current * (1 - np.exp(-mu * t)) - 1))
        return 1 - np.exp(alpha - window / 2 * np.sum(weights * rate))

    mean, error = estimates(ESTIMATORS[name], jnp.asarray(1.5), simulate, COUNT, 100)
    # Euler's error at this step is 0.3 %, a tenth of the standard error
    assert_within(mean, error, derivative(probability, 1.5))


@pytest.mark.slow
def test_which_of_two_neurons_comes_first():
    """Trials that end at their first spike: the loss jumps where the two change places."""
    alpha, tau0, tau1 = 0.2, 0.5, 0.8

    def simulate(tau_s, key):
        neurons = rs.StochasticLIF(2, beta=0.0, sigma=None, alpha=alpha, tau_s=tau_s)
        return rs.simulate_trials(
            neurons, 0.0, 30.0, 10.0, key=key, num_samples=100, max_spikes=1, stop_after=1
        )

    def probability(tau0, tau1):
        # neuron 1 is first: it waits until tau1 alpha, by when 0 may have fired
        waits = np.exp(-alpha * (tau1 - tau0) / tau0)
        return 1 - waits * tau0 / (tau0 + tau1)

    loss = rs.MeanLoss(lambda trains: (trains.neurons[..., 0] == 0).astype(trains.times.dtype))

    def one(key):
        tau_s = jnp.array([tau0, tau1])
        return rs.PathwiseWithBoundary()(tau_s, simulate, loss, key).gradient

    found = np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(3), 200)))
    truth = [
        derivative(lambda x: probability(x, tau1), tau0),
        derivative(lambda x: probability(tau0, x), tau1),
    ]
    assert_within(found.mean(0), found.std(0, ddof=1) / np.sqrt(200), truth)


@pytest.mark.slow
def test_single_precision():
    with jax.enable_x64(False):
        point = (jnp.asarray(0.3), jnp.asarray(0.4))

        def simulate(point, key):
            return renewal(point, key, 50)

        for estimator in (rs.PathwiseWithBoundary(), rs.ScoreFunction()):
            gradient = estimator(point, simulate, COUNT, jr.key(0)).gradient
            assert all(x.dtype == jnp.float32 for x in gradient)
            mean, error = estimates(estimator, point, simulate, COUNT, 200)
            assert_within(mean, error, TRUTH)
