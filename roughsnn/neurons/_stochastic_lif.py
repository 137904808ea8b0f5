"""The stochastic leaky integrate-and-fire neuron."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._random import uniform_from_key
from ..event_sde import StructuredDiffusion
from ._base import AbstractNeuron
from ._parameters import parameter


class LIFState(NamedTuple):
    """State of K leaky integrate-and-fire neurons with stochastic firing.

    Attributes:
        v: membrane potential.
        i: synaptic current.
        s: integrated intensity, which rises from log u - alpha to 0, where the neuron fires.
    """

    v: Float[Array, " K"]
    i: Float[Array, " K"]
    s: Float[Array, " K"]


class StochasticLIF(AbstractNeuron):
    r"""A population of K independent stochastic leaky integrate-and-fire neurons.

    Between spikes, for each neuron, with input current $c_t$,

    $$
    \begin{aligned}
    dv &= \mu_1 (i + c_t - v)\,dt + \sigma_{11} dB^1 + \sigma_{12} dB^2, \\
    di &= -\mu_2 i\,dt + \sigma_{21} dB^1 + \sigma_{22} dB^2, \\
    ds &= \lambda(v)\,dt,
    \end{aligned}
    $$

    with intensity $\lambda(v) = e^{\beta (v - v_{\mathrm{th}})} / \tau_s$. The neuron fires when
    $s$ reaches 0; then $v \to v - v_{\mathrm{reset}}$ and $s \to \log u - \alpha$ with $u$ uniform
    on (0, 1). Hence $P(\tau_{n+1} > t) = \min\{1, e^{\alpha - \int_{\tau_n}^t \lambda(v_r) dr}\}$:
    a point process of conditional intensity $\lambda(v)$ that waits until the integrated intensity
    has reached $\alpha$.

    The conditions for exact pathwise gradients hold for every constant $\sigma$: $s$ has no
    noise, it crosses 0 with speed $\lambda(v) > 0$, the transition moves $v$ by a constant, and
    $\alpha > 0$ keeps the spikes of a neuron apart. (Holberg & Salvi 2024, sections 3 and 4.1.)

    Parameters are dimensionless, or in the time unit of the simulation. Each is a trainable leaf,
    a number or an array of shape (K,) unless said otherwise. In the exponent, v - v_th is capped
    at `max_excess` = 10.

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

    Raises:
        ValueError: a parameter outside its range or of the wrong shape, named with its value.
    """

    mu1: Float[Array, "..."]
    mu2: Float[Array, "..."]
    sigma: Float[Array, "..."] | None
    v_reset: Float[Array, "..."]
    v_th: Float[Array, "..."]
    beta: Float[Array, "..."]
    tau_s: Float[Array, "..."]
    alpha: Float[Array, "..."]
    v0: Float[Array, "..."]
    i0: Float[Array, "..."]
    num_neurons: int = eqx.field(static=True)
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
    ):
        if isinstance(num_neurons, bool) or not isinstance(num_neurons, int) or num_neurons < 1:
            raise ValueError(f"`num_neurons` must be a positive integer, got {num_neurons!r}.")
        k = num_neurons
        each = ((), (k,))
        self.num_neurons = k
        self.mu1 = parameter("mu1", mu1, non_negative=True, shapes=each)
        self.mu2 = parameter("mu2", mu2, non_negative=True, shapes=each)
        self.sigma = None
        if sigma is not None:
            self.sigma = parameter("sigma", sigma, shapes=(*each, (2, 2), (k, 2, 2)))
        self.v_reset = parameter("v_reset", v_reset, shapes=each)
        self.v_th = parameter("v_th", v_th, shapes=each)
        self.beta = parameter("beta", beta, non_negative=True, shapes=each)
        self.tau_s = parameter("tau_s", tau_s, positive=True, shapes=each)
        self.alpha = parameter("alpha", alpha, positive=True, shapes=each)
        self.v0 = parameter("v0", v0, shapes=each)
        self.i0 = parameter("i0", i0, shapes=each)

    def intensity(self, v: Float[Array, " K"]) -> Float[Array, " K"]:
        r"""The intensity $\lambda(v) = e^{\beta (v - v_{\mathrm{th}})} / \tau_s$."""
        return jnp.exp(self.beta * jnp.minimum(v - self.v_th, self.max_excess)) / self.tau_s

    def initial_state(self, key: PRNGKeyArray) -> LIFState:
        """v0, i0, and s = log u - alpha with u uniform on (0, 1)."""
        keys = jax.vmap(lambda k: jr.fold_in(key, k))(jnp.arange(self.num_neurons))
        u = jax.vmap(uniform_from_key)(keys)
        ones = jnp.ones(self.num_neurons, jnp.result_type(float))
        return LIFState(self.v0 * ones, self.i0 * ones, jnp.log(u).astype(ones.dtype) - self.alpha)

    @property
    def dead_intensity(self) -> Float[Array, " K"]:
        return jnp.broadcast_to(self.alpha, (self.num_neurons,))

    def neuron_axes(self):
        axes = super().neuron_axes()
        if self.sigma is None or self.sigma.ndim != 2:
            return axes
        return eqx.tree_at(lambda m: m.sigma, axes, -1)

    def drift(self, t, y: LIFState, args) -> LIFState:
        current = args(t) if callable(args) else args
        total = y.i if current is None else y.i + current
        return LIFState(self.mu1 * (total - y.v), -self.mu2 * y.i, self.intensity(y.v))

    @property
    def _noise_in_potential_only(self):
        return self.sigma is not None and self.sigma.shape in ((), (self.num_neurons,))

    @property
    def noise_shape(self):
        if self.sigma is None:
            return None
        return (self.num_neurons,) if self._noise_in_potential_only else (self.num_neurons, 2)

    def diffusion(self, t, y: LIFState, args):
        if self.sigma is None:
            return super().diffusion(t, y, args)
        product = _noise_in_potential if self._noise_in_potential_only else _noise_in_both
        dx = jax.ShapeDtypeStruct(self.noise_shape, y.v.dtype)
        return StructuredDiffusion(self.sigma, product, y, dx)

    def event(self, t, y: LIFState, args):
        return y.s

    def transition(self, t, y: LIFState, event_index, mark, args) -> LIFState:
        fires = jnp.arange(self.num_neurons, dtype=jnp.int32) == event_index
        v = y.v - jnp.where(fires, self.v_reset, 0)
        # behind a barrier, or the logarithm of one number is taken once for every neuron
        level = jax.lax.optimization_barrier(jnp.log(mark))
        s = jnp.where(fires, level - self.alpha, y.s)
        return LIFState(v, y.i, s)

    def receive(self, y: LIFState, jump) -> LIFState:
        return y._replace(i=y.i + jump)


def _noise_in_potential(sigma, db):
    return LIFState(sigma * db, jnp.zeros_like(db), jnp.zeros_like(db))


def _noise_in_both(sigma, db):
    dv = sigma[..., 0, 0] * db[:, 0] + sigma[..., 0, 1] * db[:, 1]
    di = sigma[..., 1, 0] * db[:, 0] + sigma[..., 1, 1] * db[:, 1]
    return LIFState(dv, di, jnp.zeros_like(dv))
