"""The leaky integrate-and-fire neuron with a hard threshold."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._parameters import below, for_each
from ._threshold_neuron import AbstractThresholdNeuron


class ThresholdLIFState(NamedTuple):
    """State of K leaky integrate-and-fire neurons with a hard threshold.

    Attributes:
        v: membrane potential.
        i: synaptic current.
    """

    v: Float[Array, " K"]
    i: Float[Array, " K"]


class LIF(AbstractThresholdNeuron):
    r"""Leaky integrate-and-fire neurons that fire where the potential reaches a threshold.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    dv = \mu_1 (i + c_t - v)\,dt, \qquad di = -\mu_2 i\,dt + \sigma\,dB;
    $$

    the neuron fires when $v$ reaches $v_{\mathrm{th}}$, and then $v \to v_{\mathrm{to}}$.

    The conditions for exact pathwise gradients hold without noise and with noise of the *current*:
    then the potential is continuously differentiable in time, the noise is tangent to the event
    surface, and the transition leaves the current alone. Noise of the potential itself, under
    which spike times have no derivative, is not offered. Transversality, $i + c > v_{\mathrm{th}}$
    at the threshold, depends on the path: where the potential only grazes the threshold, a small
    change of a parameter gains or loses a spike. The solver is `diffrax.Heun()` unless another one
    is given: Euler's steps are of first order here.

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,).

    Attributes:
        num_neurons: K.
        mu1: leak rate $\mu_1 \ge 0$ of the potential.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        sigma: strength of the noise of the current, or `None`.
        v_th: threshold.
        reset_to: potential after a spike, $v_{\mathrm{to}} < v_{\mathrm{th}}$.
        v0: initial potential.
        i0: initial synaptic current.

    Raises:
        ValueError: a parameter outside its range or of the wrong shape, named with its value.
    """

    mu1: Float[Array, "..."]
    v_th: Float[Array, "..."]
    reset_to: Float[Array, "..."]

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        mu1=15.0,
        mu2=5.0,
        sigma=None,
        v_th=1.0,
        reset_to=0.0,
        v0=0.0,
        i0=0.0,
    ):
        k = self._begin_threshold(num_neurons, mu2=mu2, sigma=sigma, v0=v0, i0=i0)
        for_each(self, k, non_negative=dict(mu1=mu1), free=dict(v_th=v_th, reset_to=reset_to))
        below("reset_to", self.reset_to, "v_th", self.v_th)

    @property
    def fastest_rate(self):
        return self._fastest(self.mu1, self.mu2)

    def initial_state(self, key: PRNGKeyArray) -> ThresholdLIFState:
        """v0 and i0."""
        return ThresholdLIFState(self.spread(self.v0), self.spread(self.i0))

    def drift(self, t, y: ThresholdLIFState, args) -> ThresholdLIFState:
        total = self.current_into(args, t, y.i)
        return ThresholdLIFState(self.mu1 * (total - y.v), -self.mu2 * y.i)

    def event(self, t, y: ThresholdLIFState, args):
        return y.v - self.v_th

    def fire(self, t, y: ThresholdLIFState, fires, mark, args) -> ThresholdLIFState:
        return y._replace(v=jnp.where(fires, self.reset_to, y.v))
