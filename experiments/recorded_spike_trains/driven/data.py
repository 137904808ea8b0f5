"""A recorded neuron and its stimulus on the cells of a grid, with what of it is held out."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ..reading import Recording
from ..splitting import block_length, blocks_of
from .neuron import Pieces
from .stimulus import Filter, Stimulus


@dataclasses.dataclass(frozen=True)
class DrivenTrial:
    """A trial of one neuron.

    Attributes:
        condition: number of the condition.
        start: in seconds.
        stop: in seconds.
        spikes: in seconds.
        edges: of its blocks, in seconds.
        held: whether each block is held out.
        number: of its first block among those of all trials.
        features: of the stimulus in each cell of the grid, from `start` on.
    """

    condition: int
    start: float
    stop: float
    spikes: np.ndarray
    edges: np.ndarray
    held: np.ndarray
    number: int
    features: np.ndarray

    def block(self, times: np.ndarray) -> np.ndarray:
        """In which of its blocks times lie."""
        at = np.searchsorted(self.edges, times, side="right") - 1
        return np.clip(at, 0, len(self.held) - 1)


@dataclasses.dataclass(frozen=True)
class DrivenData:
    """All trials of one neuron.

    Attributes:
        trials: the trials.
        conditions: names of the conditions.
        unit: the mean training interval, in seconds: the model's unit of time.
        step: of the grid, in seconds.
        filter: the functions that the stimulus went through.
    """

    trials: list[DrivenTrial]
    conditions: list[str]
    unit: float
    step: float
    filter: Filter

    @classmethod
    def of(
        cls, recording: Recording, neuron: int, stimuli: list[Stimulus], names, *,
        hold_out: int, step: float | None, length: float, functions: int, mean: float,
    ) -> "DrivenData":  # fmt: skip
        """The trials of a neuron; a stimulus for each of them.

        Args:
            recording: of all neurons.
            neuron: its number.
            stimuli: of the trials.
            names: of the columns of the stimulus.
            hold_out: which of three successive blocks is held out.
            step: of the grid in seconds; by default see `grid_step`.
            length: of the filter in seconds.
            functions: that it is made of.
            mean: interval of the neuron.
        """
        intervals = np.concatenate([np.diff(t.spikes[neuron]) for t in recording.trials])
        step = grid_step(intervals, stimuli) if step is None else step
        filter = Filter.of(step, max(length, 4 * step, mean / 20), functions, stimuli, names)
        trials, number = [], 0
        lengths = [block_length(recording, c) for c in range(len(recording.conditions))]
        for trial, stimulus in zip(recording.trials, stimuli, strict=True):
            edges, held = blocks_of(trial, lengths[trial.condition], number, hold_out)
            cells = int(np.ceil((trial.stop - trial.start) / step - 1e-9))
            features = filter.features(stimulus, trial.start, cells)
            spikes = trial.spikes[neuron]
            spikes = spikes[spikes > trial.start]
            trials.append(
                DrivenTrial(
                    trial.condition, trial.start, trial.stop, spikes, edges, held,
                    number, features,
                )
            )  # fmt: skip
            number += len(held)
        train = np.concatenate([
            np.diff(t.spikes)[~t.held[t.block(t.spikes[:-1])]] for t in trials if t.spikes.size
        ])  # fmt: skip
        return cls(trials, recording.conditions, float(train.mean()), step, filter)

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """For each cell of all trials the number of its block, and whether it is held out."""
        blocks, held = [], []
        for trial in self.trials:
            middles = trial.start + self.step * (np.arange(len(trial.features)) + 0.5)
            block = trial.block(middles)
            blocks.append(block + trial.number)
            held.append(trial.held[block])
        return np.concatenate(blocks), np.concatenate(held)

    def pieces(self) -> tuple[Pieces, np.ndarray, np.ndarray]:
        """The trials cut at cells and spikes; for each piece the number of its block, and whether
        it is held out."""
        parts: list[tuple] = []
        first = 0
        for trial in self.trials:
            cells = len(trial.features)
            grid = trial.start + self.step * np.arange(cells + 1)
            grid[-1] = trial.stop
            cuts = np.unique(np.r_[grid, trial.spikes])
            cuts = cuts[(cuts >= trial.start) & (cuts <= trial.stop)]
            middles = (cuts[1:] + cuts[:-1]) / 2
            cell = np.clip(np.searchsorted(grid, middles, side="right") - 1, 0, cells - 1)
            block = trial.block(middles)
            ends = np.zeros(middles.size, bool)
            ends[-1] = True
            parts.append((
                np.diff(cuts) / self.unit, cell + first, np.isin(cuts[1:], trial.spikes), ends,
                block + trial.number, trial.held[block],
            ))  # fmt: skip
            first += cells
        lengths, cell, spikes, ends, block, held = (
            np.concatenate(x) for x in zip(*parts, strict=True)
        )
        conditions = np.repeat(
            [t.condition for t in self.trials], [len(t.features) for t in self.trials]
        )
        features = np.concatenate([t.features for t in self.trials])
        pieces = Pieces(
            jnp.asarray(lengths), jnp.asarray(cell, jnp.int32), jnp.asarray(spikes),
            jnp.asarray(ends), jnp.asarray(features), jnp.asarray(conditions, jnp.int32),
        )  # fmt: skip
        return pieces, block, held


def grid_step(intervals: np.ndarray, stimuli: list[Stimulus]) -> float:
    """An eighth of the 5 % quantile of the intervals, between a 200th and a 20th of their mean; the
    step of the stimulus, a multiple or a fraction of it that is nearest, where it is even."""
    mean = intervals.mean()
    wanted = float(np.clip(np.quantile(intervals, 0.05) / 8, mean / 200, mean / 20))
    steps = np.concatenate([np.diff(s.times) for s in stimuli])
    own = float(np.median(steps))
    if np.max(np.abs(steps - own)) > 0.01 * own:
        return wanted
    if own > wanted:
        return own / max(round(own / wanted), 1)
    return own * max(round(wanted / own), 1)
