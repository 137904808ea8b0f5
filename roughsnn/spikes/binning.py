"""Spikes in bins of time: counts, the peri-stimulus time histogram, and correlograms."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .trains import SpikeTrains
from .windows import common_duration, rounding_of_duration

_ROUNDINGS = 8
"""How many roundings of the length of a window its bins must be wide, four times over."""


def bin_edges(trains: SpikeTrains, num_bins: int) -> Float[Array, " edges"]:
    """Edges of `num_bins` equal bins of the window, one more than there are bins.

    As spike times, they count from the start of the window: add `trains.t0` for the times of the
    recording.

    Raises:
        ValueError: `num_bins < 1`, more bins than the dtype of the times resolves, or trials of
            different lengths.
    """
    _check_bins(trains, num_bins)
    end = common_duration(trains, "A histogram over time")
    steps = jnp.arange(num_bins + 1, dtype=trains.times.dtype)
    return (steps * end / num_bins).at[-1].set(end)


def _check_bins(trains: SpikeTrains, num_bins: int) -> None:
    if num_bins < 1:
        raise ValueError(f"`num_bins` is {num_bins}; it must be 1 or more.")
    most = int(0.25 / (_ROUNDINGS * float(jnp.finfo(trains.times.dtype).eps)))
    if num_bins > most:
        raise ValueError(
            f"`num_bins` is {num_bins}, but times of dtype {trains.times.dtype} resolve no more "
            f"than {most} bins of a window. Cut it into shorter ones with `cut`, or enable double "
            "precision with `jax.config.update('jax_enable_x64', True)`."
        )


def binned_counts(trains: SpikeTrains, num_bins: int) -> Int[Array, "*batch num_neurons num_bins"]:
    """Number of spikes of each neuron in each of `num_bins` equal bins of the window.

    A bin holds its left edge and not its right one, but for the last, which holds both, as in
    `numpy.histogram`; the edges are those of `bin_edges`. A spike is on an edge if it is as near to
    it as the rounding of its time, four units in the last place of the length of the window: times
    that are multiples of the width of a bin fall into one bin each, however they were rounded.

    Raises:
        ValueError: `num_bins < 1`, more bins than the dtype of the times resolves, or trials of
            different lengths.
    """
    _check_bins(trains, num_bins)
    end = common_duration(trains, "A histogram over time")
    size = math.prod(trains.batch_shape)
    times = trains.times.reshape(size, trains.max_spikes)
    neurons = trains.neurons.reshape(size, trains.max_spikes)
    place = _bin_of(times, end, rounding_of_duration(trains.window_bits, end), num_bins)
    # Padding is sent past the end and dropped; -1 itself would count for the last neuron.
    column = jnp.where(neurons >= 0, neurons, trains.num_neurons)
    counts = jnp.zeros((size, trains.num_neurons, num_bins), dtype=jnp.int32)
    rows = jnp.broadcast_to(jnp.arange(size)[:, None], times.shape)
    counts = counts.at[rows, column, place].add(1, mode="drop")
    return counts.reshape(*trains.batch_shape, trains.num_neurons, num_bins)


def psth(trains: SpikeTrains, num_bins: int) -> Float[Array, "num_neurons num_bins"]:
    """Peri-stimulus time histogram: the rate of each neuron in each bin, a mean over trials.

    Args:
        trains: any batch of trains; all its axes are trials.
        num_bins: number of equal bins of the window; `bin_edges` gives their edges.

    Raises:
        ValueError: `num_bins < 1`.
    """
    counts = binned_counts(trains, num_bins).astype(trains.times.dtype)
    counts = counts.reshape(-1, trains.num_neurons, num_bins)
    return jnp.mean(counts, axis=0) * num_bins / common_duration(trains, "A PSTH")


def _bin_of(times: Array, end: Array, rounding: Array, num_bins: int) -> Int[Array, "..."]:
    """Number of the bin of each time; the comparison is in bins, with the rounding of a time."""
    place = jnp.where(jnp.isfinite(times), times, 0) / end * num_bins
    near = jnp.round(place)
    slack = jnp.minimum(rounding / end * num_bins, 0.25)
    place = jnp.where(jnp.abs(place - near) <= slack, near, jnp.floor(place))
    return jnp.clip(place, 0, num_bins - 1).astype(jnp.int32)


def correlograms(
    trains: SpikeTrains, num_bins: int, max_lag: int
) -> Float[Array, "num_neurons num_neurons lags"]:
    r"""Cross-correlograms of all pairs of neurons, and on the diagonal auto-correlograms.

    $$
    C_{ij}(\ell) = \sum_{\text{trials}} \sum_b n_i(b)\, n_j(b + \ell),
    \qquad \ell = -L, \dots, L,
    $$

    with $n_i(b)$ the number of spikes of neuron $i$ in bin $b$. At positive lags $j$ follows $i$.
    Lag 0 of an auto-correlogram counts each spike with itself. At lag $\ell$ only $B - |\ell|$ of
    the $B$ bins have a partner; multiply by $B / (B - |\ell|)$ to correct for it.

    Args:
        trains: any batch of trains; all its axes are trials.
        num_bins: number $B$ of equal bins of the window, in units of which lags are counted.
        max_lag: largest lag $L$, in bins.

    Raises:
        ValueError: `num_bins < 1`, or `max_lag` outside `0 ... num_bins - 1`.
    """
    if not 0 <= max_lag < num_bins:
        raise ValueError(
            f"`max_lag` is {max_lag}; it must lie between 0 and num_bins - 1 = {num_bins - 1}."
        )
    counts = binned_counts(trains, num_bins).astype(trains.times.dtype)
    counts = counts.reshape(-1, trains.num_neurons, num_bins)
    return _products(counts, max_lag)


@partial(jax.jit, static_argnames="max_lag")
def _products(counts: Float[Array, "trials num_neurons num_bins"], max_lag: int):
    num_bins = counts.shape[2]
    padded = jnp.pad(counts, [(0, 0), (0, 0), (max_lag, max_lag)])

    def at_lag(start: Array) -> Float[Array, "num_neurons num_neurons"]:
        shifted = jax.lax.dynamic_slice_in_dim(padded, start, num_bins, axis=2)
        return jnp.einsum("tib,tjb->ij", counts, shifted)

    by_lag = jax.lax.map(at_lag, jnp.arange(2 * max_lag + 1, dtype=jnp.int32))
    return jnp.moveaxis(by_lag, 0, -1)
