"""Sine and cosine of whole turns, by polynomials.

On CPU, XLA's own cost ten times as much inside the loop over steps: more than all the rest of a
step.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def sin_turns(x: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""$\sin 2 \pi x$ to the rounding of the dtype, for x of moderate size."""
    y = _from_half_a_turn(x)
    return -2 * math.pi * y * _series(y, 1)


def cos_turns(x: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""$\cos 2 \pi x$ to the rounding of the dtype, for x of moderate size."""
    return -_series(_from_half_a_turn(x), 0)


def _from_half_a_turn(x):
    """x - 1/2 without whole turns, between -1/2 and 1/2; the half turn changes the sign."""
    return (x - jnp.floor(x)) - 0.5


def _series(y, odd):
    r"""The Taylor series $\sum_k (-z)^k / (2k + odd)!$ with $z = (2 \pi y)^2$."""
    # The first term left out is below 1e-10 of the first, or in double precision below 1e-17.
    terms = 12 if y.dtype == jnp.float32 else 17
    z = jnp.square(2 * math.pi * y)
    value = jnp.ones_like(y)
    for k in range(terms - 1, 0, -1):
        value = 1 - value * z / ((2 * k + odd) * (2 * k + odd - 1))
    return value
