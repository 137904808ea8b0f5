"""Small networks with gated synapses that the tests share."""

import jax.numpy as jnp
import jax.random as jr

from roughsnn.gated import LIF, NIF, GatedNetwork, RaisedCosineGate, ThetaNeuron

NEURONS = {"nif": NIF(10.0), "theta": ThetaNeuron(25.0), "lif": LIF(10.0)}
"""Neurons with their time constants in ms."""

_BIASES = {"nif": 0.5, "theta": 0.3, "lif": 1.5}


def small_network(kind, *, num_neurons=4, dtype=jnp.float64, seed=0, **changes):
    """Two populations (10 and 3 ms), two inputs, one readout; every neuron fires by itself."""
    n = num_neurons
    keys = jr.split(jr.key(seed), 4)
    settings = {
        "taus": (10.0, 3.0),
        "weights": 0.2 * jr.normal(keys[0], (2, n, n), dtype),
        "input_weights": 0.3 * jr.normal(keys[1], (2, n), dtype),
        "bias": _BIASES[kind] + 0.1 * jr.normal(keys[2], (n,), dtype),
        "readout": 0.5 * jr.normal(keys[3], (n, 1), dtype),
    }
    settings |= changes
    return GatedNetwork(
        NEURONS[kind], settings.pop("gate", RaisedCosineGate(0.5)), settings.pop("taus"), **settings
    )


def wave(dt0, t1, batch=1, dtype=jnp.float64):
    """Inputs (batch, steps, 2) and a target (batch, steps, 1), smooth in time."""
    t = dt0 * jnp.arange(round(t1 / dt0), dtype=dtype)
    phase = jnp.arange(batch, dtype=dtype)[:, None]
    x = jnp.stack(
        [
            jnp.cos(2 * jnp.pi * t[None] / 30 + phase),
            jnp.sin(2 * jnp.pi * t[None] / 20 + phase),
        ],
        axis=-1,
    )
    return x, jnp.sin(2 * jnp.pi * (t[None] + dt0) / 40 + phase)[..., None]


def running_cost(readout, traces, target):
    """Squared error of the readout with a price on activity."""
    return jnp.sum((readout - target) ** 2) / 2 + 0.05 * jnp.sum(traces**2)
