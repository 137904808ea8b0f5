"""Does a model answer each condition as what was observed did? A randomisation test."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._checks import IntLike, RealLike, number, real_array, whole_number
from .._shown import shown
from ..spikes.trains import SpikeTrains
from .kernel_ensemble import KernelEnsemble
from .permutations import resolution


class ConditionalTestResult(eqx.Module):
    r"""Outcome of a test of conditional laws.

    Attributes:
        statistic: the largest of the statistics of the kernels, in units of its spread.
        p_value: $(1 + \#\{b : T_b \ge T\}) / (1 + B)$.
        rejected: whether it is at most the level.
        null: the statistics of the assignments.
    """

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    rejected: Bool[Array, ""]
    null: Float[Array, " assignments"]

    def __repr__(self) -> str:
        return (
            f"test of conditional laws: p-value {shown(self.p_value)}, rejected: "
            f"{shown(self.rejected)}\nstatistic {shown(self.statistic)}; of assignments "
            f"{shown(self.null)}"
        )


def conditional_test(
    observed: SpikeTrains,
    generated: SpikeTrains,
    conditions: ArrayLike,
    kernel: KernelEnsemble | None = None,
    *,
    key: PRNGKeyArray,
    num_assignments: IntLike = 999,
    level: RealLike = 0.05,
) -> ConditionalTestResult:
    r"""Test whether spike trains, given their conditions, come from the law of a model.

    Each condition $c_w$, such as a stretch of a stimulus, was given once to what is observed and
    $M$ times to the model. If the model is right, the observed train of a condition is one of
    $M + 1$ that are alike, whatever the condition: which of them is called observed is drawn anew
    in each, independently, and the p-value is valid at every size. (Trains of different conditions
    must be independent given these.) With embeddings $\varphi$, and $\bar\varphi_w$ the mean of all
    trains of a condition, the statistic is

    $$
    T = \sum_{w, w'} g(c_w, c_{w'}) \bigl\langle \varphi_w - \bar\varphi_w,
        \varphi_{w'} - \bar\varphi_{w'} \bigr\rangle,
    \qquad g(c, c') = e^{-\|c - c'\|^2 / (2 h^2)},
    $$

    with $h$ the median distance of two conditions: the MMD of the joint laws of train and condition
    as in [`roughsnn.ConditionalMMDLoss`][]. Of several kernels it is the largest, each in units of
    its spread over the assignments.

    Args:
        observed: of batch shape `(W,)`, a train for each condition.
        generated: of batch shape `(W, M)`.
        conditions: of shape `(W, ...)`, numbers.
        kernel: by default `KernelEnsemble.for_trains` of all trains.
        key: of the assignments.
        num_assignments: $B$; the smallest p-value is $1/(1+B)$.
        level: the probability with which a true model may be rejected.

    Raises:
        ValueError: batch shapes that do not fit together; settings outside their range.
    """
    conditions = real_array("conditions", conditions)
    num_assignments = whole_number("num_assignments", num_assignments, 1)
    level = number("level", level, positive=True, below=1)
    count = conditions.shape[0] if conditions.ndim else 0
    shape = generated.batch_shape
    if observed.batch_shape != (count,) or len(shape) != 2 or shape[0] != count or shape[1] < 1:
        raise ValueError(
            f"`observed` has batch shape {observed.batch_shape}, `generated` {shape}, and there "
            f"are {count} `conditions`; they must be (W,), (W, M) and W."
        )
    if count < 2:
        raise ValueError(f"`conditions` are {count}; a test needs two or more.")
    # the train of a condition that is called observed is the first of its row
    both = SpikeTrains.concatenate([observed, generated.reshape(-1)])
    if kernel is None:
        kernel = KernelEnsemble.for_trains(both)
    grams = kernel.grams(both)
    return _test(grams, conditions, key, num_assignments, level, kernel.weights)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _test(grams, conditions, key, num_assignments: int, level: float, weights: Any):
    count, dtype = conditions.shape[0], grams.dtype
    own = jnp.arange(grams.shape[-1]) - count
    window = jnp.where(own < 0, own + count, own // (grams.shape[-1] // count - 1))
    each = grams.shape[-1] // count
    order = jnp.argsort(window, stable=True)  # rows of M + 1, the observed one first
    flat = conditions.reshape(count, -1).astype(dtype)
    squares = jnp.sum((flat[:, None] - flat[None]) ** 2, axis=-1)
    apart = jnp.where(squares > 0, squares, jnp.nan)
    width = jnp.nan_to_num(jnp.nanmedian(apart), nan=1.0)
    near = jnp.exp(-squares / (2 * width))
    chosen = jr.randint(key, (num_assignments, count), 0, each)
    chosen = jnp.concatenate([jnp.zeros((1, count), chosen.dtype), chosen])
    chosen = chosen + each * jnp.arange(count)[None]

    def statistics(gram):
        gram = gram[order][:, order]
        gram = gram - jnp.mean(gram)
        means = gram.reshape(count, each, -1).mean(axis=1)
        gram = gram - jnp.repeat(means, each, axis=0)
        means = gram.reshape(-1, count, each).mean(axis=2)
        gram = gram - jnp.repeat(means, each, axis=1)
        return jax.lax.map(lambda at: jnp.sum(near * gram[at][:, at]), chosen)

    values = jax.lax.map(statistics, grams)
    slack = count**2 * jax.vmap(resolution)(grams)
    spread = jnp.std(values, axis=1)
    weight = jnp.ones(len(grams), dtype) if weights is None else jnp.asarray(weights, dtype)
    tells = spread > slack
    units = jnp.where(tells, spread, 1) / weight
    centred = values - jnp.mean(values, axis=1, keepdims=True)
    values = jnp.where(tells[:, None], centred / units[:, None], 0)
    # what differs by rounding is a tie, and ties count as reached
    reached = jnp.max(values[:, 1:] + (slack / units)[:, None], axis=0)
    values = jnp.max(values, axis=0)
    exceeding = jnp.sum(reached >= values[0], dtype=jnp.int32)
    p_value = (1 + exceeding).astype(dtype) / (1 + num_assignments)
    return ConditionalTestResult(values[0], p_value, p_value <= level, values[1:])
