"""The kernel of pairs of spike trains with its derivatives: two sweeps that meet."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._edge_series import increment, pairing, rectangle_integral
from ._event_sweep import Bounds, EventPairs, Orders, sweep, sweep_rows


class Room(NamedTuple):
    """What a gradient stores: the edges that segments of rows start from, and those of rows."""

    starts: tuple[Float[Array, "segments pieces_y pairs"], ...]
    stored: tuple[Float[Array, "rows pieces_y pairs"], ...]


def rows_per_segment(pieces: int) -> int:
    """Rows of a segment with which what is stored of the segments and in one of them is least."""
    return max(1, round(pieces**0.5))


def storage(
    shape: tuple[int, int, int],
    dtype: Any,
    orders: Orders,
    *,
    by_entry: bool,
    segment: int | None = None,
) -> Room:
    """Room for the edges that `kernel_and_gradient` stores; what is in it does not matter.

    Args:
        shape: pieces of `x`, pieces of `y` and pairs.
        dtype: of the kernel.
        orders: of the series.
        by_entry: as in `kernel_and_gradient`.
        segment: as in `kernel_and_gradient`.
    """
    rows, *others = shape
    starts = ()
    if segment is not None:
        num_edges = orders.time + orders.jump
        starts = (jnp.zeros((-(-rows // segment), *others), dtype),) * num_edges
        rows = min(segment + 1, rows)
    count = 1 + 2 * (orders.time - 1) + 1 + orders.jump * (2 if by_entry else 1)
    return Room(starts, (jnp.zeros((rows, *others), dtype),) * count)


def kernel_and_gradient(
    pairs: EventPairs,
    bounds: Bounds,
    orders: Orders,
    room: Room,
    *,
    by_entry: bool,
    segment: int | None = None,
) -> tuple[tuple[Array, Array, tuple[Array, Array, Array]], Room]:
    r"""Kernel of each pair and its derivatives with respect to pieces of time and inner products.

    The signature of $x$ is the product of those of its past and its future, so that

    $$
    \frac{\partial k}{\partial \Delta_i} = \int f(s_i, t)\,g(s_i, t)\,dy^0_t, \qquad
    \frac{\partial k}{\partial z_{ij}} = \int\!\!\int_{\text{rectangle } ij} f g,
    $$

    with $f$ the kernel of the pasts and $g$ the kernel of the futures. $f$ is one sweep that
    stores its edges, $g$ a second one, backwards, that meets them. With segments the first sweep
    stores only the edges that each segment of rows starts from, and a third one goes over each
    segment again before it is met: the memory then grows with $\sqrt{\text{pieces}}$ of $x$.

    Args:
        pairs: the paths.
        bounds: number of jumps to go through.
        orders: of the series.
        room: see `storage`. Several calls, one after the other, can use the same room, which
            saves clearing it each time.
        by_entry: give $\partial k / \partial z_{ij}$ for each pair of jumps, of shape
            `(jumps_x, jumps_y, pairs)`. Otherwise, for jumps of one label and a diagonal `table`,
            give the derivative with respect to the entry of each jump of `x`, summed over the jumps
            of `y`: the same along the whole jump, and so an integral over one edge.
        segment: number of rows of a segment; without, all rows are stored.

    Returns:
        kernel, error estimate and the derivatives with respect to `gaps_x`, `gaps_y` and entries
        of `table`; and the room.
    """
    shape = (pairs.gaps_x.shape[0], pairs.gaps_y.shape[0], pairs.gaps_x.shape[1])
    dtype = pairs.gaps_x.dtype
    jumps = (shape[0] - 1, shape[1] - 1, shape[2]) if by_entry else (shape[0] - 1, shape[2])
    gradient = (
        jnp.zeros_like(pairs.gaps_x),
        jnp.zeros_like(pairs.gaps_y),
        jnp.zeros(jumps, dtype),
    )

    def store_from(first):
        """Store the edges of rows, the first of them `first`."""

        def store(i, j, stored, time, jump):
            # The highest order of an edge along time pairs with nothing.
            values = [time.corner, *time.lower[:-1], *time.left[:-1]]
            if jump is not None:
                values += [jump.corner, *jump.left]
                if by_entry:
                    values += jump.lower
            values += [None] * (len(stored) - len(values))
            return tuple(
                array if value is None else array.at[i - first, j].set(value)
                for array, value in zip(stored, values, strict=True)
            )

        return store

    def meet_from(first, stored):
        return partial(_meet, pairs, bounds, orders, by_entry, first, stored)

    if segment is None:
        value, error, stored = sweep(pairs, bounds, orders, visit=store_from(0), carry=room.stored)
        meet = meet_from(0, stored)
        _, _, gradient = sweep(pairs, bounds, orders, backwards=True, visit=meet, carry=gradient)
        return (value, error, gradient), Room(room.starts, stored)

    number = jnp.maximum(-(-bounds.x // segment), 1)
    plain = sweep_rows(pairs, bounds, orders)

    def forwards(s, carried):
        state, starts = carried
        edges = (*state[0], *state[1])
        starts = tuple(a.at[s].set(edge) for a, edge in zip(starts, edges, strict=True))
        end = jnp.minimum((s + 1) * segment, bounds.x)
        return jax.lax.fori_loop(s * segment, end, plain.full, state), starts

    state, starts = jax.lax.fori_loop(0, number, forwards, (plain.start(()), room.starts))
    value, error, _ = plain.last(state)

    def backwards(k, carried):
        state, stored = carried
        s = number - 1 - k
        first = s * segment
        end = jnp.minimum(first + segment, bounds.x)
        # Going back over a row meets its piece of time and the jump before it, so the rows stored
        # are one more; the jump of the last is not met.
        again = sweep_rows(pairs, bounds, orders, visit=store_from(first))
        edges = tuple(a[s] for a in starts)
        there = (edges[: orders.time], edges[orders.time :], *again.start(stored)[2:])
        stored = jax.lax.fori_loop(first, end + 1, again.full, there)[-1]
        back = sweep_rows(pairs, bounds, orders, backwards=True, visit=meet_from(first, stored))
        return jax.lax.fori_loop(bounds.x - end, bounds.x - first, back.full, state), stored

    state = sweep_rows(pairs, bounds, orders, backwards=True).start(gradient)
    state, stored = jax.lax.fori_loop(0, number, backwards, (state, room.stored))
    back = sweep_rows(pairs, bounds, orders, backwards=True, visit=meet_from(0, stored))
    _, _, gradient = back.last(state)
    return (value, error, gradient), Room(starts, stored)


def _meet(pairs, bounds, orders, by_entry, first, stored, i, j, gradient, time, jump):
    """Add what a rectangle of the sweep backwards gives with the edges stored of it."""
    by_x, by_y, by_table = gradient
    row, column = bounds.x - i, bounds.y - j
    past = [array[row - first, column] for array in stored[: 2 * orders.time - 1]]
    lower, left = past[1 : orders.time], past[orders.time :]
    none = (jnp.zeros_like(time.corner),)
    # Seen from the far end, `lower` of the backward sweep is the upper edge.
    from_left = pairing(past[0], (*left, *none), time.corner + increment(time.lower), time.right)
    from_below = pairing(past[0], (*lower, *none), time.corner + increment(time.left), time.upper)
    by_x = by_x.at[row].add(pairs.gaps_y[column] * from_left)
    by_y = by_y.at[column].add(pairs.gaps_x[row] * from_below)
    if jump is not None:
        row, column = row - 1, column - 1
        past = [array[row - first, column] for array in stored[2 * orders.time - 1 :]]
        corner, left, lower = past[0], past[1 : orders.jump + 1], past[orders.jump + 1 :]
        if by_entry:
            entry = rectangle_integral(
                jump.z, corner, tuple(lower), tuple(left), jump.corner, jump.lower, jump.left
            )
            by_table = by_table.at[row, column].set(entry)
        else:
            entry = pairing(corner, tuple(left), jump.corner + increment(jump.lower), jump.right)
            same = pairs.labels_x[row, 0] == pairs.labels_y[column, 0]
            by_table = by_table.at[row].add(jnp.where(same, entry, 0))
    return by_x, by_y, by_table
