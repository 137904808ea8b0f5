"""Quotients of exponentials that have a limit at zero, accurate near it, with their derivatives:
what closed forms of leaky neurons with equal rates need."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# below them `relative_growth` and its derivative are taken from their series. What is divided by
# below is kept from zero by half of that: two copies of one comparison may round differently in a
# compiled program, and a series must not be left for a quotient whose divisor has been replaced
_SMALL, _SMALL_SLOPE = 1e-4, 0.05


@jax.custom_jvp
def relative_growth(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^y - 1) / y, and 1 at y = 0, with accurate derivatives everywhere."""
    size = jnp.abs(y)
    series = 1 + y * (1 / 2 + y * (1 / 6 + y / 24))
    return jnp.where(size < _SMALL, series, jnp.expm1(y) / jnp.where(size < _SMALL / 2, 1, y))


@relative_growth.defjvp
def _(primals, tangents):
    (y,), (dy,) = primals, tangents
    value, size = relative_growth(y), jnp.abs(y)
    safe = jnp.where(size < _SMALL_SLOPE / 2, 1, y)
    # e^y = 1 + y value, and (e^y - value) / y = value + (1 - value) / y
    slope = value + (1 - value) / safe
    return value, jnp.where(size < _SMALL_SLOPE, _slope_by_series(y), slope) * dy


def relative_logarithm(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 + z) / z, and 1 at z = 0."""
    size = jnp.abs(z)
    series = 1 - z * (1 / 2 - z * (1 / 3 - z / 4))
    return jnp.where(size < _SMALL, series, jnp.log1p(z) / jnp.where(size < _SMALL / 2, 1, z))


def _slope_by_series(y):
    """1/2 + y/3 + y^2/8 + ...: the sum over n of (n + 1) y^n / (n + 2)!."""
    total, factorial = jnp.zeros_like(y), 1.0
    terms = []
    for n in range(9):
        factorial *= n + 2
        terms.append((n + 1) / factorial)
    for term in reversed(terms):
        total = total * y + term
    return total
