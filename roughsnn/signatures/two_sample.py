"""Do two samples come from one law? The permutation test of the MMD, and where they differ."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from .._checks import IntLike, RealLike, number, real_array, whole_number
from .._shown import shown
from ..spikes.trains import SpikeTrains
from .interval_kernel import IntervalKernel
from .kernel_ensemble import KernelEnsemble
from .mmd import Kernel, check_kernel, mmd2_standard_error, points
from .permutations import (
    permuted_labels,
    resolution,
    statistics_in_units,
    statistics_of_labels,
)
from .signature_kernel import SignatureKernel


class TwoSampleResult(eqx.Module):
    r"""Outcome of a permutation test.

    Attributes:
        statistic: $\mathrm{MMD}^2$ of the two samples as they were given; with several kernels the
            largest of them in units of its spread.
        p_value: $(1 + \#\{b : T_b \ge T\}) / (1 + B)$ with $T_b$ the statistic of permutation $b$.
        rejected: whether the p-value is at most the level.
        threshold: what the statistic must exceed to be rejected, about the $1 - \text{level}$
            quantile of `null`.
        power: estimated probability that two such samples are told apart, see `permutation_test`.
        null: the statistics of the permutations.
    """

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    rejected: Bool[Array, ""]
    threshold: Float[Array, ""]
    power: Float[Array, ""]
    null: Float[Array, " permutations"]

    def __repr__(self) -> str:
        verdict = shown(self.rejected)
        if verdict in ("True", "False"):
            verdict = "yes, they differ" if verdict == "True" else "no"
        return (
            f"two-sample test: p-value {shown(self.p_value)}, rejected: {verdict}\n"
            f"statistic {shown(self.statistic)}, rejected above {shown(self.threshold)}; of "
            f"permutations {shown(self.null)}\n"
            f"estimated power {shown(self.power)}"
        )


def two_sample_test(
    x: SpikeTrains,
    y: SpikeTrains,
    kernel: SignatureKernel
    | IntervalKernel
    | Sequence[SignatureKernel | IntervalKernel]
    | KernelEnsemble
    | None = None,
    *,
    key: PRNGKeyArray,
    num_permutations: IntLike = 999,
    level: RealLike = 0.05,
    estimator: str = "unbiased",
) -> TwoSampleResult:
    """Test whether two samples of spike trains come from one law.

    `permutation_test` of the kernel's Gram matrix of all trains together. Scales that the kernel
    leaves open are found from all trains together, so the test stays exact: no permutation changes
    them. A scale chosen by looking at which train is of which sample needs other trains for that,
    see `neuron_scale_by_power`.

    Args:
        x: first sample, of batch shape `(m,)` with two trains or more.
        y: second sample, of batch shape `(n,)`, of the same neurons and length.
        kernel: by default `KernelEnsemble.for_trains` of all trains together: kernels that see
            the counts, the times and the intervals of spikes. Several kernels make one test, see
            `aggregated_statistics`.
        key: of the permutations.
        num_permutations: number $B$ of permutations; the smallest p-value is $1/(1+B)$.
        level: the probability with which equal laws may be told apart.
        estimator: `"unbiased"` or `"biased"`.

    Raises:
        ValueError: samples without exactly one batch axis, too small, or of different lengths or
            neurons; settings outside their range.

    Reference: Gretton, Borgwardt, Rasch, Schölkopf, Smola (2012), JMLR 13, 723.
    """
    for name, trains in (("x", x), ("y", y)):
        if len(trains.batch_shape) != 1:
            raise ValueError(
                f"`{name}` has batch shape {trains.batch_shape}; a sample has one batch axis."
            )
    both = SpikeTrains.concatenate([x, y])
    weights = None
    if isinstance(kernel, SignatureKernel | IntervalKernel):
        gram = kernel(both)
    else:
        if kernel is None:
            kernel = KernelEnsemble.for_trains(both)
        elif not isinstance(kernel, KernelEnsemble):
            kernel = KernelEnsemble(tuple(kernel))
        gram, weights = kernel.grams(both), kernel.weights
    return permutation_test(
        gram,
        len(x),
        key=key,
        num_permutations=num_permutations,
        level=level,
        estimator=estimator,
        weights=weights,
    )


def permutation_test(
    gram: Shaped[ArrayLike, "*kernels N N"],
    num_x: IntLike,
    *,
    key: PRNGKeyArray,
    num_permutations: IntLike = 999,
    level: RealLike = 0.05,
    estimator: str = "unbiased",
    weights: Sequence[float] | None = None,
) -> TwoSampleResult:
    r"""Permutation test of the MMD, from the Gram matrix of both samples together.

    Under equal laws all assignments of the $N = m + n$ points to the two samples are alike, so the
    p-value is valid at every size: $P(p \le \alpha) \le \alpha$, with equality if $\alpha (1 + B)$
    is whole and no two statistics are equal. Statistics that differ by no more than rounding count
    as equal, and ties as reached, so that equal points are never told apart. With the 0/1 rows
    $a_b$ of all permutations as a matrix $A$, the sums within the first sample are the rows of
    $(A K) \circ A$, so a test costs one Gram matrix and one matrix product.

    The power is estimated by the normal law of the statistic under different laws,
    $\Phi\bigl((\mathrm{MMD}^2 - \text{threshold}) / \text{standard error}\bigr)$. It is an
    estimate for new samples of these sizes, and rough where the power is small.

    Works under `jit` and `vmap`, with all but `gram` and `key` static.

    Args:
        gram: kernel of all points, those of the first sample first; several kernels, stacked along
            a first axis, make one test, see `aggregated_statistics`.
        num_x: size $m$ of the first sample.
        key: of the permutations.
        num_permutations: number $B$ of permutations.
        level: level $\alpha$ of the test.
        estimator: `"unbiased"` or `"biased"`.
        weights: of several kernels.

    Raises:
        ValueError: a sample of fewer than two points; fewer than one permutation; a level outside
            (0, 1); an estimator of another name.
    """
    gram, num_x = real_array("gram", gram), whole_number("num_x", num_x, 0)
    if gram.ndim not in (2, 3) or gram.shape[-1] != gram.shape[-2]:
        raise ValueError(
            f"`gram` has shape {gram.shape}; it must be (N, N), or (kernels, N, N) for several."
        )
    total = gram.shape[-1]
    if not 2 <= num_x <= total - 2:
        raise ValueError(
            f"`num_x` is {num_x} of {total} points; both samples need two points or more."
        )
    num_permutations = whole_number("num_permutations", num_permutations, 1)
    level = number("level", level, positive=True, below=1)
    weights = None if weights is None else tuple(weights)
    return _permutation_test(gram, key, num_x, num_permutations, level, estimator, weights)


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _permutation_test(gram, key, num_x, num_permutations, level, estimator, weights):
    labels = permuted_labels(gram.shape[-1], num_x, num_permutations, key=key, dtype=gram.dtype)
    x, y = slice(None, num_x), slice(num_x, None)
    if gram.ndim == 2:
        values = statistics_of_labels(gram, labels, num_x, estimator)[None]
        slack, unit, best = resolution(gram)[None], jnp.ones((), gram.dtype), gram
        winner = jnp.zeros((), jnp.int32)
    else:
        values, units, slack = statistics_in_units(gram, labels, num_x, estimator, weights)
        winner = jnp.argmax(values[:, 0])
        unit, best = units[winner], gram[winner]
    statistic, null = values[winner, 0], jnp.max(values[:, 1:], axis=0)
    # What differs by rounding is a tie, not less: an assignment of equal points in another order,
    # or the same one with its sums in another order.
    reached = jnp.max(values[:, 1:] + slack[:, None], axis=0)
    exceeding = jnp.sum(reached >= statistic - slack[winner], dtype=jnp.int32)
    p_value = (1 + exceeding).astype(gram.dtype) / (1 + num_permutations)
    # Rejected are statistics that fewer than `allowed` of the permutations reach.
    allowed = int(level * (1 + num_permutations) + 1e-9)
    descending = jnp.sort(null, descending=True)
    threshold = descending[allowed - 1] if allowed >= 1 else jnp.asarray(jnp.inf, gram.dtype)
    error = mmd2_standard_error(best[x, x], best[y, y], best[x, y]) / unit
    positive = error > slack[winner]
    distance = (statistic - threshold) / jnp.where(positive, error, 1)
    certain = (distance > slack[winner]).astype(gram.dtype)
    power = jnp.where(positive, jax.scipy.stats.norm.cdf(distance), certain)
    return TwoSampleResult(statistic, p_value, exceeding < allowed, threshold, power, null)


def witness_function(x: Any, y: Any, kernel: Kernel, at: Any) -> Float[Array, " points"]:
    r"""Where two samples differ: $w(z) = \frac1m \sum_i k(z, x_i) - \frac1n \sum_j k(z, y_j)$.

    Positive at trains that are more like those of the first sample, negative at those more like
    the second; $\mathrm{MMD}^2$ is the mean of $w$ under the first law less that under the second.
    At a train of one of the samples it counts the train itself, $k(z, z)$, which favours its own.

    Args:
        x: first sample.
        y: second sample.
        kernel: a `SignatureKernel`, or any function that returns Gram matrices. Scales that a
            `SignatureKernel` leaves open are found from both samples together.
        at: the trains at which to evaluate.

    Raises:
        ValueError: an empty sample; trains that the kernel refuses.
        TypeError: a kernel that is none.
    """
    x, y, at = points("x", x), points("y", y), points("at", at)
    if len(x) == 0 or len(y) == 0:
        raise ValueError(f"`x` has {len(x)} points and `y` {len(y)}; both need one or more.")
    check_kernel(kernel)
    if isinstance(kernel, SignatureKernel):
        kernel = kernel.fixed_for(x, y)
    return jnp.mean(kernel(at, x), axis=1) - jnp.mean(kernel(at, y), axis=1)
