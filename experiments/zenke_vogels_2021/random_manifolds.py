"""Points on random manifolds as single spikes of 20 inputs, 100 hidden neurons, ten classes."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.tasks import latency_spikes, randman, split

from .classifying import Classifier, Loss, Respond, clock_rate, judged

INPUTS, HIDDEN, CLASSES = 20, 100, 10
STEP, DURATION, LATEST = 1.0, 100.0, 50.0
"""The step, the window and the latest input spike, in ms."""
MEMBRANE, SYNAPSE, READOUT = 10.0, 5.0, 20.0
"""Time constants in ms."""
BATCH = 100
GAIN = 8.0
"""Weights into the hidden layer begin uniform within plus and minus so many times one over the root
of the number of inputs: its neurons then fire from the start. The published networks begin with a
gain of one, silent, and need more steps."""
HIGH_WEIGHT = 5.0
"""Of the penalty for activity, beside the cross-entropy, for a spike of each hidden neuron."""


class SigmoidSlope(rs.AbstractSurrogate):
    r"""$h(x) = \sigma(\beta x)\,(1 - \sigma(\beta x))$: the derivative of a sigmoid less its factor
    $\beta$, so that its height, one quarter, does not change with $\beta$."""

    def derivative(self, x):
        _, scaled = self.scaled(x)
        return jax.nn.sigmoid(scaled) * jax.nn.sigmoid(-scaled)


SURROGATES = {
    "SuperSpike": rs.SuperSpike,
    "sigmoid": SigmoidSlope,
    "Esser": rs.EsserTriangle,
    "asymptotic": rs.AsymptoticSuperSpike,
}
"""Shapes by the name that results have."""


class Condition(NamedTuple):
    """What one network is trained with.

    Attributes:
        shape: of the surrogate, a name in `SURROGATES`.
        beta: its steepness; 0 for a constant.
        rate: learning rate of Adam.
        attached: whether resets are differentiated.
        high: spikes of a hidden neuron and trial above which activity costs; `None` for no limit.
    """

    shape: str
    beta: float
    rate: float
    attached: bool = False
    high: float | None = None

    @property
    def name(self) -> str:
        """The name of the part of a run, without the seed."""
        extra = ", attached" if self.attached else ""
        if self.high is not None:
            extra += f", at most {self.high:g}"
        return f"{self.shape} {self.beta:g}, rate {self.rate:g}{extra}"


@functools.lru_cache(maxsize=2)
def manifolds(samples: int, seed: int) -> tuple[rs.LabelledData, ...]:
    """Data to train, validate and test on, eight, one and one tenth, as spikes."""
    points = randman(samples, classes=CLASSES, inputs=INPUTS, seed=seed)
    # a value of one fires half a step before the end of the last step it may
    trains = latency_spikes(np.asarray(points.inputs), last=LATEST, t1=DURATION)
    data = rs.LabelledData(trains, points.targets)
    tenth = len(data) // 10
    train, rest = split(data, 2 * tenth, seed=seed)
    return train, rest[:tenth], rest[tenth:]


def classifier(key: Any) -> Classifier:
    """The network at its start."""
    first, last = jr.split(key)
    none = rs.SparseConnections([], [], HIDDEN)
    weights = jr.uniform(first, (INPUTS, HIDDEN), minval=-1.0, maxval=1.0) * GAIN * INPUTS**-0.5
    neurons = rs.LIF(
        HIDDEN, mu1=clock_rate(STEP, MEMBRANE), mu2=clock_rate(STEP, SYNAPSE), v_th=1.0,
        reset_to=0.0, v0=0.0,
    )  # fmt: skip
    network = rs.SpikingNetwork(neurons, jnp.zeros(0), none, input_weights=weights)
    outputs = jr.uniform(last, (HIDDEN, CLASSES), minval=-1.0, maxval=1.0) * HIDDEN**-0.5
    return Classifier(network, rs.LeakyReadout(outputs, mu1=1 / READOUT, mu2=1 / SYNAPSE))


@functools.cache
def _adam(rate: float) -> Any:
    """One object for each rate, so that runs with another steepness are compiled once."""
    return optax.adam(rate)


def _trained(model: Classifier) -> Any:
    return model.network.input_weights, model.readout.weights


def train(condition: Condition, samples: int, epochs: int, seed: int) -> dict[str, Any]:
    """Train a network and judge it.

    Args:
        condition: what with.
        samples: of each class.
        epochs: passes through the data to train on.
        seed: of manifolds, weights and mini-batches.

    Returns:
        accuracies in per cent on the data for validation and for testing, hidden spikes of a
        sample, and the mean loss of each epoch.
    """
    with jax.enable_x64(False):
        training, validation, testing = manifolds(samples, seed)
        batch = min(BATCH, len(training))
        steps = -(-len(training) // batch)
        surrogate = SURROGATES[condition.shape](condition.beta)
        respond = Respond(surrogate, DURATION, STEP, condition.attached)
        limit = {} if condition.high is None else dict(high_weight=HIGH_WEIGHT, high=condition.high)
        result = rs.fit(
            classifier(jr.key(seed)), training, simulate=respond, loss=Loss(**limit),
            optimiser=_adam(condition.rate), num_steps=epochs * steps, key=jr.key(1000 + seed),
            batch_size=batch, trainable=_trained, log_every=steps, progress=False,
        )  # fmt: skip
        losses = np.asarray(result.history["loss"])
        return {
            "valid": judged(respond, result.model, validation)["accuracy"],
            **judged(respond, result.model, testing),
            "losses": [float(np.mean(losses[n : n + steps])) for n in range(0, len(losses), steps)],
        }
