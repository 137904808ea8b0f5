"""The network of section 4.3, of 4, 16 and 2 neurons, its weights and its trials."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs

LAYERS = (4, 16, 2)
NUM_NEURONS = sum(LAYERS)
NUM_WEIGHTS = LAYERS[0] * LAYERS[1] + LAYERS[1] * LAYERS[2]
INPUT_CURRENT = 1.5
WINDOW = 1.0
STEP = 1e-2
MAX_SPIKES = 100
CONNECTIONS = np.asarray(rs.layered_connections(*LAYERS))


class WeightsTask(NamedTuple):
    """What one seed draws.

    Attributes:
        truth: the network that made the data.
        start: the network at the first step.
        data: the observed trials. Those of a smaller sample are the first of a larger one.
        holdout: the trials of the test loss.
        key: key of the training.
    """

    truth: rs.SpikingNetwork
    start: rs.SpikingNetwork
    data: rs.SpikeTrains
    holdout: rs.SpikeTrains
    key: PRNGKeyArray


def network(weights: Float[Array, "K K"]) -> rs.SpikingNetwork:
    """The network with these weights, of shape (22, 22) from row to column."""
    neurons = rs.StochasticLIF(
        NUM_NEURONS, mu1=6.0, mu2=5.0, sigma=0.25 * jnp.eye(2), v_reset=1.2, v_th=1.0, beta=5.0,
        tau_s=1.0, alpha=0.03, v0=1.1, i0=0.6,
    )  # fmt: skip
    return rs.SpikingNetwork(neurons, weights, CONNECTIONS)


def trials(model: rs.SpikingNetwork, key: PRNGKeyArray, num_samples: int) -> rs.SpikeTrains:
    """Trials on [0, 1]; one with more than 100 spikes ends at its hundredth, as published."""
    return rs.simulate(
        model, 0.0, WINDOW, STEP, key=key, num_samples=num_samples, max_spikes=MAX_SPIKES,
        input_current=input_current(), throw=False,
    )  # fmt: skip


def input_current() -> Float[Array, "K"]:
    """The constant current of the input neurons, 0 for the others."""
    return jnp.zeros(NUM_NEURONS).at[: LAYERS[0]].set(INPUT_CURRENT)


def draw_task(seed: int, sample_size: int, holdout_size: int = 128) -> WeightsTask:
    """Weights and trials of a seed: true weights 3 U(0.5, 1.5) / (size of the layer before), first
    weights U(0, 1)."""
    true_key, start_key, data_key, holdout_key, key = jr.split(jr.key(seed), 5)
    shape = (NUM_NEURONS, NUM_NEURONS)
    layer_size = np.repeat(LAYERS, LAYERS).astype(float)
    true = (
        3 * jr.uniform(true_key, shape, minval=0.5, maxval=1.5) / jnp.asarray(layer_size)[:, None]
    )
    truth = network(jnp.where(CONNECTIONS, true, 0.0))
    start = network(jnp.where(CONNECTIONS, jr.uniform(start_key, shape), 0.0))
    return WeightsTask(
        truth,
        start,
        _trials(truth, data_key, sample_size),
        _trials(truth, holdout_key, holdout_size),
        key,
    )


_trials = eqx.filter_jit(trials)


def weight_error(model: rs.SpikingNetwork, truth: rs.SpikingNetwork) -> Float[Array, ""]:
    """Mean absolute error of the 96 weights."""
    return jnp.sum(jnp.abs(model.effective_weights - truth.effective_weights)) / NUM_WEIGHTS
