"""What a rule learns: a search over rates, the same for every rule, and a curve."""

import itertools
from typing import Any

import jax.random as jr
import numpy as np

from roughsnn.training.step import RECORDED

from .steps import Compiled, with_rate
from .tasks import Task

_LOSS, _OVERFLOWED = RECORDED.index("loss"), RECORDED.index("overflowed")
_REFUSED = "RefusedOnHost"
LAST = 15
"""Steps at the end of the search over which the loss is averaged."""
ALLOWED = 0.04
"""Of the trials of a step, the share that may outgrow their room: one of 32."""


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

    A rate with which more than `ALLOWED` of the trials of a step outgrow their room is not taken.

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
        what the loss takes, and the largest share of trials of a step that outgrew their room; the
        best rate, and that share in the steps after the search; steps and what `judge` says after
        them.
    """
    key = jr.fold_in(jr.key(seed), 77)
    when = [int(x) for x in np.unique(np.linspace(0, steps, points + 1).round())]
    early = [step for step in when if step <= search]
    tried, shares, reached = [], [], []
    for rate in rates:
        state, models = with_rate(one.start, rate), [one.start.model]
        losses, over = [], [0.0]
        try:
            for before, after in itertools.pairwise(early):
                state, found, outgrown = _steps(task, one, state, before, after, key)
                losses, over = losses + found, over + outgrown
                models.append(state.model)
        except (RuntimeError, ValueError) as error:
            # a network that has grown beyond what the loss takes has learned nothing
            if _REFUSED not in f"{type(error).__name__}: {error}":
                raise
            losses = [float("nan")]
        tried.append(float(np.mean(losses[-LAST:])))
        shares.append(max(over))
        reached.append((state, models))
    eligible = np.isfinite(tried) & (np.array(shares) <= ALLOWED)
    best = int(np.argmin(np.where(eligible, tried, np.inf)))
    state, models = reached[best]
    later = [0.0]
    for before, after in itertools.pairwise(when):
        if after > search:
            state, _, outgrown = _steps(task, one, state, before, after, key)
            later += outgrown
            models.append(state.model)
    return {
        "rates": list(rates), "losses": tried, "overflowed": shares, "best": rates[best],
        "overflowed later": max(later), "steps": when[: len(models)],
        "judged": [task.judge(model) for model in models],
    }  # fmt: skip
