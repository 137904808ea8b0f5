"""Statistics of spike trains: rates, intervals between spikes, and how irregular they are."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .binning import binned_counts
from .first_times import by_neuron, first_spike_times, room_of_a_neuron
from .trains import SpikeTrains


def spike_rates(trains: SpikeTrains) -> Float[Array, "*batch num_neurons"]:
    """Number of spikes of each neuron, divided by the length of the window; where trains hold the
    presence of spikes, differentiable in it."""
    counts = trains.presence_by_neuron
    return counts / jnp.broadcast_to(trains.durations[..., None], counts.shape)


def inter_spike_intervals(
    trains: SpikeTrains, *, max_intervals: int | None = None
) -> Float[Array, "*batch num_neurons intervals"]:
    """Intervals between successive spikes of each neuron, in their order, padded with `inf`.

    Differentiable in the spike times.

    Args:
        trains: any batch of trains.
        max_intervals: room for the intervals of a neuron; there may be more, which are left out.
            By default room for those of the busiest neuron or, where they are not known because of
            `jit`, for one less than `max_spikes`, which is far more than needed with many neurons.

    Raises:
        ValueError: `max_intervals < 0`.
    """
    if max_intervals is not None and max_intervals < 0:
        raise ValueError(f"`max_intervals` is {max_intervals}; it must be 0 or more.")
    room = max(room_of_a_neuron(trains) - 1, 0) if max_intervals is None else max_intervals
    if room == 0:
        return jnp.zeros((*trains.batch_shape, trains.num_neurons, 0), trains.times.dtype)
    times = first_spike_times(trains, room + 1)
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
    intervals, seen, neurons = _intervals(trains)
    mean = _mean(trains, pooled, intervals, seen, neurons)
    own = jnp.broadcast_to(mean if pooled else mean.reshape(-1, trains.num_neurons),
                           (intervals.shape[0], trains.num_neurons))  # fmt: skip
    own = jnp.take_along_axis(own, jnp.minimum(neurons, trains.num_neurons - 1), axis=1)
    deviation = jnp.where(seen, intervals - own, 0)
    variance = _mean(trains, pooled, deviation**2, seen, neurons)
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
    contrasts, seen, neurons = _contrasts(trains)
    return 2 * _mean(trains, pooled, jnp.abs(contrasts), seen, neurons)


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
    contrasts, seen, neurons = _contrasts(trains)
    return 3 * _mean(trains, pooled, contrasts**2, seen, neurons)


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


def _intervals(trains: SpikeTrains) -> tuple[Array, Bool[Array, "..."], Array]:
    """Intervals as one list for each train, 0 where there is none; where there is one; of which
    neuron. The list has the length of the spikes, however many neurons there are."""
    trains = trains if trains.max_spikes > 1 else trains.pad_to(2)
    spikes = by_neuron(trains)
    before, after = spikes.neurons[:, :-1], spikes.neurons[:, 1:]
    seen = (before == after) & (before < trains.num_neurons)
    # `inf - inf` has no derivative, so padding is replaced before the difference.
    later = jnp.where(seen, spikes.times[:, 1:], 0)
    earlier = jnp.where(seen, spikes.times[:, :-1], 0)
    return later - earlier, seen, before


def _contrasts(trains: SpikeTrains) -> tuple[Array, Bool[Array, "..."], Array]:
    """Differences of successive intervals over their sums, as `_intervals`.

    Two intervals of length 0, of three spikes at one time, do not differ.
    """
    intervals, seen, neurons = _intervals(trains)
    both = seen[:, 1:] & seen[:, :-1]
    difference = intervals[:, 1:] - intervals[:, :-1]
    total = intervals[:, 1:] + intervals[:, :-1]
    contrasts = jnp.where(both, difference / jnp.where(both & (total > 0), total, 1), 0)
    return contrasts, both, neurons[:, :-1]


def _mean(trains: SpikeTrains, pooled: bool, values: Array, seen: Array, neurons: Array) -> Array:
    """Mean over the values of each neuron that are seen; NaN where none is."""
    shape = (values.shape[0], trains.num_neurons)
    rows = jnp.broadcast_to(jnp.arange(shape[0], dtype=jnp.int32)[:, None], values.shape)
    # What is not seen is sent past the end and dropped.
    column = jnp.where(seen, neurons, trains.num_neurons)
    total, number = (
        jnp.zeros(shape, values.dtype).at[rows, column].add(x, mode="drop")
        for x in (values, jnp.ones_like(values))
    )
    if pooled:
        total, number = jnp.sum(total, axis=0), jnp.sum(number, axis=0)
    else:
        total, number = (x.reshape(*trains.batch_shape, shape[1]) for x in (total, number))
    return total / jnp.where(number == 0, jnp.nan, number)
