"""The mean of a function of single trains."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from roughsnn.spikes import SpikeTrains

from .base import AbstractLoss
from .comparable import require_sample


class MeanLoss(AbstractLoss):
    r"""Mean over trials of a number of each of them, $L = \frac1m \sum_b f(x_b)$.

    It says to an estimator of the gradient that the loss is of this form, so that what a single
    train changes need not be found by evaluating the whole sample again.

    ```python
    loss = rs.MeanLoss(lambda trains: (trains.counts_by_neuron[:, 0] - 3.0) ** 2)
    ```

    Attributes:
        of_trials: function of trains of batch shape `(m,)` that returns an array of shape `(m,)`,
            whose entry b depends on train b alone.

    Raises:
        ValueError: at the call, a result of another shape, or trains without exactly one batch
            axis.
    """

    of_trials: Callable[[SpikeTrains], Any]

    def __call__(self, generated: SpikeTrains, observed: Any = None) -> Float[Array, ""]:
        """The mean; `observed` is not used."""
        require_sample(generated, "generated")
        return jnp.mean(self._of_trials(generated))

    def changes(
        self, generated: SpikeTrains, observed: Any, alternatives: SpikeTrains
    ) -> Float[Array, "samples n"]:
        """The change of the loss if train b alone is replaced by its alternative a."""
        new = self._of_trials(alternatives.reshape(-1)).reshape(alternatives.batch_shape)
        return (new - self._of_trials(generated)[:, None]) / len(generated)

    def _of_trials(self, trains: SpikeTrains) -> Array:
        values = jnp.asarray(self.of_trials(trains))
        if values.shape != trains.batch_shape:
            raise ValueError(
                f"`of_trials` returned an array of shape {values.shape} for trains of batch shape "
                f"{trains.batch_shape}; it must return one number for each train."
            )
        return values.astype(trains.times.dtype)
