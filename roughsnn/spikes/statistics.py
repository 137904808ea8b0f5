"""Statistics of spike trains: rates, intervals between spikes, and how irregular they are."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .binning import binned_counts
from .first_times import first_spike_times
from .trains import SpikeTrains


def spike_rates(trains: SpikeTrains) -> Float[Array, "*batch num_neurons"]:
    """Number of spikes of each neuron, divided by the length of the window."""
    counts = trains.counts_by_neuron.astype(trains.times.dtype)
    return counts / jnp.broadcast_to(trains.durations[..., None], counts.shape)


def inter_spike_intervals(trains: SpikeTrains) -> Float[Array, "*batch num_neurons intervals"]:
    """Intervals between successive spikes of each neuron, in their order, padded with `inf`.

    There is room for `max_spikes - 1` of them. Differentiable in the spike times.
    """
    if trains.max_spikes < 2:
        return jnp.zeros((*trains.batch_shape, trains.num_neurons, 0), trains.times.dtype)
    times = first_spike_times(trains, trains.max_spikes)
    last = jnp.isfinite(times[..., 1:])
    # `inf - inf` has no derivative, so padding is replaced before the difference.
    later = jnp.where(last, times[..., 1:], 0)
    earlier = jnp.where(last, times[..., :-1], 0)
    return jnp.where(last, later - earlier, jnp.inf)


def cv(
    trains: SpikeTrains, *, pooled: bool = False
) -> Float[Array, "*batch num_neurons"] | Float[Array, " num_neurons"]:
    r"""Coefficient of variation of the intervals: their standard deviation over their mean.

    1 for a Poisson process, 0 for a regular train. The variance is that of elephant, divided by
    the number of intervals and not by one less. NaN without any interval.

    Args:
        trains: any batch of trains.
        pooled: take the intervals of all trials together, one value for each neuron.
    """
    intervals, seen = _intervals(trains, pooled)
    mean = _mean(intervals, seen)
    deviation = jnp.where(seen, intervals - mean[..., None], 0)
    variance = _mean(deviation**2, seen)
    spread = variance > 0
    deviation = jnp.where(spread, jnp.sqrt(jnp.where(spread, variance, 1)), variance)
    return deviation / jnp.where(mean == 0, jnp.nan, mean)


def cv2(
    trains: SpikeTrains, *, pooled: bool = False
) -> Float[Array, "*batch num_neurons"] | Float[Array, " num_neurons"]:
    r"""CV2, the mean of $2\,|I_{i+1} - I_i| / (I_{i+1} + I_i)$ over successive intervals.

    As the CV, but blind to slow changes of the rate. NaN with fewer than two intervals.

    Args:
        trains: any batch of trains.
        pooled: take the intervals of all trials together, one value for each neuron.

    Reference: Holt, Softky, Koch, Douglas (1996), J. Neurophysiology 75, 1806.
    """
    contrasts, seen = _contrasts(trains, pooled)
    return 2 * _mean(jnp.abs(contrasts), seen)


def lv(
    trains: SpikeTrains, *, pooled: bool = False
) -> Float[Array, "*batch num_neurons"] | Float[Array, " num_neurons"]:
    r"""Local variation, the mean of $3\,(I_{i+1} - I_i)^2 / (I_{i+1} + I_i)^2$.

    1 for a Poisson process, like the CV, but blind to slow changes of the rate. NaN with fewer
    than two intervals.

    Args:
        trains: any batch of trains.
        pooled: take the intervals of all trials together, one value for each neuron.

    Reference: Shinomoto, Shima, Tanji (2003), Neural Computation 15, 2823.
    """
    contrasts, seen = _contrasts(trains, pooled)
    return 3 * _mean(contrasts**2, seen)


def fano_factor(trains: SpikeTrains, *, num_bins: int = 1) -> Float[Array, " num_neurons"]:
    """Variance of the spike count over its mean, over all trials; 1 for a Poisson process.

    The variance is divided by the number of counts, as in elephant. NaN for a silent neuron.

    Args:
        trains: any batch of trains; all its axes are trials.
        num_bins: count in so many equal parts of the window, and take them as trials too.

    Raises:
        ValueError: `num_bins < 1`.
    """
    counts = binned_counts(trains, num_bins).reshape(-1, trains.num_neurons, num_bins)
    counts = counts.astype(trains.times.dtype)
    mean = jnp.mean(counts, axis=(0, 2))
    return jnp.var(counts, axis=(0, 2)) / jnp.where(mean == 0, jnp.nan, mean)


def _intervals(trains: SpikeTrains, pooled: bool) -> tuple[Array, Bool[Array, "..."]]:
    """Intervals, 0 in the padding, and where there is one."""
    intervals = inter_spike_intervals(trains)
    seen = jnp.isfinite(intervals)
    return _pool(trains, pooled, jnp.where(seen, intervals, 0), seen)


def _contrasts(trains: SpikeTrains, pooled: bool) -> tuple[Array, Bool[Array, "..."]]:
    """Differences of successive intervals over their sums, 0 in the padding, and where they are.

    Two intervals of length 0, of three spikes at one time, do not differ.
    """
    intervals, seen = _intervals(trains, pooled=False)
    both = seen[..., 1:] & seen[..., :-1]
    difference = intervals[..., 1:] - intervals[..., :-1]
    total = intervals[..., 1:] + intervals[..., :-1]
    contrasts = jnp.where(both, difference / jnp.where(both & (total > 0), total, 1), 0)
    return _pool(trains, pooled, contrasts, both)


def _pool(trains: SpikeTrains, pooled: bool, *arrays: Array) -> tuple:
    if not pooled:
        return arrays
    size = math.prod(trains.batch_shape)
    shape = (trains.num_neurons, size * arrays[0].shape[-1])
    return tuple(
        jnp.moveaxis(array.reshape(size, trains.num_neurons, -1), 0, 1).reshape(shape)
        for array in arrays
    )


def _mean(values: Array, seen: Array) -> Array:
    """Mean over the last axis of what was seen; NaN where nothing was."""
    number = jnp.sum(seen, axis=-1, dtype=values.dtype)
    total = jnp.sum(jnp.where(seen, values, 0), axis=-1)
    return total / jnp.where(number == 0, jnp.nan, number)
