"""Estimators of the squared maximum mean discrepancy, from Gram matrices or from a kernel."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import IntLike, optional_whole_number, real_array, whole_number
from ..spikes.checks import is_traced
from ..spikes.trains import SpikeTrains
from .signature_kernel import SignatureKernel

Kernel = Callable[..., Float[Array, "m n"]]
"""A function `kernel(x, y)` or, for `x` with itself, `kernel(x)` that returns a Gram matrix."""

_ESTIMATORS = ("unbiased", "biased", "block", "linear")


def mmd2_from_grams(
    gram_xx: Shaped[ArrayLike, "_ _"],
    gram_yy: Shaped[ArrayLike, "_ _"],
    gram_xy: Shaped[ArrayLike, "_ _"],
    estimator: str = "unbiased",
) -> Float[Array, ""]:
    r"""Squared maximum mean discrepancy of two samples from their three Gram matrices.

    $$
    \mathrm{MMD}^2_u = \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j)
        + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j) - \frac{2}{mn} \sum_{ij} k(x_i, y_j)
    $$

    is unbiased, and negative about every second time when the two laws are equal. The biased
    estimator takes plain means with the diagonals: it is the squared distance of the two empirical
    mean embeddings, never negative, and too large by
    $\frac1m(\overline{k(x_i, x_i)} - \overline{k(x_i, x_j)})$ and the same for $y$ on average.

    Args:
        gram_xx: kernel of the first sample with itself.
        gram_yy: kernel of the second sample with itself.
        gram_xy: kernel of the first sample with the second.
        estimator: `"unbiased"` or `"biased"`.

    Raises:
        ValueError: shapes that do not fit; fewer than two points for the unbiased estimator; an
            estimator of another name.

    Reference: Gretton, Borgwardt, Rasch, Schölkopf, Smola (2012), JMLR 13, 723, section 2.
    """
    gram_xx, gram_yy, gram_xy = _grams(gram_xx, gram_yy, gram_xy)
    m, n = gram_xy.shape
    if gram_xx.shape != (m, m) or gram_yy.shape != (n, n):
        raise ValueError(
            f"`gram_xx` has shape {gram_xx.shape} and `gram_yy` {gram_yy.shape}; with `gram_xy` "
            f"of shape {gram_xy.shape} they must be {(m, m)} and {(n, n)}."
        )
    _check_estimator(estimator, ("unbiased", "biased"))
    # Shifting all entries alike changes nothing but the rounding, which grows with their size.
    shift = jax.lax.stop_gradient(jnp.mean(gram_xy))
    return (
        mean_within(gram_xx - shift, estimator)
        + mean_within(gram_yy - shift, estimator)
        - 2 * jnp.mean(gram_xy - shift)
    )


def mean_within(gram: Shaped[ArrayLike, "m m"], estimator: str = "unbiased") -> Float[Array, ""]:
    r"""Mean of a sample's Gram matrix: an estimate of $E\,k(X, X')$ of two independent draws.

    Args:
        gram: kernel of the sample with itself.
        estimator: `"unbiased"` leaves the diagonal out; `"biased"` does not.

    Raises:
        ValueError: fewer than two points for the unbiased estimator, none for the biased.
    """
    _check_estimator(estimator, ("unbiased", "biased"))
    gram = real_array("gram", gram)
    m = gram.shape[0]
    _check_size(m, estimator)
    if estimator == "biased":
        return jnp.mean(gram)
    return (jnp.sum(gram) - jnp.trace(gram)) / (m * (m - 1))


def mmd2(
    x: Any,
    y: Any,
    kernel: Kernel,
    *,
    estimator: str = "unbiased",
    num_blocks: IntLike | None = None,
    tile: IntLike = 1024,
) -> Float[Array, ""]:
    r"""Squared maximum mean discrepancy of two samples, in bounded memory.

    | estimator | kernel evaluations | is |
    |---|---|---|
    | `"unbiased"` | all pairs | the U-statistic of `mmd2_from_grams` |
    | `"biased"` | all pairs | the V-statistic of `mmd2_from_grams` |
    | `"block"` | those inside blocks | mean of the U-statistics of `num_blocks` parts, unbiased |
    | `"linear"` | 4 for every two points | mean of the smallest such differences, unbiased |

    The linear-time estimator is, with $h = k(x, x') + k(y, y') - k(x, y') - k(x', y)$,
    the mean of $h(x_{2i-1}, x_{2i}, y_{2i-1}, y_{2i})$.

    Gram matrices are made in tiles of at most `tile` rows and columns and only their sums kept. In
    reverse mode JAX makes each tile anew.

    Args:
        x: first sample: `SpikeTrains`, or an array with the points along its first axis.
        y: second sample.
        kernel: a `SignatureKernel`, or any function that returns Gram matrices. Scales that a
            `SignatureKernel` leaves open are found from both samples together.
        estimator: see the table.
        num_blocks: number of parts for `"block"`; by default the square root of the smaller size.
            Points that are left over at the end are not used.
        tile: largest side of a Gram matrix that is held in memory.

    Raises:
        ValueError: samples too small for the estimator or the number of blocks; samples of
            different sizes for `"linear"`; settings outside their range.
        TypeError: a kernel that is none.

    References:
        Gretton, Borgwardt, Rasch, Schölkopf, Smola (2012), JMLR 13, 723, sections 2 and 6.
        Zaremba, Gretton, Blaschko (2013), NeurIPS 26: the block estimator.
    """
    _check_estimator(estimator, _ESTIMATORS)
    if num_blocks is not None and estimator != "block":
        raise ValueError(f"`num_blocks` is for `estimator='block'`, not {estimator!r}.")
    tile = whole_number("tile", tile, 1)
    num_blocks = optional_whole_number("num_blocks", num_blocks, 1)
    x, y = points("x", x), points("y", y)
    check_kernel(kernel)
    if isinstance(kernel, SignatureKernel):
        kernel = kernel.fixed_for(x, y)
    m, n = len(x), len(y)
    if estimator == "linear":
        return _linear(x, y, kernel)
    if estimator == "block":
        return _blocks(x, y, kernel, num_blocks, tile)
    _check_size(min(m, n), estimator)
    sum_xx, trace_x = _within(x, kernel, tile)
    sum_yy, trace_y = _within(y, kernel, tile)
    cross = _across(x, y, kernel, tile) / (m * n)
    if estimator == "biased":
        return sum_xx / m**2 + sum_yy / n**2 - 2 * cross
    return (sum_xx - trace_x) / (m * (m - 1)) + (sum_yy - trace_y) / (n * (n - 1)) - 2 * cross


def mmd2_standard_error(
    gram_xx: Shaped[ArrayLike, "m m"],
    gram_yy: Shaped[ArrayLike, "n n"],
    gram_xy: Shaped[ArrayLike, "m n"],
) -> Float[Array, ""]:
    r"""Standard error of the unbiased estimator when the two laws differ.

    To first order in $1/m$ and $1/n$ the U-statistic is a mean of the witness function $w$,

    $$
    \mathrm{Var}(\mathrm{MMD}^2_u) \approx
    \frac4m \mathrm{Var}\,w(x) + \frac4n \mathrm{Var}\,w(y), \qquad
    w(z) = E\,k(z, X) - E\,k(z, Y),
    $$

    with the witness estimated at each point from all others. When the laws are equal $w$ vanishes
    and the next order rules: this is then no standard error, though it stays positive.

    Raises:
        ValueError: fewer than two points in a sample.

    Reference: Liu, Xu, Lu, Zhang, Gretton, Sutherland (2020), ICML, equation 5 and appendix.
    """
    gram_xx, gram_yy, gram_xy = _grams(gram_xx, gram_yy, gram_xy)
    m, n = gram_xy.shape
    _check_size(min(m, n), "unbiased")
    others_x = (jnp.sum(gram_xx, axis=1) - jnp.diagonal(gram_xx)) / (m - 1)
    others_y = (jnp.sum(gram_yy, axis=1) - jnp.diagonal(gram_yy)) / (n - 1)
    witness_x = others_x - jnp.mean(gram_xy, axis=1)
    witness_y = jnp.mean(gram_xy, axis=0) - others_y
    return jnp.sqrt(4 * jnp.var(witness_x) / m + 4 * jnp.var(witness_y) / n)


def _within(x: Any, kernel: Kernel, tile: int) -> tuple[Array, Array]:
    """Sum and trace of the Gram matrix of a sample with itself, tile by tile."""
    parts = _tiles(x, tile)

    def on_diagonal(part):
        gram = real_array("kernel", kernel(part))
        return jnp.sum(gram), jnp.trace(gram)

    within, across = _made_anew(on_diagonal), _made_anew(_sum_of(kernel))
    sums, traces = zip(*map(within, parts), strict=True)
    total = functools.reduce(operator.add, sums)
    for i, part in enumerate(parts):
        for other in parts[:i]:
            total = total + 2 * across(part, other)
    return total, functools.reduce(operator.add, traces)


def _across(x: Any, y: Any, kernel: Kernel, tile: int) -> Array:
    across = _made_anew(_sum_of(kernel))
    sums = [across(a, b) for a in _tiles(x, tile) for b in _tiles(y, tile)]
    return sum(sums[1:], sums[0])


def _blocks(x: Any, y: Any, kernel: Kernel, num_blocks: int | None, tile: int) -> Array:
    m, n = len(x), len(y)
    if num_blocks is None:
        num_blocks = max(math.isqrt(min(m, n)), 1)
    size_x, size_y = m // num_blocks, n // num_blocks
    if min(size_x, size_y) < 2:
        raise ValueError(
            f"`num_blocks` is {num_blocks}: blocks of {size_x} and {size_y} points are too small, "
            "as each needs two of either sample. Use fewer blocks or more points."
        )
    terms = [
        mmd2(
            x[i * size_x : (i + 1) * size_x],
            y[i * size_y : (i + 1) * size_y],
            kernel,
            tile=tile,
        )
        for i in range(num_blocks)
    ]
    return sum(terms[1:], terms[0]) / num_blocks


def _linear(x: Any, y: Any, kernel: Kernel) -> Array:
    m, n = len(x), len(y)
    if m != n or m < 2:
        raise ValueError(
            f"`x` has {m} points and `y` {n}; the linear-time estimator needs equally many, and "
            "two or more."
        )
    even = m - m % 2

    def pairs(a, b):
        if isinstance(kernel, SignatureKernel):
            return kernel.pairs(a, b)
        return jnp.stack([kernel(a[i : i + 1], b[i : i + 1])[0, 0] for i in range(len(a))])

    x1, x2, y1, y2 = x[0:even:2], x[1:even:2], y[0:even:2], y[1:even:2]
    return jnp.mean(pairs(x1, x2) + pairs(y1, y2) - pairs(x1, y2) - pairs(x2, y1))


def _sum_of(kernel: Kernel) -> Callable:
    return lambda a, b: jnp.sum(real_array("kernel", kernel(a, b)))


def points(name: str, sample: Any) -> Any:
    """A sample: trains, or an array of real numbers with the points along its first axis."""
    return sample if isinstance(sample, SpikeTrains) else real_array(name, sample)


def _grams(gram_xx: Any, gram_yy: Any, gram_xy: Any) -> tuple[Array, Array, Array]:
    names = ("gram_xx", "gram_yy", "gram_xy")
    xx, yy, xy = map(real_array, names, (gram_xx, gram_yy, gram_xy))
    return xx, yy, xy


def _made_anew(function: Callable) -> Callable:
    """`function`, made anew in reverse mode; what is known stays known, as a kernel may ask."""

    def call(*samples):
        leaves, structure = jax.tree.flatten(samples)
        traced = [leaf for leaf in leaves if is_traced(leaf)]
        if not traced:
            return function(*samples)

        def of_traced(*values):
            found = iter(values)
            whole = [next(found) if is_traced(leaf) else leaf for leaf in leaves]
            return function(*jax.tree.unflatten(structure, whole))

        return jax.checkpoint(of_traced)(*traced)

    return call


def _tiles(x: Any, tile: int) -> list:
    return [x[start : start + tile] for start in range(0, len(x), tile)]


def check_kernel(kernel: Kernel) -> None:
    """Refuses what is no kernel, such as a sample in its place."""
    if not callable(kernel):
        raise TypeError(
            f"`kernel` is of type {type(kernel).__name__}; it must be a `SignatureKernel` or a "
            "function that returns Gram matrices. The samples come first: (x, y, kernel)."
        )


def _check_estimator(estimator: str, known: tuple[str, ...]) -> None:
    if estimator not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"`estimator` is {estimator!r}; it must be one of {names}.")


def _check_size(size: int, estimator: str) -> None:
    least = 1 if estimator == "biased" else 2
    if size < least:
        raise ValueError(
            f"A sample has {size} points; the {estimator} estimator needs {least} or more of each."
        )
