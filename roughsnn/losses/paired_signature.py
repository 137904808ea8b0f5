"""The loss that the paper's code calls `match_spikes`, under an honest name."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from roughsnn.spikes import SpikeTrains

from .base import AbstractLoss
from .comparable import require_comparable, require_sample
from .expected_signature import check_signature_settings, mean_signature, signature_distance


class PairedTruncatedSignatureLoss(AbstractLoss):
    r"""Expected-signature loss after cutting paired trains to the same number of spikes.

    Generated train $i$ is paired with observed train $i$. For each pair and each neuron $k$, the
    train with more spikes of $k$ loses those beyond the smaller count,
    $N^k \mapsto \min(N^k, \min(N^{k,\text{gen}}_{t_1}, N^{k,\text{obs}}_{t_1}))$. The loss is then
    that of `ExpectedSignatureLoss` on the cut samples.

    It exists to reproduce the paper's experiments, where the option is called `match_spikes`. It
    keeps the loss from jumping when a generated spike enters or leaves the window, but **it is
    not an MMD**, nor any distance between two laws:

    - it depends on which trains are paired, and the order of the samples is arbitrary;
    - it is biased: two samples of the same law have cut trains of different laws unless their
      counts agree, and different laws may have loss 0 (against silent trains it is always 0);
    - the gradient treats the cuts as fixed, so it does not see that they move with the
      parameters.

    Prefer `ExpectedSignatureLoss` for anything else. Attributes as there.

    Raises:
        ValueError: a setting outside its range, at construction; samples of different sizes or
            that cannot be compared, at the call.

    Reference: Holberg and Salvi (2024), sections 4.2 and 4.3, and their code.
    """

    depth: int = eqx.field(default=3, static=True)
    level_weights: tuple[float, ...] | None = eqx.field(default=None, static=True)
    channel_scale: ArrayLike | Sequence[float] = 1.0
    time_scale: ArrayLike = 1.0
    normalisation: str = eqx.field(default="coordinates", static=True)

    def __check_init__(self):
        check_signature_settings(self.depth, self.level_weights, self.normalisation)

    def __call__(self, generated: SpikeTrains, observed: SpikeTrains) -> Float[Array, ""]:
        """The loss of two equally large samples.

        Raises:
            ValueError: samples that are empty, differ in size, or have not exactly one batch
                axis; different neurons, dtypes or windows.
        """
        require_sample(generated, "generated")
        require_sample(observed, "observed")
        if generated.batch_shape != observed.batch_shape:
            raise ValueError(
                f"`generated` has {generated.batch_shape[0]} trains and `observed` "
                f"{observed.batch_shape[0]}; this loss pairs train i with train i and needs "
                "equally many. `ExpectedSignatureLoss` does not."
            )
        generated = require_comparable(generated, observed, observed.times.dtype)
        cap = jnp.minimum(generated.counts_by_neuron, observed.counts_by_neuron)
        return signature_distance(
            self._expected_signature(_capped(generated, cap)),
            self._expected_signature(_capped(observed, cap)),
            self.depth,
            self.level_weights,
            self.normalisation,
        )

    def _expected_signature(self, trains: SpikeTrains) -> Float[Array, " coordinates"]:
        return mean_signature(trains, self.depth, self.channel_scale, self.time_scale)


def _capped(trains: SpikeTrains, cap: Int[Array, "samples num_neurons"]) -> SpikeTrains:
    """Each train with only the first `cap` spikes of each neuron."""
    own = jax.nn.one_hot(trains.neurons, trains.num_neurons, dtype=jnp.int32)
    within = jnp.cumsum(own, axis=1) <= cap[:, None, :]
    return trains.keep(jnp.any((own > 0) & within, axis=-1))
