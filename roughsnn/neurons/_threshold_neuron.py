"""What all neurons with a hard threshold have in common."""

import diffrax as dfx
import jax.numpy as jnp

from . import _noise
from ._current_neuron import AbstractCurrentNeuron
from ._parameters import parameter


class AbstractThresholdNeuron(AbstractCurrentNeuron):
    """Neurons that fire where their potential `v` reaches a threshold, with noise, if any, of the
    synaptic current `i` alone.

    Noise of the current is tangent to the event surface, on which `v` is constant, and it commutes
    with a transition that leaves the current alone: those are the conditions of the theorem on
    pathwise gradients that concern noise, also for a reset of the potential to a fixed value.
    """

    def _begin_threshold(self, num_neurons, *, mu2, sigma, v0, i0) -> int:
        """Sets, in a constructor, what all of them have; returns K."""
        k = self._begin(num_neurons, mu2, v0, i0)
        self.sigma = None if sigma is None else parameter("sigma", sigma, shapes=((), (k,)))
        return k

    @property
    def default_solver(self):
        """Of second order: there is no noise in the potential, whose crossing of the threshold
        Euler's steps would find to first order alone."""
        return dfx.Heun()

    @property
    def noise_shape(self):
        return None if self.sigma is None else (self.num_neurons,)

    def diffusion(self, t, y, args):
        if self.sigma is None:
            return super().diffusion(t, y, args)
        return _noise.current_diffusion(self.sigma, y, self.num_neurons)

    def hold(self, dy, held):
        return dy._replace(v=jnp.where(held, 0, dy.v))
