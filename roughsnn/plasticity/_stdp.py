"""Spike-timing-dependent plasticity at the spikes of the receiving neuron."""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from roughsnn._checks import RealLike, number


class STDP(eqx.Module):
    r"""Event-based spike-timing-dependent plasticity with soft bounds.

    Where a neuron fires, the weight from each of its inputs changes by

    $$
    \Delta w = \begin{cases}
      \mu\,(1 - (1 + \lambda)\,w) & \text{if the input spiked, too} \\
      -\mu\,\rho\,(1 + \lambda)\,w & \text{if it did not}
    \end{cases}
    $$

    and stays between 0 and 1; where it does not fire, nothing changes. With $p$ the probability
    that an input spikes given that the neuron fires, the mean change vanishes at `fixed_point`: a
    weight learns how well its input predicts the neuron.

    Attributes:
        rate: $\mu$, between 0 and 1.
        depression: $\rho \ge 0$, how strong depression is beside potentiation.
        decay: $\lambda \ge 0$, which keeps weights below $1 / (1 + \lambda)$.

    Raises:
        ValueError: a setting outside its range.

    Reference: Tavanaei, Kirby & Maida (2018), Training spiking ConvNets by STDP and gradient
    descent, IJCNN 2018, with the constants of their code.
    """

    rate: RealLike = eqx.field(
        default=5e-4, static=True, converter=partial(number, "rate", positive=True, below=1)
    )
    depression: RealLike = eqx.field(
        default=0.75, static=True, converter=partial(number, "depression", least=0)
    )
    decay: RealLike = eqx.field(
        default=0.0, static=True, converter=partial(number, "decay", least=0)
    )

    def __call__(
        self,
        weights: Float[Array, "inputs neurons"],
        inputs: Bool[Array, " inputs"],
        fires: Bool[Array, " neurons"],
    ) -> Float[Array, "inputs neurons"]:
        """The weights after one step.

        Args:
            weights: before.
            inputs: which inputs spike in this step.
            fires: which neurons fire.
        """
        kept = (1 + self.decay) * weights
        change = jnp.where(inputs[:, None], 1 - kept, -self.depression * kept)
        changed = jnp.clip(weights + self.rate * change, 0, 1)
        return jnp.where(fires[None, :], changed, weights)

    def fixed_point(self, probability: Any) -> np.ndarray:
        r"""The weight at which the mean change vanishes.

        $$ w^* = \frac{p}{(1 + \lambda)\,(p + \rho\,(1 - p))} . $$

        Args:
            probability: $p$, that the input spikes given that the neuron fires.
        """
        p = np.asarray(probability, float)
        return p / ((1 + self.decay) * (p + self.depression * (1 - p)))
