"""Izhikevich's neuron."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._parameters import below, for_each
from ._threshold_neuron import AbstractThresholdNeuron


class IzhikevichState(NamedTuple):
    """State of K neurons of Izhikevich's model.

    Attributes:
        v: membrane potential, mV.
        u: recovery variable, mV/ms.
        i: synaptic current, mV/ms.
    """

    v: Float[Array, " K"]
    u: Float[Array, " K"]
    i: Float[Array, " K"]


class Izhikevich(AbstractThresholdNeuron):
    r"""Izhikevich's neurons, whose potential is cut at the peak of the spike.

    Between spikes, for each neuron, with input current $c_t$ in mV/ms, potential in mV and time in
    ms,

    $$
    dv = (0.04 v^2 + 5 v + 140 - u + i + c_t)\,dt, \qquad du = a (b v - u)\,dt, \qquad
    di = -\mu_2 i\,dt + \sigma\,dB;
    $$

    the neuron fires when $v$ reaches $v_{\mathrm{peak}}$, and then $v \to c$ and $u \to u + d$.

    The conditions for exact pathwise gradients hold without noise and with noise of the *current*:
    the potential is continuously differentiable in time, the noise is tangent to the event surface,
    and the transition leaves the current alone. Noise of the potential, which is reset to a fixed
    value, is not offered. Transversality holds as long as
    $u - i - c_t < 0.04 v_{\mathrm{peak}}^2 + 5 v_{\mathrm{peak}} + 140$, which is 326 with the
    default: the upstroke passes the peak steeply. The drift is steep there (its slope is 7.4 per
    ms): take steps of 0.1 ms and a solver of order two or more, as the default is. Euler's steps
    of 1 ms, as in the original code, give other spike times.

    The usual kinds differ in four numbers $(a, b, c, d)$: regular spiking (0.02, 0.2, -65, 8), the
    default; intrinsically bursting (0.02, 0.2, -55, 4); chattering (0.02, 0.2, -50, 2); fast
    spiking (0.1, 0.2, -65, 2); low-threshold spiking (0.02, 0.25, -65, 2). Each is a trainable
    leaf, a number or an array of shape (K,).

    Attributes:
        num_neurons: K.
        a: rate of recovery, 1/ms.
        b: coupling of the recovery to the potential, 1/ms.
        c: potential after a spike, below the peak.
        d: what a spike adds to the recovery, mV/ms.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current, 1/ms.
        sigma: strength of the noise of the current, or `None`.
        v_peak: peak of a spike.
        v0: initial potential.
        u0: initial recovery; by default $b v_0$.
        i0: initial synaptic current.

    Raises:
        ValueError: a parameter outside its range or of the wrong shape, named with its value.

    Reference: Izhikevich (2003), Simple model of spiking neurons.
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]
    c: Float[Array, "..."]
    d: Float[Array, "..."]
    v_peak: Float[Array, "..."]
    u0: Float[Array, "..."]

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        a=0.02,
        b=0.2,
        c=-65.0,
        d=8.0,
        mu2=0.2,
        sigma=None,
        v_peak=30.0,
        v0=-65.0,
        u0=None,
        i0=0.0,
    ):
        k = self._begin_threshold(num_neurons, mu2=mu2, sigma=sigma, v0=v0, i0=i0)
        for_each(self, k, non_negative=dict(a=a), free=dict(b=b, c=c, d=d, v_peak=v_peak))
        for_each(self, k, free=dict(u0=self.b * self.v0 if u0 is None else u0))
        below("c", self.c, "v_peak", self.v_peak)
        below("v0", self.v0, "v_peak", self.v_peak)

    @property
    def fastest_rate(self):
        # that of the potential depends on where it is
        return self._fastest(self.a, self.mu2)

    def initial_state(self, key: PRNGKeyArray) -> IzhikevichState:
        """v0, u0 and i0."""
        return IzhikevichState(*(self.spread(x) for x in (self.v0, self.u0, self.i0)))

    def drift(self, t, y: IzhikevichState, args) -> IzhikevichState:
        total = self.current_into(args, t, y.i)
        dv = (0.04 * y.v + 5) * y.v + 140 - y.u + total
        return IzhikevichState(dv, self.a * (self.b * y.v - y.u), -self.mu2 * y.i)

    def event(self, t, y: IzhikevichState, args):
        return y.v - self.v_peak

    def fire(self, t, y: IzhikevichState, fires, mark, args) -> IzhikevichState:
        return y._replace(v=jnp.where(fires, self.c, y.v), u=y.u + jnp.where(fires, self.d, 0))
