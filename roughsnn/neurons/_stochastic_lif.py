"""The stochastic leaky integrate-and-fire neuron."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._intensities import AbstractIntensity, bounded_exp, intensity_for
from ._intensity_neuron import AbstractSubtractiveNeuron, LIFState
from ._parameters import for_each


class StochasticLIF(AbstractSubtractiveNeuron):
    r"""A population of K independent stochastic leaky integrate-and-fire neurons.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 (i + c_t - v)\,dt + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \\
    ds &= \lambda(v)\,dt,
    \end{aligned}
    $$

    with intensity $\lambda(v) = e^{\beta (v - v_{\mathrm{th}})} / \tau_s$ (or another one, see
    `escape`). The neuron fires when $s$ reaches 0; then $v \to v - v_{\mathrm{reset}}$ and
    $s \to \log u - \alpha$ with $u$ uniform on (0, 1). Hence
    $P(\tau_{n+1} > t) = \min\{1, e^{\alpha - \int_{\tau_n}^t \lambda(v_r) dr}\}$:
    a point process of conditional intensity $\lambda(v)$ that waits until the integrated intensity
    has reached $\alpha$.

    The conditions for exact pathwise gradients hold for every constant $\sigma$: $s$ has no
    noise, it crosses 0 with speed $\lambda(v) > 0$, the transition moves $v$ by a constant, and
    $\alpha > 0$ keeps the spikes of a neuron apart. (Holberg & Salvi 2024, sections 3 and 4.1.)

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise. In the exponent, v - v_th is capped
    at `max_excess` = 10, and the exponent itself at 80.

    Attributes:
        num_neurons: K.
        mu1: leak rate $\mu_1 \ge 0$ of the potential.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        sigma: noise. A number or shape (K,): noise of the potential only, of that strength. Shape
            (2, 2) or (K, 2, 2): the matrix $\sigma$ above. `None`: no noise between spikes.
        v_reset: what a spike takes off the potential, $v_{\mathrm{reset}}$.
        v_th: potential $v_{\mathrm{th}}$ at which the intensity is $1 / \tau_s$.
        beta: steepness $\beta \ge 0$ of the intensity.
        tau_s: time scale $\tau_s > 0$ of the intensity.
        alpha: dead integrated intensity $\alpha > 0$.
        v0: initial potential.
        i0: initial synaptic current.
        escape: another intensity, given as `intensity=`: one of [`roughsnn.SigmoidIntensity`][],
            [`roughsnn.SoftplusIntensity`][], [`roughsnn.RectifiedPowerIntensity`][], ...; then
            `v_th`, `beta` and `tau_s` are `None`, and only the intensity's own parameters count.

    Raises:
        TypeError: `intensity` is none.
        ValueError: a parameter outside its range or of the wrong shape, named with its value.
    """

    v_th: Float[Array, "..."] | None
    beta: Float[Array, "..."] | None
    tau_s: Float[Array, "..."] | None
    escape: AbstractIntensity | None
    max_excess: float = eqx.field(static=True, default=10.0)

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        mu1=15.0,
        mu2=5.0,
        sigma=0.25,
        v_reset=1.4,
        v_th=1.0,
        beta=5.0,
        tau_s=1.0,
        alpha=0.03,
        v0=0.0,
        i0=0.0,
        intensity=None,
    ):
        k = self._begin_intensity(
            num_neurons, mu1=mu1, mu2=mu2, sigma=sigma, v_reset=v_reset, alpha=alpha, v0=v0, i0=i0
        )
        self.escape = self.v_th = self.beta = self.tau_s = None
        if intensity is None:
            for_each(
                self, k, free=dict(v_th=v_th), non_negative=dict(beta=beta),
                positive=dict(tau_s=tau_s),
            )  # fmt: skip
        else:
            self.escape = intensity_for(intensity, k)

    def intensity(self, v: Float[Array, " K"]) -> Float[Array, " K"]:
        r"""The intensity $\lambda(v)$."""
        if self.escape is not None:
            return self.escape(v)
        assert self.v_th is not None
        assert self.beta is not None
        assert self.tau_s is not None
        excess = jnp.minimum(v - self.v_th, self.max_excess)
        return bounded_exp(self.beta * excess) / self.tau_s

    def initial_state(self, key: PRNGKeyArray) -> LIFState:
        """v0, i0, and s = log u - alpha with u uniform on (0, 1)."""
        return LIFState(self.spread(self.v0), self.spread(self.i0), self.first_levels(key))

    def drift(self, t, y: LIFState, args) -> LIFState:
        total = self.current_into(args, t, y.i)
        return LIFState(self.mu1 * (total - y.v), -self.mu2 * y.i, self.intensity(y.v))
