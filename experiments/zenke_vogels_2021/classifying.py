r"""Classifiers of a hidden layer of spiking neurons and leaky readouts.

Potentials and currents of the hidden neurons go by the clock,

$$ U \leftarrow e^{-\Delta/\tau_m} U + (1 - e^{-\Delta/\tau_m})\,I , \qquad
   I \leftarrow e^{-\Delta/\tau_s} I + \sum_j W_j s_j , \qquad U \to 0 \text{ where } U \ge 1 , $$

and the class is that of the readout whose potential is highest at any time. What is minimised, by
surrogate gradients, is the cross-entropy of these maxima, with penalties for neurons that fire too
little or too much.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import roughsnn as rs


def clock_rate(step: float, time_constant: float) -> float:
    r"""The rate $\mu = (1 - e^{-\Delta/\tau}) / \Delta$ whose Euler step decays as much as an
    exponential with this time constant."""
    return -float(np.expm1(-step / time_constant)) / step


class Answer(eqx.Module):
    """What a network makes of a batch.

    Attributes:
        scores: of the classes, the maxima of the readouts.
        counts: spikes of each hidden neuron.
    """

    scores: Float[Array, "samples classes"]
    counts: Float[Array, "samples hidden"]


class Classifier(eqx.Module):
    """A network and its readout, a model to train."""

    network: rs.SpikingNetwork
    readout: rs.LeakyReadout


class Respond(eqx.Module):
    """The answer of a classifier, by the clock and with a surrogate derivative.

    Attributes:
        surrogate: the derivative of a spike.
        duration: of a trial.
        step: of the clock.
        attached: whether the reset of a spiking neuron is differentiated, too.
    """

    surrogate: rs.AbstractSurrogate
    duration: float = eqx.field(static=True)
    step: float = eqx.field(static=True)
    attached: bool = eqx.field(static=True, default=False)

    def __call__(self, model: Classifier, inputs: Any, key: Any) -> Answer:
        # (the list of spikes is not looked at, so that it needs no room)
        protocol = rs.Protocol(0.0, self.duration, self.step, max_spikes=1, input_spikes=inputs)
        engine = rs.ClockEngine(
            surrogate=self.surrogate, reset="attached" if self.attached else "detached"
        )
        trains = engine.spike_trains(
            model.network, protocol, key=key, num_samples=len(inputs), throw=False
        )
        assert trains.presence is not None
        return Answer(model.readout.maximum(trains), trains.presence_by_neuron)


class Loss(eqx.Module):
    r"""Cross-entropy, and penalties for activity.

    With $\zeta_{bn}$ the spikes of hidden neuron n in sample b, the penalties are

    $$
    \lambda_l\,\overline{[\nu_l - \zeta_{bn}]_+^2}
        + \lambda_u\,\overline{[\bar\zeta_b - \nu_u]_+} ,
    $$

    the first for each neuron, the second for the mean over neurons.

    Attributes:
        low_weight: $\lambda_l$.
        low: $\nu_l$, spikes.
        high_weight: $\lambda_u$.
        high: $\nu_u$, spikes of a neuron; infinite for no penalty.
    """

    low_weight: Array = eqx.field(default=100.0, converter=jnp.asarray)
    low: Array = eqx.field(default=1e-3, converter=jnp.asarray)
    high_weight: Array = eqx.field(default=0.0, converter=jnp.asarray)
    high: Array = eqx.field(default=0.0, converter=jnp.asarray)

    def __call__(self, answer: Answer, targets: Any) -> Any:
        entropy = optax.softmax_cross_entropy_with_integer_labels(answer.scores, targets)
        too_few = jax.nn.relu(self.low - answer.counts)
        too_many = jax.nn.relu(jnp.mean(answer.counts, axis=1) - self.high)
        return (
            jnp.mean(entropy)
            + self.low_weight * jnp.mean(too_few**2)
            + self.high_weight * jnp.mean(too_many)
        )


@eqx.filter_jit
def _answer(respond: Respond, model: Any, inputs: Any) -> Answer:
    return respond(model, inputs, jax.random.key(0))


def judged(respond: Any, model: Any, data: rs.LabelledData, batch: int = 500) -> dict[str, float]:
    """The accuracy in per cent, and the number of hidden spikes of a sample."""
    right, spikes = [], []
    for begin in range(0, len(data), batch):
        part = data[begin : begin + batch]
        answer = _answer(respond, model, part.inputs)
        right.append(np.argmax(answer.scores, axis=1) == np.asarray(part.targets))
        spikes.append(np.sum(answer.counts, axis=1))
    return {
        "accuracy": 100 * float(np.mean(np.concatenate(right))),
        "spikes": float(np.mean(np.concatenate(spikes))),
    }
