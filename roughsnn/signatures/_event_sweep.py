"""One pass over the grid of pieces of pairs of spike trains, rectangle by rectangle."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._edge_series import (
    Edge,
    cross_rectangle,
    increment,
    materialised,
    pairing,
    rectangle_integral,
    tail,
)


class Orders(NamedTuple):
    """Order of the series on the edges along time and along jumps."""

    time: int
    jump: int


class EventPairs(NamedTuple):
    r"""Pairs of axis-parallel paths that alternate between a piece of time and a jump.

    Pair $p$ has in $x$ the pieces of time `gaps_x[0, p], gaps_x[1, p], ...`, with a jump after each
    but the last. A jump goes along the sum of the unit vectors of its labels, and two jumps have
    the inner product that `table` gives for their labels, summed. The last label stands for no
    jump; its row and column of `table` are zero. Padding is pieces of length zero and no jumps, at
    the end. The pairs are in the minor axis, so that they fill vector registers.
    """

    gaps_x: Float[Array, "pieces_x pairs"]
    gaps_y: Float[Array, "pieces_y pairs"]
    table: Float[Array, "labels labels"]
    labels_x: Int[Array, "jumps_x slots_x pairs"]
    labels_y: Int[Array, "jumps_y slots_y pairs"]


class Bounds(NamedTuple):
    """Number of jumps that any pair has, of `x` and `y`: Python integers or traced ones."""

    x: Any
    y: Any


class Rectangle(NamedTuple):
    """A rectangle with its series: corner, lower and left edge in, upper and right edge out."""

    z: Float[Array, " pairs"]
    corner: Float[Array, " pairs"]
    lower: Edge
    left: Edge
    upper: Edge
    right: Edge


# Called for each pair of pieces, (row, column, carry, rectangle of time x time, rectangle of
# jump x jump or None, pairs) -> carry.
Visit = Callable[[Any, Any, Any, Rectangle, Rectangle | None], Any]


def sweep(
    pairs: EventPairs,
    bounds: Bounds,
    orders: Orders,
    *,
    backwards: bool = False,
    visit: Visit | None = None,
    carry: Any = (),
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"], Any]:
    """Solve for the kernel of every pair, from the start of both paths or backwards from their end.

    Time x jump has the inner product zero and changes no edge, so a step takes time x time and
    jump x jump together. Rows and columns end at `bounds`, which may depend on the data: padding
    beyond them costs nothing.

    Args:
        pairs: the paths.
        bounds: number of jumps to go through.
        orders: of the series.
        backwards: run both paths backwards; rows and columns then count from the end.
        visit: called with each step, to store or to accumulate.
        carry: what `visit` gets and returns.

    Returns:
        kernel, estimate of its relative truncation error, and the last carry.
    """
    row_of, column_of = _reader(pairs, bounds, backwards)
    num_pairs, dtype = pairs.gaps_x.shape[1], pairs.gaps_x.dtype
    one, zero = jnp.ones(num_pairs, dtype), jnp.zeros(num_pairs, dtype)
    flat_time, flat_jump = (zero,) * orders.time, (zero,) * orders.jump
    num_columns = pairs.gaps_y.shape[0]
    blank = jnp.zeros((num_columns, num_pairs), dtype)

    def step(i, j, state, left_time, left_jump, row, jumps):
        corner, lower_time, lower_jump, error, carry = state
        gap_x, labels_x = row
        gap_y, labels_y = column_of(j)
        z_time = gap_x * gap_y
        upper_time, right_time = cross_rectangle(z_time, corner, lower_time, left_time)
        across = increment(left_time)
        middle = corner + across + increment(upper_time)
        middle, upper_time, right_time = materialised((middle, upper_time, right_time))
        time = Rectangle(z_time, corner, lower_time, left_time, upper_time, right_time)
        if not jumps:
            carry = carry if visit is None else visit(i, j, carry, time, None)
            return (corner + across, upper_time, lower_jump, error, carry), right_time, None, middle
        z_jump = _inner_products(pairs.table, labels_x, labels_y)
        upper_jump, right_jump = cross_rectangle(z_jump, middle, lower_jump, left_jump)
        jump = Rectangle(z_jump, middle, lower_jump, left_jump, upper_jump, right_jump)
        carry = carry if visit is None else visit(i, j, carry, time, jump)
        corner = corner + across + increment(left_jump)
        return (corner, upper_time, upper_jump, error, carry), right_time, right_jump, middle

    def full_row(i, state):
        old_time, old_jump, _, error, carry = state
        row = row_of(i)

        def column(j, inner):
            state, new_time, new_jump = inner
            left_time, left_jump = _at(old_time, j), _at(old_jump, j)
            state, right_time, right_jump, _ = step(
                i, j, state, left_time, left_jump, row, jumps=True
            )
            return state, _put(new_time, j, right_time), _put(new_jump, j, right_jump)

        state = (one, flat_time, flat_jump, error, carry)
        # The new column of states goes to fresh arrays: written over the old one, XLA would copy
        # all of it in every step.
        new = (blank,) * orders.time, (blank,) * orders.jump
        state, new_time, new_jump = jax.lax.fori_loop(0, bounds.y, column, (state, *new))
        left_time = _at(old_time, bounds.y)
        state, right_time, _, middle = step(i, bounds.y, state, left_time, None, row, jumps=False)
        _, upper_time, upper_jump, error, carry = state
        end = middle + increment(upper_jump)
        error = error + tail(upper_time) / jnp.abs(middle) + tail(upper_jump) / jnp.abs(end)
        return _put(new_time, bounds.y, right_time), new_jump, end, error, carry

    def last_row(state):
        old_time, old_jump, _, error, carry = state
        row = row_of(bounds.x)

        def column(j, inner):
            left_jump = _at(old_jump, j)
            state, right_time, _, middle = step(
                bounds.x, j, inner, _at(old_time, j), None, row, jumps=False
            )
            corner, upper_time, lower_jump, error, carry = state
            across = increment(left_jump)
            error = error + tail(right_time) / jnp.abs(middle)
            error = error + tail(left_jump) / jnp.abs(middle + across)
            return corner + across, upper_time, lower_jump, error, carry

        state = jax.lax.fori_loop(0, bounds.y, column, (one, flat_time, flat_jump, error, carry))
        state, right_time, _, end = step(
            bounds.x, bounds.y, state, _at(old_time, bounds.y), None, row, jumps=False
        )
        _, upper_time, _, error, carry = state
        error = error + (tail(right_time) + tail(upper_time)) / jnp.abs(end)
        return end, error, carry

    state = ((blank,) * orders.time, (blank,) * orders.jump, one, zero, carry)
    state = jax.lax.fori_loop(0, bounds.x, full_row, state)
    return last_row(state)


def storage(
    shape: tuple[int, int, int], dtype: Any, orders: Orders, *, by_entry: bool
) -> tuple[Float[Array, "pieces_x pieces_y pairs"], ...]:
    """Room for the edges that `kernel_and_gradient` stores; what is in it does not matter."""
    count = 1 + 2 * (orders.time - 1) + 1 + orders.jump * (2 if by_entry else 1)
    return (jnp.zeros(shape, dtype),) * count


def kernel_and_gradient(
    pairs: EventPairs,
    bounds: Bounds,
    orders: Orders,
    room: tuple[Float[Array, "pieces_x pieces_y pairs"], ...],
    *,
    by_entry: bool,
) -> tuple[tuple[Array, Array, tuple[Array, Array, Array]], tuple[Array, ...]]:
    r"""Kernel of each pair and its derivatives with respect to pieces of time and inner products.

    The signature of $x$ is the product of those of its past and its future, so that

    $$
    \frac{\partial k}{\partial \Delta_i} = \int f(s_i, t)\,g(s_i, t)\,dy^0_t, \qquad
    \frac{\partial k}{\partial z_{ij}} = \int\!\!\int_{\text{rectangle } ij} f g,
    $$

    with $f$ the kernel of the pasts and $g$ the kernel of the futures. $f$ is one sweep that
    stores its edges, $g$ a second one, backwards, that meets them.

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

    Returns:
        kernel, error estimate and the derivatives with respect to `gaps_x`, `gaps_y` and entries
        of `table`; and the room.
    """
    shape = (pairs.gaps_x.shape[0], pairs.gaps_y.shape[0], pairs.gaps_x.shape[1])
    dtype = pairs.gaps_x.dtype

    def store(i, j, stored, time, jump):
        # The highest order of an edge along time pairs with nothing.
        values = [time.corner, *time.lower[:-1], *time.left[:-1]]
        if jump is not None:
            values += [jump.corner, *jump.left]
            if by_entry:
                values += jump.lower
        values += [None] * (len(stored) - len(values))
        return tuple(
            array if value is None else array.at[i, j].set(value)
            for array, value in zip(stored, values, strict=True)
        )

    value, error, stored = sweep(pairs, bounds, orders, visit=store, carry=room)

    def meet(i, j, gradient, time, jump):
        by_x, by_y, by_table = gradient
        row, column = bounds.x - i, bounds.y - j
        past = [array[row, column] for array in stored[: 2 * orders.time - 1]]
        lower, left = past[1 : orders.time], past[orders.time :]
        none = (jnp.zeros_like(value),)
        # Seen from the far end, `lower` of the backward sweep is the upper edge.
        from_left = pairing(
            past[0], (*left, *none), time.corner + increment(time.lower), time.right
        )
        from_below = pairing(
            past[0], (*lower, *none), time.corner + increment(time.left), time.upper
        )
        by_x = by_x.at[row].add(pairs.gaps_y[column] * from_left)
        by_y = by_y.at[column].add(pairs.gaps_x[row] * from_below)
        if jump is not None:
            row, column = row - 1, column - 1
            past = [array[row, column] for array in stored[2 * orders.time - 1 :]]
            corner, left, lower = past[0], past[1 : orders.jump + 1], past[orders.jump + 1 :]
            if by_entry:
                entry = rectangle_integral(
                    jump.z, corner, tuple(lower), tuple(left), jump.corner, jump.lower, jump.left
                )
                by_table = by_table.at[row, column].set(entry)
            else:
                entry = pairing(
                    corner, tuple(left), jump.corner + increment(jump.lower), jump.right
                )
                same = pairs.labels_x[row, 0] == pairs.labels_y[column, 0]
                by_table = by_table.at[row].add(jnp.where(same, entry, 0))
        return by_x, by_y, by_table

    jumps = (shape[0] - 1, shape[1] - 1, shape[2]) if by_entry else (shape[0] - 1, shape[2])
    gradient = (
        jnp.zeros_like(pairs.gaps_x),
        jnp.zeros_like(pairs.gaps_y),
        jnp.zeros(jumps, dtype),
    )
    _, _, gradient = sweep(pairs, bounds, orders, backwards=True, visit=meet, carry=gradient)
    return (value, error, gradient), stored


def _reader(pairs: EventPairs, bounds: Bounds, backwards: bool):
    """Functions from a row or a column to its piece of time and the labels of the jump after it."""

    def reader(gaps, labels, bound):
        def read(index):
            if backwards:
                # The jump after a piece, backwards, is the one before it.
                position = bound - index
                return gaps[position], labels[jnp.maximum(position - 1, 0)]
            return gaps[index], labels[jnp.minimum(index, labels.shape[0] - 1)]

        return read

    return (
        reader(pairs.gaps_x, pairs.labels_x, bounds.x),
        reader(pairs.gaps_y, pairs.labels_y, bounds.y),
    )


def _inner_products(table: Array, labels_x: Array, labels_y: Array) -> Float[Array, " pairs"]:
    total = None
    for label_x in labels_x:
        for label_y in labels_y:
            entry = table[label_x, label_y]
            total = entry if total is None else total + entry
    return total


def _at(arrays: tuple, index: Any) -> Edge:
    return tuple(array[index] for array in arrays)


def _put(arrays: tuple, index: Any, values: Edge) -> tuple:
    return tuple(array.at[index].set(value) for array, value in zip(arrays, values, strict=True))
