"""Spikes by cells as spike trains."""

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._bits import packed, places_of
from ._walk import NO_SPIKE


def side_by_side(groups: list[Float[Array, "T _ B _"]]) -> Float[Array, "T places B N"]:
    """The spikes of several groups of neurons as those of one."""
    places = max(offsets.shape[1] for offsets in groups)
    padded = [
        jnp.pad(x, ((0, 0), (0, places - x.shape[1]), (0, 0), (0, 0)), constant_values=NO_SPIKE)
        for x in groups
    ]
    return jnp.concatenate(padded, axis=3)


def collected(
    offsets: Float[Array, "T places B N"], order: Int[Array, " N"], width: float,
    last: float, max_spikes: int,
):  # fmt: skip
    """Spike times of all neurons in their order, padded with infinity, and whose they are.

    Args:
        offsets: of the spikes, by cell.
        order: the number of each neuron.
        width: length of a cell.
        last: up to which offset the last cell belongs to the window.
        max_spikes: for how many spikes of a sample there is room.

    Returns:
        times and neurons of shape (samples, max_spikes), and how many spikes there were.
    """
    offsets = jnp.moveaxis(offsets, 2, 0)
    num_samples, num_cells, places, num_neurons = offsets.shape
    in_window = jnp.ones(num_cells, offsets.dtype).at[-1].set(last)[None, :, None, None]
    size = num_cells * places * num_neurons
    flat = offsets.reshape(num_samples, size)
    happens = lax.stop_gradient(offsets <= in_window).reshape(num_samples, size)
    rank = jnp.arange(max_spikes, dtype=jnp.int32)

    def of_sample(happens):
        bits = packed(happens)
        return places_of(bits, rank, size), bits.total

    place, count = jax.vmap(of_sample)(happens)
    known = jnp.minimum(place, size - 1)
    found = jnp.take_along_axis(flat, known, axis=1)
    cell = known // (places * num_neurons)
    is_spike = place < size
    times = jnp.where(is_spike, (cell.astype(flat.dtype) + found) * width, jnp.inf)
    who = jnp.where(is_spike, order[known % num_neurons], -1)
    sequence = jnp.lexsort((who, lax.stop_gradient(times)), axis=-1)
    times, who = (jnp.take_along_axis(x, sequence, axis=1) for x in (times, who))
    return times, who, count
