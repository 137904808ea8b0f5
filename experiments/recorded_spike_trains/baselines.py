"""What else one would fit to a spike train: Poisson, renewal processes, a GLM with spike history.

Every baseline is fitted by maximum likelihood on the training intervals of one neuron in one
condition, in seconds, and offers the same three things: stationary windows with their intervals,
and rescaled intervals of recorded trials for the time-rescaling test, with their log-likelihood.
"""

import abc
import contextlib
import itertools
import warnings
from collections.abc import Callable, Sequence

import jax
import numpy as np
from scipy import stats

from .splitting import Part

Windows = tuple[list[np.ndarray], np.ndarray]


class Baseline(abc.ABC):
    """A point process fitted to intervals."""

    name: str

    @abc.abstractmethod
    def windows(self, random: np.random.Generator, window: float, count: int) -> Windows:
        """`count` stationary windows of length `window`, and intervals between spikes."""

    @abc.abstractmethod
    def rescaled(self, part: Part, random: np.random.Generator) -> tuple[np.ndarray, float]:
        """The integrated conditional intensity over each held-out interval, exponential of mean 1
        if the model is right, and the mean log-likelihood of an interval (times in seconds)."""


class Renewal(Baseline):
    """Independent intervals of one law: exponential (Poisson), gamma or inverse Gaussian."""

    def __init__(self, name: str, law):
        self.name, self.law = name, law

    @classmethod
    def poisson(cls, part: Part) -> "Renewal":
        """The homogeneous Poisson process of the training rate."""
        return cls("Poisson", stats.expon(scale=part.train.mean()))

    @classmethod
    def gamma(cls, part: Part) -> "Renewal":
        """The gamma renewal process."""
        shape, _, scale = stats.gamma.fit(part.train, floc=0)
        return cls("gamma renewal", stats.gamma(shape, scale=scale))

    @classmethod
    def inverse_gaussian(cls, part: Part) -> "Renewal":
        """The inverse Gaussian renewal process, whose maximum-likelihood estimate is explicit."""
        mean = part.train.mean()
        shape = 1 / max(np.mean(1 / part.train - 1 / mean), 1e-12 / mean)
        return cls("inverse Gaussian renewal", stats.invgauss(mean / shape, scale=shape))

    def windows(self, random, window, count):
        trains = 32
        start_up = 10 * self.law.mean()
        per_train = -(-count // trains)
        length = start_up + per_train * window
        found = []
        for _ in range(trains):
            draws: list[np.ndarray] = []
            total = 0.0
            while total < length:
                new = self.law.rvs(int(length / self.law.mean()) + 20, random_state=random)
                draws.append(new)
                total += new.sum()
            times = np.cumsum(np.concatenate(draws))
            times = times[(times >= start_up) & (times < length)] - start_up
            found += cut(times, window, per_train)
        # One interval from each of equally likely classes: distances from the law without the
        # noise of a sample.
        classes = random.permutation(100_000)
        return found, self.law.ppf((classes + 0.5) / classes.size)

    def rescaled(self, part, random):
        return -self.law.logsf(part.held), float(np.mean(self.law.logpdf(part.held)))


class HistoryGLM(Baseline):
    r"""A Poisson GLM with spike history, by nemos.

    The rate in a bin is $\exp(b + \sum_j w_j \phi_j * \text{spikes})$ with eight raised cosines
    $\phi_j$ on a logarithmic scale of time, over four mean intervals. A bin is a quarter of the 5 %
    quantile of the intervals, between 1/100 and 1/20 of the mean.
    """

    name = "GLM with history"

    def __init__(self, part: Part, functions: int = 8):
        import nemos

        mean = part.train.mean()
        self.bin = float(np.clip(np.quantile(part.train, 0.05) / 4, mean / 100, mean / 20))
        self.past = int(np.ceil(4 * mean / self.bin))
        basis = nemos.basis.RaisedCosineLogConv(functions, window_size=self.past)
        design, counts = [], []
        with loose_jax():
            self.kernels = np.asarray(basis.evaluate_on_grid(self.past)[1], float)
            for gaps, held in part.trials:
                if gaps.size == 0:
                    continue
                y = self._counts(gaps)
                x = np.asarray(self._features(y))
                train = ~np.repeat(held, self._bins(gaps))
                design.append(x[1:][train])
                counts.append(y[1:][train])
            model = nemos.glm.GLM(
                regularizer="Ridge", regularizer_strength=1e-6, solver_name="LBFGS"
            )
            x, y = np.concatenate(design), np.concatenate(counts)
            model.fit(x, y)
            self.weights = np.asarray(model.coef_, float)
            self.bias = float(np.asarray(model.intercept_).ravel()[0])
        self.design = x, y
        self.filter = self.kernels @ self.weights

    def _bins(self, gaps: np.ndarray) -> np.ndarray:
        """Bins from each spike to the next, which lies in the last of them."""
        return np.maximum(np.diff(np.r_[0, np.round(np.cumsum(gaps) / self.bin)]), 1).astype(int)

    def _counts(self, gaps: np.ndarray) -> np.ndarray:
        bins = self._bins(gaps)
        counts = np.zeros(bins.sum() + 1)
        counts[np.r_[0, np.cumsum(bins)]] = 1
        return counts

    def _features(self, counts: np.ndarray) -> np.ndarray:
        features = [np.convolve(counts, k)[: counts.size] for k in self.kernels.T]
        # A spike counts from the next bin on.
        return np.r_[np.zeros((1, len(features))), np.stack(features, 1)[:-1]]

    def rescaled(self, part, random):
        # Rescaling in discrete time: Haslinger, Pipa, Brown (2010), Neural Computation 22, 2477.
        values, likelihood = [], []
        for gaps, held in part.trials:
            if gaps.size == 0:
                continue
            bins = self._bins(gaps)
            features = self._features(self._counts(gaps))[1:]
            rates = np.exp(np.minimum(self.bias + features @ self.weights, 30.0))
            ends = np.cumsum(bins)
            total = np.cumsum(rates)
            last = rates[ends - 1]
            before = total[ends - 1] - np.r_[0, total[ends - 1]][:-1] - last
            inside = -np.log1p(-random.uniform(size=last.size) * -np.expm1(-last))
            values.append((before + inside)[held])
            density = np.log(-np.expm1(-last)) - before - np.log(self.bin)
            likelihood.append(density[held])
        return np.concatenate(values), float(np.mean(np.concatenate(likelihood)))

    def windows(self, random, window, count):
        trains = 64
        start_up = 10 * window
        per_train = -(-count // trains)
        steps = int((start_up + per_train * window) / self.bin)
        fired = self.simulated(random, steps, trains)
        found, intervals = [], []
        for train in range(trains):
            times = np.flatnonzero(fired[:, train]) * self.bin
            times = times + random.uniform(0, self.bin, times.size)
            times = np.sort(times[times >= start_up]) - start_up
            intervals.append(np.diff(times))
            found += cut(times, window, per_train)
        return found, np.concatenate(intervals)

    def simulated(self, random: np.random.Generator, steps: int, trains: int) -> np.ndarray:
        """Which bins of free-running trains have a spike, after an empty past; shape (steps,
        trains)."""
        fired = np.zeros((self.past + steps, trains))
        recent = self.filter[::-1]
        for step in range(steps):
            rate = np.exp(np.minimum(self.bias + recent @ fired[step : step + self.past], 30.0))
            fired[step + self.past] = random.uniform(size=trains) < -np.expm1(-rate)
        return fired[self.past :]


def cut(times: np.ndarray, window: float, count: int) -> list[np.ndarray]:
    """Windows that follow each other, each from its own start."""
    edges = np.searchsorted(times, window * np.arange(count + 1))
    return [times[a:b] - window * i for i, (a, b) in enumerate(itertools.pairwise(edges))]


@contextlib.contextmanager
def loose_jax():
    """JAX as other libraries expect it: arrays of different types and ranks may meet."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def fit_baselines(
    part: Part, more: Callable[[Part], Sequence[Baseline]] = lambda part: ()
) -> tuple[list[Baseline], list[str]]:
    """All baselines, and remarks on those that could not be fitted.

    Args:
        part: the data.
        more: of baselines that need nemos.
    """
    fitted: list[Baseline] = [
        Renewal.poisson(part),
        Renewal.gamma(part),
        Renewal.inverse_gaussian(part),
    ]
    try:
        fitted += [HistoryGLM(part), *more(part)]
    except ImportError:
        return fitted, ["The GLM is left out: it needs nemos (`pip install roughsnn[recorded]`)."]
    return fitted, []
