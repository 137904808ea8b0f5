"""Losses that compare one summary of the generated sample with that of the observed sample."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from roughsnn.spikes import SpikeTrains

from .comparable import require_comparable, require_sample


class SummaryTarget(eqx.Module):
    """The summary of an observed sample, kept so that training computes it only once.

    Made by `AbstractSummaryLoss.target` and taken by the same loss in place of `observed`.
    """

    summary: Float[Array, "..."]
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    num_neurons: int = eqx.field(static=True)


class AbstractSummaryLoss(eqx.Module):
    r"""A loss $\ell(\phi(\text{generated}), \phi(\text{observed}))$ of two summaries $\phi$.

    A subclass says what the summary of a sample is and how two summaries are compared.
    """

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
        return SummaryTarget(self.summary(observed), observed.t0, observed.t1, observed.num_neurons)

    def __call__(
        self, generated: SpikeTrains, observed: SpikeTrains | SummaryTarget
    ) -> Float[Array, ""]:
        """The loss; samples may have different sizes and different room for spikes.

        Raises:
            ValueError: a sample that is empty or has not exactly one batch axis; samples with
                different neurons, dtypes or windows; a target made by a different loss.
        """
        require_sample(generated, "generated")
        if isinstance(observed, SummaryTarget):
            generated = require_comparable(generated, observed, observed.summary.dtype)
            target = observed
        else:
            require_sample(observed, "observed")
            generated = require_comparable(generated, observed, observed.times.dtype)
            target = self.target(observed)
        summary = self.summary(generated)
        if summary.shape != target.summary.shape:
            raise ValueError(
                f"`observed` is a target of shape {target.summary.shape}, but this loss makes "
                f"summaries of shape {summary.shape}; make the target with this loss."
            )
        return self.discrepancy(summary, target.summary)
