"""The expected-signature loss: a truncated signature-kernel MMD."""

import math
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from roughsnn.signatures import mean_event_signature, num_channels
from roughsnn.spikes import SpikeTrains

from .summary import AbstractSummaryLoss


class ExpectedSignatureLoss(AbstractSummaryLoss):
    r"""Squared distance between the expected signatures of two samples of spike trains.

    With $S_m$ level $m$ of the signature of the Marcus lift (`marcus_lift`: time and the counts,
    $d = 1 + K$ channels), $\bar S_m$ its mean over a sample and $a_m \ge 0$ the level weights,

    $$
    L = \frac1D \sum_{m=1}^{\text{depth}} a_m
        \bigl\| \bar S_m(\text{generated}) - \bar S_m(\text{observed}) \bigr\|^2,
    \qquad D = d + d^2 + \dots + d^{\text{depth}} .
    $$

    Level 0, always 1, is left out. This is the loss of the paper's experiments, and equals
    $\mathrm{MMD}^2 / D$ for the signature kernel truncated at `depth` (the biased V-statistic, the
    plain mean over all pairs, of the kernel $\sum_m a_m \langle S_m, S_m' \rangle$). It costs one
    signature per train and no Gram matrix.

    Attributes:
        depth: truncation level.
        level_weights: weights $a_1, \dots, a_{\text{depth}}$; all 1 when `None`. The highest
            levels and large counts dominate the unweighted loss.
        channel_scale: factor of the counts, one for all neurons or one per neuron.
        time_scale: factor of the time channel.
        normalisation: `"coordinates"` divides by $D$ as the paper does, also with weights;
            `"none"` does not, which makes $L$ the squared MMD itself.

    Raises:
        ValueError: a setting outside its range, at construction; samples that cannot be compared,
            at the call.

    Reference: Holberg and Salvi (2024), section 4; the normalisation is that of its code.
    """

    summary_is_mean: ClassVar[bool] = True

    depth: int = eqx.field(default=3, static=True)
    level_weights: tuple[float, ...] | None = eqx.field(default=None, static=True)
    channel_scale: ArrayLike | Sequence[float] = 1.0
    time_scale: ArrayLike = 1.0
    normalisation: str = eqx.field(default="coordinates", static=True)

    def __check_init__(self):
        check_signature_settings(self.depth, self.level_weights, self.normalisation)

    def summary(self, trains: SpikeTrains) -> Float[Array, " coordinates"]:
        """Expected signature of the sample, levels `1 ... depth` one after the other."""
        return mean_signature(trains, self.depth, self.channel_scale, self.time_scale)

    def discrepancy(
        self, generated: Float[Array, " coordinates"], observed: Float[Array, " coordinates"]
    ) -> Float[Array, ""]:
        """Weighted and normalised squared distance of two expected signatures."""
        return signature_distance(
            generated, observed, self.depth, self.level_weights, self.normalisation
        )


def mean_signature(
    trains: SpikeTrains,
    depth: int,
    channel_scale: ArrayLike | Sequence[float],
    time_scale: ArrayLike,
) -> Float[Array, " coordinates"]:
    """Mean signature of the Marcus lifts of a sample, levels `1 ... depth`."""
    scale = jnp.asarray(channel_scale, dtype=trains.times.dtype)
    if scale.shape not in ((), (trains.num_neurons,)):
        raise ValueError(
            f"`channel_scale` has shape {scale.shape}; it must be a single number or one per "
            f"neuron, of shape ({trains.num_neurons},)."
        )
    return mean_event_signature(trains, depth, time_scale=time_scale, neuron_scale=scale)


def check_signature_settings(
    depth: int, level_weights: tuple[float, ...] | None, normalisation: str
) -> None:
    """Fail on settings of a truncated-signature loss that have no meaning.

    Raises:
        ValueError: naming the setting, its value and what it must be.
    """
    if depth < 1:
        raise ValueError(f"`depth` is {depth}; it must be 1 or more.")
    if level_weights is not None:
        if len(level_weights) != depth:
            raise ValueError(
                f"`level_weights` has {len(level_weights)} entries for `depth={depth}`; it must "
                "have one weight per level."
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in level_weights):
            raise ValueError(
                f"`level_weights` is {level_weights}; weights must be finite and 0 or more."
            )
    if normalisation not in ("coordinates", "none"):
        raise ValueError(
            f"`normalisation` is {normalisation!r}; it must be 'coordinates' or 'none'."
        )


def signature_distance(
    first: Float[Array, " coordinates"],
    second: Float[Array, " coordinates"],
    depth: int,
    level_weights: tuple[float, ...] | None,
    normalisation: str,
) -> Float[Array, ""]:
    r"""$\sum_m a_m \|\cdot\|^2$ between flattened signatures, divided by $D$ if asked for."""
    squares = jnp.square(first - second)
    if level_weights is not None:
        channels = num_channels(squares.size, depth)
        sizes = [channels**level for level in range(1, depth + 1)]
        squares = squares * jnp.asarray(np.repeat(level_weights, sizes), dtype=squares.dtype)
    total = jnp.sum(squares)
    return total / squares.size if normalisation == "coordinates" else total
