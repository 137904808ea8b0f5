"""The exact kernel of many pairs of spike trains by the compiled path, with its derivative rule."""

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._native import Native
from ._event_blocks import (
    PAIRS_PER_BLOCK,
    Discrete,
    Real,
    Settings,
    gradients_of_all_slots,
)
from ._event_pairs import Events, gather_pairs

_KERNEL, _GRADIENT = "roughsnn_event_kernel", "roughsnn_event_kernel_gradient"
NATIVE = Native(
    "the event kernel",
    Path(__file__).with_name("compiled") / "event_kernel.cc",
    (_KERNEL, _GRADIENT),
)


def target(dtype: Any, *, gradient: bool) -> str | None:
    """Name of the function that XLA calls for a dtype; none where JAX is to compute the kernel."""
    return NATIVE.target(_GRADIENT if gradient else _KERNEL, dtype)


# The series of higher orders are left to JAX.
LARGEST_ORDER = 32
# Bytes of derivatives that reverse mode may keep; beyond, it computes them again part by part.
_RESIDUALS = 64 * 2**20
_PART = 16 * 2**20


class Pairs(NamedTuple):
    """Which trains a kernel is of, and what it is not differentiated in."""

    labels_x: Int[Array, "trains_x jumps_x slots_x"]
    labels_y: Int[Array, "trains_y jumps_y slots_y"]
    counts_x: Int[Array, "trains_x labels"]
    counts_y: Int[Array, "trains_y labels"]
    rows: Int[Array, " pairs"]
    columns: Int[Array, " pairs"]


class Derivatives(NamedTuple):
    """Derivatives of the kernel of each pair, in what belongs to its two trains.

    In `x` these are the times of its jumps, the end of its window and, unless there are entries,
    the entry of the table of the label of each jump; in `y` the times and the end.
    """

    by_x: Float[Array, "pairs parts_x"]
    by_y: Float[Array, "pairs parts_y"]
    entries: Float[Array, "pairs jumps_x jumps_y"]


class Compiled(NamedTuple):
    """What is known when the computation is compiled."""

    settings: Settings
    # All pairs of a Gram, row by row.
    whole: bool


def can_compute(dtype: Any, orders: tuple[int, int]) -> bool:
    """Whether the compiled path is to be taken; it is made ready where it can be."""
    return max(orders) <= LARGEST_ORDER and target(dtype, gradient=False) is not None


