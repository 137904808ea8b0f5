"""Learning in epochs, networks of several seeds side by side, with checkpoints."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn.training.progress import Progress

SATURATED = 0.95
"""Share of steps with a spike above which the one spike that a step allows sets the rate."""


def learn_in_epochs(
    learners: Any,
    epoch: Callable[[Any, int], tuple[Any, np.ndarray]],
    num_epochs: int,
    columns: Sequence[str],
    checkpoints: rs.Checkpoints,
    *,
    progress: bool,
    advice: str,
) -> tuple[Any, np.ndarray]:
    """Learn from the newest checkpoint, or from the start.

    Args:
        learners: what learns, its arrays stacked over seeds.
        epoch: the learners after an epoch of the given number, and a row of measures of each seed.
        num_epochs: epochs.
        columns: what the measures are; the first is shown. Measured must be `active`, the share of
            steps with a spike, and `mean_distance`, how far the weights are from the optimum.
        checkpoints: where the learners are kept.
        progress: whether to show a progress bar.
        advice: what to do where weights diverge.

    Returns:
        the learners, and the measures of shape (epochs, seeds, columns).

    Raises:
        TrainingError: weights diverge, or firing saturates.
    """
    columns = list(columns)
    rows: list[np.ndarray] = []
    kept = 0
    with checkpoints.open():
        found = checkpoints.restore(learners)
        if found is not None:
            learners, kept = found.tree, found.step
            rows = list(found.arrays["rows"])

        def keep():
            nonlocal kept
            if len(rows) > kept:
                checkpoints.save(len(rows), learners, arrays={"rows": np.array(rows)})
                kept = len(rows)

        with Progress(num_epochs, progress, len(rows)) as bar:
            try:
                while len(rows) < num_epochs:
                    learners, row = epoch(learners, len(rows))
                    _refuse_divergence(row, columns, len(rows), advice)
                    rows = [*rows, row]
                    bar.update(1, float(row[:, 0].mean()))
                    if len(rows) % checkpoints.every == 0 or len(rows) == num_epochs:
                        keep()
            except KeyboardInterrupt:
                keep()
                raise
    return learners, np.array(rows)


def _refuse_divergence(row: np.ndarray, columns: list[str], number: int, advice: str) -> None:
    active = row[:, columns.index("active")]
    distance = row[:, columns.index("mean_distance")]
    wrong = ~np.isfinite(row[:, 0]) | ~np.isfinite(distance) | (distance > 100)
    if wrong.any():
        raise rs.TrainingError(
            f"the weights diverge in epoch {number}, seed number {int(np.argmax(wrong))}: their "
            f"distance to the optimum is {distance[wrong][0]:.3g} times its size. {advice}"
        )
    if (active > SATURATED).any():
        raise rs.TrainingError(
            f"firing saturates in epoch {number}: a neuron fires in {active.max():.0%} of the "
            f"steps, and a step allows one spike. {advice}"
        )


def stacked(trees: Sequence[Any]) -> Any:
    """Several pytrees of one structure as one, their arrays along a new first axis."""
    return jax.tree.map(lambda *x: jnp.stack(x) if eqx.is_array(x[0]) else x[0], *trees)


def one_of(tree: Any, index: int) -> Any:
    """One of the pytrees that were stacked."""
    return jax.tree.map(lambda x: x[index] if eqx.is_array(x) else x, tree)
