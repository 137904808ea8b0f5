"""Batches of spike trains put together."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .checks import is_traced
from .presence import joined_presence
from .windows import shared_where_equal, spread


def joined(trains: Sequence[Any], join: Callable, axis: int) -> tuple:
    """The fields of the trains of all batches together, see `SpikeTrains.concatenate`."""
    trains = list(trains)
    if not trains:
        raise ValueError("`trains` is empty; there must be at least one batch to join.")
    reference = trains[0]
    for index, other in enumerate(trains):
        if other.num_neurons != reference.num_neurons:
            raise ValueError(
                f"`trains[{index}]` has {other.num_neurons} neurons and `trains[0]` "
                f"{reference.num_neurons}; only trains of the same neurons can be joined."
            )
    rank = len(reference.batch_shape) + (join is jnp.stack)
    if not -rank <= axis < rank:
        raise ValueError(f"`axis` is {axis}; it must name one of the {rank} batch axes.")
    axis %= rank
    room = max(x.max_spikes for x in trains)
    padded = [x.pad_to(room) for x in trains]
    arrays = (
        join([getattr(x, name) for x in padded], axis=axis)
        for name in ("times", "neurons", "overflowed", "grazing")
    )
    presence = joined_presence([x.presence for x in trains], join, axis)
    return *arrays, *_windows(trains, join, axis), reference.num_neurons, presence


def _windows(trains: list, join: Callable, axis: int) -> tuple:
    """The windows of all: one where all share it, else one for each train."""
    first = trains[0]
    shared = all(x.window_bits.ndim == 2 and x.duration.ndim == 0 for x in trains)
    if shared and all(
        x.window_bits is first.window_bits and x.duration is first.duration for x in trains
    ):
        return first.window_bits, first.duration
    windows = [(x.window_bits, x.duration) for x in trains]
    if is_traced(windows):
        bits = [spread(jnp.asarray(x.window_bits), x.batch_shape, inner=2) for x in trains]
        lengths = [spread(x.duration, x.batch_shape) for x in trains]
        return join(bits, axis=axis), join(lengths, axis=axis)
    on_host = np.stack if join is jnp.stack else np.concatenate
    bits = [spread(np.asarray(x.window_bits), x.batch_shape, inner=2) for x in trains]
    lengths = [spread(np.asarray(x.duration), x.batch_shape) for x in trains]
    bits, lengths = on_host(bits, axis=axis), on_host(lengths, axis=axis)
    if bits.size == 0:
        # a batch without trains still has the window of the first
        return (first.window_bits, first.duration) if shared else (bits, jnp.asarray(lengths))
    return shared_where_equal(bits, lengths)
