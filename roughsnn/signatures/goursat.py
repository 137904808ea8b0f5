"""The signature kernel of general paths, by finite differences of its Goursat equation."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import IntLike, real_array, whole_number
from ..spikes.checks import refuse_if
from .static_kernels import AbstractStaticKernel, Linear

# Pairs that run in lockstep: enough to hide the cost of a step, few enough for the L2 cache.
_PAIRS_PER_BLOCK = 256
# Bytes of derivatives that reverse mode may keep; beyond, it computes them anew block by block.
_RESIDUALS = 64 * 2**20


def signature_kernel_gram(
    x: Shaped[ArrayLike, "m points_x channels"],
    y: Shaped[ArrayLike, "n points_y channels"] | None = None,
    *,
    static_kernel: AbstractStaticKernel | None = None,
    dyadic_order: IntLike | tuple[IntLike, IntLike] = 0,
    refine: str = "features",
) -> Float[Array, "m n"]:
    r"""Signature kernel of every path of `x` with every path of `y`.

    For piecewise-linear paths the kernel $k = \langle S(X), S(Y) \rangle$, summed over all levels,
    solves

    $$
    \frac{\partial^2 k}{\partial s\,\partial t} = z\,k, \qquad k = 1 \text{ on the axes},
    $$

    with $z$ constant on the rectangle of a piece of $x$ and a piece of $y$: the inner product of
    the two in the feature space of the static kernel. Packages differ in what is straight between
    the given points, and unless the static kernel is `Linear` these are two kernels, with two
    limits as the order grows:

    | `refine` | straight between points | the static kernel is evaluated | packages |
    |---|---|---|---|
    | `"features"` | the path in feature space | at the given points | pySigLib, sigkernel |
    | `"path"` | the path itself | at the refined points | sigkerax |

    The second is the first of `refined_paths`; on paths with many points they are close. Bandwidths
    differ between packages too, see `RBF.from_sigma` and `RBF.from_gamma`.

    One step of second order takes the increments $a, b$ along the lower and left edge of a
    rectangle to those along the upper and right edge, $a + c$ and $b + c$,

    $$
    c = z \Big( k_{00} + \frac{a + b}{2} + \frac{z}{12} (3 k_{00} + a + b) \Big),
    $$

    algebraically the usual stencil for values, but without its differences of large numbers: in
    float32 the rounding error does not grow with refinement. Each dyadic order halves the pieces
    and divides the error by four.

    For the lifts of spike trains use `event_kernel_gram`, which has no such error.

    Derivatives in both modes and of any order. Differentiated, each block of pairs is solved and
    run back at once, row by row, and only derivatives in the points of each pair are kept; where
    these are too many, they are computed anew in the way back.

    Args:
        x: points of each path.
        y: points of each path; left out, `x` with itself, which costs half.
        static_kernel: how points are compared, `Linear()` by default.
        dyadic_order: each piece is halved that many times; a pair gives `x` and `y` their own.
        refine: what is halved, `"features"` or `"path"`, see above.

    Returns:
        Gram matrix.

    Raises:
        ValueError: different numbers of channels, a negative order, another word for `refine`, or a
            kernel that is too large for its dtype (a run-time error inside `jit`).

    References:
        Salvi, Cass, Foster, Lyons, Yang (2021), SIAM J. Math. Data Sci. 3, 873.
    """
    symmetric = y is None
    x = real_array("x", x)
    other = x if y is None else real_array("y", y)
    if x.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"`x` has {x.shape[-1]} channels and `y` {other.shape[-1]}; they must have the same."
        )
    if x.dtype != other.dtype:
        raise ValueError(f"`x` has dtype {x.dtype} and `y` {other.dtype}; convert one of them.")
    pair = dyadic_order if isinstance(dyadic_order, tuple | list) else (dyadic_order,) * 2
    if len(pair) != 2:
        raise ValueError(
            f"`dyadic_order` is {dyadic_order}; it must be 0 or more, or a pair of such numbers."
        )
    orders = tuple(whole_number("dyadic_order", order, 0) for order in pair)
    if refine not in ("features", "path"):
        raise ValueError(f"`refine` is {refine!r}; it must be 'features' or 'path'.")
    if refine == "path" and not isinstance(static_kernel or Linear(), Linear):
        x, other = refined_paths(x, orders[0]), refined_paths(other, orders[1])
        # The pieces of each side are its own now, also of `x` with itself.
        symmetric, orders = symmetric and orders[0] == orders[1], (0, 0)
    m, n = x.shape[0], other.shape[0]
    rows, columns = np.triu_indices(m) if symmetric else np.indices((m, n)).reshape(2, -1)
    if len(rows) == 0:
        return jnp.zeros((m, n), x.dtype)
    values = _kernel_of_pairs(x, other, rows, columns, static_kernel or Linear(), orders)
    values = refuse_if(
        values,
        ~jnp.isfinite(values),
        f"The signature kernel is too large for {x.dtype}, or the paths are not finite. Scale the "
        "paths, or use a bounded static kernel such as `RBF`.",
    )
    if not symmetric:
        return values.reshape(m, n)
    off = rows != columns
    gram = jnp.zeros((m, n), values.dtype).at[rows, columns].set(values)
    return gram.at[columns[off], rows[off]].set(values[off])


def refined_paths(
    paths: Shaped[ArrayLike, "n points channels"], dyadic_order: IntLike
) -> Float[Array, "n more_points channels"]:
    r"""The same piecewise-linear paths with points halfway between points, so many times over.

    It takes the convention in which the path is straight between its points to the one in which its
    lift to feature space is: `signature_kernel_gram(x, y, refine="path", dyadic_order=n)` is
    `signature_kernel_gram(refined_paths(x, n), refined_paths(y, n))`.

    Args:
        paths: points of each path.
        dyadic_order: each piece is halved that many times.

    Returns:
        paths of $2^n (L - 1) + 1$ points for $L$ points.

    Raises:
        ValueError: a negative order.
    """
    paths = real_array("paths", paths)
    dyadic_order = whole_number("dyadic_order", dyadic_order, 0)
    fine = 2**dyadic_order
    batch, points, channels = paths.shape
    if points < 2 or fine == 1:
        return paths
    weights = (jnp.arange(fine) / fine).astype(paths.dtype)[None, None, :, None]
    start, end = paths[:, :-1, None], paths[:, 1:, None]
    # Weighted so that equal ends give exactly themselves.
    inner = (start + weights * (end - start)).reshape(batch, (points - 1) * fine, channels)
    return jnp.concatenate([inner, paths[:, -1:]], axis=1)


@partial(jax.jit, static_argnums=(5,))
def _kernel_of_pairs(x, y, rows, columns, static_kernel, orders) -> Float[Array, " pairs"]:
    num_pairs = rows.shape[0]
    num_blocks = math.ceil(num_pairs / _PAIRS_PER_BLOCK)
    width = math.ceil(num_pairs / (8 * num_blocks)) * 8
    padding = (0, num_blocks * width - num_pairs)
    blocks = tuple(
        jnp.pad(index, padding, mode="edge").reshape(num_blocks, width) for index in (rows, columns)
    )
    # Channels first and pairs last, so that pairs fill the vector registers.
    x, y = (jnp.moveaxis(paths, 0, -1).swapaxes(0, 1) for paths in (x, y))
    return _blocks(x, y, static_kernel, blocks, orders).reshape(-1)[:num_pairs]


def _plain_blocks(x, y, static_kernel, blocks, orders) -> Float[Array, "blocks pairs"]:
    @jax.checkpoint
    def block(indices):
        row, column = indices
        return _solve(static_kernel.increments(x[:, :, row], y[:, :, column]), orders)

    return jax.lax.map(block, blocks)


_blocks = jax.custom_jvp(_plain_blocks, nondiff_argnums=(4,))


@partial(_blocks.defjvp, symbolic_zeros=True)
def _blocks_jvp(orders, primals: Any, tangents: Any):
    r"""One reverse pass for each block of pairs, on the spot, kept as derivatives in its points.

    They are few, and linear in the tangents whatever these are, so both modes follow without
    solving the equation again on the way back.
    """
    x, y, static_kernel, blocks = primals
    d_x, d_y, d_kernel, _ = tangents
    which = [not isinstance(d, SymbolicZero) for d in (d_x, d_y)]
    size = blocks[0].size * sum(
        use * paths.shape[0] * paths.shape[1] for use, paths in zip(which, (x, y), strict=True)
    )
    learned = any(not isinstance(d, SymbolicZero) for d in jax.tree.leaves(d_kernel))
    if learned or size * x.dtype.itemsize > _RESIDUALS:
        filled = jax.tree.map(_filled, (x, y, static_kernel), (d_x, d_y, d_kernel))
        return jax.jvp(
            lambda *parts: _plain_blocks(*parts, blocks, orders), (x, y, static_kernel), filled
        )

    # For second derivatives, which keep nothing of a block either.
    @jax.checkpoint
    def block(indices):
        points = [p[:, :, i] for p, i in zip((x, y), indices, strict=True)]

        def kernel(*moving):
            given = iter(moving)
            both = [next(given) if use else p for use, p in zip(which, points, strict=True)]
            return _solve(static_kernel.increments(*both), orders)

        moving = [p for use, p in zip(which, points, strict=True) if use]
        value, pull = jax.vjp(kernel, *moving)
        return value, pull(jnp.ones_like(value))

    def slope(part):
        indices, gradients = part
        moved = [(d, i) for use, d, i in zip(which, (d_x, d_y), indices, strict=True) if use]
        terms = [
            jnp.sum(g * d[:, :, i], axis=(0, 1)) for g, (d, i) in zip(gradients, moved, strict=True)
        ]
        return sum(terms[1:], terms[0])

    value, gradients = jax.lax.map(block, blocks)
    if not any(which):
        return value, jnp.zeros_like(value)
    return value, jax.lax.map(slope, (blocks, gradients))


def _filled(primal, tangent):
    if not isinstance(tangent, SymbolicZero):
        return tangent
    if jnp.issubdtype(jnp.result_type(primal), jnp.inexact):
        return jnp.zeros_like(primal)
    return np.zeros(jnp.shape(primal), jax.dtypes.float0)


def _solve(
    z: Float[Array, "pieces_x pieces_y pairs"], orders: tuple[int, int]
) -> Float[Array, " pairs"]:
    """Kernel of each pair from the inner products of its pieces."""
    fine_x, fine_y = 2 ** orders[0], 2 ** orders[1]
    num_pairs, dtype = z.shape[2], z.dtype
    one, zero = jnp.ones(num_pairs, dtype), jnp.zeros(num_pairs, dtype)

    def column(state, piece):
        corner, lower = state
        left, z = piece
        both = lower + left
        change = z * (corner + 0.5 * both + z * (1 / 12) * (3 * corner + both))
        return (corner + left, lower + change), left + change

    def row(left, z):
        # The sum over the pieces of y of the increments along the right side ends at the kernel.
        z = jnp.repeat(z * (1 / (fine_x * fine_y)), fine_y, axis=0)

        def fine_row(left, _):
            return jax.lax.scan(column, (one, zero), (left, z))[1], None

        return jax.lax.scan(fine_row, left, None, length=fine_x)[0], None

    left = jnp.zeros((z.shape[1] * fine_y, num_pairs), dtype)
    left, _ = jax.lax.scan(jax.checkpoint(row), left, z)
    return 1 + jnp.sum(left, axis=0)
