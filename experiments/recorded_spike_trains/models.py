"""The neurons that are fitted, their trained parameters, and where these start."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

SCALE = 10.0
"""Potential that a spike takes off at the start of training: the unit of potential is free, and
with this one the intensity is steep at beta about 1 and its cap far away."""


class Parameters(eqx.Module):
    r"""Trained parameters, each without a bound; time in units of the mean interval.

    Attributes:
        log_leak: $\log \mu_1$.
        drive: the constant drift $\mu_1 c$ of the potential in each condition.
        log_noise: logarithm of the noise of the potential.
        log_beta: logarithm of the steepness of the intensity.
        reset: what a spike takes off the potential.
        log_alpha: logarithm of the dead integrated intensity.
        adaptation: what a spike adds to the adaptation current; `None` without adaptation.
        log_adaptation_rate: logarithm of the rate at which adaptation decays.
        log_slow_noise: logarithm of the standard deviation of a slow current; `None` without.
        log_slow_rate: logarithm of the rate at which the slow current forgets.

    Potentials, `drive` and noise are in units of `SCALE`.
    """

    log_leak: Float[Array, ""]
    drive: Float[Array, " conditions"]
    log_noise: Float[Array, ""]
    log_beta: Float[Array, ""]
    reset: Float[Array, ""]
    log_alpha: Float[Array, ""]
    adaptation: Float[Array, ""] | None = None
    log_adaptation_rate: Float[Array, ""] | None = None
    log_slow_noise: Float[Array, ""] | None = None
    log_slow_rate: Float[Array, ""] | None = None
    forgets: bool = eqx.field(static=True, default=False)

    def neuron(
        self, unit: float = 1.0
    ) -> rs.StochasticLIF | rs.AdaptiveStochasticLIF | rs.ResettingStochasticLIF:
        """The neuron, which starts as right after a spike.

        Args:
            unit: the mean interval, in the unit of time that the neuron is to have.
        """
        noise = SCALE * jnp.exp(self.log_noise)
        mu2 = jnp.ones_like(noise)
        if self.log_slow_noise is not None:
            mu2 = jnp.exp(self.log_slow_rate)
            # The current enters as mu1 i: its share of the drift is what is given.
            slow = SCALE * jnp.exp(self.log_slow_noise - self.log_leak) * jnp.sqrt(2 * mu2)
            zero = jnp.zeros_like(noise)
            noise = jnp.stack([jnp.stack([noise, zero]), jnp.stack([zero, slow])])
        reset = SCALE * self.reset
        shared = dict(
            mu1=jnp.exp(self.log_leak) / unit, mu2=mu2 / unit, sigma=noise / np.sqrt(unit),
            alpha=jnp.exp(self.log_alpha), v0=-reset,
        )  # fmt: skip
        intensity = rs.ExponentialIntensity(v_th=0.0, beta=jnp.exp(self.log_beta), tau_s=unit)
        if self.forgets:
            return rs.ResettingStochasticLIF(1, intensity=intensity, reset_to=-reset, **shared)
        shared["v_reset"] = reset
        if self.adaptation is None:
            return rs.StochasticLIF(1, intensity=intensity, **shared)
        # As the slow current, the adaptation enters as mu1 a.
        b = SCALE * self.adaptation * jnp.exp(-self.log_leak)
        rate = jnp.exp(self.log_adaptation_rate)
        a0 = b / jnp.expm1(rate) + b
        return rs.AdaptiveStochasticLIF(
            1, intensity=intensity, mu_a=rate / unit, b=b, a0=a0, **shared
        )

    def currents(self) -> Float[Array, " conditions"]:
        """The input current in each condition."""
        return SCALE * self.drive * jnp.exp(-self.log_leak)


@dataclasses.dataclass(frozen=True)
class Model:
    """A choice of model: what it is, and its parameters where training starts."""

    description: str
    start: Callable[[list[np.ndarray], float], Parameters]


def from_moments(intervals: list[np.ndarray], unit: float) -> Parameters:
    r"""Start from rate and shape of the intervals of each condition.

    Without leak, with a sharp threshold at distance $a$ above the reset, drift $d$ and noise
    $\sigma$, intervals have the inverse Gaussian law of mean $a / d$ and shape $a^2 / \sigma^2$:
    both are read off the data by maximum likelihood. Training starts there, with a leak that is
    slower than the neuron fires.
    """
    means = np.array([x.mean() for x in intervals]) / unit
    shapes = [1 / np.mean(unit / x - unit / x.mean()) for x in intervals]
    noise = float(np.clip(np.exp(-np.mean(np.log(shapes)) / 2), 0.05, 3.0))
    leak = 0.5
    # A leak pulls towards the threshold at v = 0 from half a reset below, on average.
    drive = 1 / means - leak / 2
    return Parameters(
        log_leak=_number(np.log(leak)),
        drive=jnp.asarray(drive, jnp.result_type(float)),
        log_noise=_number(np.log(noise)),
        log_beta=_number(np.log(1.4)),
        reset=_number(1.0),
        log_alpha=_number(np.log(0.02)),
    )


def _resetting(intervals, unit):
    """As `from_moments`, with hardly a leak, and the reset where the threshold of a diffusion that
    a soft threshold amounts to, see `rs.ResettingStochasticLIF`, is at the distance 1 above it."""
    start = from_moments(intervals, unit)
    leak, steepness = 0.05, 20.0
    noise = float(jnp.exp(start.log_noise))
    threshold = 2 / steepness * (np.log(steepness * noise / np.sqrt(2)) - np.euler_gamma)
    return dataclasses.replace(
        start,
        log_leak=_number(np.log(leak)),
        drive=start.drive + 0.25 - leak / 2,
        log_beta=_number(np.log(steepness / SCALE)),
        reset=_number(1 - threshold),
        log_alpha=_number(np.log(0.01)),
        forgets=True,
    )


def _resetting_slow(intervals, unit):
    return _with_slow_current(_resetting(intervals, unit))


def _adaptive(intervals, unit):
    return dataclasses.replace(
        from_moments(intervals, unit),
        adaptation=_number(0.0),
        log_adaptation_rate=_number(np.log(0.5)),
    )


def _slow(intervals, unit):
    return _with_slow_current(from_moments(intervals, unit))


def _adaptive_slow(intervals, unit):
    return _with_slow_current(_adaptive(intervals, unit))


def _with_slow_current(start):
    return dataclasses.replace(
        start, log_slow_noise=_number(np.log(0.1)), log_slow_rate=_number(np.log(0.3))
    )


def _number(value) -> Float[Array, ""]:
    return jnp.asarray(float(value))


MODELS = {
    "lif": Model("leaky integrate-and-fire with noise of the potential", from_moments),
    "resetting-lif": Model("the same, but a spike makes it forget its potential", _resetting),
    "resetting-slow-lif": Model("forgets its potential but not a slow current", _resetting_slow),
    "adaptive-lif": Model("the same with an adaptation current", _adaptive),
    "slow-lif": Model("the same as lif with a slowly varying random current", _slow),
    "adaptive-slow-lif": Model("adaptation and a slowly varying random current", _adaptive_slow),
}
"""The models by the name that the command knows."""


def describe(parameters: Parameters, unit: float, conditions: list[str]) -> dict[str, float]:
    """The parameters as numbers with units: times in seconds, potentials in units of the reset."""
    p = parameters
    leak = float(jnp.exp(p.log_leak))
    numbers = {"time constant of the leak (s)": unit / leak}
    for name, drive in zip(conditions, np.asarray(p.drive), strict=True):
        numbers[f"drift from the reset, {name} (resets/s)"] = float(drive) / float(p.reset) / unit
    numbers["noise (resets per square root of s)"] = float(
        jnp.exp(p.log_noise) / p.reset / jnp.sqrt(unit)
    )
    numbers["potential over which the intensity grows e-fold (resets)"] = float(
        1 / (jnp.exp(p.log_beta) * SCALE * p.reset)
    )
    numbers["reset (start of training = 1)"] = float(p.reset)
    numbers["dead integrated intensity"] = float(jnp.exp(p.log_alpha))
    if p.adaptation is not None:
        assert p.log_adaptation_rate is not None
        numbers["drift lost by a spike to adaptation (resets/s)"] = float(
            p.adaptation / p.reset / unit
        )
        numbers["time constant of adaptation (s)"] = float(unit / jnp.exp(p.log_adaptation_rate))
    if p.log_slow_noise is not None:
        assert p.log_slow_rate is not None
        numbers["standard deviation of the slow drift (resets/s)"] = float(
            jnp.exp(p.log_slow_noise) / p.reset / unit
        )
        numbers["time constant of the slow drift (s)"] = float(unit / jnp.exp(p.log_slow_rate))
    return numbers
