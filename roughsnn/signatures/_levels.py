"""Flattened signatures level by level."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import IntLike, whole_number
from .truncated import num_channels


def split_levels(
    signatures: Float[Array, "*batch coordinates"], depth: IntLike
) -> tuple[Float[Array, "*batch _"], ...]:
    """The coordinates of each level.

    Raises:
        ValueError: `depth < 1`, or a number of coordinates that no signature of this depth has.
    """
    depth = whole_number("depth", depth, 1)
    channels = num_channels(signatures.shape[-1], depth)
    ends = np.cumsum([channels**level for level in range(1, depth)])
    return tuple(jnp.split(signatures, ends, axis=-1))


def weighted_levels(
    signatures: Float[Array, "*batch coordinates"], depth: int, weights: Sequence[float]
) -> Float[Array, "*batch coordinates"]:
    """Each level times its weight.

    Raises:
        ValueError: not one finite weight for each level.
    """
    if len(weights) != depth or not np.all(np.isfinite(np.asarray(weights, float))):
        raise ValueError(
            f"`level_weights` is {tuple(weights)}; it must have a finite number for each of the "
            f"{depth} levels."
        )
    dtype = signatures.dtype
    levels = split_levels(signatures, depth)
    return jnp.concatenate(
        [level * jnp.asarray(w, dtype) for level, w in zip(levels, weights, strict=True)], axis=-1
    )
