"""Which model to fit, chosen within the training part of a recording."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from .splitting import BLOCK, Part

CANDIDATES = ("resetting-lif", "lif")
"""What `auto` chooses from, the simplest first: the intervals of a neuron that forgets its
potential are independent, those of one that does not are related."""

FOLDS = 3
"""How many times the training part is cut; each training interval is judged once."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How a candidate did on intervals that it was not fitted to.

    Attributes:
        log_likelihood: mean of an interval, in nats.
        behind: how far that is behind the best candidate.
        error: standard error of `behind`, over the intervals.
    """

    log_likelihood: float
    behind: float = 0.0
    error: float = 0.0


def within_training(part: Part, fold: int) -> Part | None:
    """The training part, cut again: every third run of `BLOCK` training intervals is for judging.

    What the part holds out is in it only as the spikes that come before others. `None` where there
    are too few training intervals for that.

    Args:
        part: the data.
        fold: which of three successive runs is judged.
    """
    number = part.train.size
    run = min(BLOCK, number // (2 * FOLDS))
    if run < 5:
        return None
    judging = np.arange(number) // run % FOLDS == fold
    trials, done = [], 0
    for gaps, held in part.trials:
        marks = np.zeros(gaps.size, bool)
        count = int(np.sum(~held))
        marks[~held] = judging[done : done + count]
        done += count
        trials.append((gaps, marks))
    return dataclasses.replace(
        part, train=part.train[~judging], held=part.train[judging], trials=trials
    )


def choose(
    parts: list[list[Part]],
    judged: Callable[[str, list[Part], int, int], list[np.ndarray]],
    *,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[str, dict[str, Score]]:
    """The simplest candidate that is within a standard error of the best, and the scores of all.

    Cross-validation within the training part of all neurons and conditions: each candidate is
    fitted to two thirds of it and judged on the rest, three times, so that every training interval
    is judged. No held-out interval is fitted or judged.

    Args:
        parts: the data, `parts[neuron][condition]`.
        judged: fits the model of this name to these data of a neuron (its number comes next, then
            that of the cut), and returns for each condition the log-likelihoods of the intervals
            that the cut has kept back.
        report: is told of each cut.

    Returns:
        the name of the model and the scores, best first; no scores where there are too few training
        intervals to cut.

    Reference: Breiman, Friedman, Olshen, Stone (1984), Classification and Regression Trees, section
    3.4, for the rule of one standard error.
    """
    cuts = [
        [[within_training(part, fold) for part in row] for row in parts] for fold in range(FOLDS)
    ]
    if any(part is None for rows in cuts for row in rows for part in row):
        return CANDIDATES[0], {}
    values = {}
    for model in CANDIDATES:
        found = []
        for fold, rows in enumerate(cuts):
            done = [x for n, row in enumerate(rows) for x in judged(model, row, n, fold)]
            found += done
            report(
                f"choosing a model: {model}, cut {fold} of 0 to {FOLDS - 1}: log-likelihood of an "
                f"interval {np.concatenate(done).mean():.4g} nats"
            )
        values[model] = np.concatenate(found)
    return simplest_of_the_best(values)


def simplest_of_the_best(values: dict[str, np.ndarray]) -> tuple[str, dict[str, Score]]:
    """The first model whose mean is within a standard error of the largest, and all scores.

    Args:
        values: log-likelihoods of the same intervals under each model, the simplest first.
    """
    means = {name: float(x.mean()) for name, x in values.items()}
    best = max(means, key=means.__getitem__)
    scores = {}
    for name in sorted(means, key=means.__getitem__, reverse=True):
        lost = values[best] - values[name]
        error = float(lost.std(ddof=1) / np.sqrt(lost.size))
        scores[name] = Score(means[name], float(lost.mean()), error)
    return next(x for x in values if scores[x].behind <= scores[x].error), scores


def how_chosen(model: str, scores: dict[str, Score]) -> str:
    """The choice in words."""
    if not scores:
        return f"{model} was taken: there are too few training intervals to choose a model by them."
    return (
        f"{model} was chosen: it is the simplest model that is within a standard error of the "
        "best. Log-likelihood of an interval, in nats, cross-validated within the training part: "
        f"{', '.join(_in_words(scores))}."
    )


def _in_words(scores: dict[str, Score]) -> Iterable[str]:
    for name, score in scores.items():
        behind = "" if score.behind == 0 else f" ({score.behind:.3f} +- {score.error:.3f} behind)"
        yield f"{name} {score.log_likelihood:.3f}{behind}"
