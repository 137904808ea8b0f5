"""What all neurons with a hard threshold have in common."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import _noise
from ._base import AbstractNeuron


class AbstractThresholdNeuron(AbstractNeuron):
    """Neurons that fire where their potential `v` reaches a threshold, with noise, if any, of the
    synaptic current `i` alone.

    Noise of the current is tangent to the event surface, on which `v` is constant, and it commutes
    with a transition that leaves the current alone: those are the conditions of the theorem on
    pathwise gradients that concern noise, also for a reset of the potential to a fixed value.
    """

    sigma: eqx.AbstractVar[Float[Array, "..."] | None]

    @property
    def noise_shape(self):
        return None if self.sigma is None else (self.num_neurons,)

    def diffusion(self, t, y, args):
        if self.sigma is None:
            return super().diffusion(t, y, args)
        return _noise.current_diffusion(self.sigma, y, self.num_neurons)

    def transition(self, t, y, event_index, mark, args):
        fires = jnp.arange(self.num_neurons, dtype=jnp.int32) == event_index
        return self.fire(t, y, fires, mark, args)

    def hold(self, dy, held):
        return dy._replace(v=jnp.where(held, 0, dy.v))

    def receive(self, y, jump):
        return y._replace(i=y.i + jump)
