"""The law of intervals with the marks integrated out: closed forms, differences, refusals."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

POINT = jnp.array([1.2, 0.9, 8.0, 1.05, 0.05, 1.0])


def steep(theta):
    drive, sigma, beta, reset, alpha, tau_s = (theta[i] for i in range(6))
    intensity = rs.ExponentialIntensity(v_th=0.0, beta=beta, tau_s=tau_s)
    return rs.ResettingStochasticLIF(
        1, mu1=0.5, sigma=sigma, reset_to=-reset, alpha=alpha, intensity=intensity
    ), drive / 0.5


def steep_law(theta, num_paths=64):
    neuron, current = steep(theta)
    return rs.interval_law(
        neuron, 4.0, 0.02, key=jr.key(0), num_paths=num_paths, input_current=current
    )


def constant(alpha, tau_s, **changed):
    intensity = rs.ExponentialIntensity(beta=0.0, tau_s=tau_s)
    parameters = dict(mu1=1.0, sigma=None, alpha=alpha, intensity=intensity)
    return rs.ResettingStochasticLIF(1, **{**parameters, **changed})


def test_constant_intensity_is_a_shifted_exponential():
    """S = exp(-(t / tau - alpha)_+), and its derivative, to rounding."""

    def law(point):
        return rs.interval_law(constant(*point), 2.0, 0.01, key=jr.key(0), num_paths=2)

    found = law((0.3, 0.4))
    passed = np.maximum(np.arange(201) * 0.01 / 0.4 - 0.3, 0)
    np.testing.assert_allclose(found.survival, np.exp(-passed), rtol=1e-12)
    point = (jnp.asarray(0.3), jnp.asarray(0.4))
    by_alpha, by_tau = jax.jacfwd(lambda p: law(p).survival)(point)
    alive = passed > 1e-9
    np.testing.assert_allclose(by_alpha[alive], np.exp(-passed[alive]), rtol=1e-12)
    times = np.asarray(found.edges)
    expected = np.exp(-passed) * times / 0.4**2
    np.testing.assert_allclose(by_tau[alive], expected[alive], rtol=1e-12)
    np.testing.assert_allclose(np.sum(found.probabilities), 1, rtol=1e-12)
    # the law of the interval itself: dead time and an exponential one, to the square of a cell
    np.testing.assert_allclose(found.mean(found.edges), 0.4 * (0.3 + 1 - np.exp(-4.7)), atol=1e-4)
    np.testing.assert_allclose(found.quantiles(jnp.array(0.5)), 0.4 * (0.3 + np.log(2)), atol=1e-4)


def test_derivatives_are_those_of_the_frozen_paths():
    """Forward and reverse mode and central differences of the same noise. The law is smooth but for
    where a path's dead part ends between two edges, so that a small step meets no kink."""
    edges = np.arange(201) * 0.02
    values = np.stack([np.log(edges + 0.02), edges], axis=1)

    @jax.jit
    def mean(theta):
        return steep_law(theta).mean(values)

    forward = jax.jit(jax.jacfwd(mean))(POINT)
    reverse = jax.jit(jax.jacrev(mean))(POINT)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10, atol=1e-12)
    h = 1e-6
    steps = h * np.eye(6)
    differences = [(mean(POINT + s) - mean(POINT - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(forward, np.stack(differences, 1), rtol=1e-5, atol=1e-7)


def test_it_is_the_law_of_simulated_intervals():
    """Mean and probability of a short interval of the event solver's first spikes, within four
    standard errors; both solve the same grid."""
    neuron, current = steep(POINT)
    trains = rs.simulate(
        neuron, 0.0, 4.0, 0.02, key=jr.key(1), num_samples=4000, max_spikes=1, stop_after=1,
        input_current=current, adjoint=rs.NoGradient(),
    )  # fmt: skip
    times = np.where(trains.mask, trains.times, 4.0)[:, 0]
    law = jax.jit(lambda: steep_law(POINT, 4000))()
    edges = np.asarray(law.edges)
    for values, sample in ((edges, times), ((edges < 0.81) * 1.0, times < 0.81)):
        error = np.std(sample) * np.sqrt(2 / 4000)
        assert abs(float(law.mean(values)) - sample.mean()) < 4 * error


def test_single_precision_far_above_the_threshold():
    """The potential without events goes where exponentials overflow; nothing becomes nan."""
    with jax.enable_x64(False):
        theta = jnp.asarray(np.array([40.0, 3.0, 30.0, 1.0, 0.01, 1.0]), jnp.float32)
        jacobian = jax.jit(jax.jacfwd(lambda theta: steep_law(theta).survival))(theta)
        assert jacobian.dtype == jnp.float32
        assert np.all(np.isfinite(jacobian))
        assert np.any(np.asarray(jacobian) != 0)


@pytest.mark.parametrize(
    ("model", "current", "error", "words"),
    [
        (rs.StochasticLIF(), None, TypeError, "StochasticLIF.*SpikeRemoval"),
        (rs.ResettingStochasticLIF(2), None, ValueError, "2 neurons"),
        (rs.ResettingStochasticLIF(sigma=np.eye(2)), None, ValueError, "sigma.*SpikeRemoval"),
        (rs.ResettingStochasticLIF(i0=1.0), None, ValueError, "i0"),
        (rs.ResettingStochasticLIF(), lambda t: t, ValueError, "input_current.*SpikeRemoval"),
    ],
)
def test_what_does_not_forget_is_refused_by_name(model, current, error, words):
    with pytest.raises(error, match=words):
        rs.interval_law(model, 1.0, 0.1, key=jr.key(0), num_paths=2, input_current=current)
