"""The stochastic leaky integrate-and-fire neuron with adaptation."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._intensities import AbstractIntensity, intensity_for
from ._intensity_neuron import AbstractSubtractiveNeuron
from ._parameters import for_each


class AdaptiveLIFState(NamedTuple):
    """State of K leaky integrate-and-fire neurons with adaptation and stochastic firing.

    Attributes:
        v: membrane potential.
        i: synaptic current.
        a: adaptation.
        s: integrated intensity, which rises from log u - alpha to 0, where the neuron fires.
    """

    v: Float[Array, " K"]
    i: Float[Array, " K"]
    a: Float[Array, " K"]
    s: Float[Array, " K"]


class AdaptiveStochasticLIF(AbstractSubtractiveNeuron):
    r"""Stochastic leaky integrate-and-fire neurons that adapt: each spike makes the next harder.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 (i + c_t - a - v)\,dt + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \\
    da &= \mu_a (\kappa v - a)\,dt, \qquad ds = \lambda(v)\,dt,
    \end{aligned}
    $$

    where `adapts="current"`. With `adapts="threshold"` the adaptation raises the threshold instead:
    $dv = \mu_1 (i + c_t - v)\,dt + \dots$ and $ds = \lambda(v - a)\,dt$. The neuron fires when $s$
    reaches 0; then $v \to v - v_{\mathrm{reset}}$, $a \to a + b$ and $s \to \log u - \alpha$ with
    $u$ uniform on (0, 1).

    The conditions for exact pathwise gradients hold with every constant $\sigma$, that is with
    noise of potential and current: $s$ has no noise, it crosses 0 with speed $\lambda > 0$, the
    transition moves $v$ and $a$ by constants, and $\alpha > 0$ keeps the spikes of a neuron apart.

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise.

    Attributes:
        num_neurons: K.
        adapts: what the adaptation works on, `"current"` or `"threshold"`; static.
        mu1: leak rate $\mu_1 \ge 0$ of the potential.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        mu_a: decay rate $\mu_a \ge 0$ of the adaptation.
        b: what a spike adds to the adaptation.
        coupling: $\kappa$, adaptation to the potential itself, below the threshold as well.
        sigma: noise. A number or shape (K,): noise of the potential only, of that strength. Shape
            (2, 2) or (K, 2, 2): the matrix $\sigma$ above. `None`: no noise between spikes.
        v_reset: what a spike takes off the potential.
        intensity: $\lambda$, by default [`roughsnn.ExponentialIntensity`][].
        alpha: dead integrated intensity $\alpha > 0$.
        v0: initial potential.
        i0: initial synaptic current.
        a0: initial adaptation.

    Raises:
        TypeError: `intensity` is none.
        ValueError: a parameter outside its range or of the wrong shape, named with its value.

    Reference: Brette & Gerstner (2005) for the adaptation current; adapting thresholds
    in Gerstner, Kistler, Naud & Paninski (2014), *Neuronal Dynamics*, chapter 6.
    """

    mu_a: Float[Array, "..."]
    b: Float[Array, "..."]
    coupling: Float[Array, "..."]
    intensity: AbstractIntensity
    a0: Float[Array, "..."]
    adapts: str = eqx.field(static=True)

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        adapts: str = "current",
        mu1=15.0,
        mu2=5.0,
        mu_a=2.0,
        b=0.3,
        coupling=0.0,
        sigma=0.25,
        v_reset=1.4,
        intensity=None,
        alpha=0.03,
        v0=0.0,
        i0=0.0,
        a0=0.0,
    ):
        k = self._begin_intensity(
            num_neurons, mu1=mu1, mu2=mu2, sigma=sigma, v_reset=v_reset, alpha=alpha, v0=v0, i0=i0
        )
        if adapts not in ("current", "threshold"):
            raise ValueError(f'`adapts` must be "current" or "threshold", got {adapts!r}.')
        self.adapts = adapts
        for_each(self, k, non_negative=dict(mu_a=mu_a), free=dict(b=b, coupling=coupling, a0=a0))
        self.intensity = intensity_for(intensity, k)

    @property
    def fastest_rate(self):
        return self._fastest(self.mu1, self.mu2, self.mu_a)

    def initial_state(self, key: PRNGKeyArray) -> AdaptiveLIFState:
        """v0, i0, a0, and s = log u - alpha with u uniform on (0, 1)."""
        v, i, a = (self.spread(x) for x in (self.v0, self.i0, self.a0))
        return AdaptiveLIFState(v, i, a, self.first_levels(key))

    def drift(self, t, y: AdaptiveLIFState, args) -> AdaptiveLIFState:
        total = self.current_into(args, t, y.i)
        above = y.v
        if self.adapts == "current":
            total = total - y.a
        else:
            above = y.v - y.a
        return AdaptiveLIFState(
            self.mu1 * (total - y.v),
            -self.mu2 * y.i,
            self.mu_a * (self.coupling * y.v - y.a),
            self.intensity(above),
        )

    def jump(self, y: AdaptiveLIFState, fires) -> AdaptiveLIFState:
        return super().jump(y, fires)._replace(a=y.a + jnp.where(fires, self.b, 0))
