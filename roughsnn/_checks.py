"""Numbers and arrays that a user gives, checked and converted where they come in, under the names
that they have there.

A number may be one of Python or of NumPy (pandas and HDF5 give these), or an array without
dimensions. It becomes a Python number, so that what is compiled for it is compiled once, and an
error names the argument that was given and not one that it became.
"""

import math
import numbers
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

RealLike = int | float | np.integer | np.floating | np.ndarray | jax.Array
"""What `number` takes: a real number of Python or NumPy, or an array without dimensions."""

IntLike = int | np.integer | np.ndarray | jax.Array
"""What `whole_number` takes: an integer of Python or NumPy, or an array without dimensions."""


def number(
    name: str,
    value: Any,
    *,
    positive: bool = False,
    least: float | int | None = None,
    below: float | int | None = None,
) -> float:
    """A real number as a Python float.

    Args:
        name: the argument, for the error.
        value: what was given for it.
        positive: whether it must be greater than 0.
        least: what it must at least be.
        below: what it must be less than.

    Raises:
        ValueError: no number; one that is not finite, or out of range.
    """
    plain = _plain(name, value, "a number")
    if plain is None:
        raise ValueError(f"`{name}` must be a number, got {_shown(value)}.")
    try:
        result = float(plain)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"`{name}` must be finite, got {result}.")
    if positive and result <= 0:
        raise ValueError(f"`{name}` must be positive, got {result}.")
    if least is not None and result < least:
        raise ValueError(f"`{name}` must be at least {least}, got {result}.")
    if below is not None and result >= below:
        raise ValueError(f"`{name}` must be less than {below}, got {result}.")
    return result


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """An integer as a Python int. A float is none, even where it is whole.

    Args:
        name: the argument, for the error.
        value: what was given for it.
        least: what it must at least be.
        most: what it must at most be.

    Raises:
        ValueError: no integer, or one out of range.
    """
    plain = _plain(name, value, "an integer")
    whole = int(plain) if isinstance(plain, numbers.Integral) else None
    if whole is None or whole < least or (most is not None and whole > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be an integer {limits}, got {_shown(value)}.")
    return whole


def window(t0: Any, t1: Any, dt0: Any) -> tuple[float, float, float]:
    """The window and the step of a simulation as Python floats."""
    return number("t0", t0), number("t1", t1), number("dt0", dt0, positive=True)


def optional_whole_number(name: str, value: Any, least: int, most: int | None = None) -> int | None:
    """`whole_number`, or `None` for what was left out."""
    return None if value is None else whole_number(name, value, least, most)


def count_field(name: str, default: int | None, least: int = 1) -> Any:
    """A static field of a module that holds a count, or `None` where that is its default."""
    check = optional_whole_number if default is None else whole_number
    return eqx.field(default=default, static=True, converter=partial(check, name, least=least))


def real_array(name: str, value: Any, dtype: Any = None) -> Array:
    """Real numbers as a floating-point array.

    Integers, booleans, half precision and single numbers become JAX's default floating-point type,
    in which results of a sum or a product have room; arrays in single and double precision stay
    as they are.

    Args:
        name: the argument, for the error.
        value: what was given for it.
        dtype: what is converted becomes, by default JAX's floating-point type.

    Raises:
        TypeError: complex numbers, or no numbers at all.
    """
    refusal = f"`{name}` must be an array of real numbers, got {_shown(value)}."
    default = jnp.result_type(float) if dtype is None else dtype
    if isinstance(value, str | bytes):
        raise TypeError(refusal)
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()  # a number of NumPy is as good as one of Python
    if not isinstance(value, jax.Array):
        try:
            if np.issubdtype(np.asarray(value).dtype, np.integer):
                # on the host: JAX's default integers have no room for large ones
                return jnp.asarray(np.asarray(value).astype(np.float64), default)
        except (TypeError, ValueError):
            pass  # traced values in a list, or no array at all
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(refusal) from error
    if jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize >= 4:
        return array
    if jnp.issubdtype(array.dtype, jnp.complexfloating) or not (
        jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool
    ):
        raise TypeError(f"`{name}` must be real numbers, got an array of dtype {array.dtype}.")
    return array.astype(default)


def finite_array(
    name: str, value: Any, *, least: float | int | None = None, dtype: Any = None
) -> Array:
    """`real_array`, refused where it holds a NaN or an infinite number, or one less than `least`.
    Values that are not known yet, inside a JAX transformation, pass.

    Args:
        name: the argument, for the error.
        value: what was given for it.
        least: what every entry must at least be.
        dtype: as in `real_array`.

    Raises:
        TypeError: as in `real_array`.
        ValueError: an entry that is not finite, or out of range.
    """
    array = real_array(name, value, dtype)
    if isinstance(array, jax.core.Tracer):
        return array
    known = np.asarray(array)
    if not np.all(np.isfinite(known)):
        raise ValueError(
            f"`{name}` must be finite, got {_shown(value)}"
            f"{' with a NaN or an infinite number' if known.ndim else ''}."
        )
    if least is not None and np.any(known < least):
        raise ValueError(f"`{name}` must be at least {least:g}, got {known.min():g}.")
    return array


def _plain(name: str, value: Any, kind: str) -> numbers.Real | float | None:
    """The Python number behind a value; `None` where it is no real number."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"`{name}` must be {kind} that is known before anything is compiled, and here it "
            "depends on an argument of a JAX transformation (`jit`, `vmap`, `grad`, ...): give a "
            "Python number, or make that argument static."
        )
    if isinstance(value, bool | np.bool):
        return None
    if isinstance(value, numbers.Real):
        return value
    if not hasattr(value, "__array__") or getattr(value, "shape", None) != ():
        return None
    array = np.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.integer):
        return int(array)
    return float(array) if jnp.issubdtype(array.dtype, jnp.floating) else None


def _shown(value: Any) -> str:
    """A value in an error: itself where it is short, else what it is."""
    shape = getattr(value, "shape", ())
    if shape != ():
        return f"an array of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 80 else f"a {type(value).__name__}"
