"""Neurons for gated synapses: a speed of the potential, a threshold and a reset."""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._turns import cos_turns, sin_turns


class AbstractGatedNeuron(eqx.Module):
    r"""A neuron $\tau_v\,dv/dt = f(v, I)$ that is put from the threshold 1 to the reset 0.

    The current I is dimensionless. Functions are elementwise. The speed must be linear in I, which
    the adjoint equations use.

    Attributes:
        tau: time constant $\tau_v > 0$ of the potential, in the unit of time of the simulation.
    """

    tau: eqx.AbstractVar[float]

    threshold = 1.0
    reset = 0.0

    def __check_init__(self):
        if not self.tau > 0:
            raise ValueError(f"`tau` is {self.tau}; the time constant must be positive.")

    @abc.abstractmethod
    def speed(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(v, I)."""

    @abc.abstractmethod
    def speed_by_v(
        self, v: Float[Array, "..."], current: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """The derivative of f with respect to v."""

    @abc.abstractmethod
    def speed_by_current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """The derivative of f with respect to I."""

    def reset_factor(self, current: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""How a small difference of the potential passes a reset: $f(0, I) / f(1, I)$.

        A neuron that is ahead by $\delta v$ at the threshold is ahead by $\delta v / f(1, I)$
        in time, and so by this factor times $\delta v$ after the reset.
        """
        return jnp.ones_like(current)


class NIF(AbstractGatedNeuron):
    r"""The non-leaky integrate-and-fire neuron $\tau_v\,dv/dt = I$.

    A full spike through a synapse of weight w moves it by w. Under a constant current I > 0 it
    fires at the rate $I / \tau_v$.

    Attributes:
        tau: time constant $\tau_v$.
    """

    tau: float = eqx.field(static=True, default=1.0)

    def speed(self, v, current):
        return current

    def speed_by_v(self, v, current):
        return jnp.zeros_like(v)

    def speed_by_current(self, v):
        return jnp.ones_like(v)


class ThetaNeuron(AbstractGatedNeuron):
    r"""The theta neuron $\tau_v\,dv/dt = (1 + \cos 2 \pi v) + (1 - \cos 2 \pi v) I$.

    With $x = -\cot \pi v$ it is the quadratic integrate-and-fire neuron
    $\tau_v\,dx/dt = 2 \pi (x^2 + I)$, which runs to infinity in finite time and comes back from
    the other side. Under a constant current I > 0 it fires at the rate
    $2 \sqrt I / \tau_v$; for I < 0 it rests, at $\cos 2 \pi v = -(1 + I) / (1 - I)$.

    Attributes:
        tau: time constant $\tau_v$.
    """

    tau: float = eqx.field(static=True, default=1.0)

    def speed(self, v, current):
        cosine = cos_turns(v)
        return (1 + cosine) + (1 - cosine) * current

    def speed_by_v(self, v, current):
        return 2 * math.pi * sin_turns(v) * (current - 1)

    def speed_by_current(self, v):
        return 1 - cos_turns(v)


class LIF(AbstractGatedNeuron):
    r"""The leaky integrate-and-fire neuron $\tau_v\,dv/dt = I - v$.

    Under a constant current I > 1 it fires with the period $\tau_v \log(I / (I - 1))$; for I < 1 it
    rests at v = I.

    Attributes:
        tau: membrane time constant $\tau_v$.
    """

    tau: float = eqx.field(static=True, default=1.0)

    def speed(self, v, current):
        return current - v

    def speed_by_v(self, v, current):
        return -jnp.ones_like(v)

    def speed_by_current(self, v):
        return jnp.ones_like(v)

    def reset_factor(self, current):
        return (current - self.reset) / (current - self.threshold)
