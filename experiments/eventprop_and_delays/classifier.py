"""A classifier of exact spike times: Yin-Yang by the first output spike, in labelled mini-batches.

The time constants, the loss and the weights at the start are those of EventProp (Wunderlich &
Pehle 2021). What differs: weights into the output that drive it with fewer hidden neurons, a
learning rate that falls along a cosine, half the temperature of the loss, a constant current that
makes an output fire near the end of the window where nothing else does, as an output that is silent
has no gradient, and weights into neurons that fall silent, which are raised a little after each
step, as Fast & Deep does (Goeltz et al. 2021).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.tasks import yin_yang

_CLASSES, _WINDOW, _STEP = 3, 8.0, 0.2
# into each output; alone it makes it fire at 7.2
_OUTPUT_CURRENT = 0.3
# so many points show for how many spikes there has to be room
_LOOKED_AT = 512


def data_of(seed: int, size: int) -> rs.LabelledData:
    """Points as spikes of five inputs, with their classes.

    Each coordinate is the time of a spike, over 6 synaptic time constants, and the fifth input
    fires at the start.
    """
    points = yin_yang(size, seed=seed)
    times = 0.1 + 6.0 * np.column_stack([points.inputs, np.zeros(size)])
    neurons = np.argsort(times, axis=1).astype(np.int32)
    spikes = rs.SpikeTrains(np.sort(times, axis=1), neurons, 0.0, _WINDOW, num_neurons=5)
    return rs.LabelledData(spikes, points.targets)


def network(hidden: int, key: Any) -> rs.SpikingNetwork:
    """The network at its start; time is in units of the synaptic time constant."""
    size = hidden + _CLASSES
    neurons = rs.LIF(size, mu1=0.25, mu2=1.0, v_th=1.0, reset_to=0.0)
    into_hidden, into_output = jr.split(key)
    weights, inputs = np.zeros((size, size)), np.zeros((5, size))
    inputs[:, :hidden] = 1.5 + 0.78 * jr.normal(into_hidden, (5, hidden))
    # as much current into an output whatever the number of hidden neurons
    into_output = 1.2 + 0.1 * jr.normal(into_output, (hidden, _CLASSES))
    weights[:hidden, hidden:] = into_output * 120 / hidden
    connections = np.zeros((size, size), bool)
    connections[:hidden, hidden:] = True
    return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs)


def loss_of(hidden: int) -> rs.FirstSpikeCrossEntropy:
    """The cross-entropy of first output spikes; all but its temperature as published."""
    return rs.FirstSpikeCrossEntropy(
        0.05, outputs=range(hidden, hidden + _CLASSES), early_weight=0.003, early_time=1.28
    )


def protocol(
    inputs: rs.SpikeTrains, hidden: int, output_current: float = _OUTPUT_CURRENT
) -> rs.Protocol:
    """What is done to the network: the spikes of each point, and a current into the outputs."""
    current = jnp.zeros(hidden + _CLASSES).at[hidden:].set(output_current)
    return rs.Protocol(
        0.0, _WINDOW, _STEP, max_spikes=6 * (hidden + _CLASSES), input_current=current,
        input_spikes=inputs,
    )  # fmt: skip


def responder(model: rs.SpikingNetwork, hidden: int, inputs: rs.SpikeTrains):
    """A function that gives the response of the network to each point, cell by cell."""
    engine = rs.CellEngine("leave-out").prepared(
        model, protocol(inputs, hidden), num_samples=len(inputs), slack=2.0
    )

    def respond(model: rs.SpikingNetwork, inputs: rs.SpikeTrains, key: Any) -> rs.SpikeTrains:
        return engine.spike_trains(
            model, protocol(inputs, hidden), key=key, num_samples=len(inputs), throw=False
        )

    return respond


def waking(hidden: int, steps: int, rate: float = 1e-3):
    """What strengthens the weights into neurons that fall silent, after each step: into an output
    that does not fire at some point of a mini-batch, and into a hidden neuron that fires at none.

    Where the output of the right class is silent its weights have no gradient, and that of the
    others only delays them: silence spreads, unless it is undone at once. An output of a wrong
    class may well be silent, though, so that this pushes even where nothing is wrong: it is
    lessened as the learning rate is, to nothing after so many steps.
    """
    schedule = optax.cosine_decay_schedule(rate, steps)

    def wake(step, model, generated, key):
        dtype = model.weights.dtype
        now = jnp.asarray(schedule(step), dtype)
        silent = jnp.any(generated.counts_by_neuron == 0, axis=0)
        stronger = now * silent[hidden:].astype(dtype) * (120 / hidden)
        weights = model.weights.at[:hidden, hidden:].add(stronger)
        silent = jnp.all(generated.counts_by_neuron == 0, axis=0)
        inputs = model.input_weights.at[:, :hidden].add(now * silent[:hidden].astype(dtype))
        return eqx.tree_at(lambda m: (m.weights, m.input_weights), model, (weights, inputs))

    return wake


def trained(
    seed: int, hidden: int, epochs: int, batch_size: int, train: rs.LabelledData,
    test: rs.LabelledData, learning_rate: float, callback: Any = None,
):  # fmt: skip
    """What `fit` returns for a network, with its accuracy in the test before training and after
    each epoch."""
    epoch = -(-len(train.inputs) // batch_size)
    loss = loss_of(hidden)
    rate = optax.cosine_decay_schedule(learning_rate, epochs * epoch)
    model = network(hidden, jr.key(seed))
    result = rs.fit(
        model, train, simulate=responder(model, hidden, train.inputs[:_LOOKED_AT]), loss=loss,
        optimiser=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        num_steps=epochs * epoch, key=jr.key(1000 + seed), batch_size=batch_size,
        trainable=lambda model: (model.weights, model.input_weights),
        metrics={"accuracy": lambda model, generated, y: loss.accuracy(generated, y)},
        between_steps=waking(hidden, epochs * epoch), holdout=test, evaluate_every=epoch,
        log_every=epoch, progress=False, callback=callback,
    )  # fmt: skip
    result.raise_unless_trained()
    return result
