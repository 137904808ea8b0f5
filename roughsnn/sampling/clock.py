"""The balanced sampler by the clock, as its source has it: large, fast, and with a step."""

from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from .._checks import IntLike, RealLike, number, optional_whole_number, whole_number
from ..spikes.checks import refuse_if
from .balanced import BalancedSampler
from .metropolis import SampledPath
from .readouts import PiecewiseConstant


def run_by_clock(
    sampler: BalancedSampler,
    key: PRNGKeyArray,
    num_steps: IntLike,
    dt0: RealLike,
    *,
    every: IntLike = 1,
    shift: PiecewiseConstant | None = None,
    max_spikes_per_step: IntLike | None = 1,
) -> SampledPath:
    r"""Run a balanced sampler from silence by Euler's scheme; `jax.vmap` over keys makes batches.

    In each step the potentials move by drift and noise, and then neurons above their threshold
    fire, the one farthest above it first. With one spike a step at most, as in the source, the
    readout can lag behind where a step needs more; the rate of the whole network is then at most
    1/dt, and `dt0` is a parameter of the model. With `None` as many fire as are due, one after
    another, as in continuous time.

    Args:
        sampler: the network.
        key: random key.
        num_steps: steps.
        dt0: length of a step. Euler's scheme is stable where it is less than twice the shortest
            time constant, $\tau_s$ over the largest eigenvalue of $D\Sigma^{-1}$ for a normal
            target.
        every: keep the estimate once in so many steps.
        shift: the shift of the target over time, from the start on.
        max_spikes_per_step: how many spikes there may be in a step; `None` for all that are due
            (a thousand times K at most, where the scheme is unstable).

    Raises:
        ValueError: an argument outside its range, or steps at which Euler's scheme diverges;
            potentials that become infinite or NaN (inside `jit` at run time).
    """
    every, num_steps = whole_number("every", every, 1), whole_number("num_steps", num_steps, 1)
    if num_steps % every:
        raise ValueError(f"`num_steps` is {num_steps}; it must be a multiple of `every`, {every}.")
    dt0 = number("dt0", dt0, positive=True)
    rate = sampler.fastest_rate
    if not isinstance(rate, jax.core.Tracer) and dt0 * float(rate) >= 2:
        raise ValueError(
            f"`dt0` is {dt0:g}, and Euler's scheme diverges unless it is less than twice the "
            f"shortest time constant of the sampler, {1 / float(rate):g}: take shorter steps."
        )
    most = optional_whole_number("max_spikes_per_step", max_spikes_per_step, 1)
    dtype, (p, k) = sampler.readout.dtype, sampler.readout.shape
    if shift is None:
        shift = PiecewiseConstant([], jnp.zeros((1, p), dtype))
    if shift.values.shape[1] != p:
        raise ValueError(
            f"`shift` must have {p} columns, as the target has, got {shift.values.shape}."
        )
    values, steps = shift.values.astype(dtype), shift.first_steps(dt0)
    thresholds, recurrent, columns = sampler.thresholds, sampler.recurrent, sampler.readout.T
    strength = (2 * dt0 / sampler.tau_langevin) ** 0.5

    def fire(carry: Any):
        v, theta, counts, n = carry
        j = jnp.argmax(v - thresholds)
        o = (v[j] > thresholds[j]).astype(dtype)
        counts = counts.at[j].add(o.astype(jnp.int32))
        return v - recurrent[j] * o, theta + columns[j] * o, counts, n + 1

    def due(carry: Any):
        v, _, _, n = carry
        return jnp.any(v > thresholds) & (n < (1000 * k if most is None else most))

    def step(carry, noise):
        v, theta, counts, i = carry
        now = values[jnp.sum(steps <= i, dtype=jnp.int32)]
        dv = sampler.potential_drift(v, theta, now) * dt0
        v = v + dv + sampler.feed.T @ (sampler.noise_factor @ noise) * strength
        fired = (v, theta * (1 - dt0 / sampler.tau_readout), counts, jnp.int32(0))
        fired = fire(fired) if most == 1 else lax.while_loop(due, fire, fired)
        v, theta, counts, _ = fired
        return (v, theta, counts, i + 1), None

    def chunk(carry, key):
        v, theta, i = carry
        start = (v, theta, jnp.zeros(k, jnp.int32), i)
        (v, theta, counts, i), _ = lax.scan(step, start, jr.normal(key, (every, p), dtype))
        return (v, theta, i), (theta, counts)

    start = (jnp.zeros(k, dtype), jnp.zeros(p, dtype), jnp.int32(0))
    (v, theta, _), (estimates, counts) = lax.scan(chunk, start, jr.split(key, num_steps // every))
    estimates = refuse_if(
        estimates,
        ~jnp.isfinite(jnp.sum(v) + jnp.sum(theta)),
        "Potentials of a balanced sampler became infinite or NaN: check the log density of the "
        "target (is it finite where the estimate begins, at 0?), or decrease `dt0`.",
    )
    ts = dt0 * every * jnp.arange(1, num_steps // every + 1, dtype=dtype)
    return SampledPath(ts, estimates, counts)
