"""Neurons with a hard threshold against closed forms and scipy's integrator; their conditions."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

from .independent import check, spike_times


def test_spike_times_and_derivatives_of_lif_are_those_of_an_independent_integrator():
    parameters = dict(mu1=6.0, mu2=3.0, v_th=0.9, reset_to=0.1, v0=0.3, i0=0.6)
    current = 1.3

    def independent(mu1, mu2, v_th, reset_to, v0, i0):
        return spike_times(
            lambda y: [mu1 * (y[1] + current - y[0]), -mu2 * y[1]],
            lambda y: y[0] - v_th,
            lambda y: np.array([reset_to, y[1]]),
            [v0, i0], 2.0, 4,
        )  # fmt: skip

    check(
        lambda **p: rs.LIF(1, **p), independent, parameters,
        t1=2.0, dt0=0.002, solver=dfx.Bosh3(), current=current,
    )  # fmt: skip


def test_spike_times_of_lif_with_refractory_periods_in_closed_form():
    """Intervals t_k + log((c - v_to) / (c - v_th)) / mu1, from v0 and without t_k for the first;
    one neuron is driven below its threshold. Heun's steps have a relative error of
    (mu1 dt)^3 / 6 = 1.3e-6 each in c - v, which makes 7e-5 of an interval of 50 steps."""
    mu1, dt = 4.0, 0.005
    v_th, reset = np.array([1.0, 0.8, 1.0]), np.array([0.0, 0.2, 0.0])
    v0, c, held = np.array([0.5, 0.0, 0.0]), np.array([1.5, 1.2, 0.95]), np.array([0.1, 0.05, 0.1])
    neurons = rs.LIF(
        3, mu1=mu1, v_th=jnp.asarray(v_th), reset_to=jnp.asarray(reset), v0=jnp.asarray(v0)
    )
    network = rs.SpikingNetwork(neurons, jnp.zeros((3, 3)), refractory=jnp.asarray(held))
    trains = rs.simulate(
        network, 0.0, 2.0, dt, key=jr.key(0), num_samples=1, max_spikes=16,
        input_current=jnp.asarray(c), solver=dfx.Heun(),
    )  # fmt: skip
    for k in range(2):
        gap = held[k] + np.log((c[k] - reset[k]) / (c[k] - v_th[k])) / mu1
        first = np.log((c[k] - v0[k]) / (c[k] - v_th[k])) / mu1
        expected = first + gap * np.arange(1 + int((2.0 - first) / gap))
        times = np.asarray(trains.times[0])[np.asarray(trains.neurons[0]) == k]
        np.testing.assert_allclose(times, expected, atol=5e-4)
    assert trains.counts_by_neuron[0, 2] == 0


def test_spike_times_and_derivatives_of_izhikevich_are_those_of_an_independent_integrator():
    # scaled so that all parameters are of the order of one, as are the steps of the differences
    parameters = dict(a=1.0, b=1.0, c=-1.0, d=0.8, mu2=2.0, v_peak=3.0, v0=-1.0, u0=-1.3, i0=1.0)
    units = dict(a=0.02, b=0.2, c=60.0, d=10.0, mu2=0.1, v_peak=10.0, v0=60.0, u0=10.0, i0=3.0)
    current = 14.0

    def scaled(values):
        return {name: value * units[name] for name, value in values.items()}

    def independent(**values):
        p = scaled(values)

        def right_side(y):
            v, u, i = y
            dv = 0.04 * v**2 + 5 * v + 140 - u + i + current
            return [dv, p["a"] * (p["b"] * v - u), -p["mu2"] * i]

        return spike_times(
            right_side, lambda y: y[0] - p["v_peak"],
            lambda y: np.array([p["c"], y[1] + p["d"], y[2]]),
            [p["v0"], p["u0"], p["i0"]], 40.0, 3,
        )  # fmt: skip

    check(
        lambda **values: rs.Izhikevich(1, **scaled(values)), independent, parameters,
        t1=40.0, dt0=0.005, solver=dfx.Bosh3(), current=current, spikes=3,
    )  # fmt: skip


def test_the_conditions_hold_with_noise_of_the_current():
    """Those that concern noise when a network is built, and all of them along paths."""
    weights = jnp.array([[0.0, 0.5], [-0.5, 0.0]])
    rs.SpikingNetwork(rs.LIF(2, sigma=0.3), weights)
    neurons = rs.Izhikevich(2, sigma=1.0, v0=jnp.array([-65.0, -58.0]))
    network = rs.SpikingNetwork(neurons, weights)
    report = rs.check_conditions(
        network, 0.0, 40.0, 0.5, network.initial_state, key=jr.key(0), num_paths=4, max_events=24,
        args=15.0,
    )  # fmt: skip
    assert report.holds, report


def test_formulas_of_izhikevich():
    neuron = rs.Izhikevich(2, d=jnp.array([8.0, 2.0]), c=jnp.array([-65.0, -50.0]))
    y = neuron.initial_state(jr.key(0))
    np.testing.assert_allclose(y.u, -13.0)
    dy = neuron.drift(jnp.asarray(0.0), y._replace(i=jnp.array([1.0, 2.0])), 3.0)
    np.testing.assert_allclose(dy.v, 0.04 * 65**2 - 325 + 140 + 13 + np.array([4.0, 5.0]))
    np.testing.assert_allclose(dy.u, 0.0, atol=1e-12)
    np.testing.assert_allclose(dy.i, [-0.2, -0.4])
    both = neuron.fire(jnp.asarray(0.0), y, jnp.array([True, True]), None, None)
    np.testing.assert_allclose(both.v, [-65.0, -50.0])
    np.testing.assert_allclose(both.u, [-5.0, -11.0])
    assert jax.tree.leaves(neuron.neuron_axes()).count(0) == 2


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: rs.LIF(2, reset_to=1.0), "`reset_to` must lie below `v_th`"),
        (lambda: rs.LIF(2, sigma=jnp.ones(3)), "`sigma` must have shape"),
        (lambda: rs.LIF(0), "`num_neurons` must be an integer of at least 1"),
        (lambda: rs.Izhikevich(2, c=30.0), "`c` must lie below `v_peak`"),
        (lambda: rs.Izhikevich(2, v0=31.0), "`v0` must lie below `v_peak`"),
        (lambda: rs.Izhikevich(2, a=-1.0), "`a` must not be negative"),
    ],
)
def test_misuse_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()
