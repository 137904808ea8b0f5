"""The stochastic quadratic integrate-and-fire neuron."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._nonlinear_neuron import AbstractNonlinearNeuron
from ._parameters import below, for_each


class StochasticQuadratic(AbstractNonlinearNeuron):
    r"""Quadratic integrate-and-fire neurons that fire by an intensity.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 \left(a (v - v_{\mathrm{rest}})(v - v_{\mathrm{crit}}) + i + c_t\right) dt
        + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \qquad ds = \lambda(v)\,dt.
    \end{aligned}
    $$

    The neuron fires when $s$ reaches 0; then $v \to v - v_{\mathrm{reset}}$ and
    $s \to \log u - \alpha$ with $u$ uniform on (0, 1). Without input the potential returns to rest
    from below $v_{\mathrm{crit}}$ and runs away from above it; a constant current above
    $a (v_{\mathrm{crit}} - v_{\mathrm{rest}})^2 / 4$ makes the neuron fire again and again.

    The conditions for exact pathwise gradients hold with every constant $\sigma$, that is with
    noise of potential and current: $s$ has no noise, it crosses 0 with speed $\lambda > 0$, the
    transition moves $v$ by a constant (a reset to a fixed value, which does not commute with noise
    of the potential, is not offered), and $\alpha > 0$ keeps the spikes of a neuron apart. Beyond
    `v_peak`, and below its mirror image on the other side of the parabola, the drift goes on along
    its tangent, so that its slope is bounded and no potential becomes infinite.

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise.

    Attributes:
        num_neurons: K.
        mu1: rate $\mu_1 \ge 0$ of the potential; near rest it leaks at the rate
            $\mu_1 a (v_{\mathrm{crit}} - v_{\mathrm{rest}})$, with the defaults $\mu_1$.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        curvature: $a > 0$.
        v_rest: resting potential.
        v_crit: potential $v_{\mathrm{crit}} > v_{\mathrm{rest}}$ above which it runs away.
        v_peak: where the parabola ends and its tangent begins.
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

    Reference: Latham, Richmond, Nelson & Nirenberg (2000); Gerstner, Kistler, Naud & Paninski
    (2014), *Neuronal Dynamics*, section 5.3.
    """

    curvature: Float[Array, "..."]
    v_rest: Float[Array, "..."]
    v_crit: Float[Array, "..."]

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        mu1=15.0,
        mu2=5.0,
        curvature=2.0,
        v_rest=0.0,
        v_crit=0.5,
        v_peak=2.0,
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
            self, k, positive=dict(curvature=curvature), free=dict(v_rest=v_rest, v_crit=v_crit)
        )
        below("v_rest", self.v_rest, "v_crit", self.v_crit)
        below("v_crit", self.v_crit, "v_peak", self.v_peak)

    def membrane(self, v):
        mirrored = self.v_rest + self.v_crit - self.v_peak
        x = jnp.clip(v, mirrored, self.v_peak)
        slope = 2 * x - self.v_rest - self.v_crit
        return self.curvature * ((x - self.v_rest) * (x - self.v_crit) + slope * (v - x))
