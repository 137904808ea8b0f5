"""Which form of neuron and which length of the filter: by cross-validation within training."""

import dataclasses
from collections.abc import Callable

import numpy as np

from .data import DrivenData
from .fitting import fit_driven
from .glm import StimulusGLM
from .neuron import Form, block_likelihoods

FORMS = {
    "lif": Form("subtracts", False),
    "resetting-lif": Form("resets", False),
    "adaptive-lif": Form("subtracts", True),
}
"""Neurons by the name that the command knows, the simplest first."""

SHAPES = ("exponential", "softplus", "sigmoid")
LENGTHS = (1.0, 2.0, 4.0)
"""Lengths of the filter that are tried, in mean intervals."""

STRENGTHS = (1e-4, 1e-5, 1e-3)
"""Ridge penalties of the GLM that are tried; the length of its filter is chosen with the first."""


@dataclasses.dataclass(frozen=True)
class CrossValidated:
    """How one candidate does on training blocks that it was not fitted to.

    Attributes:
        name: of the candidate.
        blocks: log-likelihood of each training block, in nats; time in mean intervals.
        spikes: in all of them.
    """

    name: str
    blocks: np.ndarray
    spikes: int

    @property
    def per_spike(self) -> float:
        return float(self.blocks.sum() / self.spikes)

    def below(self, best: "CrossValidated") -> tuple[float, float]:
        """By how much a spike is less likely than under the best, and its standard error over the
        blocks."""
        gap = best.blocks - self.blocks
        error = gap.std(ddof=1) * np.sqrt(gap.size) / self.spikes
        return float(gap.sum() / self.spikes), float(error)


def cross_validate(
    name: str, likelihoods: Callable[[np.ndarray], np.ndarray], train: np.ndarray, spikes: int
) -> CrossValidated:
    """Three-fold, by blocks.

    Args:
        name: of the candidate.
        likelihoods: the log-likelihood of each block of a fit to the blocks that are given.
        train: numbers of the training blocks.
        spikes: in them.
    """
    found = np.zeros(train.max() + 1)
    for fold in range(3):
        left_out = train[fold::3]
        values = likelihoods(np.setdiff1d(train, left_out))
        found[left_out] = values[left_out]
    return CrossValidated(name, found[train], spikes)


def neuron_scores(data: DrivenData, form: Form, name: str, prior: float) -> CrossValidated:
    """A form of neuron, cross-validated."""
    pieces, block, held = data.pieces()
    spikes = int(np.sum(np.asarray(pieces.spikes) & ~held))

    def likelihoods(fitted_to):
        counted = np.isin(block, fitted_to)
        model = fit_driven(form, pieces, counted, len(data.conditions), prior).model
        return block_likelihoods(model, pieces, block)

    return cross_validate(name, likelihoods, np.unique(block[~held]), spikes)


def glm_scores(data: DrivenData, strength: float) -> CrossValidated:
    """The GLM with a ridge penalty, cross-validated."""
    block, held = data.bins()
    counts = np.concatenate([StimulusGLM.counts(data, t) for t in data.trials])

    def likelihoods(fitted_to):
        glm = StimulusGLM(data, np.isin(block, fitted_to), strength)
        values = np.concatenate([glm.log_likelihoods(t) for t in data.trials])
        return np.bincount(block, values + counts * np.log(data.unit))

    name = f"{strength:g}"
    return cross_validate(name, likelihoods, np.unique(block[~held]), int(counts[~held].sum()))


def simplest(scores: list[CrossValidated]) -> CrossValidated:
    """The first that is within one standard error of the best."""
    best = max(scores, key=lambda score: score.per_spike)
    for score in scores:
        gap, error = score.below(best)
        if gap <= error:
            return score
    return best


def describe_scores(scores: list[CrossValidated], chosen: CrossValidated) -> str:
    """What was compared, in words."""
    best = max(scores, key=lambda score: score.per_spike)
    told = []
    for score in scores:
        gap, error = score.below(best)
        told.append(f"{score.name} {score.per_spike:.3f} ({gap:.3f} below, error {error:.3f})")
    return (
        f"{chosen.name} was taken, the simplest within one standard error of the best; "
        f"cross-validated log-likelihood of a spike in nats: {'; '.join(told)}."
    )
