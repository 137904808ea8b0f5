"""Derivatives by central differences, to hold automatic differentiation against.

Both functions take any pytree of floating-point arrays. In float64 a smooth function of
order one has its smallest error, about 1e-10, near a step of 1e-5: the truncation error falls
as `step**2`, the rounding error grows as `1e-16 / step`. A path with noise that is held fixed
between grid points is smooth only while no event crosses a grid point, so a test states its
step and chooses it small against the distance to the next grid point.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


def _require_float64(x: Any) -> None:
    for leaf in jax.tree.leaves(x):
        if jnp.asarray(leaf).dtype != jnp.float64:
            raise TypeError(
                f"central differences need float64 leaves, got {jnp.asarray(leaf).dtype}: "
                "in lower precision rounding swamps the difference"
            )


def finite_difference_gradient(f: Callable[[Any], Any], x: Any, step: float = 1e-5) -> Any:
    """The gradient of a scalar function by central differences, one coordinate at a time.

    Each coordinate `x_i` of the flattened pytree contributes
    `(f(x + step e_i) - f(x - step e_i)) / (2 step)`.

    Arguments:
        f: maps a pytree shaped like `x` to a scalar. Jit it first where it is slow: it is
            called twice for each coordinate.
        x: the point, a pytree of float64 arrays.
        step: the absolute step of each coordinate.

    Returns:
        A pytree shaped like `x`, of float64 arrays.

    Raises:
        TypeError: a leaf of `x` is not float64.
        ValueError: `f` does not return a scalar.
    """
    _require_float64(x)
    flat, unravel = ravel_pytree(x)
    point = np.asarray(flat)
    if jnp.shape(f(x)) != ():
        raise ValueError(f"f must return a scalar, got shape {jnp.shape(f(x))}")
    gradient = np.empty_like(point)
    for i in range(point.size):
        shift = np.zeros_like(point)
        shift[i] = step
        above = float(f(unravel(jnp.asarray(point + shift))))
        below = float(f(unravel(jnp.asarray(point - shift))))
        gradient[i] = (above - below) / (2 * step)
    return unravel(jnp.asarray(gradient))


def directional_derivative(
    f: Callable[[Any], Any], x: Any, direction: Any, step: float = 1e-5
) -> Any:
    """The derivative of `f` at `x` along `direction` by one central difference.

    `(f(x + step v) - f(x - step v)) / (2 step)`, to be compared with
    `jax.jvp(f, (x,), (v,))[1]`. Two calls whatever the size of `x`, and `f` may return any
    pytree: the way to check every spike time of a large model at once.

    Arguments:
        f: maps a pytree shaped like `x` to a pytree of arrays.
        x: the point, a pytree of float64 arrays.
        direction: the direction `v`, a pytree shaped like `x`.
        step: how far along `direction` to go each way.

    Returns:
        A pytree shaped like `f(x)`. Entries that are infinite on both sides, such as the
        padding of spike times, have the derivative zero.

    Raises:
        TypeError: a leaf of `x` is not float64.
    """
    _require_float64(x)
    above = f(jax.tree.map(lambda a, v: a + step * v, x, direction))
    below = f(jax.tree.map(lambda a, v: a - step * v, x, direction))

    def quotient(a, b):
        a, b = np.asarray(a), np.asarray(b)
        padding = np.isinf(a) & (a == b)
        return (np.where(padding, 0.0, a) - np.where(padding, 0.0, b)) / (2 * step)

    return jax.tree.map(quotient, above, below)


def random_direction(x: Any, seed: int = 0) -> Any:
    """A fixed direction of unit length, shaped like `x`, with no entry that is nearly zero."""
    flat, unravel = ravel_pytree(x)
    random = np.random.default_rng(seed)
    vector = random.choice([-1.0, 1.0], flat.size) * random.uniform(0.5, 1.5, flat.size)
    return unravel(jnp.asarray(vector / np.linalg.norm(vector), flat.dtype))
