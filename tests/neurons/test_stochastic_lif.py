"""The statistics of a stochastic LIF neuron, its forms of noise, and its parameters."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import roughsnn as rs

ALPHA, TAU_S = 0.3, 0.2


@pytest.fixture(scope="module")
def intervals():
    """Intervals between spikes at constant intensity (beta = 0): tau_s (alpha + Exp(1)).

    The first 12 of each trial, whatever the noise, from 12 until about t = 3.1 of 8: cutting at
    the horizon would prefer short ones.
    """
    neuron = rs.StochasticLIF(1, mu1=5.0, beta=0.0, alpha=ALPHA, tau_s=TAU_S, sigma=0.5)
    trains = rs.simulate(
        neuron, 0.0, 12.0, 0.1, key=jr.key(0), num_samples=1500, max_spikes=12, stop_after=12
    )
    assert np.all(trains.counts == 12)
    return np.diff(np.asarray(trains.times), prepend=0.0, axis=1)


def test_intervals_at_constant_intensity(intervals):
    # 18,000 intervals; bounds of five standard errors (the variance of a sample variance of an
    # exponential is 8 / n). The first one is an interval too, as s starts at log u - alpha.
    x = intervals.ravel()
    n = x.size
    assert abs(x.mean() - TAU_S * (1 + ALPHA)) < 5 * TAU_S / np.sqrt(n)
    assert abs(x.var() - TAU_S**2) < 5 * TAU_S**2 * np.sqrt(8 / n)
    assert x.min() >= ALPHA * TAU_S - 1e-12
    assert stats.kstest(x / TAU_S - ALPHA, "expon").pvalue > 1e-3


def test_survival_of_an_interval(intervals):
    x = intervals.ravel()
    for t in (0.05, 0.1, 0.2, 0.4, 0.8):
        expected = min(1.0, np.exp(ALPHA - t / TAU_S))
        error = np.sqrt(expected * (1 - expected) / x.size)
        assert abs((x > t).mean() - expected) <= 5 * error


def test_intervals_are_independent(intervals):
    correlation = np.corrcoef(intervals.T) - np.eye(12)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(intervals))


@pytest.mark.parametrize("bridge", ["linear", "bridge"])
def test_potential_between_spikes_is_an_ornstein_uhlenbeck_process(bridge):
    """Without spikes (a threshold out of reach), Euler's moments are known in closed form: mean
    c + (v0 - c) q^n and variance sigma^2 dt (1 - q^2n) / (1 - q^2) with q = 1 - mu1 dt; they are
    those of the process, sigma^2 / (2 mu1), to the order of dt."""
    mu1, sigma, c, v0, dt, n = 4.0, 0.5, 0.7, -1.0, 0.01, 8000
    neuron = rs.StochasticLIF(1, mu1=mu1, sigma=sigma, v_th=50.0, v0=v0)
    out = rs.simulate_solution(
        neuron, 0.0, 2.0, dt, key=jr.key(1), num_samples=n, max_spikes=1, input_current=c,
        noise=rs.BrownianNoise(bridge), saveat=dfx.SaveAt(ts=[0.1, 2.0]),
    )  # fmt: skip
    assert np.all(out.num_events == 0)
    v, q = np.asarray(out.ys.v)[:, :, 0], 1 - mu1 * dt
    for j, steps in enumerate((10, 200)):
        mean = c + (v0 - c) * q**steps
        variance = sigma**2 * dt * (1 - q ** (2 * steps)) / (1 - q**2)
        # five standard errors
        assert abs(v[:, j].mean() - mean) < 5 * np.sqrt(variance / n)
        assert abs(v[:, j].var() - variance) < 5 * variance * np.sqrt(2 / n)
    assert abs(v[:, 1].var() / (sigma**2 / (2 * mu1)) - 1) < mu1 * dt + 5 * np.sqrt(2 / n)


def test_potential_with_spikes_is_unchanged_by_where_events_cut_the_steps():
    """With v_reset = 0 spikes cut steps but do not move v, so its law is the same process, to the
    order of dt: exact bridges keep the variance, of which lines would lose some per cent."""
    mu1, sigma, dt, n = 2.0, 0.5, 0.05, 8000
    neuron = rs.StochasticLIF(1, mu1=mu1, sigma=sigma, beta=0.0, tau_s=0.05, v_reset=0.0, alpha=0.1)
    out = rs.simulate_solution(
        neuron, 0.0, 1.5, dt, key=jr.key(1), num_samples=n, max_spikes=80,
        noise=rs.BrownianNoise("bridge"),
    )  # fmt: skip
    assert out.num_events.mean() > 20
    variance = sigma**2 / (2 * mu1) * (1 - np.exp(-2 * mu1 * 1.5))
    v = np.asarray(out.final_state.v)
    assert abs(v.var() / variance - 1) < mu1 * dt + 5 * np.sqrt(2 / n)
    assert abs(v.mean()) < 5 * np.sqrt(variance / n)


def test_noise_matrix_of_both_potential_and_current():
    """The covariance of (v, i) after one short step is sigma sigma^T dt."""
    sigma = jnp.array([[0.5, 0.2], [-0.3, 0.4]])
    neuron = rs.StochasticLIF(2, sigma=sigma, v_th=50.0)
    n, dt = 20_000, 1e-3
    out = rs.simulate_solution(
        neuron, 0.0, dt, dt, key=jr.key(1), num_samples=n, max_spikes=1
    ).final_state
    x = np.stack([out.v[:, 0], out.i[:, 0], out.v[:, 1], out.i[:, 1]]) / np.sqrt(dt)
    expected = np.kron(np.eye(2), sigma @ sigma.T)
    assert np.abs(np.cov(x) - expected).max() < 5 * 0.3 * np.sqrt(2 / n)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.3, jnp.array([0.3, 0.3])),
        (jnp.array([[0.3, 0.1], [0.0, 0.2]]), jnp.array([[[0.3, 0.1], [0.0, 0.2]]] * 2)),
    ],
)
def test_a_shared_noise_strength_is_one_for_each_neuron(one, other):
    a, b = (rs.StochasticLIF(2, sigma=sigma) for sigma in (one, other))
    assert a.noise_shape == b.noise_shape
    y = a.initial_state(jr.key(0))
    dx = jr.normal(jr.key(1), a.noise_shape)
    t = jnp.asarray(0.0)
    for x, z in zip(a.diffusion(t, y, None).mv(dx), b.diffusion(t, y, None).mv(dx), strict=True):
        np.testing.assert_array_equal(x, z)


def test_formulas():
    neuron = rs.StochasticLIF(
        2, mu1=3.0, mu2=jnp.array([1.0, 2.0]), v_reset=0.7, v_th=0.9, beta=4.0, tau_s=0.5, alpha=0.1
    )
    y = rs.LIFState(jnp.array([0.2, 1.1]), jnp.array([0.3, -0.2]), jnp.array([-0.4, -1e-9]))
    t = jnp.asarray(0.0)
    dy = neuron.drift(t, y, lambda t: jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(dy.v, 3 * (np.array([1.3, 0.3]) - y.v))
    np.testing.assert_allclose(dy.i, [-0.3, 0.4])
    np.testing.assert_allclose(dy.s, np.exp(4 * (y.v - 0.9)) / 0.5)
    np.testing.assert_array_equal(neuron.event(t, y, None), y.s)
    after = neuron.transition(t, y, jnp.asarray(1), jnp.asarray(0.25), None)
    np.testing.assert_allclose(after.v, [0.2, 0.4])
    np.testing.assert_array_equal(after.i, y.i)
    np.testing.assert_allclose(after.s, [-0.4, np.log(0.25) - 0.1])
    np.testing.assert_array_equal(neuron.receive(y, jnp.ones(2)).i, y.i + 1)
    # far above the threshold the intensity is capped, and stays finite
    assert neuron.intensity(jnp.array([1e3, 1e300])) == pytest.approx(np.exp(40.0) / 0.5)


def test_initial_states_do_not_depend_on_the_number_of_neurons():
    few, many = (rs.StochasticLIF(k, v0=0.3, i0=-0.1).initial_state(jr.key(2)) for k in (2, 5))
    np.testing.assert_array_equal(few.s, many.s[:2])
    np.testing.assert_array_equal(many.v, np.full(5, 0.3))
    np.testing.assert_array_equal(many.i, np.full(5, -0.1))
    assert np.unique(many.s).size == 5
    keys = jr.split(jr.key(3), 20_000)
    s = jax.vmap(lambda k: rs.StochasticLIF(1, alpha=0.2).initial_state(k).s[0])(keys)
    assert stats.kstest(-np.asarray(s) - 0.2, "expon").pvalue > 1e-3


def test_every_parameter_is_a_leaf():
    leaves = jax.tree.leaves(eqx.filter(rs.StochasticLIF(3), eqx.is_inexact_array))
    assert len(leaves) == 10
    assert rs.StochasticLIF(3, sigma=None).noise_shape is None


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        (dict(num_neurons=0), "`num_neurons` must be an integer of at least 1, got 0"),
        (dict(mu1=-1.0), "`mu1` must not be negative, got -1.0"),
        (dict(mu2=-0.1), "`mu2` must not be negative"),
        (dict(beta=-2), "`beta` must not be negative, got -2"),
        (dict(tau_s=0.0), "`tau_s` must be positive, got 0.0"),
        (dict(tau_s=-1.0), "`tau_s` must be positive"),
        (dict(alpha=0.0), "`alpha` must be positive"),
        (dict(alpha=jnp.array([0.1, -0.1])), "`alpha` must be positive"),
        (dict(mu1=float("nan")), "`mu1` must be finite"),
        (dict(sigma=float("inf")), "`sigma` must be finite"),
        (dict(v_reset=float("nan")), "`v_reset` must be finite"),
        (dict(v_th=float("-inf")), "`v_th` must be finite"),
        (dict(v0=jnp.ones(3)), r"`v0` must have shape \(\) or \(2,\), got shape \(3,\)"),
        (dict(sigma=jnp.ones((2, 3))), r"`sigma` must have shape"),
        (dict(sigma=jnp.ones((3, 2, 2))), r"`sigma` must have shape"),
        (dict(i0="much"), "`i0` must be a number or an array, got 'much'"),
        (dict(beta=None), "`beta` must be a number or an array, got None"),
        (dict(v_th=[1.0, 2.0, 3.0]), "`v_th` must have shape"),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters, match):
    with pytest.raises(ValueError, match=match):
        rs.StochasticLIF(**({"num_neurons": 2} | parameters))
