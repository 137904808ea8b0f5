"""XOR by a layer of hidden neurons: two groups of inputs fire at a high or a low rate, and the
output neuron is to fire often where they differ, and seldom where they are alike.

Every trial has input spikes of its own. Time in milliseconds; neurons and synapses are those of the
other tasks.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs

from .one_neuron import ENGINE, LEAK, poisson_trains, potentials, synapses

STEP, WINDOW = 1.0, 300.0
GROUP, LOW, HIGH = 10, 0.004, 0.04
"""Inputs of a group, and their rates."""
FEW, MANY = 2, 12
"""Wanted numbers of spikes of the output; it should not fall silent, where nothing is learned."""
MIDDLE = (FEW + MANY) / 2
TONIC = -49.7
"""Current of the leak of the output: alone it fires four times, and hears of what it does wrong."""
INHIBITION = 3.0
"""By how much more conductance inhibition takes: its reversal potential is a third as far from the
potentials between rest and threshold. Negative weights at the start are larger by this, and so is
the perturbation of inhibitory conductances."""
CORRELATION = 50.0
"""Correlation time of the perturbations: they say what a conductance does to a number of spikes."""
ROOM = 800
BATCH = 64


class CountLoss(eqx.Module):
    """Mean square of the output's number of spikes less the wanted one."""

    def __call__(self, trains: rs.SpikeTrains, targets: Any) -> Any:
        """The loss of a sample."""
        return jnp.mean(_squares(trains, targets))

    def changes(self, trains: rs.SpikeTrains, targets: Any, alternatives: rs.SpikeTrains) -> Any:
        """What each alternative to a trial changes."""
        before = _squares(trains, targets)
        columns = [
            _squares(alternatives[:, n], targets) - before
            for n in range(alternatives.batch_shape[1])
        ]
        return jnp.stack(columns, axis=1) / len(trains)


def _squares(trains: rs.SpikeTrains, targets: Any) -> Any:
    counts = trains.counts_by_neuron[:, -1].astype(trains.times.dtype)
    return jnp.square(counts - targets.astype(trains.times.dtype))


class Trials(eqx.Module):
    """Trials with the input spikes of a batch.

    Attributes:
        leak: current of the leak of each neuron.
    """

    leak: Any

    @classmethod
    def of(cls, neurons: int) -> "Trials":
        """For so many neurons, the output as the last one."""
        return cls(np.where(np.arange(neurons) < neurons - 1, LEAK, TONIC))

    def simulation(self, inputs: rs.SpikeTrains) -> rs.Simulation:
        """The simulation of these trials."""
        protocol = rs.Protocol(
            0.0, WINDOW, STEP, max_spikes=ROOM, input_current=self.leak, input_spikes=inputs
        )
        return rs.Simulation(protocol, len(inputs), ENGINE, throw=False)

    def __call__(self, model: Any, inputs: rs.SpikeTrains, key: Any) -> rs.SpikeTrains:
        return self.simulation(inputs)(model, key).without_presence()


def network(hidden: int, seed: int) -> rs.SpikingNetwork:
    """Hidden neurons, and the output as the last one."""
    rng = np.random.default_rng(seed)
    k = hidden + 1
    connected = np.zeros((k, k), bool)
    connected[:-1, -1] = True
    weights = connected * _balanced(rng.normal(0, 0.6, (k, k))) / hidden**0.5
    inputs = _balanced(rng.normal(0, 0.2, (2 * GROUP, k)))
    inputs[:, -1] = 0
    return rs.SpikingNetwork(
        potentials(k), weights, connected, synapses=synapses(), refractory=2.0,
        input_weights=inputs,
    )  # fmt: skip


def _balanced(weights: np.ndarray) -> np.ndarray:
    """Weights whose negative ones move the potential as much as the positive ones."""
    return np.where(weights < 0, INHIBITION * weights, weights)


def perturbations(scale: float) -> list[rs.CorrelatedPerturbation]:
    """The laws of the excitatory and of the inhibitory perturbation.

    Args:
        scale: of the excitatory one in each step.
    """
    return [
        rs.CorrelatedPerturbation(size, CORRELATION, exact=False)
        for size in (scale, INHIBITION * scale)
    ]


