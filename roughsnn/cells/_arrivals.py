"""What arrives in a cell: input spikes, and spikes of the neurons themselves after their delays."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._cell import Arrivals
from ._responses import lifted
from ._walk import NO_SPIKE


class Own(eqx.Module):
    """Delays of the neurons' own spikes, in cells.

    Attributes:
        whole: how many whole cells, a number or one for each neuron.
        rest: the rest, in [0, 1).
        num_neurons: N.
    """

    whole: Int[Array, "..."]
    rest: Float[Array, "..."]
    num_neurons: int = eqx.field(static=True)

    @classmethod
    def of(cls, delays: Float[Array, "..."], num_neurons: int) -> "Own":
        whole = jnp.floor(delays)
        return cls(whole.astype(jnp.int32), delays - whole, num_neurons)

    def sent(self, history: Float[Array, "T places B N"], cell: Int[Array, ""]):
        """The spikes that left in the cell from which some arrive in `cell`, and in that before
        it."""
        values = []
        for back in (0, 1):
            source = cell - self.whole - back
            if source.ndim == 0:
                slice_ = lax.dynamic_index_in_dim(history, source, 0, keepdims=False)
            else:
                neuron = jnp.arange(self.num_neurons, dtype=jnp.int32)
                slice_ = history[jnp.maximum(source, 0), :, :, neuron]
                slice_ = jnp.moveaxis(slice_, 0, -1)
            values.append(jnp.where(lifted(source, 3) >= 0, slice_, NO_SPIKE))
        return values


def own_arrivals(
    own: Own, history: Float[Array, "T places B N"], cell: Int[Array, ""], inputs: Arrivals,
    num_rows: int, room: int,
):  # fmt: skip
    """The arrivals in a cell in their order, where among all that could arrive each of them was,
    and how many there were in each sample.

    `inputs` has the number of rows of the weights in its free places.
    """
    now, before = own.sent(history, cell)
    rest = lifted(own.rest, 3)
    late, over = now + rest, before + rest - 1
    on_time = jnp.where((now <= 1) & (late < 1), late, NO_SPIKE)
    from_before = jnp.where((before <= 1) & (over >= 0), over, NO_SPIKE)
    from_inputs = jnp.where(inputs.sources < num_rows, inputs.offsets, NO_SPIKE)
    places, _, num_neurons = now.shape
    possible = jnp.concatenate([*on_time, *from_before, from_inputs.T], axis=1)
    offsets, place = lax.top_k(-possible, min(room, possible.shape[1]))
    offsets, place = -offsets.T, place.T.astype(jnp.int32)
    arrives = offsets <= 1
    num_own = 2 * places * num_neurons
    of_input = jnp.take_along_axis(inputs.sources, jnp.maximum(place - num_own, 0), axis=0)
    source = jnp.where(place < num_own, place % num_neurons, of_input)
    arrivals = Arrivals(jnp.where(arrives, offsets, 1), jnp.where(arrives, source, num_rows))
    count = jnp.sum(possible <= 1, axis=1, dtype=jnp.int32)
    return arrivals, jnp.where(arrives, place, possible.shape[1]), count


def spread_back(
    own: Own, from_history: Float[Array, "T places B N"], from_delays: Float[Array, " N"],
    cell: Int[Array, ""], by_arrival: Float[Array, "K B"], place: Int[Array, "K B"],
    num_inputs: int,
):  # fmt: skip
    """The derivative in when arrivals come, put where it belongs: to the spikes that they are, to
    delays and to inputs."""
    num_cells, places, num_samples, num_neurons = from_history.shape
    num_own = 2 * places * num_neurons
    flat = jnp.zeros((num_samples, num_own + num_inputs), by_arrival.dtype)
    flat = flat.at[jnp.arange(num_samples, dtype=jnp.int32)[None], place].add(
        by_arrival, mode="drop"
    )
    by_own = jnp.moveaxis(flat[:, :num_own].reshape(num_samples, 2, places, num_neurons), 0, 2)
    neuron = jnp.arange(num_neurons, dtype=jnp.int32)
    for back in (0, 1):
        source = cell - own.whole - back
        source = jnp.where(source >= 0, source, num_cells)
        if source.ndim == 0:
            from_history = from_history.at[source].add(by_own[back], mode="drop")
        else:
            values = jnp.moveaxis(by_own[back], -1, 0)
            from_history = from_history.at[source, :, :, neuron].add(values, mode="drop")
    from_delays = from_delays + jnp.sum(by_own, axis=(0, 1, 2))
    return from_history, from_delays, flat[:, num_own:].T


class Listed(NamedTuple):
    """Arrivals of all cells.

    Attributes:
        offsets: (T, K, B), ascending; 1 in a free place.
        sources: likewise; `num_sources` in a free place.
        crowded: samples with more arrivals in a cell than there is room for.
        most: how many there were in the busiest cell of a sample.
    """

    offsets: Float[Array, "T K B"]
    sources: Int[Array, "T K B"]
    crowded: Bool[Array, " B"]
    most: Int[Array, ""]


def listed_inputs(cell, offset, neuron, num_cells: int, num_sources: int, room: int) -> Listed:
    """Input spikes by cells.

    Args:
        cell: the cell of each spike, (B, S), ascending; `num_cells` for one that there is not.
        offset: its offset there.
        neuron: its source.
        num_cells: how many cells there are.
        num_sources: how many sources there are.
        room: for how many arrivals in a cell there is room.
    """
    num_samples, size = cell.shape
    if size == 0 or room == 0:
        shape = (num_cells, 0, num_samples)
        none = jnp.zeros(num_samples, bool)
        return Listed(jnp.ones(shape, offset.dtype), jnp.zeros(shape, jnp.int32), none,
                      jnp.int32(0))  # fmt: skip
    bounds = jnp.arange(num_cells + 1, dtype=cell.dtype)
    first = jax.vmap(lambda row: jnp.searchsorted(row, bounds, method="scan_unrolled"))(cell)
    first = first.astype(jnp.int32)
    counts = first[:, 1:] - first[:, :-1]
    k = jnp.arange(room, dtype=jnp.int32)[:, None, None]
    place = jnp.minimum(first[:, :-1].T[None] + k, size - 1)
    here = k < counts.T[None]
    sample = jnp.arange(num_samples, dtype=jnp.int32)[None, None]
    offsets = jnp.where(here, offset[sample, place], 1)
    sources = jnp.where(here, neuron[sample, place], num_sources)
    return Listed(
        jnp.moveaxis(offsets, 1, 0), jnp.moveaxis(sources, 1, 0).astype(jnp.int32),
        jnp.any(counts > room, axis=1), jnp.max(counts, initial=0),
    )  # fmt: skip


def merged(inputs: Listed, offsets: Float[Array, "T places B N"], num_sources: int, room: int):
    """Inputs, and behind them in the numbering of sources the spikes of these neurons, in one list.

    It is differentiable in when they come.
    """
    num_cells, places, num_samples, num_neurons = offsets.shape
    from_inputs = jnp.where(inputs.sources < num_sources, inputs.offsets, NO_SPIKE)
    spikes = jnp.moveaxis(offsets, 2, 1).reshape(num_cells, num_samples, places * num_neurons)
    possible = jnp.concatenate([jnp.moveaxis(from_inputs, 1, 2), spikes], axis=2)
    num_inputs = inputs.offsets.shape[1]
    key, place = lax.top_k(lax.stop_gradient(-possible), min(room, possible.shape[2]))
    found = jnp.take_along_axis(possible, place, axis=2)
    arrives = key >= -1
    place = place.astype(jnp.int32)
    sources = jnp.moveaxis(inputs.sources, 1, 2)
    if num_inputs:
        of_input = jnp.take_along_axis(sources, jnp.minimum(place, num_inputs - 1), axis=2)
    else:
        of_input = jnp.zeros_like(place)
    of_neuron = num_sources + (place - num_inputs) % num_neurons
    source = jnp.where(place < num_inputs, of_input, of_neuron)
    source = jnp.where(arrives, source, num_sources + num_neurons)
    count = jnp.sum(possible <= 1, axis=2, dtype=jnp.int32)
    return Listed(
        jnp.moveaxis(jnp.where(arrives, found, 1), 2, 1), jnp.moveaxis(source, 2, 1),
        inputs.crowded | jnp.any(count > room, axis=0), jnp.max(count, initial=0),
    )  # fmt: skip
