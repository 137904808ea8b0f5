"""Which model to fit, chosen within the training part of a recording."""

import dataclasses
from collections.abc import Callable

import numpy as np

from .models import Parameters
from .rescaling import rescale_part
from .splitting import BLOCK, Part
from .training import Loss, Plan, fit

CANDIDATES = ("lif", "resetting-lif")
"""What `auto` chooses from; the first is taken where there are too few spikes to choose."""


def within_training(part: Part) -> Part | None:
    """The training part, cut again: every third run of `BLOCK` training intervals is for judging.

    What the part holds out is in it only as the spikes that come before others. `None` where there
    are too few training intervals for that.
    """
    number = part.train.size
    run = min(BLOCK, number // 6)
    if run < 5:
        return None
    judging = np.arange(number) // run % 3 == 2
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
    parts: list[Part],
    plan_for: Callable[[str, list[Part]], Plan],
    loss: Loss,
    *,
    steps: int,
    particles: int,
    seed: int,
) -> dict[str, float]:
    """The candidates for a neuron with the log-likelihood of an interval, in nats, best first.

    Each is fitted to two thirds of the training part of all conditions, and judged on the rest of
    it: no held-out interval is fitted or judged. The likelihood is that of the particle filter.

    Args:
        parts: the data of the neuron in each condition.
        plan_for: sizes of the fit of a model.
        loss: what is minimised.
        steps: evaluations of the residual at most.
        particles: of the filter.
        seed: of the noise.
    """
    inner = [within_training(part) for part in parts]
    if any(part is None for part in inner):
        return {CANDIDATES[0]: float("nan")}
    cut = [part for part in inner if part is not None]
    scores = {}
    for model in CANDIDATES:
        plan = plan_for(model, cut)
        found: Parameters = fit(cut, plan, loss, steps=steps, seed=seed).parameters
        scores[model] = float(
            np.mean(
                [
                    rescale_part(found, c, part, plan.dt0, particles=particles, seed=seed)[1]
                    for c, part in enumerate(cut)
                ]
            )
        )
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
