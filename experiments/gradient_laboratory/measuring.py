r"""How far the mean of a rule is from the gradient, and how much it scatters.

Estimates come in blocks, one a mini-batch; block i of a rule is compared with the true gradient of
the same mini-batch, so that what the data scatter drops out. With $x_i$ the differences of n
blocks, $b = E\,x$ the bias,

$$ \hat{b^2} = \frac{1}{n(n-1)} \sum_{i \ne j} x_i \cdot x_j $$

has the mean $\lvert b \rvert^2$, whatever the scatter, and is compared with what it is where the
signs of all $x_i$ less their mean are drawn at random. The component of b along the gradient has a
standard error of the usual kind.
"""

import dataclasses
from typing import Any

import jax.random as jr
import numpy as np
from scipy.stats import norm

from .steps import Compiled, at, gradient_of
from .tasks import BATCH, Task

FLIPS = 4000


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Gradients of mini-batches, shape (blocks, parameters), and their losses."""

    gradients: np.ndarray
    losses: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over blocks."""
        return self.gradients.mean(0)


def estimates(
    task: Task, one: Compiled, blocks: int, seed: int, repeats: int = 1, model: Any = None
) -> Blocks:
    """Gradients at the start, or at another model, of the mini-batches 0, 1, ...

    Args:
        task: the task.
        one: the step.
        blocks: how many mini-batches.
        seed: of the noise.
        repeats: how often the noise of each is drawn; what is kept is the mean.
        model: at which the gradient is taken.
    """
    start = one.start if model is None else at(one.start, model)
    gradients, losses = [], []
    for block in range(blocks):
        found = [
            gradient_of(task, one, start, block, jr.fold_in(jr.key(seed), block * repeats + n))
            for n in range(repeats)
        ]
        losses.append(np.mean([loss for loss, _, _ in found]))
        gradients.append(np.mean([gradient for _, gradient, _ in found], axis=0))
    return Blocks(np.array(gradients), np.array(losses))


def squared_length(x: np.ndarray) -> float:
    """An estimate of the squared length of the mean, without bias."""
    total = x.sum(0)
    return float((total @ total - np.sum(x * x)) / (len(x) * (len(x) - 1)))


def deviation(x: np.ndarray, seed: int = 0) -> float:
    """How unlikely the mean of x is zero, in standard errors of a normal number (one-sided)."""
    centred = x - x.mean(0)
    gram = centred @ centred.T * (len(x) / (len(x) - 1))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, len(x)))
    null = (np.einsum("fi,ij,fj->f", signs, gram, signs, optimize=True) - np.trace(gram)) / (
        len(x) * (len(x) - 1)
    )
    above = (1 + np.sum(null >= squared_length(x))) / (1 + FLIPS)
    return float(norm.isf(above))


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Between the means of x and y, with the scatter of both taken out of their lengths."""
    n = len(x)
    cross = float((x.sum(0) @ y.sum(0) - np.sum(x * y)) / (n * (n - 1)))
    squares = squared_length(x) * squared_length(y)
    return cross / squares**0.5 if squares > 0 else float("nan")


def compared(found: Blocks, truth: Blocks) -> dict[str, float]:
    """Estimates beside the true gradient of the same mini-batches.

    Returns:
        cosine: of the means, and its standard error by leaving out one block at a time.
        one step: the mean cosine of a mini-batch's estimate to the gradient.
        bias: its length over that of the gradient, and `deviation` of it from none.
        along: the component of the bias along the gradient, likewise, with its standard error.
        variance: of the estimate from one sample over the squared gradient.
        noise: what of that is not the data's.
    """
    x, y = found.gradients, truth.gradients[: len(found.gradients)]
    goal = truth.mean
    length = max(squared_length(truth.gradients), 1e-300) ** 0.5
    gap = x - y
    along = gap @ goal / (goal @ goal)
    kept = [np.arange(len(x)) != i for i in range(len(x))]
    parts = np.array([cosine(x[k], y[k]) for k in kept])
    spread = (len(x) - 1) * np.mean((parts - parts.mean()) ** 2)
    steps = x @ goal / np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(goal), 1e-300)
    quiet = not np.any(gap)
    return {
        "cosine": cosine(x, y),
        "cosine error": float(spread**0.5),
        "one step": float(steps.mean()),
        "bias": max(squared_length(gap), 0.0) ** 0.5 / length,
        "deviation": 0.0 if quiet else deviation(gap),
        "along": float(along.mean()),
        "along error": float(along.std(ddof=1) / len(along) ** 0.5),
        "variance": float(BATCH * x.var(0, ddof=1).sum() / length**2),
        "noise": float(BATCH * gap.var(0, ddof=1).sum() / length**2),
        "length": float(max(squared_length(x), 0.0) ** 0.5 / length),
        "loss": float(found.losses.mean()),
    }
