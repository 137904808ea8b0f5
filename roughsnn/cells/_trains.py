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
    # they are in the order of their cells already
    by_cell = happens.reshape(num_samples, num_cells, places * num_neurons)
    busiest = jnp.max(jnp.sum(by_cell, axis=2, dtype=jnp.int32), initial=0)
    cell = jnp.where(is_spike, cell, -1)
    sequence = _order_in_cells(lax.stop_gradient(times), who, cell, busiest)
    times, who = (jnp.take_along_axis(x, sequence, axis=1) for x in (times, who))
    return times, who, count


def _order_in_cells(times, who, cell, busiest):
    """The places of spikes in the order of their times, and of neurons at equal times, for spikes
    that are in the order of their cells, of which none has more than `busiest`.

    Each spike is compared with those near it: cheaper than a sort, which knows nothing of cells.
    """
    num_samples, size = times.shape
    place = jnp.arange(size, dtype=jnp.int32)

    def beside(values, distance, fill):
        padded = jnp.pad(values, ((0, 0), (0, size)), constant_values=fill)
        return lax.dynamic_slice_in_dim(padded, distance, size, axis=1)

    def compare(carry):
        distance, moves = carry
        time, other, same = (
            beside(x, distance, fill) for x, fill in ((times, jnp.inf), (who, -1), (cell, -2))
        )
        sooner = (time < times) | ((time == times) & (other < who))
        swapped = ((same == cell) & sooner).astype(jnp.int32)
        back = jnp.pad(swapped, ((0, 0), (size, 0)))
        back = lax.dynamic_slice_in_dim(back, size - distance, size, axis=1)
        return distance + 1, moves + swapped - back

    carry = (jnp.int32(1), jnp.zeros((num_samples, size), jnp.int32))
    _, moves = lax.while_loop(lambda c: (c[0] < busiest) & (c[0] < size), compare, carry)
    sample = jnp.arange(num_samples, dtype=jnp.int32)[:, None]
    spread = jnp.broadcast_to(place[None], moves.shape)
    return jnp.zeros_like(moves).at[sample, place[None] + moves].set(spread, unique_indices=True)
