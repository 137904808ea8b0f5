r"""The GLM beside which a driven neuron is judged: stimulus and spike history, by nemos.

The rate in a bin is $\exp(b_c + g\text{-filtered stimulus} + \sum_j w_j \phi_j * \text{spikes})$:
the same functions of the stimulus as the neuron has, and raised cosines of the history.
"""

import numpy as np

from ..baselines import loose_jax
from .data import DrivenData, DrivenTrial
from .stimulus import raised_cosines


class StimulusGLM:
    """A Poisson GLM with stimulus and history in bins of the grid.

    Attributes:
        name: for tables.
        strength: of the ridge penalty that was chosen.
    """

    name = "GLM with stimulus and history"

    def __init__(self, data: DrivenData, counted: np.ndarray, strength: float, functions: int = 10):
        """Fit.

        Args:
            data: the recording.
            counted: which bins of all trials are trained on.
            strength: of the ridge penalty.
            functions: of the history, over the length of the filter.
        """
        import nemos

        self.data, self.strength = data, strength
        lags = np.arange(1, len(data.filter.functions)) * data.step
        self.history = raised_cosines(functions, lags, 2 * data.step)
        design = np.concatenate([self._design(trial) for trial in data.trials])
        counts = np.concatenate([self.counts(data, trial) for trial in data.trials])
        self.scale = np.maximum(design[counted].std(0), 1e-12)
        with loose_jax():
            model = nemos.glm.GLM(
                regularizer="Ridge", regularizer_strength=strength, solver_name="LBFGS"
            )
            model.fit(design[counted] / self.scale, counts[counted])
            self.weights = np.asarray(model.coef_, float) / self.scale
            self.bias = float(np.asarray(model.intercept_).ravel()[0])

    @staticmethod
    def counts(data: DrivenData, trial: DrivenTrial) -> np.ndarray:
        """Spikes in each bin."""
        bins = len(trial.features)
        at = np.clip(((trial.spikes - trial.start) / data.step).astype(int), 0, bins - 1)
        return np.bincount(at, minlength=bins).astype(float)

    def _constant(self, trial: DrivenTrial) -> np.ndarray:
        """The stimulus of each condition, and for each condition but the first whether it is."""
        conditions = len(self.data.conditions)
        own = np.zeros((len(trial.features), conditions - 1))
        if trial.condition:
            own[:, trial.condition - 1] = 1
        parts = [trial.features * (trial.condition == c) for c in range(conditions)]
        return np.hstack([*parts, own])

    def _design(self, trial: DrivenTrial) -> np.ndarray:
        counts = self.counts(self.data, trial)
        past = [np.convolve(counts, f)[: counts.size] for f in self.history.T]
        past = np.vstack([np.zeros(len(past)), np.stack(past, 1)[:-1]])
        return np.hstack([self._constant(trial), past])

    def rates(self, trial: DrivenTrial) -> np.ndarray:
        """Expected spikes in each bin, given the recorded history."""
        return np.exp(np.minimum(self.bias + self._design(trial) @ self.weights, 30.0))

    def log_likelihoods(self, trial: DrivenTrial) -> np.ndarray:
        """Of each bin, as a density of spike times in seconds."""
        rates, counts = self.rates(trial), self.counts(self.data, trial)
        return counts * np.log(rates / self.data.step) - rates

    def rescaled(self, trial: DrivenTrial, random: np.random.Generator) -> np.ndarray:
        """The integrated intensity of each interval, corrected for bins: Haslinger, Pipa, Brown
        (2010), Neural Computation 22, 2477."""
        rates = self.rates(trial)
        at = np.flatnonzero(self.counts(self.data, trial))
        total = np.r_[0.0, np.cumsum(rates)]
        last = rates[at[1:]]
        before = total[at[1:]] - total[at[:-1] + 1]
        return before - np.log1p(-random.uniform(size=last.size) * -np.expm1(-last))

    def simulate(
        self, trial: DrivenTrial, count: int, random: np.random.Generator
    ) -> list[np.ndarray]:
        """Spike times of free-running samples, in seconds."""
        drive = self._constant(trial)
        drive = self.bias + drive @ self.weights[: drive.shape[1]]
        recent = self.history @ self.weights[-self.history.shape[1] :]
        past = np.zeros((count, recent.size))
        fired = np.zeros((drive.size, count), bool)
        for bin, one in enumerate(drive):
            rate = np.exp(np.minimum(one + past @ recent, 30.0))
            fired[bin] = random.uniform(size=count) < -np.expm1(-rate)
            past[:, 1:] = past[:, :-1]
            past[:, 0] = fired[bin]
        jitter = random.uniform(size=fired.shape)
        return [
            trial.start + (np.flatnonzero(row) + spread[row]) * self.data.step
            for row, spread in zip(fired.T, jitter.T, strict=True)
        ]
