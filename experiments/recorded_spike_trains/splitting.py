"""What of a recording is trained on and what is held out, as intervals and as windows."""

import dataclasses

import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from .reading import Recording, RecordingError, Trial

BLOCK = 30
"""Length of a block of recording in mean intervals of the fastest neuron; every third is held out.
"""


@dataclasses.dataclass(frozen=True)
class Part:
    """The spikes of one neuron in one condition, cut into training and held-out blocks.

    Attributes:
        unit: the model's unit of time in seconds, the mean training interval of the neuron, all
            conditions together.
        window: length of a window, in seconds.
        train: training intervals in seconds, in their order.
        held: held-out intervals.
        trials: for each trial the intervals, and whether each is held out.
        windows: spike times of each held-out window, from its start, in seconds.
        train_seconds: length of what is trained on.
        train_spikes: spikes in it.
        held_seconds: length of what is held out.
        held_spikes: spikes in it.
        train_windows: as `windows`, of the training blocks.
    """

    unit: float
    window: float
    train: np.ndarray
    held: np.ndarray
    trials: list[tuple[np.ndarray, np.ndarray]]
    windows: list[np.ndarray]
    train_seconds: float
    train_spikes: int
    held_seconds: float
    held_spikes: int
    train_windows: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def held_windows(self) -> rs.SpikeTrains:
        """The held-out windows, in the unit of the model."""
        return windows_as_trains(self.windows, self.window / self.unit, self.unit)


def windows_as_trains(windows: list[np.ndarray], length: float, unit: float) -> rs.SpikeTrains:
    """Windows of spike times in seconds as trains on [0, length] in the unit of the model.

    Of spikes that single precision does not tell apart, as a Poisson process has them now and then,
    the first is kept.
    """
    least = length * 1e-6
    clipped = [np.clip(w / unit, 0.0, length) for w in windows]
    scaled = [[w[np.diff(w, prepend=-1.0) > least]] for w in clipped]
    return rs.SpikeTrains.from_lists(scaled, t0=0.0, t1=length)


def split(recording: Recording, window_intervals: float, hold_out: int = 2) -> list[list[Part]]:
    """Cut a recording; `parts[neuron][condition]`.

    Each condition is cut into blocks of `BLOCK` mean intervals of its fastest neuron (shorter where
    the recording has fewer than six such), aligned with the trials, and every third block is held
    out, from block number `hold_out` (0, 1 or 2) on. An interval belongs to the block in which it
    begins, so that no length is preferred. A window is `window_intervals` mean intervals of the
    neuron long, but no longer than a block.
    """
    parts: list[list[Part]] = []
    for neuron in range(len(recording.neurons)):
        row = [
            _part(recording, neuron, condition, window_intervals, hold_out)
            for condition in range(len(recording.conditions))
        ]
        unit = float(np.mean([np.mean(part.train) for part in row]))
        parts.append([dataclasses.replace(part, unit=unit) for part in row])
    return parts


def block_length(recording: Recording, condition: int) -> float:
    """Length of a block of a condition in seconds, see `split`."""
    seconds = sum(trial.stop - trial.start for trial in recording.of(condition))
    fastest = max(recording.rate(n, condition) for n in range(len(recording.neurons)))
    return min(BLOCK / fastest, seconds / 6)


def blocks_of(
    trial: Trial, length: float, number: int, hold_out: int
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the blocks of a trial, and whether each is held out.

    Args:
        trial: the trial.
        length: of a block, about, in seconds.
        number: of the first block among those of all trials.
        hold_out: which of three successive blocks is held out.
    """
    count = max(1, round((trial.stop - trial.start) / length))
    edges = np.linspace(trial.start, trial.stop, count + 1)
    return edges, (np.arange(count) + number) % 3 == hold_out


def _part(
    recording: Recording, neuron: int, condition: int, window_intervals: float, hold_out: int
) -> Part:
    trials = recording.of(condition)
    length = block_length(recording, condition)
    mean = 1 / recording.rate(neuron, condition)
    window = min(window_intervals * mean, length)
    intervals, windows, train_windows = [], [], []
    number = 0
    sizes = {True: [0.0, 0], False: [0.0, 0]}
    for trial in trials:
        edges, held = blocks_of(trial, length, number, hold_out)
        count = held.size
        number += count
        spikes = trial.spikes[neuron]
        block = np.clip(np.searchsorted(edges, spikes, side="right") - 1, 0, count - 1)
        intervals.append((np.diff(spikes), held[block[:-1]]))
        for b in range(count):
            size = sizes[bool(held[b])]
            size[0] += edges[b + 1] - edges[b]
            size[1] += int(np.sum(block == b))
            own = windows if held[b] else train_windows
            own += _windows(trial, neuron, edges[b], edges[b + 1], window)
    gaps, marks = (np.concatenate(x) for x in zip(*intervals, strict=True))
    if marks.sum() < 10 or (~marks).sum() < 20:
        raise RecordingError(
            f"Neuron {recording.names[neuron]}, condition {recording.conditions[condition]}: "
            f"{(~marks).sum()} intervals to train on and {marks.sum()} held out; a fit needs 20 "
            "and 10. Record longer, set `stop` where the spikes end, or leave the neuron out."
        )
    return Part(
        mean, window, gaps[~marks], gaps[marks], intervals, windows,
        sizes[False][0], sizes[False][1], sizes[True][0], sizes[True][1], train_windows,
    )  # fmt: skip


def _windows(trial: Trial, neuron: int, start: float, stop: float, length: float) -> list:
    spikes = trial.spikes[neuron]
    count = max(1, int((stop - start) / length + 1e-9))
    starts = start + np.arange(count) * min(length, stop - start)
    return [spikes[(spikes >= a) & (spikes < a + length)] - a for a in starts]


class IntervalClock:
    r"""A clock on which all recorded intervals are equally likely: how a loss reads intervals.

    An interval $x$, in units of the mean, becomes

    $$ g(x) = (1 - w)\,F(x) + w\,\frac{x}{x + 3}, \qquad w = 0.3, $$

    with $F$ the distribution of the training intervals, interpolated between 41 quantiles on a
    logarithmic scale of time. So bursts of milliseconds and silences of seconds are resolved alike,
    whatever the rate; the second term keeps $g$ increasing where no interval was recorded and lets
    long intervals count. An interval is at most 1 long, so n of them end by n: a train of n
    intervals on $[0, n]$ is never cut by the end of its window.
    """

    def __init__(self, intervals: np.ndarray, unit: float, weight: float = 0.3):
        shares = np.linspace(0.0, 1.0, 41)
        log = np.log(np.quantile(intervals / unit, shares))
        # Tails beyond the shortest and the longest, and no two quantiles at one place.
        log[0] -= 1.0
        log[-1] += 1.0
        self.log_quantiles = jnp.asarray(log + 1e-6 * np.arange(41))
        self.shares = jnp.asarray(shares)
        self.weight = weight


def on_clock(intervals, log_quantiles, shares, weight):
    """Intervals in units of the mean on the clock, see `IntervalClock`."""
    x = jnp.maximum(intervals, 1e-9)
    rank = jnp.interp(jnp.log(x), log_quantiles, shares)
    return (1 - weight) * rank + weight * x / (x + 3)


def sequences(intervals: np.ndarray, length: int, count: int) -> np.ndarray:
    """`count` runs of `length` intervals that follow each other, evenly spread.

    The runs pass over held-out blocks and the gaps between trials, which a few of them contain.
    """
    last = intervals.size - length
    starts = np.linspace(0, last, count).round().astype(int)
    return np.stack([intervals[s : s + length] for s in starts])
