"""Synapses, masks, and networks that fall apart into neurons."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs


def test_a_spike_adds_its_row_of_weights_to_the_currents():
    weights = jnp.arange(9.0).reshape(3, 3)
    network = rs.SpikingNetwork(rs.StochasticLIF(3), weights)
    y = network.initial_state(jr.key(0))
    after = network.transition(jnp.asarray(0.0), y, jnp.asarray(1), jnp.asarray(0.5), None)
    np.testing.assert_allclose(after.i - y.i, [3.0, 4.0, 5.0])
    np.testing.assert_allclose(after.v - y.v, [0.0, -1.4, 0.0])
    np.testing.assert_array_equal(after.s != y.s, [False, True, False])


def test_weights_outside_the_mask_have_no_effect_and_no_derivative():
    mask = rs.layered_connections(2, 1)
    neurons = rs.StochasticLIF(3, sigma=0.3)

    @jax.jit
    def times(weights):
        network = rs.SpikingNetwork(neurons, weights, mask)
        return rs.simulate(
            network, 0.0, 1.0, 0.05, key=jr.key(1), num_samples=3, max_spikes=20,
            input_current=1.5, throw=False,
        ).times  # fmt: skip

    weights = jr.uniform(jr.key(2), (3, 3))
    np.testing.assert_array_equal(times(weights), times(jnp.where(mask, weights, 7.0)))
    finite = jnp.isfinite(times(weights))
    gradient = jax.grad(lambda w: jnp.sum(jnp.where(finite, times(w), 0)))(weights)
    assert np.all(gradient[~mask] == 0)
    assert np.all(gradient[mask] != 0)


def test_a_network_without_synapses_is_its_neurons():
    neurons = rs.StochasticLIF(3, sigma=0.3)
    arguments = dict(key=jr.key(1), num_samples=3, max_spikes=20, input_current=1.5)
    alone = rs.simulate(neurons, 0.0, 1.0, 0.05, **arguments)
    for network in (
        rs.SpikingNetwork(neurons, jnp.zeros((3, 3))),
        rs.SpikingNetwork(neurons, jnp.ones((3, 3)), jnp.zeros((3, 3), bool)),
    ):
        together = rs.simulate(network, 0.0, 1.0, 0.05, **arguments)
        np.testing.assert_allclose(together.times, alone.times, rtol=1e-12)
        np.testing.assert_array_equal(together.neurons, alone.neurons)


def test_layers():
    mask = np.asarray(rs.layered_connections(2, 3, 1))
    expected = np.zeros((6, 6), bool)
    expected[:2, 2:5] = True
    expected[2:5, 5:] = True
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == bool
    assert not np.any(rs.layered_connections(4))


def test_misuse_is_refused():
    neurons = rs.StochasticLIF(2)
    with pytest.raises(ValueError, match=r"`weights` must have shape \(2, 2\), got shape \(3, 3\)"):
        rs.SpikingNetwork(neurons, jnp.zeros((3, 3)))
    with pytest.raises(ValueError, match="`weights` must be finite"):
        rs.SpikingNetwork(neurons, jnp.full((2, 2), jnp.nan))
    with pytest.raises(ValueError, match="`connections` must be a boolean array"):
        rs.SpikingNetwork(neurons, jnp.zeros((2, 2)), jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="`connections` must be a boolean array"):
        rs.SpikingNetwork(neurons, jnp.zeros((2, 2)), jnp.ones((2, 3), bool))
    with pytest.raises(ValueError, match="`sizes` must be positive integers"):
        rs.layered_connections()
    for sizes in ((2, 0), (3, -1)):
        with pytest.raises(ValueError, match="`sizes` must be an integer of at least 1"):
            rs.layered_connections(*sizes)
