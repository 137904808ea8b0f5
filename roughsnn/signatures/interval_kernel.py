"""A kernel of the intervals between spikes, for tests of whether two laws differ in them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..spikes.trains import SpikeTrains


class IntervalKernel(eqx.Module):
    r"""Trains compared by how many of their intervals are short, at many lengths at once.

    Let $I$ be the intervals from each spike of neuron $k$ to the next spike of neuron $l$ in the
    same train, $q_1 \le \dots \le q_G$ quantiles of those of all trains together, $p_g$ the share
    of them that are at most $q_g$, and $n(x)$ their number in the train $x$. Then

    $$
    k(x, y) = \sum_{k, l} \frac1G \sum_{g} \frac{f_g(x)\,f_g(y)}{p_g (1 - p_g)}, \qquad
    f_g(x) = \#\{I \in x : I \le q_g\} - p_g\,n(x) .
    $$

    The MMD of this kernel is the distance of Anderson and Darling of the intervals of two samples,
    each train weighted by the number of its intervals. It does not depend on the unit of time nor
    on a bandwidth, its weights bring out differences among the shortest and the longest intervals,
    and trains that differ in their numbers of spikes alone are alike.

    Every spike of a train has a part in few features only, so unlike the signature kernel this one
    adds up what little each interval tells over all of them; it sees neither slow changes of the
    rate nor anything beyond two spikes at a time.

    A Gram matrix depends on all the trains it is made for, through the quantiles and shares: it
    is for permutation tests, which treat all trains alike, not for losses.

    Attributes:
        between: intervals from the spikes of each neuron to those of each *other* neuron, where a
            spike at the same time is an interval of zero; otherwise, from each neuron to itself.
        num_quantiles: number $G$ of lengths.

    Raises:
        ValueError: fewer than one quantile, at construction; at the call, trains without exactly
            one batch axis.

    Reference: Scholz, Stephens (1987), Journal of the American Statistical Association 82, 918.
    """

    between: bool = eqx.field(static=True, default=False)
    num_quantiles: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        if self.num_quantiles < 1:
            raise ValueError(f"`num_quantiles` is {self.num_quantiles}; it must be 1 or more.")

    def __call__(self, trains: SpikeTrains) -> Float[Array, "n n"]:
        """Gram matrix of all trains of both samples together.

        Args:
            trains: of batch shape `(n,)`.
        """
        if len(trains.batch_shape) != 1:
            raise ValueError(
                f"`trains` has batch shape {trains.batch_shape}; it must have one batch axis."
            )
        if trains.max_spikes == 0:
            return jnp.zeros((len(trains), len(trains)), trains.times.dtype)
        return _gram(self, trains)

    def _features(
        self, intervals: Float[Array, "n slots"], rounding: Float[Array, ""]
    ) -> Float[Array, "n quantiles"]:
        exists = jnp.isfinite(intervals)
        number = jnp.sum(exists, axis=1).astype(intervals.dtype)
        total = jnp.sum(number)
        middle = (np.arange(self.num_quantiles) + 0.5) / self.num_quantiles
        place = jnp.floor(jnp.asarray(middle, total.dtype) * total).astype(jnp.int32)
        lengths = jnp.sort(intervals.reshape(-1))[jnp.minimum(place, intervals.size - 1)]
        # Intervals that are equal but for the rounding of the times are as short as each other.
        lengths = lengths + rounding
        short = jnp.sum(intervals[:, :, None] <= lengths[None, None], axis=1)
        short = short.astype(intervals.dtype)
        share = jnp.sum(short, axis=0) / jnp.maximum(total, 1)
        # Where all intervals are as short, or none exists, nothing is told.
        variance = share * (1 - share)
        tells = jnp.isfinite(lengths) & (variance > 0)
        scale = jnp.sqrt(jnp.where(tells, variance, 1) * self.num_quantiles)
        difference = short - share[None] * number[:, None]
        return jnp.where(tells[None], difference / scale[None], 0)


@eqx.filter_jit
def _gram(kernel: IntervalKernel, trains: SpikeTrains) -> Float[Array, "n n"]:
    """The Gram matrix, one pair of neurons after another."""

    def to_neuron(gram, target):
        intervals = _until_next(trains, target, kernel.between)

        def from_neuron(gram, source):
            taken = (trains.neurons == source) & jnp.isfinite(intervals)
            taken = taken & ((source != target) == kernel.between)
            features = kernel._features(jnp.where(taken, intervals, jnp.inf), rounding)
            return gram + jnp.matmul(features, features.T, precision="highest"), None

        return jax.lax.scan(from_neuron, gram, numbers)[0], None

    latest = jnp.max(jnp.where(trains.mask, jnp.abs(trains.times), 0), initial=0)
    rounding = 4 * jnp.finfo(latest.dtype).eps * latest
    numbers = jnp.arange(trains.num_neurons, dtype=trains.neurons.dtype)
    empty = jnp.zeros((len(trains), len(trains)), trains.times.dtype)
    return jax.lax.scan(to_neuron, empty, numbers)[0]


def _until_next(trains: SpikeTrains, neuron: Array, at_once: bool) -> Float[Array, "n slots"]:
    """Time from each spike to the next of `neuron`, `inf` where there is none.

    With `at_once`, a spike at the same time counts.
    """
    times = jnp.where(trains.mask, trains.times, jnp.inf)
    own = jnp.where(trains.neurons == neuron, times, jnp.inf)
    coming = jax.lax.cummin(own, axis=1, reverse=True)
    coming = jnp.pad(coming, ((0, 0), (0, 1)), constant_values=jnp.inf)
    side = "left" if at_once else "right"
    first = jax.vmap(lambda row: jnp.searchsorted(row, row, side=side))(times)
    following = jnp.take_along_axis(coming, first, axis=1)
    # Padding is `inf` less `inf` otherwise.
    return jnp.where(jnp.isfinite(following), following - times, jnp.inf)