def data(trials: int, seed: int) -> rs.LabelledData:
    """Input spikes and wanted numbers of spikes of the output, as many of each pattern."""
    rng = np.random.default_rng(2000 + seed)
    pattern = rng.permutation(np.arange(trials) % 4)
    bits = np.stack([pattern // 2, pattern % 2], axis=1)
    rates = np.repeat(np.where(bits, HIGH, LOW), GROUP, axis=1)
    trains = rs.SpikeTrains.from_lists(
        [poisson_trains(rate, WINDOW, STEP, rng) for rate in rates], t0=0.0, t1=WINDOW,
        num_neurons=2 * GROUP,
    )  # fmt: skip
    return rs.LabelledData(trains, np.where(bits[:, 0] != bits[:, 1], MANY, FEW))


def _only_hidden(step, model, generated, key):
    """Inputs reach the hidden neurons only."""
    return eqx.tree_at(lambda m: m.input_weights, model, model.input_weights.at[:, -1].set(0))


def learn(
    seed: int, hidden: int, updates: int, rate: float, scale: float, held: int
) -> dict[str, Any]:
    """Learn from new trials in every update, and test on others, with the perturbation of learning,
    and without it.

    Args:
        seed: of the network and of its trials.
        hidden: neurons.
        updates: of 64 trials.
        rate: of Adam at the beginning; it falls to zero by a cosine.
        scale: of the excitatory perturbation in each step.
        held: trials to test on.
    """
    start, train, test = network(hidden, seed), data(updates * BATCH, seed), data(held, 500 + seed)
    laws = perturbations(scale)
    rule = rs.ConductancePerturbation(*laws)
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, updates), b2=0.99)
    result = rs.fit(
        start, train, simulate=Trials.of(hidden + 1), loss=CountLoss(), optimiser=optimiser,
        num_steps=updates, key=jr.key(seed), estimator=rule, batch_size=BATCH,
        trainable=lambda m: (m.weights, m.input_weights), between_steps=_only_hidden,
        log_every=updates, progress=False,
    )  # fmt: skip
    found: dict[str, Any] = {"losses": np.asarray(result.history["loss"], float).tolist()}
    wanted = np.asarray(test.targets)
    for name, model in (("before", start), ("after", result.model)):
        for kind, trains in (
            ("", _perturbed(model, test.inputs, laws)),
            (" unperturbed", _trains(model, test.inputs)),
        ):
            counts = np.asarray(trains.counts_by_neuron[:, -1])
            right = (counts > MIDDLE) == (wanted > MIDDLE)
            found[f"accuracy {name}{kind}"] = float(np.mean(right))
            found[f"counts {name}{kind}"] = {
                str(value): np.bincount(counts[wanted == value], minlength=1).tolist()
                for value in (FEW, MANY)
            }
    return found


@eqx.filter_jit
def _trains(model: Any, inputs: Any) -> Any:
    return Trials.of(model.num_neurons)(model, inputs, jr.key(0))


@eqx.filter_jit
def _perturbed(model: Any, inputs: Any, laws: Any) -> Any:
    """The trials of a network that is perturbed as it was when it learned."""
    simulation, steps = Trials.of(model.num_neurons).simulation(inputs), int(WINDOW / STEP)
    times = STEP * np.arange(steps)
    with jax.ensure_compile_time_eval():
        empty = rs.CurrentOnGrid(times, np.zeros((steps, 1)), "previous")
    dtype = inputs.times.dtype

    def one(index, key):
        drawn = [
            law.draw(k, steps, model.num_neurons, STEP, dtype)[0]
            for law, k in zip(laws, jr.split(key), strict=True)
        ]
        given = [eqx.tree_at(lambda c: c.values, empty, x) for x in drawn]
        protocol = eqx.tree_at(
            lambda p: (p.input_current, p.input_spikes), simulation.protocol,
            (rs.InputConductances(*given, current=simulation.protocol.input_current),
             inputs[index]),
        )  # fmt: skip
        trains = ENGINE.spike_trains(model, protocol, key=key, num_samples=1, throw=False)
        return trains.times[0], trains.neurons[0], trains.overflowed[0]

    number = len(inputs)
    spikes = jax.vmap(one)(jnp.arange(number, dtype=jnp.int32), jr.split(jr.key(1), number))
    return rs.SpikeTrains(*spikes[:2], 0.0, WINDOW, spikes[2], num_neurons=model.num_neurons)
