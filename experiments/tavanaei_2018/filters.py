r"""Convolution filters that STDP learns without labels, and the features that they give.

Pixels fire at random with their ink as the probability. Units that share a patch compete: the
potential of each is $U_j = w_j \cdot \tilde y$ with recent input spikes $\tilde y$, less the mean
over units; those whose softmax reaches a threshold fire and learn by [`STDP`][
roughsnn.plasticity.STDP]; the threshold rises where more than one fires and falls where none does.
"""

from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from roughsnn.plasticity import STDP

SIDE = 3
"""Of a patch, pixels."""
LEARNING_STEPS, STEPS = 40, 20
"""Steps of a patch while filters learn, and of a picture for its features."""
RECENT = float(np.exp(-1 / 0.25))
"""By how much recent input spikes decay in a step."""
FIRST_THRESHOLD, THRESHOLD_RATE = 0.15, 5e-5
CONVOLUTION_THRESHOLD, LEAK = 0.8, float(np.exp(-1.0))


def patches(pictures: Float[Array, "... height width"]) -> Float[Array, "... places pixels"]:
    """All patches of pictures, padded by zeros so that there is one around every pixel."""
    height, width = pictures.shape[-2:]
    edge = [(0, 0)] * (pictures.ndim - 2) + [(SIDE // 2, SIDE // 2)] * 2
    wide = jnp.pad(pictures, edge)
    found = [
        wide[..., i : i + height, j : j + width] for i in range(SIDE) for j in range(SIDE)
    ]  # fmt: skip
    return jnp.stack(found, axis=-1).reshape(*pictures.shape[:-2], height * width, SIDE * SIDE)


def learn(
    pictures: Any, units: int, presented: int, seed: int, rule: STDP | None = None
) -> dict[str, np.ndarray]:
    """Learn filters from patches of pictures.

    Args:
        pictures: of shape (samples, height, width), from 0 to 1.
        units: how many filters.
        presented: how many patches are presented, drawn with replacement among those with ink.
        seed: of patches, spikes and weights.
        rule: how they learn; default: `STDP()` with the published constants.

    Returns:
        `weights`, of shape (pixels, units); `predicted`, for each of them the share of the unit's
        spikes with which the input spiked, over the last half; `fired`, spikes of each unit in that
        time; `mean`, the mean of the weights over it; and the `threshold` at the end.
    """
    rule = STDP() if rule is None else rule
    start, choose, spike = jr.split(jr.key(seed), 3)
    every = np.asarray(patches(jnp.asarray(pictures))).reshape(-1, SIDE * SIDE)
    every = jnp.asarray(every[every.sum(axis=1) > 0], jnp.float32)
    chosen = jr.randint(choose, (presented,), 0, every.shape[0])
    weights = jr.uniform(start, (SIDE * SIDE, units), jnp.float32)
    zeros = jnp.zeros((SIDE * SIDE, units), jnp.float32)
    late = jnp.arange(presented, dtype=jnp.int32) >= presented // 2

    def step(carry, given):
        weights, threshold, recent, together, fired, total = carry
        spikes, counts = given
        recent = RECENT * recent + spikes
        potential = recent @ weights
        share = jax.nn.softmax(potential - jnp.mean(potential))
        fires = share >= threshold
        weights = rule(weights, spikes > 0, fires)
        threshold = threshold + THRESHOLD_RATE * (jnp.sum(fires.astype(jnp.float32)) - 1)
        seen = counts * fires.astype(jnp.float32)
        together = together + spikes[:, None] * seen
        return (weights, threshold, recent, together, fired + seen, total + counts * weights), None

    def present(carry, given):
        place, counts, key = given
        drawn = jr.uniform(key, (LEARNING_STEPS, SIDE * SIDE), jnp.float32) < every[place]
        spikes = drawn.astype(jnp.float32)
        weights, threshold, *sums = carry
        carry = weights, threshold, jnp.zeros(SIDE * SIDE, jnp.float32), *sums
        counts = jnp.full(LEARNING_STEPS, counts, jnp.float32)
        (weights, threshold, _, *sums), _ = lax.scan(step, carry, (spikes, counts))
        return (weights, threshold, *sums), None

    begin = weights, jnp.float32(FIRST_THRESHOLD), zeros, jnp.zeros(units, jnp.float32), zeros
    given = chosen, late, jr.split(spike, presented)
    (weights, threshold, together, fired, total), _ = jax.jit(
        lambda begin, given: lax.scan(present, begin, given)
    )(begin, given)
    return {
        "weights": np.asarray(weights),
        "predicted": np.asarray(together / jnp.maximum(fired, 1)[None]),
        "fired": np.asarray(fired),
        "mean": np.asarray(total / (LEARNING_STEPS * (presented - presented // 2))),
        "threshold": np.asarray(threshold),
    }


@jax.jit
def features(weights: Any, pictures: Any, key: Any) -> Float[Array, "samples features"]:
    r"""Spike counts of units that share filters, over the number of steps, after pooling.

    A unit is a leaky integrate-and-fire neuron, $U \leftarrow U / e + \cos(w, y)$ with y the spikes
    of its patch, which fires and is reset at its threshold. Of each 2 x 2 units, in blocks that
    overlap by half, the one that fires most is kept.
    """
    drawn = jr.uniform(key, (STEPS, *pictures.shape), jnp.float32) < pictures
    direction = weights / jnp.linalg.norm(weights, axis=0)

    def step(potential, spikes):
        own = patches(spikes.astype(jnp.float32))
        size = jnp.sqrt(jnp.sum(own, axis=-1, keepdims=True))
        potential = LEAK * potential + own @ direction / jnp.maximum(size, 1)
        fires = potential >= CONVOLUTION_THRESHOLD
        return jnp.where(fires, 0, potential), fires.astype(jnp.float32)

    samples, height, width = pictures.shape
    start = jnp.zeros((samples, height * width, weights.shape[1]), jnp.float32)
    counts = jnp.sum(lax.scan(step, start, drawn)[1], axis=0) / STEPS
    counts = counts.reshape(samples, height, width, -1)
    rows = jnp.maximum(counts[:, 1:], counts[:, :-1])
    return jnp.maximum(rows[:, :, 1:], rows[:, :, :-1]).reshape(samples, -1)
