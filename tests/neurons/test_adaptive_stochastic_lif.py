"""The adaptive stochastic LIF neuron against scipy's integrator, and its conditions."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

from .independent import check, half_marks, spike_times

MU2, C = 3.0, 1.3


@pytest.mark.parametrize("adapts", ["current", "threshold"])
def test_spike_times_and_derivatives_are_those_of_an_independent_integrator(adapts):
    parameters = dict(
        mu1=6.0, mu_a=1.5, b=0.4, coupling=0.2, v_reset=0.9, alpha=0.1, v_th=0.8, beta=4.0, i0=0.5
    )

    def build(v_th, beta, **others):
        intensity = rs.ExponentialIntensity(v_th, beta, 0.5)
        return half_marks(rs.AdaptiveStochasticLIF)(
            1, adapts=adapts, mu2=MU2, sigma=None, intensity=intensity, **others
        )

    def independent(mu1, mu_a, b, coupling, v_reset, alpha, v_th, beta, i0):
        def right_side(y):
            v, i, a, _ = y
            on_current, on_threshold = (a, 0.0) if adapts == "current" else (0.0, a)
            return [
                mu1 * (i + C - on_current - v),
                -MU2 * i,
                mu_a * (coupling * v - a),
                np.exp(beta * (v - on_threshold - v_th)) / 0.5,
            ]

        def jump(y):
            return np.array([y[0] - v_reset, y[1], y[2] + b, np.log(0.5) - alpha])

        start = [0.0, i0, 0.0, np.log(0.5) - alpha]
        return spike_times(right_side, lambda y: y[3], jump, start, 4.0, 4)

    def y0(model, start):
        return start._replace(s=jnp.log(0.5) - model.alpha + 0 * start.s)

    check(
        build, independent, parameters, t1=4.0, dt0=0.02, solver=dfx.Tsit5(), current=C, y0=y0
    )  # fmt: skip


def test_the_conditions_hold_with_noise_of_potential_and_current():
    neuron = rs.AdaptiveStochasticLIF(
        2, sigma=jnp.array([[0.3, 0.1], [0.0, 0.2]]), adapts="threshold", coupling=0.3
    )
    report = rs.check_conditions(
        neuron, 0.0, 1.5, 0.05, neuron.initial_state, key=jr.key(0), num_paths=4, max_events=8,
        args=1.5,
    )  # fmt: skip
    assert report.holds, report


def test_formulas():
    neuron = rs.AdaptiveStochasticLIF(
        2, mu1=3.0, mu2=1.0, mu_a=0.5, b=jnp.array([0.2, 0.4]), coupling=2.0, v_reset=0.7,
        intensity=rs.SigmoidIntensity(0.5, 2.0, 4.0),
    )  # fmt: skip
    y = rs.AdaptiveLIFState(*jnp.array([[0.2, 1.0], [0.3, 0.0], [0.1, 0.6], [-0.4, -1e-9]]))
    t = jnp.asarray(0.0)
    dy = neuron.drift(t, y, 1.0)
    np.testing.assert_allclose(dy.v, 3 * np.array([1.3 - 0.1 - 0.2, 1.0 - 0.6 - 1.0]))
    np.testing.assert_allclose(dy.a, 0.5 * np.array([0.4 - 0.1, 2.0 - 0.6]))
    np.testing.assert_allclose(dy.s, 4 / (1 + np.exp(-2 * (np.array([0.2, 1.0]) - 0.5))))
    after = neuron.transition(t, y, jnp.asarray(1), jnp.asarray(0.25), None)
    np.testing.assert_allclose(after.v, [0.2, 0.3])
    np.testing.assert_allclose(after.a, [0.1, 1.0])
    # both at once, each with its own mark
    both = neuron.fire(t, y, jnp.array([True, True]), jnp.array([0.5, 0.25]), None)
    np.testing.assert_allclose(both.s, np.log([0.5, 0.25]) - neuron.alpha)
    np.testing.assert_allclose(both.a, [0.3, 1.0])
    held = neuron.hold(dy, jnp.array([True, False]))
    np.testing.assert_allclose(held.s, [0.0, dy.s[1]])
    assert jax.tree.leaves(neuron.neuron_axes()).count(0) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (dict(adapts="v"), ValueError, '`adapts` must be "current" or "threshold"'),
        (dict(b=jnp.ones(3)), ValueError, "`b` must have shape"),
        (dict(alpha=0.0), ValueError, "`alpha` must be positive"),
        (dict(intensity=jnp.exp), TypeError, "`intensity` must be one of the library's"),
        (
            dict(intensity=rs.ExponentialIntensity(jnp.ones(3))),
            ValueError,
            r"parameters of `intensity` must be numbers or have shape \(2,\)",
        ),
    ],
)
def test_misuse_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        rs.AdaptiveStochasticLIF(2, **arguments)
