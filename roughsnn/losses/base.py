"""What a loss is, and what it may offer beside its value."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from roughsnn.spikes import SpikeTrains


class AbstractLoss(eqx.Module):
    r"""What training minimises: a number $L(x, y)$ of what a model generated and of what that is
    compared with.

    [`roughsnn.fit`][] and the estimators take any function of both as a loss. A subclass may offer
    two things more, by methods whose defaults offer nothing:

    - `target`: what the loss needs of the observed sample, where that stays the same from step to
      step;
    - `changes`: what a single train changes, without an evaluation of the loss for each of them,
      which estimators ask that look at one spike more or less.
    """

    @abc.abstractmethod
    def __call__(self, generated: Any, observed: Any) -> Float[Array, ""]:
        """The loss.

        Args:
            generated: what the model generated, usually spike trains of batch shape `(samples,)`.
            observed: what it is compared with: observed spike trains, or what `target` made of
                them; with [`roughsnn.LabelledData`][] the targets of the same samples.
        """

    def target(self, observed: Any) -> Any:
        """What the loss takes in place of `observed`, computed once; by default `observed`."""
        return observed

    def changes(
        self, generated: SpikeTrains, observed: Any, alternatives: SpikeTrains
    ) -> Float[Array, "samples n"] | None:
        """The change of the loss if train b alone is replaced by its alternative a.

        Args:
            generated: the sample, batch shape `(samples,)`.
            observed: as in `__call__`.
            alternatives: batch shape `(samples, n)`.

        Returns:
            entry (b, a); `None`, as by default, where no way is shorter than an evaluation of the
            loss for each alternative.
        """
        return None
