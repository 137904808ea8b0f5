"""What a rule learns: a search over rates, the same for every rule, and a curve."""

import itertools
from typing import Any

import jax
import jax.random as jr
import numpy as np

from roughsnn.training.step import RECORDED

from .steps import Compiled, with_rate
from .tasks import Task

_LOSS, _OVERFLOWED = RECORDED.index("loss"), RECORDED.index("overflowed")
_REFUSED = "RefusedOnHost"
LAST = 15
"""Steps at the end of the search over which the loss is averaged."""


def _steps(task: Task, one: Compiled, state: Any, first: int, last: int, key: Any):
    """Steps from `first` to `last`; the state after them, their losses, and the shares of trials
    that outgrew their room."""
    values = []
    for step in range(first, last):
        state, record = one.call(state, task.data(-1 - step), key)
        values.append(record.values)
    losses, overflowed = np.array(values)[:, [_LOSS, _OVERFLOWED]].T
    return state, losses.tolist(), overflowed.tolist()


def learn(
    task: Task, one: Compiled, rates: tuple[float, ...], search: int, steps: int, points: int,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Try each rate for some steps, go on with that of the least loss, and judge on the way.

    Args:
        task: the task.
        one: the step of the rule.
        rates: of Adam.
        search: steps of the search.
        steps: of the whole training with the best rate, those of the search included.
        points: how often the model is judged after the start, evenly.
        seed: of the noise; mini-batches are those of the task.

    Returns:
        the loss of each rate at the end of the search, not a number where the network grew beyond
        what the loss takes; the best rate, and the largest share of
        trials of a step with it that outgrew their room; steps and what `judge` says after them.
    """
    key = jr.fold_in(jr.key(seed), 77)
    when = np.unique(np.linspace(0, steps, points + 1).round().astype(int))
    tried, reached = [], []
    for rate in rates:
        state, curve = with_rate(one.start, rate), [(0, task.judge(one.start.model))]
        losses, shares = [], []
        try:
            for before, after in itertools.pairwise(when):
                if after > search:
                    break
                state, found, over = _steps(task, one, state, int(before), int(after), key)
                losses, shares = losses + found, shares + over
                curve.append((int(after), task.judge(state.model)))
        except (RuntimeError, ValueError) as error:
            # a network that has grown beyond what the loss takes has learned nothing
            if _REFUSED not in f"{type(error).__name__}: {error}":
                raise
            losses = [float("nan")]
        tried.append(float(np.mean(losses[-LAST:])))
        reached.append((state, curve, shares))
    best = int(np.argmin(np.where(np.isfinite(tried), tried, np.inf)))
    state, curve, shares = reached[best]
    for before, after in itertools.pairwise(when):
        if after > search:
            state, _, over = _steps(task, one, state, int(before), int(after), key)
            shares += over
            curve.append((int(after), task.judge(state.model)))
    jax.block_until_ready(state.step)
    return {
        "rates": list(rates), "losses": tried, "best": rates[best],
        "overflowed": max(shares), "steps": [step for step, _ in curve], "judged": [value for _, value in curve],
    }  # fmt: skip
