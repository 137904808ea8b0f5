"""Generated beside held-out spike trains: rates, intervals, counts, correlograms and tests."""

import dataclasses

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats

import roughsnn as rs
from roughsnn.signatures import KernelEnsemble, TwoSampleResult

from .scorecard import count_kl
from .splitting import IntervalClock, Part, sequences, windows_as_trains
from .training import Clock, sequences_on_clock

RUN = 5
"""Intervals in a sequence of the two-sample test: see `power`."""

TESTED = 600
"""Generated sequences in the two-sample test, beside all that are held out: many more, so that the
held-out ones are what limits its power."""

REJECTED = 0.05
"""Tests reject at this p-value and below."""

TRAINING_PART = "recorded, training part"
"""The name under which the training part is judged as if it were generated."""

LAGS = 25
"""Lags of an autocorrelogram, over half a window."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How one generator does on the held-out part of one neuron in one condition.

    Attributes:
        neuron: its name.
        condition: its name.
        generator: `recorded`, a model or a baseline.
        rate: spikes per second.
        cv: coefficient of variation of the intervals.
        fano: variance over mean of the counts in windows.
        interval_distance: Kolmogorov-Smirnov distance of generated from held-out intervals.
        correlogram_error: root mean square difference of the autocorrelograms, in units of the
            rate.
        rescaling_distance: Kolmogorov-Smirnov distance of the rescaled held-out intervals from the
            exponential law.
        rescaling_p: its p-value: the time-rescaling test.
        log_likelihood: of a held-out interval in nats, above that of the Poisson process.
        kernel_p: p-value of the two-sample test of sequences of intervals by signature kernels.
        above_best: of a model, its `interval_distance` less that of the best baseline.
        above_best_error: standard error of that over resampled held-out intervals.
        count_kl: Kullback-Leibler divergence of the counts in windows, held out from generated.
        interval_mean_error: mean of the generated intervals less that of the held-out ones, in
            seconds.
        interval_sd_error: the same of their standard deviations.
    """

    neuron: str
    condition: str
    generator: str
    rate: float
    cv: float
    fano: float
    interval_distance: float = np.nan
    correlogram_error: float = np.nan
    rescaling_distance: float = np.nan
    rescaling_p: float = np.nan
    log_likelihood: float = np.nan
    kernel_p: float = np.nan
    above_best: float = np.nan
    above_best_error: float = np.nan
    count_kl: float = np.nan
    interval_mean_error: float = np.nan
    interval_sd_error: float = np.nan


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a generator makes: stationary windows and intervals, in seconds, and rescaled intervals
    of the held-out part."""

    name: str
    windows: list[np.ndarray]
    intervals: np.ndarray
    rescaled: np.ndarray | None = None
    log_likelihood: float = np.nan


def correlogram(trains: rs.SpikeTrains) -> np.ndarray:
    """Autocorrelogram up to half a window, in units of the rate: 1 where spikes are unrelated."""
    counts = np.asarray(rs.correlograms(trains, 2 * LAGS, LAGS))[0, 0, LAGS + 1 :]
    per_bin = float(np.mean(np.asarray(trains.counts))) / (2 * LAGS)
    # A lag of l bins finds a partner in all bins but l.
    expected = per_bin**2 * len(trains) * (2 * LAGS - 1 - np.arange(LAGS))
    return counts / np.maximum(expected, 1e-12)


def judge(part: Part, neuron: str, condition: str, samples: list[Sample], seed: int):
    """The verdicts on the recording itself and on every sample, the first of which is Poisson.

    The training part of the recording is judged as if it were generated: how far apart two parts of
    one recording are.
    """
    trains = part.held_windows
    recorded = Verdict(
        neuron, condition, "recorded, held out", part.held_spikes / part.held_seconds,
        float(part.held.std() / part.held.mean()), _fano(trains),
    )  # fmt: skip
    observed = correlogram(trains)
    runs = _sequences(part.held, part.held.size // RUN, part)
    key = jr.key(seed)
    itself = compare(
        runs, _sequences(part.train, part.train.size // RUN, part), jr.fold_in(key, 1000)
    )
    training = Verdict(
        neuron, condition, TRAINING_PART, part.train_spikes / part.train_seconds,
        float(part.train.std() / part.train.mean()), np.nan,
        interval_distance=float(stats.ks_2samp(part.held, part.train).statistic),
        kernel_p=float(itself.p_value),
        **_scores(part, part.train_windows, part.train),
    )  # fmt: skip
    verdicts = [recorded, training]
    above = above_best_baseline(part.held, samples, np.random.default_rng(seed))
    poisson = samples[0].log_likelihood
    for number, sample in enumerate(samples):
        gaps = sample.intervals
        spikes = sum(w.size for w in sample.windows)
        distance = p = np.nan
        if sample.rescaled is not None:
            distance, p = stats.kstest(sample.rescaled, stats.expon.cdf)
        generated = windows_as_trains(sample.windows, part.window / part.unit, part.unit)
        tested = _sequences(gaps, min(TESTED, gaps.size // RUN), part)
        test = compare(runs, tested, jr.fold_in(key, number))
        error = correlogram(generated) - observed
        verdicts.append(
            Verdict(
                neuron,
                condition,
                sample.name,
                spikes / (len(sample.windows) * part.window),
                float(gaps.std() / gaps.mean()),
                _fano(generated),
                float(stats.ks_2samp(part.held, gaps).statistic),
                float(np.sqrt(np.mean(error**2))),
                float(distance),
                float(p),
                sample.log_likelihood - poisson,
                float(test.p_value),
                *above.get(sample.name, (np.nan, np.nan)),
                **_scores(part, sample.windows, gaps),
            )
        )
    return verdicts


def _scores(part: Part, windows: list[np.ndarray], intervals: np.ndarray) -> dict[str, float]:
    """The scorecard of one neuron, see `scorecard`."""
    held, other = (np.array([w.size for w in x]) for x in (part.windows, windows))
    return {
        "count_kl": count_kl(held, other) if held.size and other.size else np.nan,
        "interval_mean_error": float(intervals.mean() - part.held.mean()),
        "interval_sd_error": float(intervals.std() - part.held.std()),
    }


def compare(x: rs.SpikeTrains, y: rs.SpikeTrains, key) -> TwoSampleResult:
    """The default two-sample test but for its kernel of counts: all sequences have as many spikes,
    so that it would see nothing and take its share of the level."""
    ensemble = KernelEnsemble.for_trains(rs.SpikeTrains.concatenate([x, y]))
    regularisation = None if ensemble.regularisation is None else ensemble.regularisation[1:]
    return rs.two_sample_test(x, y, KernelEnsemble(ensemble.kernels[1:], regularisation), key=key)


def is_model(name: str) -> bool:
    """Whether a generator is a fitted model (a model and a loss) and not a baseline."""
    return ", " in name


def above_best_baseline(
    held: np.ndarray, samples: list[Sample], random: np.random.Generator, resamples: int = 400
) -> dict[str, tuple[float, float]]:
    """How far the distance of intervals of each model is above that of the best baseline, and the
    standard error of that over `resamples` bootstraps of the held-out intervals.

    The best baseline is found anew in each. What the generators were fitted to stays the same.
    """
    draws = random.integers(0, held.size, (resamples, held.size))
    steps = np.arange(1, held.size + 1) / held.size
    distances, found = {}, {}
    for sample in samples:
        ranks = np.searchsorted(np.sort(sample.intervals), held, side="right")
        u = np.sort((ranks / sample.intervals.size)[draws], axis=1)
        distances[sample.name] = np.max(np.maximum(steps - u, u - steps + steps[0]), axis=1)
        found[sample.name] = float(stats.ks_2samp(held, sample.intervals).statistic)
    baselines = [name for name in found if not is_model(name)]
    if not baselines:
        return {}
    best = min(found[name] for name in baselines)
    floor = np.min([distances[name] for name in baselines], axis=0)
    return {
        name: (found[name] - best, float(np.std(distances[name] - floor)))
        for name in found
        if is_model(name)
    }


def _sequences(intervals: np.ndarray, count: int, part: Part) -> rs.SpikeTrains:
    """Intervals that follow each other, from spike to spike, on the clock of the training part."""
    return as_sequences(sequences(intervals, RUN, count), part)


def as_sequences(intervals: np.ndarray, part: Part) -> rs.SpikeTrains:
    """Rows of intervals in seconds as trains on the clock of the training part."""
    clock = IntervalClock(part.train, part.unit)
    arrays = Clock(clock.log_quantiles, clock.shares, clock.weight)
    return sequences_on_clock(jnp.asarray(intervals / part.unit), arrays)


def _fano(trains: rs.SpikeTrains) -> float:
    return float(np.asarray(rs.fano_factor(trains))[0])


HEADER = (
    "neuron", "condition", "generator", "rate (Hz)", "CV", "Fano factor", "KS of intervals",
    "correlogram error", "KS of rescaled", "p, time rescaling", "log-likelihood",
    "p, kernel test", "above best", "error of that", "KL of counts", "error of mean interval (s)",
    "error of SD of intervals (s)",
)  # fmt: skip


def table(verdicts: list[Verdict]) -> str:
    """The verdicts as a Markdown table."""
    lines = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    for verdict in verdicts:
        cells = [
            ("-" if np.isnan(x) else f"{x:.3g}") if isinstance(x, float) else str(x)
            for x in dataclasses.astuple(verdict)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
