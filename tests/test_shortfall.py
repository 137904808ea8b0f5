"""How far silent neurons are from firing, against closed forms."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs


def _shortfall(current, neuron, **settings):
    solution = rs.simulate_solution(
        neuron, 0.0, 1.0, 0.05, key=jax.random.key(0), num_samples=2, max_spikes=20,
        input_current=current, solver=dfx.Tsit5(), **settings,
    )  # fmt: skip
    return rs.shortfall(neuron, solution, current)[0]


def test_of_a_threshold_it_is_what_the_highest_potential_lacks():
    neuron, ts = rs.LIF(2, mu1=2.0, mu2=1.0, v_th=1.0), jnp.linspace(0.0, 1.0, 11)
    current = jnp.array([0.4, 0.9])

    def shortfall(current):
        return _shortfall(current, neuron, saveat=dfx.SaveAt(ts=ts))

    # v = c (1 - e^(-2 t)); Tsit5 at steps of 0.05 is off by 1e-9
    reached = 1 - np.exp(-2.0)
    np.testing.assert_allclose(shortfall(current), 1 - current * reached, rtol=1e-7)
    np.testing.assert_allclose(
        jax.jit(jax.jacrev(shortfall))(current), -reached * np.eye(2), atol=1e-7
    )


def test_without_states_it_is_refused():
    with pytest.raises(ValueError, match="`solution` has no states"):
        _shortfall(jnp.asarray(0.4), rs.LIF(1, mu1=2.0, mu2=1.0))
