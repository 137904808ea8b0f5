"""What all neurons that fire by an intensity have in common."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from .._random import uniform_from_key
from . import _noise
from ._current_neuron import AbstractCurrentNeuron
from ._parameters import for_each


class LIFState(NamedTuple):
    """State of K neurons with a potential, a synaptic current and stochastic firing.

    Attributes:
        v: membrane potential.
        i: synaptic current.
        s: integrated intensity, which rises from log u - alpha to 0, where the neuron fires.
    """

    v: Float[Array, " K"]
    i: Float[Array, " K"]
    s: Float[Array, " K"]


class AbstractIntensityNeuron(AbstractCurrentNeuron):
    r"""Neurons whose state has an integrated intensity `s`, $ds = \lambda\,dt$, and that fire where
    it reaches 0; then it starts again from $\log u - \alpha$.

    The state has the fields `v`, `i` and `s` besides those of the model; `sigma` is noise of the
    potential (a number or shape (K,)), of potential and current (shape (2, 2) or (K, 2, 2)), or
    `None`. Where the transition moves the other fields by amounts on which noise has no influence,
    all conditions for exact pathwise gradients hold: `s` has no noise, it crosses 0 with the
    speed $\lambda > 0$, and the constant noise commutes with the transition.
    """

    mu1: Float[Array, "..."]
    alpha: Float[Array, "..."]

    def _begin_intensity(self, num_neurons, *, mu1, mu2, sigma, alpha, v0, i0, **reset) -> int:
        """Sets, in a constructor, what all of them have but for the intensity, and the parameter of
        the reset by its name; returns K."""
        k = self._begin(num_neurons, mu2, v0, i0)
        self.sigma = _noise.noise_parameter(sigma, k)
        for_each(self, k, non_negative=dict(mu1=mu1), positive=dict(alpha=alpha), free=reset)
        return k

    @abc.abstractmethod
    def jump(self, y: Any, fires: Bool[Array, " K"]) -> Any:
        """What a spike does to the state but for `s`."""

    def first_levels(self, key: PRNGKeyArray) -> Float[Array, " K"]:
        """log u - alpha with u uniform on (0, 1), for every neuron."""
        keys = jax.vmap(lambda k: jr.fold_in(key, k))(jnp.arange(self.num_neurons))
        u = jax.vmap(uniform_from_key)(keys)
        return jnp.log(u).astype(jnp.result_type(float)) - self.alpha

    @property
    def dead_intensity(self) -> Float[Array, " K"]:
        return jnp.broadcast_to(self.alpha, (self.num_neurons,))

    @property
    def event_rises(self):
        return True

    @property
    def fastest_rate(self):
        return self._fastest(self.mu1, self.mu2)

    def neuron_axes(self) -> PyTree[int]:
        axes = super().neuron_axes()
        if self.sigma is None:
            return axes
        axis = _noise.axes_of_noise(self.sigma, self.num_neurons)
        return eqx.tree_at(lambda m: m.sigma, axes, axis)

    @property
    def noise_shape(self):
        return _noise.noise_shape(self.sigma, self.num_neurons)

    def diffusion(self, t, y, args):
        if self.sigma is None:
            return super().diffusion(t, y, args)
        return _noise.diffusion(self.sigma, y, self.num_neurons)

    def event(self, t, y, args):
        return y.s

    def fire(self, t, y, fires, mark, args):
        # behind a barrier, or the logarithm of one number is taken once for every neuron
        level = jax.lax.optimization_barrier(jnp.log(mark))
        return self.jump(y, fires)._replace(s=jnp.where(fires, level - self.alpha, y.s))

    def hold(self, dy, held):
        return dy._replace(s=jnp.where(held, 0, dy.s))


class AbstractSubtractiveNeuron(AbstractIntensityNeuron):
    """Neurons that fire by an intensity, and whose spikes take an amount off the potential,
    `v_reset`: what it was above the threshold is remembered."""

    v_reset: Float[Array, "..."]

    def jump(self, y: Any, fires: Bool[Array, " K"]) -> Any:
        """A spike takes `v_reset` off the potential."""
        return y._replace(v=y.v - jnp.where(fires, self.v_reset, 0))
