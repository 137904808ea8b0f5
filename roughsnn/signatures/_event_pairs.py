"""From a batch of spike trains to blocks of pairs of event paths, side by side."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..spikes.trains import SpikeTrains
from ._event_sweep import Bounds, EventPairs


class Events(NamedTuple):
    """Trains as events: times, labels, counts per label, and where each window ends."""

    times: Float[Array, "trains jumps"]
    labels: Int[Array, "trains jumps slots"]
    counts: Int[Array, "trains labels"]
    ends: Float[Array, " trains"]


def events_of(trains: SpikeTrains, time_scale: Array, slots: int) -> Events:
    """Spikes at one time become one event, which moves with the mean of its spikes."""
    num_trains, num_spikes = trains.times.shape
    if num_spikes == 0:
        trains = trains.pad_to(1)
        num_spikes = 1
    mask = trains.mask
    ends = time_scale * trains.durations
    end = jnp.broadcast_to(ends[:, None], (num_trains, num_spikes))
    # `inf` is replaced before any arithmetic, so that its derivative is 0 and never inf * 0.
    times = jnp.where(mask, time_scale * jnp.where(mask, trains.times, 0), end)
    labels = jnp.where(mask, trains.neurons, trains.num_neurons)
    row = jnp.arange(num_trains, dtype=jnp.int32)[:, None]
    counts = jnp.zeros((num_trains, trains.num_neurons + 1), jnp.int32)
    counts = counts.at[row, labels].add(mask.astype(jnp.int32))
    if slots == 1:
        return Events(times, labels[:, :, None], counts, ends)
    starts = mask & ~_tied_with_previous(trains)
    event = jnp.cumsum(starts, axis=1, dtype=jnp.int32) - 1
    event = jnp.where(mask, event, num_spikes)
    position = jnp.arange(num_spikes, dtype=jnp.int32)[None]
    first = jax.lax.cummax(jnp.where(starts, position, 0), axis=1)
    slot = position - first
    empty = jnp.full((num_trains, num_spikes, slots), trains.num_neurons, jnp.int32)
    labels = empty.at[row, event, slot].set(labels, mode="drop")
    size = jnp.sum(labels < trains.num_neurons, axis=2)
    total = jnp.zeros_like(times).at[row, event].add(times, mode="drop")
    mean = total / jnp.maximum(size, 1).astype(times.dtype)
    # The mean of equal numbers may differ from them in the last digit, which must not reorder.
    mean = jnp.minimum(mean, end)
    return Events(jnp.where(size > 0, mean, end), labels, counts, ends)


def _tied_with_previous(trains: SpikeTrains):
    same = (trains.times[:, 1:] == trains.times[:, :-1]) & trains.mask[:, 1:]
    return jnp.pad(same, ((0, 0), (1, 0)))


def order_by_cost(x: Events, y: Events, rows, columns, num_blocks: int, diagonal: bool):
    """Order of the pairs in which blocks hold pairs with alike numbers of jumps."""
    if num_blocks == 1:
        return jnp.arange(rows.shape[0], dtype=jnp.int32)
    if diagonal:
        # Spikes of neurons that the other train fires too.
        seen_x, seen_y = ((z.counts > 0).astype(jnp.int32) for z in (x, y))
        if rows.shape[0] <= max(x.counts.shape[0], y.counts.shape[0]):
            # each train with one other: all pairs would be far more
            count_x = jnp.sum(x.counts[rows] * seen_y[columns], axis=1)
            count_y = jnp.sum(seen_x[rows] * y.counts[columns], axis=1)
        else:
            count_x = (x.counts @ seen_y.T)[rows, columns]
            count_y = (seen_x @ y.counts.T)[rows, columns]
    else:
        count_x, count_y = x.counts.sum(1)[rows], y.counts.sum(1)[columns]
    # Labels are often constants; sorting them while compiling takes far longer than running it.
    count_x, count_y = jax.lax.optimization_barrier((count_x, count_y))
    by_x = jnp.argsort(count_x)
    groups = max(1, round(math.sqrt(num_blocks)))
    blocks_per_group = -(-num_blocks // groups)
    size = blocks_per_group * -(-rows.shape[0] // num_blocks)
    group = jnp.arange(rows.shape[0], dtype=jnp.int32) // size
    largest = y.times.shape[1] * max(1, y.labels.shape[2]) + 1
    key = group * largest + jnp.minimum(count_y[by_x], largest - 1).astype(jnp.int32)
    return by_x[jnp.argsort(key)].astype(jnp.int32)


def gather_pairs(x: Events, y: Events, rows, columns, table, diagonal: bool):
    """Gather a block of pairs, without the jumps that meet no jump of the other train."""
    sides = []
    for this, index, other, other_index in ((x, rows, y, columns), (y, columns, x, rows)):
        times = this.times[index].T
        labels = jnp.moveaxis(this.labels[index], 0, -1)
        none = table.shape[0] - 1
        end = this.ends[index][None]
        if diagonal:
            meets = other.counts[other_index[None, None], labels] > 0
            times, labels = _compacted(times, labels, jnp.any(meets, axis=1), end, none)
        gaps = jnp.diff(times, axis=0, prepend=jnp.zeros_like(end), append=end)
        bound = jnp.max(jnp.sum(labels[:, 0] < none, axis=0)).astype(jnp.int32)
        sides.append((gaps, labels, bound))
    (gaps_x, labels_x, bound_x), (gaps_y, labels_y, bound_y) = sides
    return EventPairs(gaps_x, gaps_y, table, labels_x, labels_y), Bounds(bound_x, bound_y)


def _compacted(times, labels, kept, end, none: int):
    """Move the kept events of each pair (a column) to the front."""
    num_events = times.shape[0]
    lower = jnp.tri(num_events, dtype=jnp.float32)
    rank = (lower @ kept.astype(jnp.float32)).astype(jnp.int32)
    place = jnp.arange(num_events, dtype=jnp.int32)
    source = jnp.sum(rank[None] <= place[:, None, None], axis=1, dtype=jnp.int32)
    there = source < num_events
    source = jnp.minimum(source, num_events - 1)
    times = jnp.where(
        there, jnp.take_along_axis(times, source, axis=0), jnp.broadcast_to(end, times.shape)
    )
    labels = jnp.take_along_axis(labels, source[:, None], axis=0)
    return times, jnp.where(there[:, None], labels, none)
