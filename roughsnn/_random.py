"""Counter-based randomness for use inside the event loop.

`jax.random` on CPU hashes in a rolled loop of many small kernels, which costs more than a whole
step of a small network. The same hash written out is one fused kernel.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(
    key: tuple[UInt32[Array, "*n"], UInt32[Array, "*n"]],
    counter: tuple[UInt32[Array, "*n"], UInt32[Array, "*n"]],
) -> tuple[UInt32[Array, "*n"], UInt32[Array, "*n"]]:
    """The Threefry-2x32 block function with 20 rounds (Salmon et al. 2011), the hash behind
    `jax.random`, unrolled."""
    k0, k1 = key
    ks = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = counter[0] + ks[0], counter[1] + ks[1]
    for block in range(5):
        for r in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = ((x1 << jnp.uint32(r)) | (x1 >> jnp.uint32(32 - r))) ^ x0
        x0 = x0 + ks[(block + 1) % 3]
        x1 = x1 + ks[(block + 2) % 3] + jnp.uint32(block + 1)
    return x0, x1


def key_words(key: PRNGKeyArray) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    """The first and last word of a key's data, whatever its implementation."""
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return data[..., 0], data[..., -1]


def key_of_marks(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key of the marks of a trial, from that which the trial's events are given."""
    return jax.random.fold_in(key, 1)


def event_key(key: PRNGKeyArray, index: Int[Array, ""], number: Int[Array, ""]) -> PRNGKeyArray:
    """The key of event `number` of component `index`."""
    words = threefry2x32(key_words(key), (index.astype(jnp.uint32), number.astype(jnp.uint32)))
    return jax.random.wrap_key_data(jnp.stack(words), impl="threefry2x32")


def uniform_from_key(key: PRNGKeyArray) -> Float[Array, ""]:
    """A uniform number in (0, 1) made of the bits of a key that is used for nothing else.

    A key from `event_key` is itself the output of a hash, so its bits need no second one. The
    result keeps full relative precision near 0, where -log u is large: -log u reaches 22.9 in
    float32 and 37.4 in float64 (a uniform number of `jax.random` in float32 stops at 15.9).
    """
    return uniform_from_words(*key_words(key))


def uniform_from_words(high: UInt32[Array, "*n"], low: UInt32[Array, "*n"]) -> Float[Array, "*n"]:
    """The same from the two words of a key."""
    dtype = jnp.result_type(float)
    if dtype == jnp.float64:
        u = (high.astype(dtype) + (low >> jnp.uint32(11)).astype(dtype) * 2.0**-21 + 2.0**-22) * (
            2.0**-32
        )
    else:
        u = (high.astype(dtype) + 0.5) * 2.0**-32
    return jnp.minimum(u, 1 - jnp.finfo(dtype).epsneg)


def normals(
    key: PRNGKeyArray, cell: Int[Array, ""], shape: tuple[int, ...], dtype
) -> Float[Array, "..."]:
    """Standard normal numbers that belong to one cell of a grid.

    Element i of cell j is made of the hash of (j, i), so that the numbers of a cell can be had
    alone, at any time, and do not depend on how many cells there are.
    """
    size = math.prod(shape)
    elements = jnp.arange(size, dtype=jnp.uint32)
    # (as long as the elements, since ranks are not promoted)
    cells, k0, k1 = (
        jnp.broadcast_to(x, (size,)) for x in (cell.astype(jnp.uint32), *key_words(key))
    )
    high, low = threefry2x32((k0, k1), (cells, elements))
    if dtype == jnp.float64:
        # 52 bits, odd multiples of 2^-53: symmetric about 1/2 and never 0 or 1
        u = (high.astype(dtype) * 2.0**20 + (low >> jnp.uint32(12)).astype(dtype) + 0.5) * 2.0**-52
    else:
        u = ((high >> jnp.uint32(9)).astype(dtype) + jnp.asarray(0.5, dtype)) * 2.0**-23
    return (jnp.asarray(math.sqrt(2), dtype) * jax.lax.erf_inv(2 * u - 1)).reshape(shape)
