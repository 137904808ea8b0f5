"""Losses that compare one summary of the generated sample with that of the observed sample."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from roughsnn.spikes import SpikeTrains

from .base import AbstractLoss
from .comparable import require_comparable, require_sample


class SummaryTarget(eqx.Module):
    """The summary of an observed sample, kept so that training computes it only once.

    Made by `AbstractSummaryLoss.target` and taken by the same loss in place of `observed`.
    """

    summary: Float[Array, "..."]
    window_bits: UInt32[Array, "... 2 2"] | UInt32[np.ndarray, "... 2 2"]
    duration: Float[Array, "..."]
    num_neurons: int = eqx.field(static=True)


class AbstractSummaryLoss(AbstractLoss):
    r"""A loss $\ell(\phi(\text{generated}), \phi(\text{observed}))$ of two summaries $\phi$.

    A subclass says what the summary of a sample is and how two summaries are compared, and, by
    `summary_is_mean`, whether the summary of a sample is the mean of those of its trains.
    """

    summary_is_mean: ClassVar[bool] = False

    @abc.abstractmethod
    def summary(self, trains: SpikeTrains) -> Float[Array, "..."]:
        """The summary of a sample of trains (batch shape `(samples,)`)."""

    @abc.abstractmethod
    def discrepancy(
        self, generated: Float[Array, "..."], observed: Float[Array, "..."]
    ) -> Float[Array, ""]:
        """How far the summary of the generated sample is from that of the observed one."""

    def target(self, observed: SpikeTrains) -> SummaryTarget:
        """The summary of `observed`, to pass in its place when it does not change.

        Raises:
            ValueError: `observed` is empty or has not exactly one batch axis.
        """
        require_sample(observed, "observed")
        return SummaryTarget(
            self.summary(observed), observed.window_bits, observed.duration, observed.num_neurons
        )

    def __call__(
        self, generated: SpikeTrains, observed: SpikeTrains | SummaryTarget
    ) -> Float[Array, ""]:
        """The loss; samples may have different sizes and different room for spikes.

        Raises:
            ValueError: a sample that is empty or has not exactly one batch axis; samples with
                different neurons, dtypes or lengths; a target made by a different loss.
        """
        generated, target = self._compared(generated, observed)
        summary = self.summary(generated)
        if summary.shape != target.summary.shape:
            raise ValueError(
                f"`observed` is a target of shape {target.summary.shape}, but this loss makes "
                f"summaries of shape {summary.shape}; make the target with this loss."
            )
        return self.discrepancy(summary, target.summary)

    def changes(
        self,
        generated: SpikeTrains,
        observed: SpikeTrains | SummaryTarget,
        alternatives: SpikeTrains,
    ) -> Float[Array, "samples n"] | None:
        """The change of the loss if train b alone is replaced by its alternative a.

        `None` where `summary_is_mean` is false, so that there is no short way.
        """
        if not self.summary_is_mean:
            return None
        generated, target = self._compared(generated, observed)

        def summaries(trains: SpikeTrains):
            one = jax.vmap(lambda train: self.summary(train.reshape(1)), (trains.vmap_axes,))
            return one(trains)

        own = summaries(generated)
        mean = own.mean(axis=0)
        value = self.discrepancy(mean, target.summary)

        def change(a):
            new = mean[None] + (summaries(alternatives[:, a]) - own) / len(generated)
            return jax.vmap(lambda summary: self.discrepancy(summary, target.summary))(new) - value

        # one alternative of every train at a time: a summary may be large
        return lax.map(change, jnp.arange(alternatives.batch_shape[1], dtype=jnp.int32)).T

    def _compared(
        self, generated: SpikeTrains, observed: SpikeTrains | SummaryTarget
    ) -> tuple[SpikeTrains, SummaryTarget]:
        """Both samples, checked, the observed one as a target."""
        require_sample(generated, "generated")
        if isinstance(observed, SummaryTarget):
            return require_comparable(generated, observed, observed.summary.dtype), observed
        require_sample(observed, "observed")
        generated = require_comparable(generated, observed, observed.times.dtype)
        return generated, self.target(observed)
