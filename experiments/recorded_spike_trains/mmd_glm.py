"""A GLM trained by the MMD of its free-running samples."""

import numpy as np
from scipy import signal
from scipy.spatial.distance import cdist

from .baselines import HistoryGLM
from .splitting import Part

BINS = 12
"""Lags of the correlogram by which windows are compared, evenly spread in their logarithm."""


class MMDGLM(HistoryGLM):
    r"""The Poisson GLM with spike history, its free-running samples brought near to the recording.

    Maximum likelihood judges each bin given the recorded past; a GLM that is good at that may run
    away when it goes on from a past of its own. Here the parameters go on from there to minimise

    $$ \mathrm{MMD}^2(\text{samples}, \text{recording}) + a\,\mathrm{NLL} / n, $$

    with the squared MMD of windows that the GLM generates and recorded ones, and the negative
    log-likelihood of the n recorded intervals, whose share $a$ is small. The kernel is Gaussian in
    $\psi$, the square roots of the number of spikes in a window and of the pairs of spikes at 12
    lags, in units of their spread over the recorded windows; its width is the median distance of
    those. A sample is a sequence of spikes in bins, so that its gradient is that of its probability
    (score function):

    $$ \nabla\,\mathrm{MMD}^2
       = 2\,E\big[\big(E\,k(x, x') - E\,k(x, y) - b\big)\,\nabla \log p(x)\big], $$

    x and x' samples, y recorded, b the mean over the other samples.

    Args:
        part: the data.
        random: for the samples.
        steps: of Adam, with fresh samples each.
        trains: samples of a step.
        rate: of learning; it falls to 0.
        likelihood: $a$.

    Reference: Arribas, Zhao, Park (2020), NeurIPS 33, Rescuing neural spike train models from bad
    MLE.
    """

    name = "GLM trained by MMD"

    def __init__(
        self, part: Part, random: np.random.Generator, steps: int = 100, trains: int = 64,
        rate: float = 0.03, likelihood: float = 0.1,
    ):  # fmt: skip
        super().__init__(part)
        self.train(part, random, steps, trains, rate, likelihood)

    def train(
        self, part: Part, random: np.random.Generator, steps: int, trains: int, rate: float,
        likelihood: float,
    ) -> None:  # fmt: skip
        """Go on from the parameters as they are, see the class."""
        cells = round(part.window / self.bin)
        edges = np.linspace(0, part.window, cells + 1)
        psi = np.stack([
            self._summary(np.histogram(times, edges)[0]) for times in part.train_windows
        ])  # fmt: skip
        scale = psi.std(axis=0) + 0.1
        psi = psi / scale
        width = max(float(np.median(cdist(psi, psi)[np.triu_indices(len(psi), 1)])), 1e-3)

        def kernel(a, b):
            return np.exp(-(cdist(a, b) ** 2) / (2 * width**2))

        # samples begin with an empty past, and are looked at once it is full
        before = self.past
        x = np.append(self.bias, self.weights)
        first, second = np.zeros(x.size), np.zeros(x.size)
        for step in range(steps):
            self._take(x)
            fired = self.simulated(random, before + cells, trains)
            found = np.stack([self._summary(row) for row in fired[before:].T]) / scale
            among = kernel(found, found)
            others = (among.sum(axis=1) - 1) / (trains - 1)
            weight = 2 * (others - kernel(found, psi).mean(axis=1))
            baseline = (weight.sum() - weight) / (trains - 1)
            slope = (weight - baseline) @ self._scores_of(fired) / trains
            slope = slope - likelihood * self._score_of_recorded() / part.train.size
            first = 0.9 * first + 0.1 * slope
            second = 0.99 * second + 0.01 * slope**2
            size = np.sqrt(second / (1 - 0.99 ** (step + 1))) + 1e-8
            x = x - rate * (1 - step / steps) * first / (1 - 0.9 ** (step + 1)) / size
        self._take(x)

    def _take(self, x: np.ndarray) -> None:
        self.bias, self.weights = float(x[0]), x[1:]
        self.filter = self.kernels @ self.weights

    def _summary(self, counts: np.ndarray) -> np.ndarray:
        r"""$\psi$ of a window."""
        pairs = signal.correlate(counts, counts, method="fft")[counts.size :]
        edges = np.unique(np.geomspace(1, min(self.past, pairs.size), BINS + 1).round().astype(int))
        of_lags = np.add.reduceat(pairs[: edges[-1]], edges[:-1] - 1)
        return np.sqrt(np.maximum(np.r_[counts.sum(), of_lags], 0))

    def _scores_of(self, fired: np.ndarray) -> np.ndarray:
        """Derivatives of the log-probability of each sample, shape (trains, parameters)."""
        history = [
            signal.fftconvolve(fired, kernel[:, None], axes=0)[: len(fired)]
            for kernel in self.kernels.T
        ]
        history = np.pad(np.stack(history), ((0, 0), (1, 0), (0, 0)))[:, :-1]
        slope = _slope_of_bins(fired, self.bias + np.tensordot(self.weights, history, 1))
        return np.column_stack([slope.sum(axis=0), np.einsum("ktn,tn->nk", history, slope)])

    def _score_of_recorded(self) -> np.ndarray:
        """The same of the training part."""
        features, counts = self.design
        slope = _slope_of_bins(counts, self.bias + features @ self.weights)
        return np.r_[slope.sum(), slope @ features]


def _slope_of_bins(fired: np.ndarray, log_rate: np.ndarray) -> np.ndarray:
    r"""Derivative of the log-probability of bins in their log rate; a bin has a spike with
    probability $1 - e^{-\lambda}$."""
    rate = np.exp(np.minimum(log_rate, 30.0))
    return np.where(fired > 0, rate / np.expm1(np.clip(rate, 1e-12, 50.0)), -rate)
