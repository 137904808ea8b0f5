"""The three tasks on which rules are compared: networks, data, losses, and how they are judged."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.tasks import latency_spikes, yin_yang

CLASSES, INPUTS = 3, 5
WINDOW = 8.0
"""Of Yin-Yang, in units of the synaptic time constant."""
BATCH = 32
"""Samples of a step, points or trials."""
CLOCK = 0.05
"""Steps of the clock engine on Yin-Yang."""
TRAIN_SEED, TEST_SEED = 42, 40
TEMPERATURE = 0.2
GAIN = 120.0
"""Of the weights into an output at the start, all together."""


class Respond(eqx.Module):
    """Trials of Yin-Yang, one for each point, by an engine: what `simulate` is to labelled data.

    Attributes:
        engine: how they are computed.
        step: of the grid.
        room: for spikes of a trial.
    """

    engine: rs.AbstractEngine
    step: float = eqx.field(static=True)
    room: int = eqx.field(static=True)

    def simulation(self, inputs: rs.SpikeTrains) -> rs.Simulation:
        """The simulation of these points."""
        protocol = rs.Protocol(0.0, WINDOW, self.step, max_spikes=self.room, input_spikes=inputs)
        return rs.Simulation(protocol, len(inputs), self.engine, throw=False)

    def __call__(self, model: Any, inputs: rs.SpikeTrains, key: Any) -> rs.SpikeTrains:
        return self.simulation(inputs)(model, key)

    def trials(self, model: Any, inputs: rs.SpikeTrains, key: Any) -> Any:
        """The same, with where each trial ended."""
        return self.simulation(inputs).trials(model, key)

    def at_step(self, step: Any) -> "Respond":
        """With a surrogate of the width that it has in this training step."""
        return Respond(self.engine.at_step(step), self.step, self.room)


@dataclasses.dataclass(frozen=True)
class Task:
    """A network with a loss and data.

    Attributes:
        name: what it is called.
        model: at its start.
        trainable: what of it is trained.
        outputs: the neurons that the loss looks at.
        loss: function of what was generated and the data.
        simulate: an engine and its step to what draws a mini-batch.
        data: the number of a mini-batch to its data; those from 0 on are to measure with, negative
            ones to learn from.
        judge: a model to how good it is; accuracy in per cent, or the loss.
        better: 1 where more of that is better, else -1.
        judged: what `judge` gives, in words.
        steps: of the grid: of the cell engine, of the event engine, whose solver has an error that
            the closed forms of cells have not, and of the clock.
        deterministic: whether the same parameters and data give the same gradient.
        jumps: whether the loss jumps where a spike crosses the end of the window.
    """

    name: str
    model: Any
    trainable: Callable[[Any], Any]
    outputs: tuple[int, ...]
    loss: Any
    simulate: Callable[[Any, float], Any]
    data: Callable[[int], Any]
    judge: Callable[[Any], float]
    better: int
    judged: str
    steps: tuple[float, float, float]
    deterministic: bool
    jumps: bool = False


def _points(seed: int, size: int) -> rs.LabelledData:
    """Points as spikes of five inputs, the last of which fires at the start."""
    points = yin_yang(size, seed=seed)
    values = np.column_stack([np.asarray(points.inputs), np.zeros(size)])
    trains = latency_spikes(values, first=0.1, last=6.1, t1=WINDOW)
    return rs.LabelledData(trains, points.targets)


def _layers(neurons: Callable[[int], Any], hidden: int, seed: int) -> Any:
    size = hidden + CLASSES
    into_hidden, into_output = jr.split(jr.key(seed))
    weights, inputs = np.zeros((size, size)), np.zeros((INPUTS, size))
    inputs[:, :hidden] = 1.5 + 0.78 * np.asarray(jr.normal(into_hidden, (INPUTS, hidden)))
    drawn = np.asarray(jr.normal(into_output, (hidden, CLASSES)))
    weights[:hidden, hidden:] = GAIN / hidden * (1 + 0.3 * drawn)
    connections = np.zeros((size, size), bool)
    connections[:hidden, hidden:] = True
    return rs.SpikingNetwork(neurons(size), weights, connections, input_weights=inputs)


def _yin_yang(name: str, neurons: Callable[[int], Any], noisy: bool, hidden: int, pool: int,
              seed: int, room: int, cell: float) -> Task:  # fmt: skip
    model = _layers(neurons, hidden, seed)
    outputs = tuple(range(hidden, hidden + CLASSES))
    loss = rs.FirstSpikeCrossEntropy(
        TEMPERATURE, outputs=outputs, early_weight=0.003, early_time=1.28
    )
    train, test = _points(TRAIN_SEED, pool), _points(TEST_SEED, 500)
    # the first points to measure with, in order; from all of them to learn
    order = np.random.default_rng(seed).permutation(pool)
    batches = pool // BATCH

    def data(number: int) -> rs.LabelledData:
        if number >= 0:
            first = (number % batches) * BATCH
            return train[order[first : first + BATCH]]
        return train[np.random.default_rng((seed, -number)).choice(pool, BATCH, replace=False)]

    def simulate(engine: rs.AbstractEngine, step: float) -> Respond:
        if isinstance(engine, rs.CellEngine):
            looked = train[order[:256]].inputs
            protocol = rs.Protocol(0.0, WINDOW, step, max_spikes=room, input_spikes=looked)
            engine = engine.prepared(model, protocol, num_samples=256, slack=2.0)
        return Respond(engine, step, room)

    # from event to event, with room for what networks become
    judging = Respond(rs.EventEngine(dfx.Bosh3(), rs.NoGradient()), 0.1, 3 * room)

    @eqx.filter_jit
    def decided(respond, model, inputs):
        # trains that are cut off have the first spikes
        return loss.decide(respond(model, inputs, jr.key(7)))

    def judge(model: Any) -> float:
        with_points = decided(judging, model, test.inputs)
        return 100 * float(np.mean(np.asarray(with_points) == np.asarray(test.targets)))

    return Task(
        name, model, lambda m: (m.weights, m.input_weights), outputs, loss, simulate, data, judge,
        1, "test accuracy (%)", (cell, 0.1, CLOCK), not noisy,
    )  # fmt: skip


def yin_yang_exact(hidden: int, pool: int, seed: int) -> Task:
    """Yin-Yang by neurons that fire at a threshold."""

    def neurons(size):
        return rs.LIF(size, mu1=0.25, mu2=1.0, v_th=1.0, reset_to=0.0)

    return _yin_yang("threshold", neurons, False, hidden, pool, seed, 8 * (hidden + CLASSES), 0.2)


def yin_yang_noisy(hidden: int, pool: int, seed: int) -> Task:
    """Yin-Yang by neurons with escape noise, and noise of the membrane."""

    def neurons(size):
        return rs.StochasticLIF(
            size, mu1=0.25, mu2=1.0, sigma=0.1, v_reset=1.0, beta=5.0, tau_s=0.2, alpha=0.05
        )

    return _yin_yang("noise", neurons, True, hidden, pool, seed, 10 * (hidden + CLASSES), 0.1)


MATCH_WINDOW, MATCH_STEP, MATCH_INPUTS, MATCH_ROOM = 1.0, 0.02, 4, 40


class Judged(eqx.Module):
    """The loss of many trials with the same noise, whatever the model."""

    simulation: rs.Simulation
    loss: rs.AbstractLoss
    target: Any

    def __call__(self, model: Any) -> Any:
        return self.loss(self.simulation(model, jr.key(7)), self.target)


def matching(seed: int, observed: int = 128) -> Task:
    """Spike trains of a recurrent network of three neurons, matched by a signature kernel."""
    neurons = rs.StochasticLIF(3, mu1=10.0, sigma=0.2, v_reset=1.2, beta=5.0, tau_s=0.5, alpha=0.05)
    ring = 0.5 * np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
    inputs = np.array([[1.0, 0.0, -0.5], [0.0, 0.8, 0.3], [0.5, -0.5, 1.0], [-0.3, 0.5, 0.5]])
    connections = ~np.eye(3, dtype=bool)
    teacher = rs.SpikingNetwork(neurons, ring, connections, input_weights=inputs)
    start = rs.SpikingNetwork(
        neurons, np.zeros((3, 3)), connections, input_weights=np.zeros_like(inputs)
    )
    times = np.sort(np.random.default_rng(seed).uniform(0, 0.8, 12))
    trains = rs.SpikeTrains.from_lists(
        [(times, np.arange(12) % MATCH_INPUTS)], t0=0.0, t1=MATCH_WINDOW, num_neurons=MATCH_INPUTS
    )
    protocol = rs.Protocol(
        0.0, MATCH_WINDOW, MATCH_STEP, max_spikes=MATCH_ROOM, input_current=0.8,
        input_spikes=trains[0],
    )  # fmt: skip
    kernel = rs.SignatureKernel(1.0, 0.5, tolerance=1e-4, max_simultaneous=3)
    loss = rs.SignatureMMDLoss(kernel)

    @functools.cache
    def target():
        drawn = rs.Simulation(protocol, observed)(teacher, jr.fold_in(jr.key(seed), 1))
        return loss.target(drawn)

    def simulate(engine: rs.AbstractEngine, step: float) -> rs.Simulation:
        own = rs.Protocol(
            0.0, MATCH_WINDOW, step, max_spikes=MATCH_ROOM, input_current=0.8,
            input_spikes=trains[0],
        )  # fmt: skip
        if isinstance(engine, rs.CellEngine):
            engine = engine.prepared(start, own, num_samples=64, slack=3.0)
        return rs.Simulation(own, BATCH, engine, throw=False)

    @functools.cache
    def judging():
        return Judged(rs.Simulation(protocol, 256, throw=False), loss, target())

    def judge(model: Any) -> float:
        return float(eqx.filter_jit(judging())(model))

    return Task(
        "matching", start, lambda m: (m.weights, m.input_weights), (0, 1, 2), loss, simulate,
        lambda number: target(), judge, -1, "loss", (MATCH_STEP,) * 3, False, True,
    )  # fmt: skip
