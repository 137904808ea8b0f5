"""Laws of what is added to the input of a neuron to see what it does to a loss."""

import abc
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import RealLike, number


class AbstractPerturbation(eqx.Module):
    r"""A random function of time with mean zero, constant in each step of a protocol.

    It is a filter of independent numbers $z_m$, $\xi_n = \sum_m A_{nm} z_m$ with a lower triangular
    A. A rule needs its values, and the *score* $c = A^{-T} z / \mathrm{var}(z)$, for which
    $E[f(\xi)\,c_n] = E[\partial f / \partial \xi_n]$ if z is normal (Stein's identity).
    """

    @abc.abstractmethod
    def draw(
        self, key: PRNGKeyArray, steps: int, neurons: int, dt0: float, dtype: Any
    ) -> tuple[Float[Array, "steps neurons"], Float[Array, "steps neurons"]]:
        """The values and the score.

        Args:
            key: random key.
            steps: how many steps.
            neurons: how many neurons, independent of each other.
            dt0: length of a step.
            dtype: of the numbers.
        """


def _positive(name: str, default: float | None = None):
    convert = partial(number, name, positive=True)
    if default is None:
        return eqx.field(static=True, converter=convert)
    return eqx.field(default=default, static=True, converter=convert)


class WhitePerturbation(AbstractPerturbation):
    r"""A normal number in each step, independent of the others: $\xi_n = \sigma z_n$, with the
    score $\xi_n / \sigma^2$.

    Attributes:
        scale: $\sigma$, in the unit of what is perturbed.
    """

    scale: RealLike = _positive("scale")

    def draw(self, key, steps, neurons, dt0, dtype):
        z = jr.normal(key, (steps, neurons), dtype)
        return self.scale * z, z / self.scale


class CorrelatedPerturbation(AbstractPerturbation):
    r"""An Ornstein-Uhlenbeck process.

    It is normal, with the standard deviation $\sigma$ at all times and correlations that decay with
    the time constant $\tau$,

    $$ \xi_{n+1} = a\,\xi_n + \sigma \sqrt{1 - a^2}\; z_{n+1}, \qquad a = e^{-\Delta / \tau}. $$

    Its exact score is the covariance's inverse times $\xi$. It takes the correlations out again, so
    that the estimate has no bias by them; but it multiplies every jump of what synapses bring by
    more than a white perturbation's does, and where spikes are sparse its variance is larger by
    about $2 \tau / \Delta$. With `exact=False` the score is $\xi_n / (\sigma^2 (1 + a)/(1 - a))$,
    for which $E[f(\xi)\,c]$ is the derivative smoothed over $\tau$: with less variance than by a
    white one, and a bias where what a conductance does to the loss changes within $\tau$.

    Attributes:
        scale: $\sigma$, in the unit of what is perturbed.
        time: $\tau$, in the unit of time.
        exact: whether the score is exact, or smooth.

    References: the IJCNN paper of 2013 on perturbations of conductances of populations of networks
    (doi 10.1109/IJCNN.2013.6706756) for correlated perturbations.
    """

    scale: RealLike = _positive("scale")
    time: RealLike = _positive("time")
    exact: bool = eqx.field(static=True, default=True)

    def draw(self, key, steps, neurons, dt0, dtype):
        z = jr.normal(key, (steps, neurons), dtype)
        a = math.exp(-dt0 / self.time)
        gain = jnp.full((steps, 1), self.scale * math.sqrt(1 - a * a), dtype).at[0].set(self.scale)
        values = _filtered(z, a, gain)
        if self.exact:
            return values, _score(z, a, gain)
        return values, values * ((1 - a) / (1 + a) / self.scale**2)


class PoissonPerturbation(AbstractPerturbation):
    r"""An "empiric" synapse of each neuron, driven by random spikes, less its mean.

    With N the number of its spikes in a step, Poisson of mean $\nu\Delta$,

    $$ \xi_{n+1} = a\,\xi_n + w\,(N_{n+1} - \nu \Delta), \qquad a = e^{-\Delta/\tau}, $$

    and $a = 0$ without a `time`. For Poisson numbers Stein's identity holds with the difference
    that one spike more makes in the place of the derivative, so that the estimate has the bias of a
    difference quotient with the step w. What was said of the scores of a
    [`roughsnn.CorrelatedPerturbation`][] holds here too.

    Attributes:
        rate: $\nu$ of the spikes, in one over the unit of time.
        weight: $w$ of the synapse, in the unit of what is perturbed.
        time: $\tau$ with which its effect decays; `None` for an effect of one step.
        exact: whether the score is exact, or smooth.

    References: Fiete & Seung (2006), Phys. Rev. Lett. 97:048104, for synapses that perturb.
    """

    rate: RealLike = _positive("rate")
    weight: RealLike = _positive("weight")
    time: RealLike | None = eqx.field(
        default=None, static=True,
        converter=lambda x: None if x is None else number("time", x, positive=True),
    )  # fmt: skip
    exact: bool = eqx.field(static=True, default=True)

    def draw(self, key, steps, neurons, dt0, dtype):
        mean = self.rate * dt0
        z = jr.poisson(key, mean, (steps, neurons)).astype(dtype) - mean
        a = 0.0 if self.time is None else math.exp(-dt0 / self.time)
        gain = jnp.full((steps, 1), self.weight, dtype)
        values = _filtered(z, a, gain)
        if self.exact:
            return values, _score(z, a, gain) / mean
        return values, values * ((1 - a) ** 2 / (mean * self.weight**2))


def _filtered(z, a: float, gain):
    """xi_n = a xi_(n-1) + gain_n z_n."""
    if a == 0:
        return gain * z

    def step(before, driven):
        value = a * before + driven
        return value, value

    return lax.scan(step, jnp.zeros_like(z[0]), gain * z)[1]


def _score(z, a: float, gain):
    """The transpose of the inverse of the filter, times z."""
    whitened = z / gain
    after = jnp.concatenate([whitened[1:], jnp.zeros_like(z[:1])])
    return whitened - a * after
