"""Driven models on the held-out part: likelihood, time rescaling, free-running rates."""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter1d

import roughsnn as rs
from roughsnn.signatures import conditional_test

from .data import DrivenData, DrivenTrial

TESTED = 20
"""Generated trains of each stretch of stimulus in the conditional test."""


@dataclasses.dataclass(frozen=True)
class DrivenVerdict:
    """How one model does on the held-out part of a neuron.

    Attributes:
        neuron: its name.
        model: what is judged.
        log_likelihood: of a held-out spike, in nats above the Poisson process of the training rate.
        above_glm: the same above the GLM.
        above_glm_error: standard error of that over the held-out blocks.
        rescaling_distance: Kolmogorov-Smirnov distance of the rescaled intervals from exponential.
        rescaling_p: its p-value.
        kernel_p: p-value of the test of conditional laws.
        rate_correlation: correlation of the free-running rate with the recorded one.
        training_correlation: the same on the training part.
        rate: spikes per second of free-running samples.
        run_away: share of free-running trials with more than twice the recorded spikes.
    """

    neuron: str
    model: str
    log_likelihood: float
    above_glm: float
    above_glm_error: float
    rescaling_distance: float
    rescaling_p: float
    kernel_p: float
    rate_correlation: float
    training_correlation: float
    rate: float
    run_away: float


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a model says of the recording.

    Attributes:
        name: of the model.
        blocks: log-likelihood of each block, in nats, with times in seconds.
        rescaled: of each trial, the integrated intensity between its spikes.
        samples: of each trial, spike times of free-running samples.
    """

    name: str
    blocks: np.ndarray
    rescaled: list[np.ndarray]
    samples: list[list[np.ndarray]]


def poisson_blocks(data: DrivenData) -> np.ndarray:
    """Log-likelihood of each block under the Poisson process of the training rate."""
    spikes = np.concatenate([_counts(t) for t in data.trials])
    seconds = np.concatenate([np.diff(t.edges) for t in data.trials])
    held = np.concatenate([t.held for t in data.trials])
    rate = spikes[~held].sum() / seconds[~held].sum()
    return spikes * np.log(rate) - rate * seconds


def judge_driven(
    data: DrivenData, neuron: str, models: list[Judged], *, width: float, window: float, seed: int
) -> list[DrivenVerdict]:
    """The verdicts on models, the GLM last if it is there.

    Args:
        data: the recording.
        neuron: its name.
        models: what they say.
        width: standard deviation of the Gaussian kernel of rates, in seconds.
        window: of the conditional test, in mean intervals.
        seed: of the test.
    """
    held = np.concatenate([t.held for t in data.trials])
    spikes = int(np.concatenate([_counts(t) for t in data.trials])[held].sum())
    poisson = poisson_blocks(data)
    glm = next((m for m in models if m.name.startswith("GLM")), None)
    found = []
    for number, model in enumerate(models):
        z = np.concatenate([
            r[t.held[t.block(t.spikes[:-1])]]
            for r, t in zip(model.rescaled, data.trials, strict=True) if t.spikes.size > 1
        ])  # fmt: skip
        distance, p = stats.kstest(z, stats.expon.cdf)
        gap = np.full(1, np.nan) if glm is None else (model.blocks - glm.blocks)[held]
        rates = rate_correlations(data, model.samples, width)
        test = conditional(data, model.samples, window, jr.key(seed + number))
        seconds = sum(t.stop - t.start for t in data.trials)
        counts = np.array([[s.size for s in row] for row in model.samples])
        recorded = np.array([t.spikes.size for t in data.trials])
        found.append(
            DrivenVerdict(
                neuron, model.name, float((model.blocks - poisson)[held].sum() / spikes),
                float(gap.sum() / spikes),
                float(gap.std(ddof=1) * np.sqrt(gap.size) / spikes) if gap.size > 1 else np.nan,
                float(distance), float(p), float(test.p_value), *rates,
                float(counts.mean(1).sum() / seconds),
                float(np.mean(counts > 2 * recorded[:, None] + 10)),
            )
        )  # fmt: skip
    return found


def smoothed(times: np.ndarray, trial: DrivenTrial, step: float, width: float) -> np.ndarray:
    """Spikes per second through a Gaussian kernel, in the cells of a trial."""
    bins = len(trial.features)
    counts = np.histogram(times, trial.start + step * np.arange(bins + 1))[0]
    return gaussian_filter1d(counts / step, width / step, mode="constant")


def rates_of(
    data: DrivenData, samples: list[list[np.ndarray]], width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recorded and generated rate in all cells, and which are held out."""
    recorded = [smoothed(t.spikes, t, data.step, width) for t in data.trials]
    generated = [
        smoothed(np.concatenate(row), t, data.step, width) / len(row)
        for t, row in zip(data.trials, samples, strict=True)
    ]
    return np.concatenate(recorded), np.concatenate(generated), data.bins()[1]


def rate_correlations(data, samples, width) -> tuple[float, float]:
    """Correlation of generated with recorded rate, held out and in training."""
    recorded, generated, held = rates_of(data, samples, width)
    return tuple(  # pyright: ignore[reportReturnType]
        float(np.corrcoef(recorded[own], generated[own])[0, 1]) for own in (held, ~held)
    )


def windows_of(trial: DrivenTrial, length: float) -> np.ndarray:
    """Starts of the windows within its held-out blocks."""
    found = []
    for (start, stop), held in zip(
        np.stack([trial.edges[:-1], trial.edges[1:]], 1), trial.held, strict=True
    ):
        if held:
            found.append(start + length * np.arange(int((stop - start) / length + 1e-6)))
    return np.concatenate([np.zeros(0), *found])


def conditional(data: DrivenData, samples, window: float, key):
    """The test of conditional laws on windows of the held-out part.

    A window counts from its start; what it is given is the stimulus in it, through the filter's
    functions.
    """
    longest = min(float(np.min(np.diff(t.edges))) for t in data.trials)
    length = min(window * data.unit, longest)
    observed, generated, conditions = [], [], []
    for trial, rows in zip(data.trials, samples, strict=True):
        for start in windows_of(trial, length):
            observed.append([_cut(trial.spikes, start, length) / data.unit])
            generated += [[_cut(x, start, length) / data.unit] for x in rows[:TESTED]]
            first = int((start - trial.start) / data.step)
            last = first + int(length / data.step)
            conditions.append(trial.features[first:last].ravel())
    each = len(generated) // len(observed)
    size = min(c.size for c in conditions)
    both = rs.SpikeTrains.from_lists([*observed, *generated], t0=0.0, t1=length / data.unit)
    first = len(observed)
    return conditional_test(
        both[:first], both[first:].reshape(first, each),
        jnp.asarray(np.stack([c[:size] for c in conditions])), key=key,
    )  # fmt: skip


def _cut(times: np.ndarray, start: float, length: float) -> np.ndarray:
    first, last = np.searchsorted(times, [start, start + length])
    return times[first:last] - start


def _counts(trial: DrivenTrial) -> np.ndarray:
    """Spikes in each block."""
    return np.bincount(trial.block(trial.spikes), minlength=len(trial.held)).astype(float)
