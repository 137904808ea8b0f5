"""What sequences of intervals are compared by: features whose means are the two losses."""

import abc
import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs
from roughsnn.signatures import event_signature

from .splitting import on_clock

LANDMARKS = 100
"""Recorded sequences whose kernels are the coordinates of a mean embedding."""


class Clock(eqx.Module):
    """The interval clock of a condition as arrays."""

    log_quantiles: Float[Array, "41"]
    shares: Float[Array, "41"]
    weight: float = eqx.field(static=True, default=0.3)

    def readings(self, intervals: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Of intervals in units of the mean."""
        return on_clock(intervals, self.log_quantiles, self.shares, self.weight)


class Features(eqx.Module):
    """Features of sequences, whose mean over a sample is compared, see `LOSSES`."""

    @abc.abstractmethod
    def __call__(self, trains: rs.SpikeTrains) -> Float[Array, "samples features"]:
        """Of each sequence of a sample."""


class Words(Features):
    """All words of the signature of up to five letters.

    Two units of time and two of counts make the levels of one size.
    """

    def __call__(self, trains):
        scale = 2.0 / trains.max_spikes
        return event_signature(trains, 5, time_scale=scale, neuron_scale=scale)


class Embedding(Features):
    r"""The kernels of a sequence with `LANDMARKS` recorded sequences $z$, by a signature kernel.

    The features are $C^{-1} k(z, x)$ with $C C^\top = k(z, z) + 10^{-3}$: the squared distance of
    their means is the squared MMD as far as the kernels of $z$ see it. Time runs over 7 units, as
    in the part of the default two-sample test that sees intervals.
    """

    kernel: rs.SignatureKernel
    marks: Float[Array, "marks length"]
    norms: Float[Array, " marks"]
    lower: Float[Array, "marks marks"]

    def __init__(self, data: rs.SpikeTrains):
        kernel = rs.SignatureKernel(7.0 / data.max_spikes, None, normalise=True, orders=(10, 7))
        kernel = kernel.fixed_for(data)
        kernel = eqx.tree_at(lambda k: k.neuron_scale, kernel, jnp.asarray(kernel.neuron_scale) * 2)
        spread = np.linspace(0, len(data) - 1, min(LANDMARKS, len(data))).round().astype(int)
        marks = data[jnp.asarray(spread)]
        self.kernel, self.marks, self.norms = kernel, marks.times, kernel.norms(marks)
        gram = kernel(marks)
        self.lower = jnp.linalg.cholesky(gram + 1e-3 * jnp.eye(len(marks), dtype=gram.dtype))

    def __call__(self, trains):
        norms = (self.norms, self.kernel.norms(trains))
        cross = self.kernel(as_trains(self.marks), trains, norms=norms)
        return jax.scipy.linalg.solve_triangular(self.lower, cross, lower=True).T


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss: its name, and the features for a recorded sample."""

    name: str
    features: Callable[[rs.SpikeTrains], Features]


LOSSES = {
    "signature-kernel": Loss("signature-kernel MMD", Embedding),
    "expected-signature": Loss("expected signatures", lambda data: Words()),
}
"""The losses by the name that the command knows."""


def sequences_on_clock(intervals, clock: Clock) -> rs.SpikeTrains:
    """Sequences of intervals, in units of the mean, as trains on the clock of a condition."""
    return as_trains(jnp.cumsum(clock.readings(intervals), axis=-1))


def as_trains(times) -> rs.SpikeTrains:
    """Spike times on the clock, where n intervals end by n."""
    return rs.SpikeTrains(
        times,
        jnp.zeros(times.shape, jnp.int32),
        0.0,
        float(times.shape[-1]),
        jnp.zeros(times.shape[:-1], bool),
        num_neurons=1,
    )
