"""Yin-Yang by exact gradients of spike times: three ways to compute them, and what they learn.

The study `yin-yang` trains the same networks longer.
"""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.random as jr
import numpy as np

import roughsnn as rs

from . import delayed, event_prop
from .classifier import data_of, loss_of, network, protocol, trained

TRAIN_SEED, TEST_SEED = 42, 40
RATE, RATE_WITH_DELAYS = 5e-3, 1e-2
"""Learning rates of Adam at the start, of weights alone and of weights and delays."""
BATCH = 32
FINE = 0.02
"""Steps of the event engine, whose solver has an error that the closed forms of cells have not."""


def by_engine(engine: rs.AbstractEngine, model: Any, protocol: rs.Protocol, labels: Any, loss):
    """The gradient in all weights, the spike trains, and the derivative of the loss in each of
    their times."""

    @eqx.filter_jit
    def computed(weights):
        def simulated(weights):
            changed = eqx.tree_at(lambda m: (m.weights, m.input_weights), model, weights)
            return engine.spike_trains(
                changed, protocol, key=jr.key(0), num_samples=len(labels), throw=False
            )

        def value(weights):
            trains = simulated(weights)
            return loss(trains, labels), trains

        gradient, trains = jax.grad(value, has_aux=True)(weights)

        def of_times(times):
            return loss(eqx.tree_at(lambda x: x.times, trains, times), labels)

        return gradient, trains, jax.grad(of_times)(trains.times)

    return computed((model.weights, model.input_weights))


def farthest(found: Any, reference: Any) -> float:
    """The largest difference over the largest entry, of all weights together."""
    scale = max(float(np.max(np.abs(x))) for x in reference)
    pairs = zip(found, reference, strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - b))) for a, b in pairs) / scale


def published_gradient(model: Any, inputs: Any, trains: Any, by_time: Any) -> Any:
    """The gradient in all weights of a network of the study, by the adjoint as it is published.

    Args:
        model: the network.
        inputs: its input spikes, a batch.
        trains: its spikes for them.
        by_time: the derivative of the loss in each of their times.
    """
    neurons, mask = model.neurons, np.asarray(model.connections)
    layers = event_prop.Layers(
        np.asarray(model.weights) * mask, np.asarray(model.input_weights),
        1 / float(neurons.mu1), 1 / float(neurons.mu2), float(neurons.v_th),
    )  # fmt: skip
    found = np.zeros_like(layers.weights), np.zeros_like(layers.input_weights)

    def listed(trains, number):
        kept = np.asarray(trains.mask)[number]
        return np.asarray(trains.times)[number, kept], np.asarray(trains.neurons)[number, kept]

    for number, kept in enumerate(np.asarray(trains.mask)):
        sample = event_prop.gradients(
            layers, listed(inputs, number), listed(trains, number),
            np.asarray(by_time)[number, kept],
        )  # fmt: skip
        for total, part in zip(found, sample, strict=True):
            total += part
    return found[0] * mask, found[1]


def agreement(hidden: int, points: int, seed: int) -> dict[str, Any]:
    """How far gradients of a network at its start are from the adjoint as it is published.

    Args:
        hidden: hidden neurons.
        points: in the mini-batch.
        seed: of the weights.

    Returns:
        the largest difference over the largest entry, of the cell engine and of the stochastic
        adjoint of the event engine; the largest difference of their spike times; and the number
        of spikes.
    """
    with jax.enable_x64(True):
        data = data_of(TRAIN_SEED, points)
        model, loss = network(hidden, jr.key(seed)), loss_of(hidden)
        given = protocol(data.inputs, hidden, output_current=0.0)
        exact, trains, by_time = by_engine(rs.CellEngine(), model, given, data.targets, loss)
        fine = rs.Protocol(
            given.t0, given.t1, FINE, max_spikes=given.max_spikes, input_spikes=data.inputs
        )
        stochastic = rs.EventEngine(dfx.Tsit5(), rs.StochasticAdjoint())
        event, others, _ = by_engine(stochastic, model, fine, data.targets, loss)
        published = published_gradient(model, data.inputs, trains, by_time)
        kept = np.asarray(trains.mask)
        same = np.array_equal(kept, np.asarray(others.mask))
        apart = np.asarray(others.times - trains.times)[kept] if same else np.array([np.inf])
        return {
            "cell engine": farthest(exact, published),
            "stochastic adjoint": farthest(event, published),
            "times": float(np.max(np.abs(apart))),
            "spikes": int(kept.sum()),
        }


def train_weights(
    seed: int, hidden: int, epochs: int, train_size: int, test_size: int
) -> dict[str, Any]:
    """Train all weights; accuracies in the test, before training and after each epoch, in per
    cent."""
    with jax.enable_x64(False):
        train, test = data_of(TRAIN_SEED, train_size), data_of(TEST_SEED, test_size)
        result = trained(seed, hidden, epochs, min(BATCH, train_size), train, test, RATE)
        return {"accuracies": (100 * result.evaluations["holdout_accuracy"]).tolist()}


def train_delays(
    seed: int, hidden: int, learns_delays: bool, epochs: int, train_size: int, test_size: int
) -> dict[str, Any]:
    """The same of a network of four inputs, with a delay of each synapse that is trained beside its
    weight, or with the least delays."""
    with jax.enable_x64(False):
        train, test = (
            delayed.data_of(s, size)
            for s, size in ((TRAIN_SEED, train_size), (TEST_SEED, test_size))
        )
        found, _ = delayed.accuracies_of(
            seed, hidden, learns_delays, train, test, epochs, min(BATCH, train_size),
            RATE_WITH_DELAYS if learns_delays else RATE, None,
        )  # fmt: skip
        return {"accuracies": (100 * np.asarray(found)).tolist()}
