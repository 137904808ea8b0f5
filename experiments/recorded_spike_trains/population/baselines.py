"""What else one would fit to a population: independent renewal neurons, and a coupled GLM."""

import numpy as np
from scipy import stats

from ..baselines import loose_jax
from ..driven.stimulus import raised_cosines

Samples = list[list[np.ndarray]]


def renewal_samples(
    spikes: list[np.ndarray], span: float, seconds: float, samples: int, seed: int
) -> Samples:
    """Free-running samples of independent renewal neurons, each with the likelier of a gamma and an
    inverse Gaussian law; exponential, where a neuron has fewer than five intervals.

    Args:
        spikes: of each neuron, in seconds.
        span: how long was recorded.
        seconds: length of a sample.
        samples: how many.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    laws = [_law(np.diff(times), span) for times in spikes]
    return [[_renewal(law, seconds, random) for law in laws] for _ in range(samples)]


def _law(gaps: np.ndarray, span: float):
    if gaps.size < 5:
        return stats.expon(scale=span / (gaps.size + 2))
    shape, _, scale = stats.gamma.fit(gaps, floc=0)
    mean = gaps.mean()
    steep = 1 / max(np.mean(1 / gaps - 1 / mean), 1e-12 / mean)
    laws = [stats.gamma(shape, scale=scale), stats.invgauss(mean / steep, scale=steep)]
    return max(laws, key=lambda law: np.sum(law.logpdf(gaps)))


def _renewal(law, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Spikes after a time in which the start is forgotten."""
    before = 10 * law.mean()
    times, total = [], 0.0
    while total < before + seconds:
        gaps = law.rvs(int((before + seconds) / law.mean()) + 20, random_state=random)
        times.append(total + np.cumsum(gaps))
        total = times[-1][-1]
    found = np.concatenate(times)
    return found[(found >= before) & (found < before + seconds)] - before


class CoupledGLM:
    r"""A Poisson GLM of all neurons with the history of all, by nemos.

    The rate of neuron k in a bin is
    $\exp(b_k + \sum_j \sum_i w_{kji}\, \phi_i * \text{spikes}_j)$ with raised cosines $\phi_i$ on a
    logarithmic scale of time. The ridge penalty is that with the best likelihood on the last
    third of the training part, fitted to the rest of it.

    Attributes:
        strength: of the penalty.
    """

    def __init__(
        self, spikes: list[np.ndarray], seconds: float, *, bin: float = 0.02, length: float = 0.5,
        functions: int = 4,
    ):  # fmt: skip
        self.bin = bin
        lags = bin * np.arange(1, round(length / bin) + 1)
        self.kernels = raised_cosines(functions, lags, bin)
        self.kernels = self.kernels / self.kernels.sum(0)
        edges = bin * np.arange(int(seconds / bin) + 1)
        counts = np.stack([np.histogram(x, edges)[0] for x in spikes], 1).astype(float)
        design = self._design(counts)
        self.scale = np.maximum(design.std(0), 1e-9)
        design = design / self.scale
        cut = 2 * len(counts) // 3
        scores = {}
        for strength in (1e-3, 1e-2, 1e-1, 1.0):
            weights, bias = _fit(design[:cut], counts[:cut], strength)
            log_rates = np.minimum(bias + design[cut:] @ weights, 30.0)
            scores[strength] = np.sum(counts[cut:] * log_rates - np.exp(log_rates))
        self.strength = max(scores, key=lambda s: scores[s])
        weights, self.bias = _fit(design, counts, self.strength)
        self.weights = weights / self.scale[:, None]

    def _design(self, counts: np.ndarray) -> np.ndarray:
        parts = []
        for column in counts.T:
            for kernel in self.kernels.T:
                past = np.convolve(column, kernel)[: len(counts)]
                parts.append(np.r_[0.0, past[:-1]])
        return np.stack(parts, 1)

    def samples(self, seconds: float, samples: int, seed: int, warm_up: float = 2.0) -> Samples:
        """Free-running samples; a neuron fires at most ten times in a bin."""
        random = np.random.default_rng(seed)
        neurons, depth = self.bias.size, len(self.kernels)
        # couplings by lag: (depth, from, to)
        weights = self.weights.reshape(neurons, -1, neurons)
        by_lag = np.einsum("li,jik->ljk", self.kernels, weights).reshape(-1, neurons)
        bins = round((seconds + warm_up) / self.bin)
        past = np.zeros((samples, depth, neurons))
        counts = np.zeros((bins, samples, neurons), int)
        for bin in range(bins):
            rates = np.exp(np.minimum(self.bias + past.reshape(samples, -1) @ by_lag, 10.0))
            counts[bin] = np.minimum(random.poisson(rates), 10)
            past = np.roll(past, 1, axis=1)
            past[:, 0] = counts[bin]
        counts = counts[round(warm_up / self.bin) :]
        found = []
        for sample in range(samples):
            trains = []
            for neuron in range(neurons):
                own = counts[:, sample, neuron]
                times = np.repeat(np.arange(own.size), own) + random.uniform(size=own.sum())
                trains.append(np.sort(times * self.bin))
            found.append(trains)
        return found


def _fit(design: np.ndarray, counts: np.ndarray, strength: float):
    import nemos

    with loose_jax():
        model = nemos.glm.PopulationGLM(
            regularizer="Ridge", regularizer_strength=strength, solver_name="LBFGS"
        )
        model.fit(design, counts)
        return np.asarray(model.coef_, float), np.asarray(model.intercept_, float).ravel()
