"""The stochastic exponential integrate-and-fire neuron."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._intensities import bounded_exp
from ._nonlinear_neuron import AbstractNonlinearNeuron
from ._parameters import below, for_each


class StochasticExponential(AbstractNonlinearNeuron):
    r"""Exponential integrate-and-fire neurons that fire by an intensity.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 \left(v_{\mathrm{rest}} - v + \Delta e^{(v - v_{\mathrm{soft}}) / \Delta}
        + i + c_t\right) dt + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \qquad ds = \lambda(v)\,dt.
    \end{aligned}
    $$

    The neuron fires when $s$ reaches 0; then $v \to v - v_{\mathrm{reset}}$ and
    $s \to \log u - \alpha$ with $u$ uniform on (0, 1). Far below the soft threshold
    $v_{\mathrm{soft}}$ the potential leaks as that of [`roughsnn.StochasticLIF`][], and above it
    the upstroke of the spike takes over; a constant current above
    $v_{\mathrm{soft}} - v_{\mathrm{rest}} - \Delta$ makes the neuron fire again and again.

    The conditions for exact pathwise gradients hold with every constant $\sigma$, that is with
    noise of potential and current: $s$ has no noise, it crosses 0 with speed $\lambda > 0$, the
    transition moves $v$ by a constant (a reset to a fixed value, which does not commute with noise
    of the potential, is not offered), and $\alpha > 0$ keeps the spikes of a neuron apart. Beyond
    `v_peak` the drift goes on along its tangent, so that its slope is bounded and no potential
    becomes infinite.

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise.

    Attributes:
        num_neurons: K.
        mu1: leak rate $\mu_1 \ge 0$ of the potential.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        sharpness: $\Delta > 0$; the smaller, the more sudden the upstroke.
        v_rest: resting potential, but for the little that the exponential adds.
        v_soft: soft threshold $v_{\mathrm{soft}}$, where the drift is smallest.
        v_peak: potential $> v_{\mathrm{soft}}$ where the exponential ends and its tangent begins.
        sigma: noise. A number or shape (K,): noise of the potential only, of that strength. Shape
            (2, 2) or (K, 2, 2): the matrix $\sigma$ above. `None`: no noise between spikes.
        v_reset: what a spike takes off the potential.
        intensity: $\lambda$, by default [`roughsnn.ExponentialIntensity`][].
        alpha: dead integrated intensity $\alpha > 0$.
        v0: initial potential.
        i0: initial synaptic current.

    Raises:
        TypeError: `intensity` is none.
        ValueError: a parameter outside its range or of the wrong shape, named with its value.

    Reference: Fourcaud-Trocme, Hansel, van Vreeswijk & Brunel (2003); Gerstner, Kistler, Naud &
    Paninski (2014), *Neuronal Dynamics*, section 5.2.
    """

    sharpness: Float[Array, "..."]
    v_rest: Float[Array, "..."]
    v_soft: Float[Array, "..."]

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        mu1=15.0,
        mu2=5.0,
        sharpness=0.3,
        v_rest=0.0,
        v_soft=0.7,
        v_peak=1.5,
        sigma=0.25,
        v_reset=1.4,
        intensity=None,
        alpha=0.03,
        v0=0.0,
        i0=0.0,
    ):
        k = self._begin_nonlinear(
            num_neurons, intensity=intensity, v_peak=v_peak, mu1=mu1, mu2=mu2, sigma=sigma,
            v_reset=v_reset, alpha=alpha, v0=v0, i0=i0,
        )  # fmt: skip
        for_each(
            self, k, positive=dict(sharpness=sharpness), free=dict(v_rest=v_rest, v_soft=v_soft)
        )
        below("v_soft", self.v_soft, "v_peak", self.v_peak)

    def membrane(self, v):
        x = jnp.minimum(v, self.v_peak)
        upstroke = bounded_exp((x - self.v_soft) / self.sharpness)
        return self.v_rest - v + upstroke * (self.sharpness + v - x)
