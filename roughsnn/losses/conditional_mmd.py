"""The squared MMD of spike trains together with what they were given."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from roughsnn.signatures import SignatureKernel, mmd2_from_grams
from roughsnn.spikes import SpikeTrains

from .base import AbstractLoss
from .comparable import require_comparable, require_sample


class ConditionedTrains(eqx.Module):
    """Spike trains together with what each of them was given.

    Attributes:
        trains: spike trains of batch shape `(samples,)`.
        conditions: the condition of each train: a number, a vector, or a sampled signal;
            differences are summed over all axes but the first.
    """

    trains: SpikeTrains
    conditions: Float[Array, "samples *features"]


class ConditionalMMDLoss(AbstractLoss):
    r"""Squared MMD of the laws of (spike trains, condition), with a product kernel.

    Each train $x_i$ of a recording or a simulation was given a condition $c_i$: an input current,
    a stimulus, a set of parameters. With the signature kernel $k$ of trains and a Gaussian kernel
    of conditions,

    $$
    K\bigl((x, c), (x', c')\bigr) = k(x, x')\, e^{-\|c - c'\|^2 / (2 h^2)},
    $$

    the loss is the MMD of the joint laws. If the conditions of both samples have one law, as when
    the model is given the recorded inputs, it is zero only if the laws of the trains *given* the
    condition agree for almost every condition. `SignatureMMDLoss` compares the law over all
    conditions together, and does not see a model that answers one input as it should another.

    [`roughsnn.fit`][] takes it with labelled data whose inputs are the conditions:

    ```python
    data = rs.LabelledData(conditions, rs.ConditionedTrains(recorded, conditions))
    ```

    An input that varies in time may also be made part of the path, with `joint_lift`.

    Attributes:
        kernel: the signature kernel; scales that are left open are found from the observed trains.
        condition_bandwidth: $h$; the median distance of two different observed conditions when
            `None` (1 if all are equal). With one much smaller than all distances, trains of equal
            conditions alone are compared.
        estimator: `"unbiased"` or `"biased"`.

    Raises:
        ValueError: another estimator, at construction; samples or conditions that do not fit
            together, at the call.

    References:
        Park, Muandet (2020), NeurIPS 33: the MMD of conditional laws.
        Gretton (2015), arXiv:1501.06103: when a product of kernels is characteristic.
    """

    kernel: SignatureKernel = SignatureKernel()
    condition_bandwidth: ArrayLike | None = None
    estimator: str = eqx.field(default="unbiased", static=True)

    def __check_init__(self):
        if self.estimator not in ("unbiased", "biased"):
            raise ValueError(
                f"`estimator` is {self.estimator!r}; it must be 'unbiased' or 'biased'."
            )

    def __call__(
        self, generated: SpikeTrains | ConditionedTrains, observed: ConditionedTrains
    ) -> Float[Array, ""]:
        """The loss; samples may have different sizes and different room for spikes.

        Args:
            generated: sample of the model. Spike trains without conditions were given those of
                `observed`, train by train, as in `fit`.
            observed: sample of the data.

        Raises:
            TypeError: `observed` without conditions.
            ValueError: a sample that is too small or has not exactly one batch axis; samples with
                different neurons, dtypes or windows; not one condition for each train, or
                conditions of different shapes.
        """
        if not isinstance(observed, ConditionedTrains):
            raise TypeError(
                f"`observed` is {type(observed).__name__}; this loss compares with "
                "`roughsnn.ConditionedTrains(trains, conditions)`."
            )
        if not isinstance(generated, ConditionedTrains):
            generated = ConditionedTrains(generated, observed.conditions)
        trains, others = generated.trains, observed.trains
        require_sample(trains, "generated")
        require_sample(others, "observed")
        trains = require_comparable(trains, others, others.times.dtype)
        dtype = others.times.dtype
        first = _flat(generated.conditions, trains, "generated", dtype)
        second = _flat(observed.conditions, others, "observed", dtype)
        if first.shape[1] != second.shape[1]:
            raise ValueError(
                f"`generated.conditions` has shape {generated.conditions.shape} and "
                f"`observed.conditions` {observed.conditions.shape}; they may differ in the first "
                "axis alone."
            )
        if self.estimator == "unbiased" and min(len(trains), len(others)) < 2:
            raise ValueError(
                f"`generated` has {len(trains)} and `observed` {len(others)} trains; the "
                "unbiased estimate needs two or more of each."
            )
        kernel = self.kernel.fixed_for(others)
        width = self.condition_bandwidth
        width = _median_distance(second) if width is None else jnp.asarray(width, dtype)
        gram_xx, norms_x = kernel.gram_and_norms(trains)
        gram_yy, norms_y = kernel.gram_and_norms(others)
        gram_xy = kernel(trains, others, norms=(norms_x, norms_y))
        return mmd2_from_grams(
            gram_xx * _gaussian(first, first, width),
            gram_yy * _gaussian(second, second, width),
            gram_xy * _gaussian(first, second, width),
            self.estimator,
        )


def _flat(conditions: Array, trains: SpikeTrains, name: str, dtype) -> Float[Array, "n features"]:
    if conditions.ndim == 0 or conditions.shape[0] != len(trains):
        raise ValueError(
            f"`{name}.conditions` has shape {conditions.shape} for {len(trains)} trains; its first "
            "axis must hold one condition for each."
        )
    return conditions.reshape(len(trains), -1).astype(dtype)


def _squared_distances(x: Array, y: Array) -> Float[Array, "m n"]:
    return jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)


def _gaussian(x: Array, y: Array, width: Array) -> Float[Array, "m n"]:
    return jnp.exp(-_squared_distances(x, y) / (2 * width**2))


def _median_distance(conditions: Float[Array, "n features"]) -> Float[Array, ""]:
    """Median distance of the pairs that differ, by more than rounding."""
    first, second = np.triu_indices(len(conditions), 1)
    squares = _squared_distances(conditions, conditions)[first, second]
    sizes = jnp.sum(conditions**2, axis=1)
    rounding = (8 * jnp.finfo(conditions.dtype).eps) ** 2 * (sizes[first] + sizes[second])
    differing = jnp.where(squares > rounding, squares, jnp.nan)
    # All conditions equal: any bandwidth gives the kernel 1.
    median = jnp.nanmedian(differing) if len(first) else jnp.ones((), conditions.dtype)
    median = jnp.where(jnp.isnan(median), 1, median)
    return jax.lax.stop_gradient(jnp.sqrt(median))
