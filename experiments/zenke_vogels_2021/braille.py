r"""Braille letters under a fingertip: 128 encoding neurons, 200 recurrent ones, 27 letters.

Each of the four sensors drives 32 encoding neurons by the current $g\,(x + b)$ with a gain and a
bias that are drawn once from a normal distribution and stay. Their spikes are the input of the
recurrent layer, whose weights are trained together with those of the readout.
"""

from typing import Any

import jax
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.tasks import read_braille, split

from .classifying import Classifier, Loss, Respond, clock_rate, judged

COPIES, HIDDEN, LETTERS = 32, 200, 27
STEP, MEMBRANE, SYNAPSE = 2.0, 20.0, 10.0
"""The step, which is the time between two readings of a sensor, and the time constants, in ms."""
GAIN = 3.0
"""Standard deviation of the gain of an encoding neuron. The published gains and biases begin with a
standard deviation of one and learn; these stay, and have to drive all neurons."""
INPUT_SCALE = 1.0
"""Of weights from encoding neurons, times one over the root of their number; a third of the
published scale, as there are more spikes."""
BATCH, RATE, BETA = 100, 1e-2, 20.0
TEST_SHARE = 0.2
ACTIVITY_WEIGHT = 1e-3
"""Of the mean number of spikes of a hidden neuron, beside the cross-entropy."""


def encoded(readings: Any, seed: int) -> rs.SpikeTrains:
    """Readings, of shape (recordings, steps, sensors), as spikes of encoding neurons."""
    readings = np.asarray(readings)
    samples, steps, sensors = readings.shape
    rng = np.random.default_rng(seed)
    gain, bias = rng.normal(size=(2, sensors * COPIES))
    current = GAIN * gain * (np.tile(readings, COPIES) + bias)
    keep = np.exp(-STEP / MEMBRANE)
    potential, fired = np.zeros((2, samples, sensors * COPIES))
    times: list[list] = [[] for _ in range(samples)]
    for n in range(steps):
        potential = keep * potential * (1 - fired) + (1 - keep) * current[:, n]
        fired = (potential >= 1).astype(float)
        # in the middle of the step, away from its ends
        for sample, neuron in np.argwhere(fired):
            times[sample].append(((n + 0.5) * STEP, neuron))
    trials = [tuple(np.array(one).reshape(-1, 2).T) for one in times]
    return rs.SpikeTrains.from_lists(
        [(when, who.astype(int)) for when, who in trials], t0=0.0, t1=steps * STEP,
        num_neurons=sensors * COPIES,
    )  # fmt: skip


def classifier(inputs: int, key: Any) -> Classifier:
    """The network at its start, with the published scales of weights but for the inputs."""
    first, between, last = jr.split(key, 3)
    network = rs.SpikingNetwork(
        rs.LIF(
            HIDDEN, mu1=clock_rate(STEP, MEMBRANE), mu2=clock_rate(STEP, SYNAPSE), v_th=1.0,
            reset_to=0.0, v0=0.0,
        ),
        0.03 * jr.normal(between, (HIDDEN, HIDDEN)) / HIDDEN**0.5,
        input_weights=INPUT_SCALE * jr.normal(first, (inputs, HIDDEN)) / inputs**0.5,
    )  # fmt: skip
    outputs = 3.0 * jr.normal(last, (HIDDEN, LETTERS)) / HIDDEN**0.5
    return Classifier(network, rs.LeakyReadout(outputs, mu1=1 / MEMBRANE, mu2=1 / SYNAPSE))


def _trained(model: Classifier) -> Any:
    return model.network.input_weights, model.network.weights, model.readout.weights


def train(folder: Any, epochs: int, seed: int, falling_rate: bool = False) -> dict[str, Any]:
    """Train a network on four fifths of the recordings and test it on the others.

    Args:
        folder: where the recordings lie, see `read_braille`.
        epochs: passes through the data to train on.
        seed: of the parts of the data, encoders, weights and mini-batches.
        falling_rate: whether the learning rate falls to zero along a cosine.

    Returns:
        accuracies in per cent on both parts, hidden spikes of a recording, and the mean loss of
        each epoch.
    """
    with jax.enable_x64(False):
        recorded = read_braille(folder)
        data = rs.LabelledData(encoded(recorded.inputs, seed), recorded.targets)
        training, testing = split(data, round(TEST_SHARE * len(data)), seed=seed)
        batch = min(BATCH, len(training))
        steps = -(-len(training) // batch)
        respond = Respond(rs.SuperSpike(BETA), float(data.inputs.t1), STEP)
        rate = optax.cosine_decay_schedule(RATE, epochs * steps) if falling_rate else RATE
        result = rs.fit(
            classifier(data.inputs.num_neurons, jr.key(seed)), training, simulate=respond,
            loss=Loss(low_weight=0.0, high_weight=ACTIVITY_WEIGHT),
            optimiser=optax.adamax(rate, b1=0.9, b2=0.995), num_steps=epochs * steps,
            key=jr.key(1000 + seed), batch_size=batch, trainable=_trained, log_every=steps,
            progress=False,
        )  # fmt: skip
        losses = np.asarray(result.history["loss"])
        return {
            "train": judged(respond, result.model, training, batch)["accuracy"],
            **judged(respond, result.model, testing, batch),
            "losses": [float(np.mean(losses[n : n + steps])) for n in range(0, len(losses), steps)],
        }
