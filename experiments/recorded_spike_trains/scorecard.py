r"""The field's scorecard of generated population activity, each figure with its floor.

- *KL of counts*: of the numbers of spikes of all neurons together in a bin, recorded from
  generated. Numbers above the largest recorded are one class, and each class of both histograms
  gets half a bin more: a model that runs away does not hide in a long row of empty classes.
- *RMSE of correlations*: of the correlations of the counts of two neurons, over all pairs.
- *RMSE of mean and of standard deviation of intervals*: over neurons, in seconds.

The floor is what another part of the same recording scores.

Reference: Kapoor, Schulz, Vetter, Pei, Gao, Macke (2024), NeurIPS 37.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Activity:
    """Spikes of a population in stretches of time.

    Attributes:
        spikes: of each neuron, sorted, in seconds.
        spans: start and end of each stretch that is looked at, in order, shape (n, 2).
    """

    spikes: list[np.ndarray]
    spans: np.ndarray

    def counts(self, bin: float) -> np.ndarray:
        """Spikes of each neuron in the whole bins of each stretch, shape (bins, neurons)."""
        found = []
        for start, stop in self.spans:
            edges = start + bin * np.arange(int((stop - start) / bin + 1e-9) + 1)
            found.append(np.stack([np.histogram(x, edges)[0] for x in self.spikes], 1))
        return np.concatenate(found)

    def intervals(self, neuron: int) -> np.ndarray:
        """Intervals of a neuron that lie within a stretch."""
        times = self.spikes[neuron]
        parts = [np.diff(times[(times >= start) & (times < stop)]) for start, stop in self.spans]
        return np.concatenate([np.zeros(0), *parts])

    @property
    def seconds(self) -> float:
        """Length of all stretches together."""
        return float(np.sum(np.diff(self.spans, axis=1)))


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """How far generated activity is from recorded.

    Attributes:
        count_kl: Kullback-Leibler divergence of the population counts, in nats.
        correlation_rmse: root mean square error of the correlations of pairs.
        interval_mean_rmse: of the mean intervals, in seconds.
        interval_sd_rmse: of their standard deviations, in seconds.
    """

    count_kl: float
    correlation_rmse: float
    interval_mean_rmse: float
    interval_sd_rmse: float


def scorecard(recorded: Activity, generated: Activity, bin: float) -> Scorecard:
    """Compare; neurons with fewer than three recorded intervals have no part in those of intervals.

    A generated neuron with fewer than two intervals counts as having them as long as its silence.

    Args:
        recorded: what is to be matched.
        generated: of the same neurons.
        bin: in which spikes are counted, in seconds.

    Raises:
        ValueError: other neurons, or less than two bins.
    """
    if len(recorded.spikes) != len(generated.spikes):
        raise ValueError(
            f"`recorded` has {len(recorded.spikes)} neurons and `generated` "
            f"{len(generated.spikes)}; they must have the same."
        )
    a, b = recorded.counts(bin), generated.counts(bin)
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"`bin` is {bin:g} s, and there are {len(a)} and {len(b)} bins; there must be two or "
            "more. Take a smaller one."
        )
    pairs = np.triu_indices(a.shape[1], 1)
    gaps = _correlations(a)[pairs] - _correlations(b)[pairs]
    means, spreads = [], []
    for neuron in range(a.shape[1]):
        own = recorded.intervals(neuron)
        if own.size < 3:
            continue
        other = generated.intervals(neuron)
        if other.size < 2:
            other = np.array([0.0, 2.0]) * generated.seconds / (other.size + 1)
        means.append(own.mean() - other.mean())
        spreads.append(own.std() - other.std())
    return Scorecard(
        count_kl(a.sum(1), b.sum(1)), _rms(gaps), _rms(np.array(means)), _rms(np.array(spreads))
    )


def count_kl(recorded: np.ndarray, generated: np.ndarray) -> float:
    """Kullback-Leibler divergence of whole numbers, recorded from generated, in nats."""
    above = int(recorded.max()) + 1
    clipped = [np.minimum(x, above).astype(int) for x in (recorded, generated)]
    p, q = (np.bincount(x, minlength=above + 1) + 0.5 for x in clipped)
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


def _correlations(counts: np.ndarray) -> np.ndarray:
    """Of all pairs; zero with a neuron whose count never changes."""
    centred = counts - counts.mean(0)
    spread = np.sqrt(np.mean(centred**2, 0))
    scaled = centred / np.where(spread > 0, spread, 1)
    return scaled.T @ scaled / len(counts)


def _rms(gaps: np.ndarray) -> float:
    return float(np.sqrt(np.mean(gaps**2))) if gaps.size else float("nan")
