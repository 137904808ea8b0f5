import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import roughsnn as rs


def test_rates_silence_saturation_and_room():
    trials = [[np.arange(1, 9) / 10, [], [0.5]], [np.arange(1, 9) / 10, [], []]]
    trains = rs.SpikeTrains.from_lists(trials, t0=0.0, t1=2.0, max_spikes=18)
    found = rs.diagnose(trains, saturated_rate=3.0)
    np.testing.assert_allclose(found.rates, [4.0, 0.0, 0.25])
    assert found.silent == (1,)
    assert found.saturated == (0,)
    assert found.room_used == 0.5
    assert len(found.advice) == 2
    assert "1 of 3 neurons are silent" in str(found)


def test_all_silent_is_said():
    trains = rs.SpikeTrains.from_lists([[[]]], t0=0.0, t1=1.0, max_spikes=2)
    assert "Every neuron is silent" in rs.diagnose(trains).advice[0]


def _simulate(x, key):
    noise = 0.01 * jax.random.normal(key, (4, 1))
    times = 0.5 + 0.1 * x["shift"] + noise
    neurons = jnp.zeros((4, 1), jnp.int32)
    return rs.SpikeTrains(times, neurons, 0.0, 1.0, jnp.zeros(4, bool), num_neurons=1)


def test_gradient_norms_name_what_does_not_reach_the_loss():
    def loss(generated, observed):
        return jnp.mean(generated.times)

    model = {"shift": jnp.asarray(1.0), "unused": jnp.asarray(1.0)}
    norms = rs.gradient_norms(model, None, simulate=_simulate, loss=loss, key=jax.random.key(0))
    shift = next(v for k, v in norms.items() if "shift" in k)
    unused = next(v for k, v in norms.items() if "unused" in k)
    # the derivative of 0.1 x
    np.testing.assert_allclose([shift, unused], [0.1, 0.0], rtol=1e-12)
    trains = _simulate(model, jax.random.key(0))
    advice = rs.diagnose(trains, gradient_norms=norms).advice
    assert any("unused" in sentence for sentence in advice)


def test_a_rising_loss_is_said_and_metrics_are_recorded(standard_dtype_promotion):
    def loss(generated, observed):
        return jnp.mean(generated.times)

    result = rs.fit(
        {"shift": jnp.asarray(0.0)},
        None,
        simulate=_simulate,
        loss=loss,
        optimiser=optax.sgd(-0.5),
        num_steps=40,
        key=jax.random.key(0),
        metrics=rs.diagnostic_metrics(),
        progress=False,
    )
    assert "The loss rises" in rs.diagnose(result).advice[0]
    np.testing.assert_allclose(result.history["rate"], 1.0)
    np.testing.assert_allclose(result.history["room_used"], 1.0)
    # a few samples in a hundred may graze without a word
    for share, words in ((0.01, False), (0.1, True)):
        history = result.history | {"left_out": np.full(40, share)}
        advice = rs.diagnose(dataclasses.replace(result, history=history)).advice
        assert any("10% of the samples were left out" in sentence for sentence in advice) is words
