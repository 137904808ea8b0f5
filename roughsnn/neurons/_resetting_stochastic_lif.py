"""The stochastic leaky integrate-and-fire neuron that forgets its potential at a spike."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._intensities import AbstractIntensity, intensity_for
from ._intensity_neuron import AbstractIntensityNeuron, LIFState


class ResettingStochasticLIF(AbstractIntensityNeuron):
    r"""Stochastic leaky integrate-and-fire neurons whose potential starts anew after each spike.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 (i + c_t - v)\,dt + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \\
    ds &= \lambda(v)\,dt.
    \end{aligned}
    $$

    The neuron fires when $s$ reaches 0; then $v \to v_{\mathrm{to}}$, whatever it was before,
    and $s \to \log u - \alpha$ with $u$ uniform on (0, 1). [`roughsnn.StochasticLIF`][] differs in
    that alone: there a spike takes an amount off the potential, so that what the potential was
    above the threshold is remembered, and intervals that follow each other are related.

    With constant input and noise of the potential alone the intervals are independent. With an
    intensity $e^{\beta (v - v_{\mathrm{th}})} / \tau_s$ that is steep against the distance from
    reset to threshold, the dead part small, an interval is the time at which the potential first
    reaches

    $$ v^* = v_{\mathrm{th}} + \frac{2}{\beta} \Bigl(\log \frac{\beta \sigma}{\sqrt{2 / \tau_s}}
    - \gamma\Bigr), \qquad \gamma = 0.577\dots, $$

    where the solution of $\tfrac12 \sigma^2 u'' = \lambda u$ that decays above the threshold has
    its root when it is continued from below; without leak, $\mu_1 (c - v)$ replaced by a constant
    drift, that time has the inverse Gaussian law.

    Of the conditions for exact pathwise gradients one fails with noise of the *potential*: it does
    not commute with the transition, which forgets it, and spike times after the first are not
    differentiable along a path. Laws and expectations are; use estimators of the gradient of an
    expected loss, or differences. Without noise and with noise of the *current* alone (a `sigma`
    whose first row is zero) all conditions hold.

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise.

    Attributes:
        num_neurons: K.
        mu1: leak rate $\mu_1 \ge 0$ of the potential.
        mu2: decay rate $\mu_2 \ge 0$ of the synaptic current.
        sigma: noise. A number or shape (K,): noise of the potential only, of that strength. Shape
            (2, 2) or (K, 2, 2): the matrix $\sigma$ above. `None`: no noise between spikes.
        reset_to: the potential after a spike, $v_{\mathrm{to}}$.
        intensity: $\lambda$, by default [`roughsnn.ExponentialIntensity`][].
        alpha: dead integrated intensity $\alpha > 0$.
        v0: initial potential; by default as after a spike.
        i0: initial synaptic current.

    Raises:
        TypeError: `intensity` is none.
        ValueError: a parameter outside its range or of the wrong shape, named with its value.
    """

    reset_to: Float[Array, "..."]
    intensity: AbstractIntensity

    def __init__(
        self,
        num_neurons: int = 1,
        *,
        mu1=15.0,
        mu2=5.0,
        sigma=0.25,
        reset_to=0.0,
        intensity=None,
        alpha=0.03,
        v0=None,
        i0=0.0,
    ):
        v0 = reset_to if v0 is None else v0
        k = self._begin_intensity(
            num_neurons, mu1=mu1, mu2=mu2, sigma=sigma, reset_to=reset_to, alpha=alpha, v0=v0, i0=i0
        )
        self.intensity = intensity_for(intensity, k)

    def initial_state(self, key: PRNGKeyArray) -> LIFState:
        """v0, i0, and s = log u - alpha with u uniform on (0, 1)."""
        return LIFState(self.spread(self.v0), self.spread(self.i0), self.first_levels(key))

    def drift(self, t, y: LIFState, args) -> LIFState:
        total = self.current_into(args, t, y.i)
        return LIFState(self.mu1 * (total - y.v), -self.mu2 * y.i, self.intensity(y.v))

    def jump(self, y: LIFState, fires) -> LIFState:
        return y._replace(v=jnp.where(fires, self.reset_to, y.v))
