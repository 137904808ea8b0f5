"""Truncated signatures of piecewise-linear paths, by signax."""

import math

import jax
import jax.numpy as jnp
import signax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import IntLike, real_array, whole_number


def signature(
    paths: Shaped[ArrayLike, "*batch points channels"], depth: IntLike
) -> Float[Array, "*batch coordinates"]:
    r"""Signature of each path up to level `depth`, its levels flattened one after the other.

    For a path $x$ through the given points, joined by straight lines, the coordinate of the word
    $(i_1, \dots, i_m)$ is

    $$
    S^{i_1 \dots i_m} = \int_{u_1 < \dots < u_m} dx^{i_1}_{u_1} \cdots dx^{i_m}_{u_m},
    \qquad m = 1, \dots, \text{depth}.
    $$

    Level 0, which is always 1, is left out. With $d$ channels there are
    $d + d^2 + \dots + d^{\text{depth}}$ coordinates, see `num_coordinates`. Repeated points, and a
    path of a single point, contribute nothing.

    Computed in the dtype of `paths`, except that single precision is raised to double while
    `jax_enable_x64` is on: signax computes in JAX's default precision. Integers, booleans and half
    precision are converted to JAX's default floating-point type, and so is the result.

    Raises:
        TypeError: complex paths.
        ValueError: `depth < 1`, no points, or no channels.
    """
    paths = real_array("paths", paths)
    levels = signature_levels(paths, depth)
    batch = paths.shape[:-2]
    flat = [x.reshape(*batch, math.prod(x.shape[len(batch) :])) for x in levels]
    return jnp.concatenate(flat, axis=-1)


def signature_levels(
    paths: Shaped[ArrayLike, "*batch points channels"], depth: IntLike
) -> tuple[Float[Array, "..."], ...]:
    """Levels `1 ... depth` of `signature`; level $m$ has shape `(*batch, channels, ..., channels)`.

    Raises:
        ValueError: `depth < 1`, no points, or no channels.
    """
    depth, paths = whole_number("depth", depth, 1), real_array("paths", paths)
    *batch, points, channels = paths.shape
    if points < 1 or channels < 1:
        raise ValueError(
            f"`paths` has shape {paths.shape}; the last two axes, points and channels, must not "
            "be empty."
        )
    if points < 2:
        # signax needs an increment; a path of one point has the signature of a constant path.
        paths = jnp.concatenate([paths, paths], axis=-2)
    dtype = paths.dtype
    flat = paths.reshape(math.prod(batch), max(points, 2), channels)
    flat = flat.astype(jnp.result_type(float))
    levels = jax.vmap(lambda path: signax.signature(path, depth, flatten=False))(flat)
    return tuple(x.astype(dtype).reshape(*batch, *x.shape[1:]) for x in levels)


def expected_signature(
    paths: Shaped[ArrayLike, "samples points channels"], depth: IntLike
) -> Float[Array, " coordinates"]:
    r"""Mean of `signature` over the samples: the estimate of $\mathbb E\,S(X)$ up to level `depth`.

    Raises:
        ValueError: no sample, `depth < 1`, no points, or no channels.
    """
    paths = real_array("paths", paths)
    if paths.shape[0] == 0:
        raise ValueError(
            "`paths` holds no sample; an expected signature is a mean over one or more."
        )
    return jnp.mean(signature(paths, depth), axis=0)


def num_coordinates(channels: int, depth: int) -> int:
    r"""Number of coordinates $d + d^2 + \dots + d^{\text{depth}}$ for $d$ channels."""
    return sum(channels**level for level in range(1, depth + 1))


def num_channels(coordinates: int, depth: int) -> int:
    """Number of channels of a path whose signature has so many coordinates.

    Raises:
        ValueError: no number of channels gives that many.
    """
    channels = 1
    while num_coordinates(channels, depth) < coordinates:
        channels += 1
    if num_coordinates(channels, depth) != coordinates:
        raise ValueError(
            f"`coordinates` is {coordinates}; no path has that many up to `depth={depth}`."
        )
    return channels
