"""The leaky integrate-and-fire neuron with a hard threshold."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._parameters import below, neuron_count, parameter
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
    change of a parameter gains or loses a spike. Use a solver of order two or more
    (`solver=diffrax.Heun()`): Euler's steps are of first order here.

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
    mu2: Float[Array, "..."]
    sigma: Float[Array, "..."] | None
    v_th: Float[Array, "..."]
    reset_to: Float[Array, "..."]
    v0: Float[Array, "..."]
    i0: Float[Array, "..."]
    num_neurons: int = eqx.field(static=True)

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
        k = neuron_count(num_neurons)
        each = ((), (k,))
        self.num_neurons = k
        self.mu1 = parameter("mu1", mu1, non_negative=True, shapes=each)
        self.mu2 = parameter("mu2", mu2, non_negative=True, shapes=each)
        self.sigma = None if sigma is None else parameter("sigma", sigma, shapes=each)
        self.v_th = parameter("v_th", v_th, shapes=each)
        self.reset_to = parameter("reset_to", reset_to, shapes=each)
        below("reset_to", self.reset_to, "v_th", self.v_th)
        self.v0 = parameter("v0", v0, shapes=each)
        self.i0 = parameter("i0", i0, shapes=each)

    def initial_state(self, key: PRNGKeyArray) -> ThresholdLIFState:
        """v0 and i0."""
        ones = jnp.ones(self.num_neurons, jnp.result_type(float))
        return ThresholdLIFState(self.v0 * ones, self.i0 * ones)

    def drift(self, t, y: ThresholdLIFState, args) -> ThresholdLIFState:
        current = args(t) if callable(args) else args
        total = y.i if current is None else y.i + current
        return ThresholdLIFState(self.mu1 * (total - y.v), -self.mu2 * y.i)

    def event(self, t, y: ThresholdLIFState, args):
        return y.v - self.v_th

    def fire(self, t, y: ThresholdLIFState, fires, mark, args) -> ThresholdLIFState:
        return y._replace(v=jnp.where(fires, self.reset_to, y.v))
