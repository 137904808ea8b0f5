"""One pass over the grid of pieces of pairs of spike trains, rectangle by rectangle."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._edge_series import Edge, cross_rectangle, increment, materialised, tail


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
    rows = sweep_rows(pairs, bounds, orders, backwards=backwards, visit=visit)
    return rows.last(jax.lax.fori_loop(0, bounds.x, rows.full, rows.start(carry)))


class SweepRows(NamedTuple):
    """The parts of a sweep. Between rows its state is the edges that the next row starts from, one
    for each column, the kernel and the error so far, and the carry."""

    start: Callable[[Any], Any]
    # Row with the jump after it, (row, state) -> state.
    full: Callable[[Any, Any], Any]
    # The last piece of time, state -> kernel, error, carry.
    last: Callable[[Any], Any]


def sweep_rows(
    pairs: EventPairs,
    bounds: Bounds,
    orders: Orders,
    *,
    backwards: bool = False,
    visit: Visit | None = None,
) -> SweepRows:
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

    def start(carry):
        return (blank,) * orders.time, (blank,) * orders.jump, one, zero, carry

    return SweepRows(start, full_row, last_row)


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
    entries = (table[label_x, label_y] for label_x in labels_x for label_y in labels_y)
    return functools.reduce(operator.add, entries)


def _at(arrays: tuple, index: Any) -> Edge:
    return tuple(array[index] for array in arrays)


def _put(arrays: tuple, index: Any, values: Edge) -> tuple:
    return tuple(array.at[index].set(value) for array, value in zip(arrays, values, strict=True))
