"""The stochastic quadratic and exponential neurons against scipy's integrator; their conditions."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

from .independent import check, half_marks, spike_times

MU2, C = 3.0, 1.3


def _quadratic(v, curvature, v_rest, v_crit):
    return curvature * (v - v_rest) * (v - v_crit)


def _exponential(v, sharpness, v_rest, v_soft):
    return v_rest - v + sharpness * np.exp((v - v_soft) / sharpness)


MODELS = {
    "quadratic": (
        rs.StochasticQuadratic, _quadratic, dict(curvature=1.8, v_rest=-0.1, v_crit=0.6)
    ),
    "exponential": (
        rs.StochasticExponential, _exponential, dict(sharpness=0.4, v_rest=-0.1, v_soft=0.8)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_spike_times_and_derivatives_are_those_of_an_independent_integrator(name):
    model, membrane, shape = MODELS[name]
    parameters = shape | dict(mu1=3.0, v_reset=0.9, alpha=0.1, v_th=0.8, beta=4.0, i0=0.5)

    def build(v_th, beta, **others):
        intensity = rs.ExponentialIntensity(v_th, beta, 0.2)
        # a peak that no spike reaches, since there the drift has no second derivative
        return half_marks(model)(
            1, mu2=MU2, sigma=None, v_peak=5.0, intensity=intensity, **others
        )  # fmt: skip

    def independent(mu1, v_reset, alpha, v_th, beta, i0, **shape):
        def right_side(y):
            v, i, _ = y
            dv = mu1 * (membrane(v, **shape) + i + C)
            return [dv, -MU2 * i, np.exp(beta * (v - v_th)) / 0.2]

        def jump(y):
            return np.array([y[0] - v_reset, y[1], np.log(0.5) - alpha])

        return spike_times(right_side, lambda y: y[2], jump, [0.0, i0, np.log(0.5) - alpha], 1.5, 4)

    def y0(model, start):
        return start._replace(s=jnp.log(0.5) - model.alpha + 0 * start.s)

    check(
        build, independent, parameters, t1=1.5, dt0=0.001, solver=dfx.Bosh3(), current=C, y0=y0
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_drift_is_smooth_and_its_slope_bounded(name):
    """Within the peak the formula; beyond it the tangent there, and for the parabola on the other
    side as well, to rounding."""
    model, membrane, shape = MODELS[name]
    peak = 1.7
    neuron = model(1, mu1=2.0, v_peak=peak, **shape)

    def drift(v):
        y = rs.LIFState(v, jnp.full_like(v, 0.25), jnp.zeros_like(v))
        return neuron.drift(jnp.asarray(0.0), y, 0.5).v

    v = np.linspace(-1.0, peak, 13)
    np.testing.assert_allclose(drift(jnp.asarray(v)), 2 * (membrane(v, **shape) + 0.75), rtol=1e-12)
    slope = jax.grad(lambda v: jnp.sum(drift(v)))
    step = 1e-6
    at_peak = 2 * (membrane(peak, **shape) - membrane(peak - step, **shape)) / step
    far = jnp.array([peak + step, 3.0, 1e3])
    # the one-sided difference has an error of the order of its step
    np.testing.assert_allclose(slope(far), np.full(3, at_peak), rtol=1e-4)
    np.testing.assert_allclose(
        drift(far), 2 * (membrane(peak, **shape) + 0.75) + at_peak * (far - peak), rtol=1e-4
    )
    below = -at_peak if name == "quadratic" else -2.0
    np.testing.assert_allclose(slope(jnp.array([-1e3])), below, rtol=1e-4)


def test_the_conditions_hold_with_noise_of_potential_and_current():
    """Those that concern noise when a network is built, and all of them along paths."""
    sigma, weights = jnp.array([[0.3, 0.1], [0.0, 0.2]]), jnp.array([[0.0, 0.5], [-0.5, 0.0]])
    rs.SpikingNetwork(rs.StochasticExponential(2, sigma=sigma), weights)
    network = rs.SpikingNetwork(rs.StochasticQuadratic(2, sigma=sigma), weights)
    report = rs.check_conditions(
        network, 0.0, 1.0, 0.02, network.initial_state, key=jr.key(0), num_paths=4, max_events=24,
        args=1.5,
    )  # fmt: skip
    assert report.holds, report


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: rs.StochasticQuadratic(2, curvature=0.0), "`curvature` must be positive"),
        (lambda: rs.StochasticQuadratic(2, v_rest=0.5), "`v_rest` must lie below `v_crit`"),
        (lambda: rs.StochasticQuadratic(2, v_peak=0.4), "`v_crit` must lie below `v_peak`"),
        (lambda: rs.StochasticExponential(2, sharpness=0.0), "`sharpness` must be positive"),
        (lambda: rs.StochasticExponential(2, v_soft=jnp.ones(3)), "`v_soft` must have shape"),
        (lambda: rs.StochasticExponential(2, v_peak=0.1), "`v_soft` must lie below `v_peak`"),
        (lambda: rs.StochasticExponential(2, alpha=0.0), "`alpha` must be positive"),
    ],
)
def test_misuse_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()
