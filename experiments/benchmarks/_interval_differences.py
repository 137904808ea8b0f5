"""Derivatives of expected features of an interval by central differences.

The neuron is written out here once more, with noise and marks of its own: the potential from the
reset on by Euler's method, and the interval where the integrated intensity first reaches its
threshold. All parameters are moved with the same noise. Differences are taken of the features of
the sampled interval, and of their mean over the mark, a sum over the cells in which it may end:
for some parameters few trials in ten thousand have sampled intervals that differ at all, so that
the standard error of their mean says nothing.
"""

from collections.abc import Callable

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

_STEP = 0.015


def derivatives_of_intervals(
    theta: np.ndarray, features: Callable, longest: float, dt: float, trials: int, key,
    block: int = 4096,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Derivatives and their standard errors, shape (2, features, parameters): of means over the
    mark, and of sampled intervals.

    Args:
        theta: drive, log leak, log sigma, log beta, reset, log alpha, log tau_s.
        features: function of intervals that returns several values of each.
        longest: where an interval that goes on is cut off.
        dt: step.
        trials: noise paths, each with a mark.
        key: random key.
        block: paths of one call.
    """
    moves = _STEP * np.concatenate([np.eye(7), -np.eye(7)])
    points = jnp.asarray(theta[None] + moves, jnp.float32)
    cells = round(longest / dt)
    drive, leak, sigma, beta, reset, alpha, tau_s = (points[:, i, None] for i in range(7))
    leak, sigma, beta, alpha, tau_s = map(jnp.exp, (leak, sigma, beta, alpha, tau_s))

    @jax.jit
    def one(key):
        noise, mark = jr.split(key)
        level = alpha + jr.exponential(mark, (1, block), jnp.float32)
        begin = jnp.zeros((14, block), jnp.float32)

        def step(carry, number):
            v, integrated, interval, mean = carry
            rate = jnp.exp(jnp.minimum(beta * v, 60.0)) / tau_s
            # 0 for one that has ended: its level was passed
            left = (level - integrated) / (rate * dt)
            ends = (left > 0) & (left <= 1)
            time = (number.astype(jnp.float32) + left) * dt
            interval = jnp.where(ends, time, interval)
            z = jr.normal(jr.fold_in(noise, number), (1, block), jnp.float32)
            v = v + (drive - leak * v) * dt + sigma * np.float32(np.sqrt(dt)) * z
            passed = integrated + rate * dt
            ends = survival(integrated) - survival(passed)
            middle = jnp.stack(features((number.astype(jnp.float32) + 0.5) * dt))
            mean = mean + ends * middle[:, None, None]
            return (v, passed, interval, mean), None

        def survival(integrated):
            return jnp.exp(-jnp.maximum(integrated - alpha, 0))

        last = jnp.stack(features(jnp.float32(longest)))[:, None, None]
        start = (begin - reset, begin, begin + np.float32(longest), 0 * last + begin)
        (_, integrated, interval, mean), _ = lax.scan(
            step, start, jnp.arange(cells, dtype=jnp.int32)
        )
        mean = mean + last * survival(integrated)
        values = jnp.stack([mean, jnp.stack(features(interval))])
        slopes = (values[:, :, :7] - values[:, :, 7:]) / (2 * _STEP)
        return jnp.mean(slopes, axis=-1), jnp.mean(jnp.square(slopes), axis=-1)

    blocks = max(2, trials // block)
    found = [one(jr.fold_in(key, i)) for i in range(blocks)]
    mean = np.mean([np.asarray(m, float) for m, _ in found], axis=0)
    square = np.mean([np.asarray(s, float) for _, s in found], axis=0)
    return mean, np.sqrt((square - mean**2) / (blocks * block))