def kernel_of_pairs(
    x: Events,
    y: Events,
    rows: Int[Array, " pairs"],
    columns: Int[Array, " pairs"],
    table: Float[Array, "labels labels"],
    compiled: Compiled,
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """Kernel of train `rows[p]` of `x` with train `columns[p]` of `y`, and its error estimate."""
    real = Real(x.times, y.times, x.ends, y.ends, table)
    pairs = Pairs(x.labels, y.labels, x.counts, y.counts, rows, columns)
    return _kernel(real, pairs, compiled)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _kernel(real: Real, pairs: Pairs, compiled: Compiled) -> tuple[Array, Array]:
    value, error = _call(real, pairs, compiled.settings, ())
    return value, error


@_kernel.defjvp
def _kernel_jvp(compiled: Compiled, primals: Any, tangents: Any):
    """Derivative of the exact kernel: linear in the tangents, so both modes follow from it."""
    (real, pairs), (d_real, _) = primals, tangents
    settings = compiled.settings
    shapes = _shapes(real, pairs, settings)
    number = pairs.rows.shape[0]
    size = sum(map(math.prod, shapes)) * real.times_x.dtype.itemsize
    moves = _moves(d_real, pairs, settings)
    if size <= _RESIDUALS:
        value, error, derivatives = _gradient(real, pairs, settings)
        slope = _contract(derivatives, moves, d_real.table, pairs, settings, compiled.whole)
        return (value, error), (slope, jnp.zeros_like(error))
    value, error = _kernel(real, pairs, compiled)
    parts = -(-size // _PART)
    width = -(-number // parts)

    def part(indices):
        some = pairs._replace(rows=indices[0], columns=indices[1])
        _, _, derivatives = _gradient(real, some, settings)
        return _contract(derivatives, moves, d_real.table, some, settings, False)

    def split(index):
        padded = jnp.pad(index, (0, -number % width), mode="edge")
        return padded.reshape(-1, width)

    indices = split(pairs.rows), split(pairs.columns)
    slope = jax.lax.map(jax.checkpoint(part), indices).reshape(-1)[:number]
    return (value, error), (slope, jnp.zeros_like(error))


def _moves(d_real: Real, pairs: Pairs, settings: Settings) -> tuple[Array, Array]:
    """How the parts of each train move, in the order of `Derivatives`."""
    x = [d_real.times_x, d_real.ends_x[:, None]]
    if not settings.by_entry:
        x.append(jnp.diagonal(d_real.table)[pairs.labels_x[:, :, 0]])
    y = [d_real.times_y, d_real.ends_y[:, None]]
    return jnp.concatenate(x, axis=1), jnp.concatenate(y, axis=1)


def _contract(
    derivatives: Derivatives,
    moves: tuple[Array, Array],
    d_table: Array,
    pairs: Pairs,
    settings: Settings,
    whole: bool,
) -> Float[Array, " pairs"]:
    by_x, by_y, entries = derivatives
    moves_x, moves_y = moves
    if whole:
        shape = (moves_x.shape[0], moves_y.shape[0])
        slope = jnp.sum(by_x.reshape(*shape, -1) * moves_x[:, None], axis=-1)
        slope = slope + jnp.sum(by_y.reshape(*shape, -1) * moves_y[None], axis=-1)
        slope = slope.reshape(-1)
    else:
        slope = jnp.sum(by_x * moves_x[pairs.rows], axis=-1)
        slope = slope + jnp.sum(by_y * moves_y[pairs.columns], axis=-1)
    if settings.by_entry:
        labels_x, labels_y = pairs.labels_x[pairs.rows], pairs.labels_y[pairs.columns]
        for label_x in jnp.moveaxis(labels_x, 2, 0):
            for label_y in jnp.moveaxis(labels_y, 2, 0):
                table = d_table[label_x[:, :, None], label_y[:, None]]
                slope = slope + jnp.sum(entries * table, axis=(1, 2))
    return slope


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _gradient(real: Real, pairs: Pairs, settings: Settings):
    """Kernel, error estimate and derivatives of every pair."""
    value, error, *derivatives = _call(real, pairs, settings, _shapes(real, pairs, settings))
    return value, error, Derivatives(*derivatives)


@_gradient.defjvp
def _gradient_jvp(settings: Settings, primals: Any, tangents: Any):
    """Second derivatives, by JAX."""
    (real, pairs), (d_real, _) = primals, tangents
    return jax.jvp(lambda real: _gradient_by_jax(real, pairs, settings), (real,), (d_real,))


def _gradient_by_jax(real: Real, pairs: Pairs, settings: Settings):
    rows, columns = pairs.rows, pairs.columns
    number = rows.shape[0]
    index = jnp.arange(number, dtype=jnp.int32)
    # Each pair with trains of its own; entries of jumps that are left out would have no place.
    settings = settings._replace(diagonal=settings.diagonal and not settings.by_entry)
    labels_x, labels_y = pairs.labels_x[rows], pairs.labels_y[columns]
    counts_x, counts_y = pairs.counts_x[rows], pairs.counts_y[columns]
    parts = (real.times_x[rows], real.ends_x[rows], real.times_y[columns], real.ends_y[columns])

    def gaps(times_x, ends_x, times_y, ends_y):
        x = Events(times_x, labels_x, counts_x, ends_x)
        y = Events(times_y, labels_y, counts_y, ends_y)
        chosen, _ = gather_pairs(x, y, index, index, real.table, settings.diagonal)
        return chosen.gaps_x, chosen.gaps_y

    real = Real(parts[0], parts[2], parts[1], parts[3], real.table)
    width = min(number, PAIRS_PER_BLOCK)
    blocks = jnp.pad(index, (0, -number % width), mode="edge").reshape(-1, width)
    discrete = Discrete(labels_x, labels_y, counts_x, counts_y, blocks, blocks)

    def side_by_side(results):
        results = jnp.moveaxis(results, 0, -2)
        return results.reshape(*results.shape[:-2], -1)[..., :number]

    results = gradients_of_all_slots(real, discrete, settings)
    value, error, (by_x, by_y, by_table) = jax.tree.map(side_by_side, results)
    _, pull = jax.vjp(gaps, *parts)
    times_x, ends_x, times_y, ends_y = pull((by_x, by_y))
    by_parts_x = [times_x, ends_x[:, None]]
    entries = jnp.zeros((0, 0, 0), value.dtype)
    if settings.by_entry:
        entries = jnp.moveaxis(by_table, -1, 0)
    else:
        # A jump lies where the pieces before it end, so what belongs to the jumps goes back to
        # their places as if it were a derivative in their times.
        sums = jnp.cumsum(by_table[::-1], axis=0)[::-1]
        sums = jnp.pad(sums, ((0, 1), (0, 0)))
        by_parts_x.append(pull((sums, jnp.zeros_like(by_y)))[0])
    by_x = jnp.concatenate(by_parts_x, axis=1)
    by_y = jnp.concatenate([times_y, ends_y[:, None]], axis=1)
    return value, error, Derivatives(by_x, by_y, entries)


def _shapes(real: Real, pairs: Pairs, settings: Settings) -> tuple[tuple[int, ...], ...]:
    number, jumps_x, jumps_y = pairs.rows.shape[0], real.times_x.shape[1], real.times_y.shape[1]
    entries = (number, jumps_x, jumps_y) if settings.by_entry else (0, 0, 0)
    parts_x = jumps_x + 1 + (0 if settings.by_entry else jumps_x)
    return (number, parts_x), (number, jumps_y + 1), entries


def _call(real: Real, pairs: Pairs, settings: Settings, more: tuple[tuple[int, ...], ...]):
    dtype = real.times_x.dtype
    name = NATIVE.required(_GRADIENT if more else _KERNEL, dtype)
    number = pairs.rows.shape[0]
    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape in ((number,), (number,), *more)]
    call = jax.ffi.ffi_call(name, shapes, vmap_method="sequential")
    return call(
        real.times_x,
        pairs.labels_x.astype(jnp.int32),
        real.ends_x,
        real.times_y,
        pairs.labels_y.astype(jnp.int32),
        real.ends_y,
        real.table,
        pairs.rows,
        pairs.columns,
        order_time=np.int64(settings.orders.time),
        order_jump=np.int64(settings.orders.jump),
        diagonal=np.int64(settings.diagonal),
        by_entry=np.int64(settings.by_entry),
    )
