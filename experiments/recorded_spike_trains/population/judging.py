"""Free-running samples of a population beside its recording: the scorecard of each model."""

import dataclasses
import time
from pathlib import Path

import numpy as np

from ..reading import RecordingError, read_recording
from ..scorecard import Activity, Scorecard, scorecard
from .latents import Latents, find_latents
from .network import FOR_CELLS, Population, fit_population
from .training import BySignatures, Training, train_population

WIDTH, LAG, BIN = 0.5, 1.0, 0.1
"""Smoothing, lag and bin of the latents in units of the time that is slow here, see `slow_unit`."""

Samples = list[list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Simultaneous spikes, cut in time: what is trained on comes first.

    Attributes:
        spikes: of each neuron, in seconds from the start of the recording.
        cut: where the held-out part begins.
        seconds: length of the recording.
        names: of the neurons.
    """

    spikes: list[np.ndarray]
    cut: float
    seconds: float
    names: list[str]

    @property
    def train(self) -> list[np.ndarray]:
        """Spikes of the training part."""
        return [times[times < self.cut] for times in self.spikes]

    @property
    def training(self) -> Activity:
        """The training part."""
        return Activity(self.spikes, np.array([[0.0, self.cut]]))

    @property
    def held_out(self) -> Activity:
        """The rest."""
        return Activity(self.spikes, np.array([[self.cut, self.seconds]]))

    @property
    def slow_unit(self) -> float:
        """What is slow for this population, in seconds: one and a half mean intervals."""
        intervals = self.cut * len(self.spikes) / max(sum(x.size for x in self.train), 1)
        return 1.5 * intervals


def read_population(path: Path, stop: float | None = None) -> Recorded:
    """A recording of one trial of neurons recorded at the same time.

    Raises:
        RecordingError: it cannot be read, has several trials, or one neuron alone.
    """
    recording = read_recording([path], stop=stop, fewest=3)
    if len(recording.trials) != 1 or len(recording.neurons) < 2:
        raise RecordingError(
            f"{path} has {len(recording.trials)} trials of {len(recording.neurons)} neurons; a "
            "population is two neurons or more in one trial. Give one trial alone."
        )
    trial = recording.trials[0]
    seconds = trial.stop - trial.start
    spikes = [times - trial.start for times in trial.spikes]
    return Recorded(spikes, 2 * seconds / 3, seconds, recording.neurons)


def latents_of(recorded: Recorded) -> Latents:
    """The slow currents of the training part."""
    unit = recorded.slow_unit
    counts = recorded.training.counts(BIN * unit)
    return find_latents(counts, BIN * unit, width=WIDTH * unit, lag=LAG * unit)


def fit_recorded(recorded: Recorded) -> Population:
    """The population of the training part."""
    return fit_population(recorded.train, recorded.cut, latents_of(recorded))


def train_recorded(recorded: Recorded, training: Training) -> BySignatures:
    """The population of the training part by likelihood, and then by signatures."""
    population = fit_population(recorded.train, recorded.cut, latents_of(recorded), form=FOR_CELLS)
    return train_population(population, recorded.train, recorded.cut, recorded.slow_unit, training)


def pooled(samples: Samples, seconds: float) -> Activity:
    """Samples one after the other."""
    spans = seconds * np.stack([np.arange(len(samples)), np.arange(1, len(samples) + 1)], 1)
    spikes = [
        np.concatenate([sample[n] + i * seconds for i, sample in enumerate(samples)])
        for n in range(len(samples[0]))
    ]
    return Activity(spikes, spans)


def run_away(samples: Samples, recorded: Recorded) -> float:
    """Share of samples that fire more than twice as much as the training part."""
    seconds = recorded.seconds - recorded.cut
    rate = sum(x.size for x in recorded.train) / recorded.cut
    rates = np.array([sum(x.size for x in sample) for sample in samples]) / seconds
    return float(np.mean(rates > 2 * rate))


def mean_card(cards: list[Scorecard]) -> Scorecard:
    """The mean of each figure."""
    return Scorecard(*np.mean([dataclasses.astuple(card) for card in cards], axis=0).tolist())


def score(recorded: Recorded, drawn: list[Samples], bin: float) -> Scorecard:
    """Mean scorecard of several draws of samples against the held-out part."""
    seconds = recorded.seconds - recorded.cut
    return mean_card(
        [scorecard(recorded.held_out, pooled(samples, seconds), bin) for samples in drawn]
    )


def costs(recorded: Recorded, sizes: tuple[int, ...], seed: int) -> list[tuple[int, float]]:
    """Processor seconds of a fit, against the number of neurons drawn from the recording."""
    random = np.random.default_rng(seed)
    found = []
    for size in sizes:
        own = np.sort(random.permutation(len(recorded.spikes))[:size])
        part = dataclasses.replace(
            recorded, spikes=[recorded.spikes[n] for n in own],
            names=[recorded.names[n] for n in own],
        )  # fmt: skip
        fit_recorded(part)  # compiles for the room that this part needs
        began = time.process_time()
        fit_recorded(part)
        found.append((size, time.process_time() - began))
    return found


def costs_of_steps(
    recorded: Recorded, population: Population, sizes: tuple[int, ...], training: Training
) -> list[tuple[int, float]]:
    """Processor seconds of a gradient step by signatures, against the number of neurons, which are
    the first of the population."""
    found = []
    for size in sizes:
        part = dataclasses.replace(
            population, neurons=population.neurons[:size], units=population.units[:size]
        )
        clock = {}

        def note(step, model, history, clock=clock):
            clock[step] = time.process_time()

        train_population(
            part, recorded.train[:size], recorded.cut, recorded.slow_unit,
            dataclasses.replace(training, steps=20), note,
        )  # fmt: skip
        # the first step is compiled, and a call of its own
        steps = sorted(clock)
        spent = clock[steps[-1]] - clock[steps[-2]]
        found.append((size, spent / (steps[-1] - steps[-2])))
    return found
