"""A coupled population trained by losses of signatures on random subsets of neurons and windows."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.signal import lfilter

import roughsnn as rs

from .coupled import CELLS, LEAD, Coupled, FreeRun
from .losses import ExpectedSignatures, HalvesLoss, KernelDistance
from .network import Population
from .score import SubsetScore, potentials, synaptic_traces

SIZE, SUBSETS, TRIALS = 6, 4, 3
"""Neurons of a subset, subsets of a step, and trials that share their currents."""

PARTS, WINDOWS = 16, 2
"""Parts of a trial, each with currents of its own, and windows of a part: slow currents hardly
change in a few windows, so that many parts tell more than long ones."""

WINDOW = 2.0
"""Length of a window, in units of the time that is slow here."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How a population is trained by signatures.

    Attributes:
        steps: of gradient descent; none leaves the start as it is.
        loss: of expected signatures, or of the signature kernel.
        couplings: how many connections lead to each recorded neuron.
        hidden: neurons that nobody recorded.
        sparsity: share of the root mean square of its derivative by which the mean of a coupling's
            derivative has to be larger than zero for the coupling to grow.
        learning_rate: of Adam, at first; it falls to zero along a cosine.
        seed: of all draws.

    Raises:
        ValueError: a negative number of steps, couplings or hidden neurons.
    """

    steps: int = 100
    loss: Literal["expected-signature", "signature-kernel"] = "expected-signature"
    couplings: int = 5
    hidden: int = 0
    sparsity: float = 0.25
    learning_rate: float = 0.01
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "couplings", "hidden"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be 0 or more.")


@dataclasses.dataclass(frozen=True)
class BySignatures:
    """A population trained by signatures.

    Attributes:
        population: the neurons by likelihood, and the shared currents.
        start: the same as training begins with them.
        trained: after the gradient steps.
        result: of `roughsnn.fit`; none without steps.
    """

    population: Population
    start: Coupled
    trained: Coupled
    result: rs.FitResult | None


def likely_pairs(
    model: Coupled, population: Population, spikes: list[np.ndarray], seconds: float, number: int
) -> np.ndarray:
    r"""For each neuron those that tell most of its spikes beyond what the shared currents do.

    The score test of a coupling that is zero: with $G$ the change of the potential by the coupling,
    less what offset and shared currents explain of it (both in the metric of the intensity),
    $z = \sum G (n - \lambda h) / (\sum G^2 \lambda h)^{1/2}$ with the counts n in cells of h.

    Args:
        model: without couplings.
        population: the neurons it stands for.
        spikes: of each neuron, in seconds.
        seconds: length of the recording.
        number: how many lead to each neuron.

    Returns:
        from and to of each pair, shape (neurons times number, 2).
    """
    path = population.latents.path
    trains = rs.SpikeTrains.from_lists([spikes], t0=0.0, t1=seconds)
    chosen = jnp.arange(len(spikes), dtype=jnp.int32)
    cells, cell = len(path) * CELLS, model.cell
    v, traces, place = _felt(model, jnp.asarray(path), trains, chosen)
    counts = np.zeros((cells + 1, len(spikes)))
    np.add.at(counts, (np.minimum(np.asarray(place[0]), cells), np.asarray(trains.neurons[0])), 1)
    expected = np.exp(np.minimum(np.asarray(v[:, 0]), 10.0)) / np.asarray(model.units) * cell
    traces = np.asarray(traces[:, 0])
    base = np.c_[np.ones(cells), np.repeat(path, CELLS, axis=0)]
    decay = np.exp(-np.asarray(model.leak) * cell)
    pairs = []
    for to in range(len(spikes)):
        moved = lfilter([0.0, 1 - decay[to]], [1.0, -decay[to]], traces, axis=0)
        weight = expected[:, to, None]
        explained = np.linalg.lstsq(np.sqrt(weight) * base, np.sqrt(weight) * moved, rcond=None)[0]
        moved = moved - base @ explained
        told = moved.T @ (counts[:-1, to] - expected[:, to])
        z = np.abs(told) / np.sqrt(np.maximum(np.sum(moved**2 * weight, 0), 1e-12))
        z[to] = -1.0
        best = np.argsort(-z, kind="stable")[:number]
        pairs += [(int(origin), to) for origin in np.sort(best)]
    return np.array(sorted(pairs), int).reshape(-1, 2)


@eqx.filter_jit
def _felt(model: Coupled, path, trains: rs.SpikeTrains, chosen):
    """Potentials in the recording, what spikes would add to synaptic currents, and their cells."""
    v, _, place, _, _ = potentials(model, path, trains, chosen)
    return v, synaptic_traces(trains, len(v), model.cell, model.decay), place


def start_coupled(
    population: Population, spikes: list[np.ndarray], seconds: float, slow_unit: float,
    training: Training,
) -> Coupled:  # fmt: skip
    """Where training starts: the neurons as they were fitted, all couplings but those of hidden
    neurons zero."""
    alone = Coupled.start(population, slow_unit)
    number = min(training.couplings, len(spikes) - 1)
    pairs = None
    if number:
        pairs = likely_pairs(alone, population, spikes, seconds, number)
    return Coupled.start(population, slow_unit, pairs, training.hidden, training.seed)


def cut_windows(
    spikes: list[np.ndarray], seconds: float, length: float, overlap: int = 4
) -> rs.SpikeTrains:
    """Windows of a recording, each `overlap`-th of its length after the one before."""
    starts = np.arange(0.0, seconds - length, length / overlap)
    trials = [[x[(x >= start) & (x < start + length)] - start for x in spikes] for start in starts]
    return rs.SpikeTrains.from_lists(trials, t0=0.0, t1=length)


def train_population(
    population: Population, spikes: list[np.ndarray], seconds: float, slow_unit: float,
    training: Training = Training(), callback=None,
) -> BySignatures:  # fmt: skip
    """Gradient steps of `roughsnn.fit` from fitted neurons on.

    Args:
        population: the start, of neurons that take an amount off their potential at a spike.
        spikes: of each neuron in the training part, in seconds.
        seconds: its length.
        slow_unit: the time that is slow here, in seconds.
        training: how.
        callback: as in `roughsnn.fit`.
    """
    model = start_coupled(population, spikes, seconds, slow_unit, training)
    if training.steps == 0:
        return BySignatures(population, model, model, None)
    import optax

    bins = round(WINDOW * slow_unit / population.latents.bin)
    length = bins * population.latents.bin
    observed = cut_windows(spikes, seconds, length)
    size = min(SIZE, len(spikes))
    subsets = min(SUBSETS, len(spikes) // size)
    # four times the mean count in a window, and ten more
    most = int(np.ceil(4 * length * np.mean([x.size for x in spikes]) / seconds)) + 10
    estimator = SubsetScore(size, subsets, bins * CELLS, PARTS, LEAD * CELLS, most)
    part = (WINDOWS * bins + LEAD) * population.latents.bin
    simulate = FreeRun.of(model, population.latents, part - 1e-6, PARTS, TRIALS)
    rate = optax.cosine_decay_schedule(training.learning_rate, training.steps)

    def sparse(step, model, generated, key):
        if model.connections is None:
            return model
        threshold = training.sparsity * rate((step - 1).astype(jnp.result_type(float)))
        shrunk = jnp.sign(model.couplings) * jnp.maximum(jnp.abs(model.couplings) - threshold, 0)
        return eqx.tree_at(lambda m: m.couplings, model, shrunk.astype(model.couplings.dtype))

    result = rs.fit(
        model, observed, simulate=simulate, loss=_loss(training, observed, size),
        optimiser=optax.adam(rate), num_steps=training.steps, key=jr.key(training.seed),
        estimator=estimator, trainable=lambda m: m.trained(),
        batch_size=max(len(observed) // 2, 2), between_steps=sparse, callback=callback,
        progress=False, log_every=10,
    )  # fmt: skip
    return BySignatures(population, model, result.model, result)


def _loss(training: Training, observed: rs.SpikeTrains, size: int) -> HalvesLoss:
    if training.loss == "expected-signature":
        return ExpectedSignatures()
    # one scale for all subsets: that of a few neurons of the middle rate
    rates = np.asarray(jnp.mean(observed.counts_by_neuron.astype(float), axis=0))
    middle = np.argsort(rates)[(len(rates) - size) // 2 :][:size]
    kernel = rs.SignatureKernel(normalise=True).fixed_for(observed.select(middle.tolist()))
    return KernelDistance(kernel)
