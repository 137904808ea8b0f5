"""Intensities: formulas, bounds, derivatives, and their place in a neuron."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import integrate

import roughsnn as rs
from tests.helpers import finite_difference_gradient

INTENSITIES = {
    "exponential": (
        rs.ExponentialIntensity(0.4, 2.0, 0.5, max_excess=3.0),
        lambda v: np.exp(2.0 * (v - 0.4)) / 0.5,
        np.exp(6.0) / 0.5,
    ),
    "sigmoid": (
        rs.SigmoidIntensity(0.4, 2.0, 7.0),
        lambda v: 7.0 / (1 + np.exp(-2.0 * (v - 0.4))),
        7.0,
    ),
    "softplus": (
        rs.SoftplusIntensity(0.4, 2.0, 0.5, max_excess=3.0),
        lambda v: np.log1p(np.exp(2.0 * (v - 0.4))) / 0.5,
        np.log1p(np.exp(6.0)) / 0.5,
    ),
    "power": (
        rs.RectifiedPowerIntensity(0.4, 2.5, 0.5, 0.1, max_excess=3.0),
        lambda v: 0.1 + np.maximum(v - 0.4, 0) ** 2.5 / 0.5,
        0.1 + 3.0**2.5 / 0.5,
    ),
}


@pytest.mark.parametrize("name", INTENSITIES)
def test_formula_bound_and_derivatives(name):
    intensity, formula, bound = INTENSITIES[name]
    v = jnp.linspace(-3.0, 3.0, 31)
    np.testing.assert_allclose(intensity(v), formula(np.asarray(v)), rtol=1e-12)
    far = intensity(jnp.array([-1e300, 1e3, 1e300]))
    assert np.all(np.isfinite(far))
    np.testing.assert_allclose(far[1:], bound, rtol=1e-12)
    # derivatives with respect to all parameters and the potential, also where it is extreme
    parameters, static = eqx.partition((intensity, jnp.array([-1.0, 0.3, 1.2])), eqx.is_array)

    def total(parameters):
        intensity, v = eqx.combine(parameters, static)
        return jnp.sum(jnp.sin(intensity(v)))

    exact = jax.grad(total)(parameters)
    differences = finite_difference_gradient(total, parameters, 1e-6)
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(differences), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    slopes = jax.grad(lambda v: jnp.sum(intensity(v)))(jnp.array([-1e300, 0.4, 1e300]))
    assert np.all(np.isfinite(slopes))


def test_the_neuron_with_an_exponential_intensity_is_the_default_one():
    own = rs.StochasticLIF(2, v_th=0.9, beta=4.0, tau_s=0.7)
    other = rs.StochasticLIF(2, intensity=rs.ExponentialIntensity(0.9, 4.0, 0.7))
    v = jnp.array([-0.5, 1.2])
    np.testing.assert_array_equal(own.intensity(v), other.intensity(v))
    assert other.v_th is None
    assert other.beta is None
    assert other.tau_s is None


def test_first_spikes_follow_the_hazard_of_a_sigmoid():
    """A potential that relaxes without noise: P(tau > t) = min(1, exp(alpha - int lambda))."""
    intensity = rs.SigmoidIntensity(0.5, 6.0, 5.0)
    neuron = rs.StochasticLIF(1, mu1=4.0, sigma=None, alpha=0.2, intensity=intensity)
    n, dt = 4000, 0.02
    times = rs.simulate(
        neuron, 0.0, 4.0, dt, key=jr.key(0), num_samples=n, max_spikes=1, stop_after=1,
        input_current=1.0,
    ).times  # fmt: skip
    times = np.asarray(times)[:, 0]

    def rate(t):
        # Euler's potential, constant within a step as Euler's integral of the intensity has it
        return 5.0 / (1 + np.exp(-6.0 * (1 - (1 - 4.0 * dt) ** np.floor(t / dt + 1e-9) - 0.5)))

    for t in (0.1, 0.3, 0.6, 1.0):
        total = integrate.quad(rate, 0, t, limit=500, points=np.arange(0, t, dt)[1:])[0]
        expected = min(1.0, np.exp(0.2 - total))
        error = np.sqrt(expected * (1 - expected) / n) + 1e-4
        assert abs(np.mean(times > t) - expected) < 5 * error


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: rs.ExponentialIntensity(beta=-1.0), "`beta` must not be negative"),
        (lambda: rs.ExponentialIntensity(max_excess=0.0), "`max_excess` must be positive"),
        (lambda: rs.SigmoidIntensity(max_rate=0.0), "`max_rate` must be positive"),
        (lambda: rs.SoftplusIntensity(tau_s=-1.0), "`tau_s` must be positive"),
        (lambda: rs.RectifiedPowerIntensity(power=0.5), "`power` must be at least 1.0"),
        (lambda: rs.RectifiedPowerIntensity(floor=-0.1), "`floor` must not be negative"),
    ],
)
def test_bad_parameters_are_refused_by_name(build, match):
    with pytest.raises(ValueError, match=match):
        build()
