"""Intensities: how the rate at which a stochastic neuron fires depends on its potential."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._parameters import parameter

# e^80 is about 6e34: finite in single precision too, and so is its slope in steep parameters
_LARGEST_EXPONENT = 80.0


def bounded_exp(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """e^x, and e^80 from x = 80 on, so that no steepness that training finds makes it infinite."""
    return jnp.exp(jnp.minimum(x, _LARGEST_EXPONENT))


class AbstractIntensity(eqx.Module):
    r"""An intensity $\lambda(v) \ge 0$, in spikes per unit of time.

    Every intensity is bounded, so that the integrated intensity takes a time of at least
    $\alpha / \max \lambda$ to pass the dead part $\alpha$: the minimal gap between the spikes of a
    neuron that the theorem on pathwise gradients asks for. Exponentials stop at $e^{80}$ besides,
    whatever their parameters become, which single precision holds. Parameters are trainable
    leaves, numbers or one for each neuron.
    """

    @abc.abstractmethod
    def __call__(self, v: Float[Array, " K"]) -> Float[Array, " K"]:
        """The intensities at the potentials `v`."""


class _ScaledIntensity(AbstractIntensity):
    """An intensity that depends on a scaled excess over the threshold, capped, and on a time scale:
    what the exponential and the softplus intensity have in common."""

    v_th: Float[Array, "..."]
    beta: Float[Array, "..."]
    tau_s: Float[Array, "..."]
    max_excess: float = eqx.field(static=True)

    def __init__(self, v_th=1.0, beta=5.0, tau_s=1.0, max_excess: float = 10.0):
        self.v_th = parameter("v_th", v_th)
        self.beta = parameter("beta", beta, non_negative=True)
        self.tau_s = parameter("tau_s", tau_s, positive=True)
        self.max_excess = _positive("max_excess", max_excess)

    @abc.abstractmethod
    def shape(self, x: Float[Array, " K"]) -> Float[Array, " K"]:
        """The intensity in units of the time scale, at the scaled excess x."""

    def __call__(self, v):
        return self.shape(self.beta * jnp.minimum(v - self.v_th, self.max_excess)) / self.tau_s


class ExponentialIntensity(_ScaledIntensity):
    r"""$\lambda(v) = e^{\beta \min(v - v_{\mathrm{th}}, e_{\max})} / \tau_s$.

    Attributes:
        v_th: potential at which the intensity is $1 / \tau_s$.
        beta: steepness $\beta \ge 0$.
        tau_s: time scale $\tau_s > 0$.
        max_excess: $e_{\max}$, static; up to there the intensity grows.

    Raises:
        ValueError: a parameter outside its range, named with its value.
    """

    def shape(self, x):
        return bounded_exp(x)


class SigmoidIntensity(AbstractIntensity):
    r"""$\lambda(v) = \lambda_{\max} / (1 + e^{-\beta (v - v_{\mathrm{th}})})$.

    Attributes:
        v_th: potential at which the intensity is half of its maximum.
        beta: steepness $\beta \ge 0$.
        max_rate: the maximum $\lambda_{\max} > 0$.

    Raises:
        ValueError: a parameter outside its range, named with its value.
    """

    v_th: Float[Array, "..."]
    beta: Float[Array, "..."]
    max_rate: Float[Array, "..."]

    def __init__(self, v_th=1.0, beta=5.0, max_rate=10.0):
        self.v_th = parameter("v_th", v_th)
        self.beta = parameter("beta", beta, non_negative=True)
        self.max_rate = parameter("max_rate", max_rate, positive=True)

    def __call__(self, v):
        return self.max_rate * jax.nn.sigmoid(self.beta * (v - self.v_th))


class SoftplusIntensity(_ScaledIntensity):
    r"""$\lambda(v) = \log(1 + e^{\beta \min(v - v_{\mathrm{th}}, e_{\max})}) / \tau_s$: exponential
    far below the threshold, linear far above.

    Attributes:
        v_th: potential around which the one passes into the other.
        beta: steepness $\beta \ge 0$.
        tau_s: time scale $\tau_s > 0$.
        max_excess: $e_{\max}$, static; up to there the intensity grows.

    Raises:
        ValueError: a parameter outside its range, named with its value.
    """

    def shape(self, x):
        return jax.nn.softplus(x)


class RectifiedPowerIntensity(AbstractIntensity):
    r"""$\lambda(v) = \lambda_0 + [v - v_{\mathrm{th}}]_+^p / \tau_s$, with the excess
    $v - v_{\mathrm{th}}$ taken as at most $e_{\max}$.

    Where $\lambda_0 = 0$ the intensity vanishes below the threshold, and a spike that comes just as
    the potential passes it has a time that is very sensitive to parameters: a small $\lambda_0$
    keeps the speed of the integrated intensity away from zero, as transversality asks for.

    Attributes:
        v_th: threshold.
        power: exponent $p \ge 1$.
        tau_s: time scale $\tau_s > 0$.
        floor: intensity $\lambda_0 \ge 0$ below the threshold.
        max_excess: $e_{\max}$, static; up to there the intensity grows.

    Raises:
        ValueError: a parameter outside its range, named with its value.
    """

    v_th: Float[Array, "..."]
    power: Float[Array, "..."]
    tau_s: Float[Array, "..."]
    floor: Float[Array, "..."]
    max_excess: float = eqx.field(static=True)

    def __init__(self, v_th=1.0, power=2.0, tau_s=0.1, floor=0.0, max_excess: float = 10.0):
        self.v_th = parameter("v_th", v_th)
        self.power = parameter("power", power, at_least=1.0)
        self.tau_s = parameter("tau_s", tau_s, positive=True)
        self.floor = parameter("floor", floor, non_negative=True)
        self.max_excess = _positive("max_excess", max_excess)

    def __call__(self, v):
        excess = jnp.minimum(v - self.v_th, self.max_excess)
        # both branches finite, so that neither spoils the other's derivative
        inside = jnp.where(excess > 0, excess, 1)
        risen = jnp.where(excess > 0, bounded_exp(self.power * jnp.log(inside)), 0)
        return self.floor + risen / self.tau_s


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"`{name}` must be positive, got {value}.")
    return float(value)


def intensity_for(intensity, num_neurons: int) -> AbstractIntensity:
    """The intensity, exponential by default, refused where it is none or its parameters do not fit
    the population."""
    intensity = ExponentialIntensity() if intensity is None else intensity
    if not isinstance(intensity, AbstractIntensity):
        raise TypeError(
            "`intensity` must be one of the library's intensities (ExponentialIntensity, "
            "SigmoidIntensity, SoftplusIntensity, RectifiedPowerIntensity) or another "
            f"AbstractIntensity, got {type(intensity).__name__}."
        )
    for leaf in jax.tree.leaves(eqx.filter(intensity, eqx.is_array)):
        if leaf.shape not in ((), (num_neurons,)):
            raise ValueError(
                "The parameters of `intensity` must be numbers or have shape "
                f"({num_neurons},), one for each neuron, got an array of shape {leaf.shape}."
            )
    return intensity
