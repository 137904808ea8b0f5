r"""A signature loss for synaptic weights: few words, those that end in time, whitened.

The weight from k to j shows in how spikes of j follow those of k. For each neuron j and its senders
k this loss takes the words

$$
(k, j, 0),\ (k, 0, j, 0),\ (0, k, j, 0),\ (k, j, 0, 0),\ (j, k, 0),\ (k, 0),\ (k, 0, 0),
$$

the same with j in the place of k, and nothing else, with 0 for time. All end in time, so they are
continuous when a spike crosses the end of the window, and the pathwise gradient of their means is
exact. With $\phi_j$ these words, $\bar\phi_j$ their mean over the data, and $C_j$ their covariance
over the data with a share of 5 % of its diagonal,

$$
L = \sum_j \big(\bar\phi_j^{a} - \bar\phi_j\big)^\top C_j^{-1} \big(\bar\phi_j^{b} - \bar\phi_j\big)
$$

for the means over two halves a and b of the generated trials. The halves are independent, so that
L estimates the distance of the expectations without the bias of a plain square, whose gradient
also makes the generated words vary less.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs

from .weights_network import CONNECTIONS, trials

SHRINKAGE = 0.05


class WordsTarget(NamedTuple):
    """Means of the words over the data, and inverse covariances, one entry for each group of
    receivers with equally many senders."""

    means: list[Float[Array, "receivers words"]]
    inverses: list[Float[Array, "receivers words words"]]


class WordsLoss(eqx.Module):
    """The loss above. `fit` finds its target before the first step."""

    def target(self, observed: rs.SpikeTrains) -> WordsTarget:
        """Means and inverse covariances of the words of the data."""
        means, inverses = [], []
        for phi in neuron_words(observed):
            mean = phi.mean(axis=0)
            rest = phi - mean[None]
            covariance = jnp.einsum("bjp,bjq->jpq", rest, rest) / len(observed)
            variance = jnp.diagonal(covariance, axis1=1, axis2=2)
            # a word that never varies says nothing
            scale = jnp.where(variance > 0, 1 / jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
            correlation = covariance * scale[:, :, None] * scale[:, None, :]
            identity = jnp.eye(phi.shape[-1], dtype=phi.dtype)[None]
            shrunk = (1 - SHRINKAGE) * correlation + SHRINKAGE * identity
            means.append(mean)
            inverses.append(jnp.linalg.inv(shrunk) * scale[:, :, None] * scale[:, None, :])
        return WordsTarget(means, inverses)

    def __call__(self, generated: rs.SpikeTrains, target: WordsTarget) -> Float[Array, ""]:
        """The loss of a sample against the target."""
        half = len(generated) // 2
        total = jnp.zeros((), generated.times.dtype)
        for phi, mean, inverse in zip(
            neuron_words(generated), target.means, target.inverses, strict=True
        ):
            first = phi[:half].mean(axis=0) - mean
            second = phi[half:].mean(axis=0) - mean
            total = total + jnp.einsum("jp,jpq,jq->", first, inverse, second)
        return total


@eqx.filter_jit
def gauss_newton_step(
    model: rs.SpikingNetwork, target: WordsTarget, key: PRNGKeyArray, num_samples: int
) -> Float[Array, "K K"]:
    """The move of the weights by a Gauss-Newton step on the loss, with derivatives of the mean
    words in forward mode. The weights into a neuron move by its own words, the sum of their moves
    being 1 at most."""

    def mean_words(weights):
        moved = eqx.tree_at(lambda m: m.weights, model, weights)
        return [phi.mean(axis=0) for phi in neuron_words(trials(moved, key, num_samples))]

    weights = model.weights
    differences = [a - b for a, b in zip(mean_words(weights), target.means, strict=True)]
    move = jnp.zeros_like(weights)
    for g, (receivers, senders) in enumerate(groups()):
        # one sender of every receiver at a time: the words of a receiver do not see the others
        tangents = np.zeros((senders.shape[1], *weights.shape))
        for number in range(senders.shape[1]):
            tangents[number, senders[:, number], receivers] = 1

        def derivative(tangent, g=g):
            return jax.jvp(mean_words, (weights,), (tangent,))[1][g]

        by_weights = jax.lax.map(derivative, jnp.asarray(tangents, weights.dtype))
        weighted = jnp.einsum("wjp,jpq->wjq", by_weights, target.inverses[g])
        curvature = jnp.einsum("wjq,vjq->jwv", weighted, by_weights)
        damping = 1e-3 * jnp.trace(curvature, axis1=1, axis2=2) / curvature.shape[-1]
        identity = jnp.eye(curvature.shape[-1], dtype=curvature.dtype)
        curvature = curvature + damping[:, None, None] * identity[None]
        slope = jnp.einsum("wjq,jq->jw", weighted, differences[g])
        step = -jnp.linalg.solve(curvature, slope[..., None])[..., 0]
        step = step / jnp.maximum(1, jnp.abs(step).sum(axis=1, keepdims=True))
        move = move.at[senders, receivers[:, None]].set(step)
    return move


def groups() -> list[tuple[np.ndarray, np.ndarray]]:
    """Receivers with equally many senders: their numbers, and those of the senders of each."""
    receivers = np.flatnonzero(CONNECTIONS.any(axis=0))
    counts = CONNECTIONS.sum(axis=0)[receivers]
    found = []
    for count in np.unique(counts):
        group = receivers[counts == count]
        found.append((group, np.array([np.flatnonzero(CONNECTIONS[:, j]) for j in group])))
    return found


def neuron_words(trains: rs.SpikeTrains) -> list[Float[Array, "b receivers words"]]:
    """The words of each trial, for each group of `groups`."""
    single, pairs = all_words(trains)
    found = []
    for receivers, senders in groups():
        both = np.concatenate([senders, receivers[:, None]], axis=1)
        column = receivers[:, None]
        parts = [
            single[:, both],
            pairs[:, both, column],
            pairs[:, column, senders][..., :1],
        ]
        b, size = len(trains), len(receivers)
        found.append(jnp.concatenate([part.reshape(b, size, -1) for part in parts], axis=-1))
    return found


def all_words(
    trains: rs.SpikeTrains,
) -> tuple[Float[Array, "b K 2"], Float[Array, "b K K 4"]]:
    """For each neuron k the words (k, 0) and (k, 0, 0); for each pair k, j the words (k, j, 0),
    (k, 0, j, 0), (0, k, j, 0) and (k, j, 0, 0). No two spikes at one time."""
    mask = trains.mask
    t = jnp.where(mask, trains.times, jnp.broadcast_to(trains.durations[:, None], mask.shape))
    left = trains.durations[:, None] - t
    own = jax.nn.one_hot(trains.neurons, trains.num_neurons, dtype=t.dtype)
    timed = own * t[..., None]
    # spikes before the present one, and the sum of their times; at a jump half of it counts
    count, total = jnp.cumsum(own, axis=1) - own, jnp.cumsum(timed, axis=1) - timed
    lag = t[..., None] * count - total
    count, total = count + own / 2, total + timed / 2
    by_left = own * left[..., None]
    by_square = own * jnp.square(left)[..., None] / 2
    single = jnp.stack([by_left.sum(axis=1), by_square.sum(axis=1)], axis=-1)
    pairs = jnp.stack(
        [
            jnp.einsum("bek,bej->bkj", before, after)
            for before, after in (
                (count, by_left), (lag, by_left), (total, by_left), (count, by_square),
            )
        ],
        axis=-1,
    )  # fmt: skip
    return single, pairs
