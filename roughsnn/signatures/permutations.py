"""The statistics of all assignments of points to two samples, from one Gram matrix."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


def permuted_labels(
    total: int, num_x: int, num_permutations: int, *, key: PRNGKeyArray, dtype: Any
) -> Float[Array, "permutations_and_one {total}"]:
    """Rows with a 1 for each point of the first sample: as given, then by random permutations."""
    given = (jnp.arange(total) < num_x).astype(dtype)
    rows = jnp.broadcast_to(given[None], (num_permutations, total))
    permuted = jr.permutation(key, rows, axis=1, independent=True)
    return jnp.concatenate([given[None], permuted])


def statistics_of_labels(
    gram: Float[Array, "N N"],
    labels: Float[Array, "assignments N"],
    num_x: int,
    estimator: str = "unbiased",
) -> Float[Array, " assignments"]:
    r"""$\mathrm{MMD}^2$ of every assignment of the points to two samples.

    Args:
        gram: kernel of all points.
        labels: rows with `num_x` ones, for the points of the first sample, and zeros.
        num_x: size of the first sample.
        estimator: `"unbiased"` or `"biased"`.

    Raises:
        ValueError: an estimator of another name.
    """
    if estimator not in ("unbiased", "biased"):
        raise ValueError(f"`estimator` is {estimator!r}; it must be 'unbiased' or 'biased'.")
    total = gram.shape[0]
    num_y = total - num_x
    # The same shift of all entries leaves the statistic and lessens its rounding.
    gram = gram - jnp.mean(gram)
    diagonal = jnp.diagonal(gram)
    off = gram - jnp.diag(diagonal)
    # Full precision: some accelerators multiply float32 matrices with fewer digits.
    within_x = jnp.sum(jnp.matmul(labels, off, precision="highest") * labels, axis=1)
    rows_x = jnp.matmul(labels, jnp.sum(off, axis=1), precision="highest")
    across = rows_x - within_x
    within_y = jnp.sum(off) - within_x - 2 * across
    cross = 2 * across / (num_x * num_y)
    if estimator == "unbiased":
        return within_x / (num_x * (num_x - 1)) + within_y / (num_y * (num_y - 1)) - cross
    trace_x = jnp.matmul(labels, diagonal, precision="highest")
    trace_y = jnp.sum(diagonal) - trace_x
    return (within_x + trace_x) / num_x**2 + (within_y + trace_y) / num_y**2 - cross


def resolution(gram: Float[Array, "N N"]) -> Float[Array, ""]:
    r"""By how much two statistics of a Gram matrix may differ that are equal but for rounding.

    Entries are rounded on the scale of the largest of them, however little they differ from each
    other; sums of what is left once their mean is taken off, on the scale of that.
    """
    entries = jnp.max(jnp.abs(gram), initial=0)
    differences = jnp.max(jnp.abs(gram - jnp.mean(gram)), initial=0)
    return jnp.finfo(gram.dtype).eps * (16 * entries + 64 * differences)


def aggregated_statistics(
    grams: Float[Array, "kernels N N"],
    labels: Float[Array, "assignments N"],
    num_x: int,
    estimator: str = "unbiased",
    weights: Sequence[float] | None = None,
) -> tuple[Float[Array, " assignments"], Int[Array, ""], Float[Array, ""]]:
    r"""One statistic of several kernels: the largest $\mathrm{MMD}^2$ in units of its spread.

    $$
    T_b = \max_k w_k \frac{\mathrm{MMD}^2_{k, b}}{\sigma_k}, \qquad
    \sigma_k^2 = \mathrm{Var}_b\, \mathrm{MMD}^2_{k, b}
    $$

    over all assignments $b$, the given one among them. No assignment is treated apart, so a
    permutation test with $T$ is as exact as with one kernel, and it has nearly the power of the
    best of the kernels without a split that finds out which that is. A smaller weight leaves more
    of the level to the other kernels. A kernel whose statistics differ by no more than rounding
    tells nothing, and counts as 0.

    Args:
        grams: kernels of all points.
        labels: as for `statistics_of_labels`, the assignment as given first.
        num_x: size of the first sample.
        estimator: `"unbiased"` or `"biased"`.
        weights: $w_k > 0$, by default all 1.

    Returns:
        the statistics; the kernel that is largest for the first assignment; its $\sigma_k / w_k$.

    Raises:
        ValueError: not one positive weight for each kernel.

    References:
        Schrab, Kim, Albert, Laurent, Guedj, Gretton (2023), JMLR 24(194): weighted kernels.
        Biggs, Schrab, Gretton (2023), NeurIPS 36, who take a soft maximum.
    """
    values, units, _ = statistics_in_units(grams, labels, num_x, estimator, weights)
    winner = jnp.argmax(values[:, 0])
    return jnp.max(values, axis=0), winner, units[winner]


def statistics_in_units(
    grams: Float[Array, "kernels N N"],
    labels: Float[Array, "assignments N"],
    num_x: int,
    estimator: str = "unbiased",
    weights: Sequence[float] | None = None,
) -> tuple[Float[Array, "kernels assignments"], Float[Array, " kernels"], Float[Array, " kernels"]]:
    r"""The statistics of each kernel in units of $\sigma_k / w_k$, see `aggregated_statistics`.

    Returns:
        the statistics; the units; by how much equal statistics may differ.

    Raises:
        ValueError: not one positive weight for each kernel.
    """
    if weights is None:
        weights = (1.0,) * len(grams)
    if len(weights) != len(grams) or not all(weight > 0 for weight in weights):
        raise ValueError(
            f"`weights` is {weights}; it must have a positive number for each of the "
            f"{len(grams)} kernels."
        )
    values = jnp.stack([statistics_of_labels(g, labels, num_x, estimator) for g in grams])
    slack = jax.vmap(resolution)(grams)
    spread = jnp.std(values, axis=1)
    # A spread is a spread where it is more than rounding.
    tells = spread > slack
    units = jnp.where(tells, spread, 1) / jnp.asarray(np.asarray(weights), spread.dtype)
    values = jnp.where(tells[:, None], values / units[:, None], 0)
    return values, units, slack / units
