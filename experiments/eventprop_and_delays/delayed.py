"""A Yin-Yang classifier of 30 hidden neurons that learns the delay of each synapse too.

The spikes of four inputs, the coordinates of a point and what is left of them to one, reach each
hidden neuron after a delay of their own, and hidden spikes each output. Delays cost little and say
much about times: the authors of DelGrad report 98.2 % with 30 hidden neurons, against
96.7 % by weights alone.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.tasks import yin_yang

from .classifier import loss_of

CLASSES, COORDINATES, WINDOW, STEP = 3, 4, 10.0, 0.2
LOOKED_AT = 512


class DelayedClassifier(eqx.Module):
    """Weights and delays of two layers.

    Attributes:
        neurons: hidden neurons, then outputs.
        connections: from each hidden neuron to each output.
        into_hidden: weights, (inputs, hidden).
        into_output: weights, (hidden, outputs).
        input_delays: of the synapses of the first layer.
        output_delays: of those of the second.
        learns_delays: whether delays are trained.
    """

    neurons: rs.LIF
    connections: rs.SparseConnections
    into_hidden: jax.Array
    into_output: jax.Array
    input_delays: jax.Array
    output_delays: jax.Array
    learns_delays: bool = eqx.field(static=True)

    @classmethod
    def at_start(cls, hidden: int, key: Any, learns_delays: bool) -> "DelayedClassifier":
        """Random weights; and random delays, or (where they are not trained) the least."""
        keys = jr.split(key, 4)
        pre, post = np.divmod(np.arange(hidden * CLASSES), CLASSES)
        connections = rs.SparseConnections(pre, hidden + post, hidden + CLASSES)
        longest = 1.0 if learns_delays else 0.0
        neurons = rs.LIF(hidden + CLASSES, mu1=0.25, mu2=1.0, v_th=1.0, reset_to=0.0)
        return cls(
            neurons,
            connections,
            1.5 + 0.78 * jr.normal(keys[0], (COORDINATES, hidden)),
            (1.2 + 0.1 * jr.normal(keys[1], (hidden, CLASSES))) * 120 / hidden,
            jr.uniform(keys[2], (COORDINATES, hidden), maxval=longest),
            jr.uniform(keys[3], (hidden, CLASSES), minval=STEP, maxval=STEP + longest),
            learns_delays,
        )

    @property
    def hidden(self) -> int:
        return self.into_hidden.shape[1]

    @property
    def trained(self) -> tuple[jax.Array, ...]:
        """What training changes."""
        weights = self.into_hidden, self.into_output
        return (*weights, self.input_delays, self.output_delays) if self.learns_delays else weights

    def network(self) -> rs.SpikingNetwork:
        """The network; inputs reach hidden neurons only."""

        def into_all(x):
            return jnp.pad(x, ((0, 0), (0, CLASSES)))

        return rs.SpikingNetwork(
            self.neurons, self.into_output.reshape(-1), self.connections,
            synaptic_delays=self.output_delays.reshape(-1),
            input_weights=into_all(self.into_hidden), input_delays=into_all(self.input_delays),
            conditions="ignore",
        )  # fmt: skip

    def within_bounds(self) -> "DelayedClassifier":
        """The same with delays that are not negative, and in the second layer no shorter than a
        cell; and none so long that it leaves the window."""
        limits = (0.0, 1.5), (STEP, 3.0)
        delays = (
            jnp.clip(x, *limit)
            for x, limit in zip((self.input_delays, self.output_delays), limits, strict=True)
        )
        return eqx.tree_at(lambda m: (m.input_delays, m.output_delays), self, tuple(delays))


def data_of(seed: int, size: int) -> rs.LabelledData:
    """Points as spikes of four inputs, with their classes."""
    points = yin_yang(size, seed=seed)
    times = 0.1 + 6.0 * np.asarray(points.inputs)
    neurons = np.argsort(times, axis=1).astype(np.int32)
    spikes = rs.SpikeTrains(np.sort(times, axis=1), neurons, 0.0, WINDOW, num_neurons=COORDINATES)
    return rs.LabelledData(spikes, points.targets)


def responder(model: DelayedClassifier, spikes: rs.SpikeTrains):
    """A function that gives the response to each point, cell by cell."""
    room = 12 * (model.hidden + CLASSES)

    def protocol(spikes):
        return rs.Protocol(0.0, WINDOW, STEP, max_spikes=room, input_spikes=spikes)

    engine = rs.CellEngine("leave-out").prepared(
        model.network(), protocol(spikes), num_samples=len(spikes), slack=2.5
    )

    def respond(model: DelayedClassifier, spikes: rs.SpikeTrains, key: Any) -> rs.SpikeTrains:
        return engine.spike_trains(
            model.network(), protocol(spikes), key=key, num_samples=len(spikes), throw=False
        )

    return respond


def waking(hidden: int, epoch: int, schedule: Any, rate: float = 1e-3, factor: float = 0.85):
    """What strengthens the weights into neurons that fall silent, as without delays, and keeps
    delays within their bounds. It ends with the learning rate: what goes on when nothing is learned
    any more undoes what was."""

    def wake(step, model, generated, key):
        dtype = model.into_output.dtype
        now = rate * factor ** (step // epoch).astype(dtype) * (schedule(step) / schedule(0))
        now = now.astype(dtype)
        counts = generated.counts_by_neuron
        silent = jnp.any(counts[:, hidden:] == 0, axis=0).astype(dtype)
        dead = jnp.all(counts[:, :hidden] == 0, axis=0).astype(dtype)
        weights = (
            model.into_hidden + now * dead, model.into_output + now * silent * (120 / hidden)
        )  # fmt: skip
        model = eqx.tree_at(lambda m: (m.into_hidden, m.into_output), model, weights)
        return model.within_bounds()

    return wake


def accuracies_of(
    seed: int, hidden: int, learns_delays: bool, train: rs.LabelledData, test: rs.LabelledData,
    epochs: int, batch_size: int, learning_rate: float, report: Any,
):  # fmt: skip
    """Test accuracy before training and after each epoch, and the seconds of training."""
    loss = loss_of(hidden)
    epoch = -(-len(train.inputs) // batch_size)
    rate = optax.cosine_decay_schedule(learning_rate, epochs * epoch)
    model = DelayedClassifier.at_start(hidden, jr.key(seed), learns_delays)
    result = rs.fit(
        model, train, simulate=responder(model, train.inputs[:LOOKED_AT]), loss=loss,
        optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        num_steps=epochs * epoch, key=jr.key(1000 + seed), batch_size=batch_size,
        trainable=lambda model: model.trained,
        metrics={"accuracy": lambda model, generated, y: loss.accuracy(generated, y)},
        between_steps=waking(hidden, epoch, rate), holdout=test, evaluate_every=epoch,
        log_every=epoch, progress=False, callback=report,
    )  # fmt: skip
    print(f"seed {seed}: {result.message}", flush=True)
    result.raise_unless_trained()
    return result.evaluations["holdout_accuracy"], result.seconds
