"""What a neuron is compared with: the mean features of recorded sequences, and those of every
sequence of readings of the clock that a model can make."""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

from .features import LANDMARKS, Clock, Features, Loss, as_trains, sequences_on_clock
from .splitting import IntervalClock, Part, sequences

NODES = {1: 24, 2: 24, 3: 16, 4: 8, 5: 6}
"""Readings of the clock between which features are interpolated, by the length of a sequence.
Words of five letters are polynomials of degree five in the readings; kernels are analytic."""

DIRECTIONS = LANDMARKS
"""Directions of the features at least; those that a loss has not are 0."""

SEQUENCES = 1000
"""Recorded sequences at most, evenly spread where there are more."""


class Table(eqx.Module):
    r"""Features of all sequences of intervals of a condition, as polynomials in the readings.

    The mean over a model is then that of a polynomial: with $m_j$ the polynomials that are 1 at one
    of the nodes of the clock and 0 at the others,

    $$ E\,F(u_1, u_2, \dots) = \sum_{j_1 j_2 \dots} F_{j_1 j_2 \dots}
       E\,m_{j_1}(u_1)\,m_{j_2}(u_2) \cdots, $$

    where F does not depend on the model and is computed once.

    Attributes:
        basis: the polynomials at the edges of the grid on which intervals are followed.
        values: features less those of the recording, for each sequence of nodes; directions that
            the recording does not see are 0.
    """

    basis: Float[Array, "edges nodes"]
    values: Float[Array, "sequences directions"]


@dataclasses.dataclass(frozen=True)
class Target:
    r"""What a condition is compared with.

    A distance of means counts every direction of the features in units of its spread over the
    recorded sequences, $(\Sigma + \epsilon)^{-1/2}$ with $\Sigma$ their covariance and $\epsilon$ a
    thousandth of its largest eigenvalue: directions that vary much are known little.

    Attributes:
        table: features of the sequences of a model.
        recorded: of the recorded sequences, in the order in which they were recorded, less their
            mean.
        overlap: how many sequences after each other share intervals.
        count: intervals that were recorded.
    """

    table: Table
    recorded: Float[np.ndarray, "sequences directions"]
    overlap: float
    count: int

    @property
    def by_chance(self) -> float:
        """The mean squared distance of the recorded mean from that of the true law."""
        return loss_by_chance(self.recorded, self.overlap)

    @classmethod
    def of(cls, part: Part, unit: float, edges: np.ndarray, length: int, loss: Loss) -> "Target":
        """The target of the training part of a condition.

        Args:
            part: the data.
            unit: the model's unit of time in seconds.
            edges: of the grid on which intervals are followed, in units of that.
            length: intervals in a sequence.
            loss: what is compared.
        """
        clock = IntervalClock(part.train, unit)
        arrays = Clock(clock.log_quantiles, clock.shares, clock.weight)
        last = part.train.size - length
        count = min(SEQUENCES, last + 1)
        data = sequences_on_clock(jnp.asarray(sequences(part.train, length, count) / unit), arrays)
        nodes = chebyshev(NODES[length])
        grid = np.stack(np.meshgrid(*[nodes] * length, indexing="ij"), -1).reshape(-1, length)
        # with the recorded ones padded, so that recordings of all lengths share a compiled program
        padded = jnp.pad(data.times, ((0, SEQUENCES - count), (0, 0)), mode="edge")
        of_grid = jnp.asarray(np.cumsum(grid, axis=-1), padded.dtype)
        both = as_trains(jnp.concatenate([padded, of_grid]))
        every = np.asarray(_evaluated(loss.features(data), both), float)
        found, of_nodes = every[:count], every[SEQUENCES:]
        spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(found.T)))
        seen = spread > 1e-4 * spread[-1]
        scale = np.where(seen, 1 / np.sqrt(np.maximum(spread, 0) + 1e-3 * spread[-1]), 0.0)
        weights = directions * scale
        dtype = jnp.result_type(float)
        mean = found.mean(axis=0)
        values = (of_nodes - mean) @ weights
        # losses of fewer directions share a compiled program
        values = np.pad(values, ((0, 0), (0, max(DIRECTIONS - values.shape[1], 0))))
        weights = np.pad(weights, ((0, 0), (0, values.shape[1] - weights.shape[1])))
        readings = np.asarray(arrays.readings(jnp.asarray(edges, dtype)), float)
        table = Table(jnp.asarray(lagrange(readings, nodes), dtype), jnp.asarray(values, dtype))
        overlap = length * (count - 1) / max(last, 1)
        return cls(table, (found - mean) @ weights, overlap, part.train.size)


@eqx.filter_jit
def _evaluated(features: Features, trains: rs.SpikeTrains):
    return features(trains)


def chebyshev(number: int) -> np.ndarray:
    """Chebyshev's points on [0, 1]."""
    return (1 - np.cos((2 * np.arange(number) + 1) * np.pi / (2 * number))) / 2


def lagrange(x: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The polynomials that are 1 at one of Chebyshev's points and 0 at the others, at x; shape
    (x, nodes). By the barycentric formula."""
    order = np.arange(nodes.size)
    weights = (-1.0) ** order * np.sin((2 * order + 1) * np.pi / (2 * nodes.size))
    apart = x[:, None] - nodes
    there = np.isclose(apart, 0, atol=1e-13)
    terms = weights / np.where(there, 1, apart)
    found = terms / terms.sum(axis=1, keepdims=True)
    return np.where(there.any(axis=1, keepdims=True), there, found)


def loss_by_chance(values: np.ndarray, overlap: float) -> float:
    r"""Expected squared distance of the mean of recorded sequences from the mean of their law.

    It is

    $$ \frac1{n^2} \sum_{|i - j| < o} (v_i - \bar v) \cdot (v_j - \bar v), $$

    for intervals that are independent, so that sequences are as soon as they do not overlap.

    Args:
        values: of the sequences, in the order in which they were recorded, shape (n, directions).
        overlap: $o$, how many sequences after each other share intervals.
    """
    return max(float(np.trace(covariance_of_mean(values, overlap))), 0.0)


def covariance_of_mean(values: np.ndarray, overlap: float) -> np.ndarray:
    """Of the mean of recorded sequences that overlap, as in `loss_by_chance`."""
    centred = values - values.mean(axis=0)
    total = centred.T @ centred
    for lag in range(1, min(math.ceil(overlap), len(centred))):
        both = centred[lag:].T @ centred[:-lag]
        total = total + both + both.T
    return total / len(centred) ** 2
