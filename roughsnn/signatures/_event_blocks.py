"""The exact kernel of many pairs of spike trains, block by block, with its derivative rule."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._event_gradient import kernel_and_gradient, rows_per_segment, storage
from ._event_pairs import Events, gather_pairs, order_by_cost
from ._event_sweep import Bounds, EventPairs, Orders, sweep

# Pairs that run in lockstep: enough to hide the cost of a step, few enough for the cache of a core.
PAIRS_PER_BLOCK = 512
# The same where a step costs a launch of some kernels, which more pairs share.
_PAIRS_PER_BLOCK_ON_ACCELERATOR = 2048
# Bytes that the gradient of one group of pairs may store. Larger groups gain no speed.
_STORE = 40 * 2**20
# Bytes of derivatives that reverse mode may keep; beyond, it computes them anew block by block.
_RESIDUALS = 64 * 2**20


class Settings(NamedTuple):
    """What is known when the computation is compiled."""

    orders: Orders
    # Jumps of different neurons have inner product zero.
    diagonal: bool
    # Differentiate the table entry by entry, see `kernel_and_gradient`.
    by_entry: bool


class Real(NamedTuple):
    """What the kernel is differentiated in."""

    times_x: Float[Array, "trains_x jumps_x"]
    times_y: Float[Array, "trains_y jumps_y"]
    ends_x: Float[Array, " trains_x"]
    ends_y: Float[Array, " trains_y"]
    table: Float[Array, "labels labels"]


class Discrete(NamedTuple):
    """What the kernel is not differentiated in, and the pairs of each block."""

    labels_x: Int[Array, "trains_x jumps_x slots_x"]
    labels_y: Int[Array, "trains_y jumps_y slots_y"]
    counts_x: Int[Array, "trains_x labels"]
    counts_y: Int[Array, "trains_y labels"]
    rows: Int[Array, "blocks pairs"]
    columns: Int[Array, "blocks pairs"]


def kernel_of_pairs(
    x: Events,
    y: Events,
    rows: Int[Array, " pairs"],
    columns: Int[Array, " pairs"],
    table: Float[Array, "labels labels"],
    settings: Settings,
) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
    """Kernel of train `rows[p]` of `x` with train `columns[p]` of `y`, and its error estimate.

    Pairs of similar cost share a block, so that a block ends with its longest pair.
    """
    num_pairs = rows.shape[0]
    on_cpu = jax.default_backend() == "cpu"
    most = PAIRS_PER_BLOCK if on_cpu else _PAIRS_PER_BLOCK_ON_ACCELERATOR
    num_blocks = -(-num_pairs // most)
    unit = 64 if num_pairs > 64 else 8
    width = -(-num_pairs // (num_blocks * unit)) * unit
    order = order_by_cost(x, y, rows, columns, num_blocks, settings.diagonal)
    padded = jnp.pad(order, (0, num_blocks * width - num_pairs), mode="edge")
    real = Real(x.times, y.times, x.ends, y.ends, table)
    discrete = Discrete(
        x.labels,
        y.labels,
        x.counts,
        y.counts,
        rows[padded].reshape(num_blocks, width),
        columns[padded].reshape(num_blocks, width),
    )
    values = _blocks(real, discrete, settings)
    places = jnp.zeros(num_pairs, x.times.dtype)
    value, error = (
        places.at[order].set(v.reshape(-1)[:num_pairs], unique_indices=True) for v in values
    )
    return value, error


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _blocks(real: Real, discrete: Discrete, settings: Settings) -> tuple[Array, Array]:
    def block(indices):
        pairs, bounds = _gather(real, discrete, indices, settings)
        value, error, _ = sweep(pairs, bounds, settings.orders)
        return value, error

    return jax.lax.map(block, (discrete.rows, discrete.columns))


@_blocks.defjvp
def _blocks_jvp(settings: Settings, primals: Any, tangents: Any):
    r"""Derivative of the exact kernel: $\sum_i \partial_{\Delta_i} k\,d\Delta_i$ and the like.

    The partial derivatives do not depend on the tangents, so this is linear in them and forward
    and reverse mode both follow. Reverse mode keeps the partial derivatives, one per piece and
    pair, or computes them anew in the way back where they are too many.
    """
    real, discrete = primals
    d_real, _ = tangents
    indices = (discrete.rows, discrete.columns)
    jumps_x, jumps_y = real.times_x.shape[1], real.times_y.shape[1]
    entries = jumps_x * jumps_y if settings.by_entry else jumps_x
    size = discrete.rows.size * (jumps_x + jumps_y + entries) * real.times_x.dtype.itemsize

    def tangent(indices, gradient):
        return _contract(gradient, real, d_real, discrete, indices, settings)

    if size <= _RESIDUALS:
        value, error, gradient = _gradients(real, discrete, settings)
        slope = jax.lax.map(lambda part: tangent(*part), (indices, gradient))
    else:
        value, error = _blocks(real, discrete, settings)

        def block(indices):
            part = discrete._replace(rows=indices[0][None], columns=indices[1][None])
            _, _, gradient = _gradients(real, part, settings)
            return tangent(indices, jax.tree.map(lambda g: g[0], gradient))

        slope = jax.lax.map(jax.checkpoint(block), indices)
    return (value, error), (slope, jnp.zeros_like(error))


def _contract(
    gradient: Any,
    real: Real,
    d_real: Real,
    discrete: Discrete,
    indices: Any,
    settings: Settings,
) -> Float[Array, " pairs"]:
    by_x, by_y, by_table = gradient

    def gaps(real):
        pairs, _ = _gather(real, discrete, indices, settings)
        return (pairs.gaps_x, pairs.gaps_y), (pairs.labels_x, pairs.labels_y)

    _, (d_gaps_x, d_gaps_y), (labels_x, labels_y) = jax.jvp(gaps, (real,), (d_real,), has_aux=True)
    slope = jnp.sum(by_x * d_gaps_x, axis=0) + jnp.sum(by_y * d_gaps_y, axis=0)
    if settings.by_entry:
        for label_x in jnp.moveaxis(labels_x, 1, 0):
            for label_y in jnp.moveaxis(labels_y, 1, 0):
                entries = d_real.table[label_x[:, None], label_y[None]]
                slope = slope + jnp.sum(by_table * entries, axis=(0, 1))
        return slope
    diagonal = jnp.diagonal(d_real.table)
    return slope + jnp.sum(by_table * diagonal[labels_x[:, 0]], axis=0)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _gradients(real: Real, discrete: Discrete, settings: Settings):
    """Kernel, error estimate and partial derivatives of every block."""
    return _gradients_within(real, discrete, settings, None)


@_gradients.defjvp
def _gradients_jvp(settings: Settings, primals: Any, tangents: Any):
    """Second derivatives: loops over all slots, which JAX can differentiate in both modes."""
    real, discrete = primals
    d_real, _ = tangents

    def gradients(real):
        return gradients_of_all_slots(real, discrete, settings)

    return jax.jvp(gradients, (real,), (d_real,))


def gradients_of_all_slots(real: Real, discrete: Discrete, settings: Settings) -> Any:
    """Kernel, error estimate and partial derivatives of every block, differentiable by JAX."""
    slots = Bounds(discrete.labels_x.shape[1], discrete.labels_y.shape[1])
    return _gradients_within(real, discrete, settings, slots)


def _gradients_within(real: Real, discrete: Discrete, settings: Settings, slots: Bounds | None):
    num_pairs = discrete.rows.shape[1]
    pieces = (real.times_x.shape[1] + 1, real.times_y.shape[1] + 1)
    dtype = real.times_x.dtype
    orders, by_entry = settings.orders, settings.by_entry
    stored = 2 * orders.time + orders.jump * (2 if by_entry else 1)
    one_row = pieces[1] * num_pairs * dtype.itemsize
    size = pieces[0] * stored * one_row
    segment = None
    # What differentiates these loops cannot go through segments.
    if size > _STORE and slots is None:
        segment = rows_per_segment(pieces[0])
        num_edges = orders.time + orders.jump
        size = (-(-pieces[0] // segment) * num_edges + (segment + 1) * stored) * one_row
    groups = 1
    while size > groups * _STORE and num_pairs % (2 * groups) == 0:
        groups *= 2
    shape = (*pieces, num_pairs // groups)

    def split(array):
        array = array.reshape(array.shape[:-1] + (groups, num_pairs // groups))
        return jnp.moveaxis(array, -2, 0)

    def joined(array):
        array = jnp.moveaxis(array, 0, -2)
        return array.reshape(array.shape[:-2] + (num_pairs,))

    def block(room, indices):
        pairs, bounds = _gather(real, discrete, indices, settings)
        bounds = bounds if slots is None else slots

        def group(room, part):
            gaps_x, gaps_y, labels_x, labels_y = part
            part = EventPairs(gaps_x, gaps_y, pairs.table, labels_x, labels_y)
            result, room = kernel_and_gradient(
                part, bounds, orders, room, by_entry=by_entry, segment=segment
            )
            return room, result

        parts = tuple(map(split, (pairs.gaps_x, pairs.gaps_y, pairs.labels_x, pairs.labels_y)))
        room, results = jax.lax.scan(group, room, parts)
        return room, jax.tree.map(joined, results)

    room = storage(shape, dtype, orders, by_entry=by_entry, segment=segment)
    return jax.lax.scan(block, room, (discrete.rows, discrete.columns))[1]


def _gather(real: Real, discrete: Discrete, indices: Any, settings: Settings):
    x = Events(real.times_x, discrete.labels_x, discrete.counts_x, real.ends_x)
    y = Events(real.times_y, discrete.labels_y, discrete.counts_y, real.ends_y)
    return gather_pairs(x, y, *indices, real.table, settings.diagonal)
