"""Checks of model parameters at construction."""

import jax
import numpy as np
from jaxtyping import Array

from .._checks import IntLike, real_array, whole_number


def parameter(
    name: str,
    value,
    *,
    positive: bool = False,
    non_negative: bool = False,
    at_least: float | None = None,
    shapes: tuple[tuple[int, ...], ...] | None = None,
) -> Array:
    """A model parameter as a floating-point array, refused with its name, its value and what it
    must be. Values that are not known yet (inside a JAX transformation) pass."""
    if isinstance(value, bool | np.bool):
        raise ValueError(f"`{name}` must be a number or an array, got {value!r}.")
    try:
        array = real_array(name, value)
    except TypeError as error:
        raise ValueError(f"`{name}` must be a number or an array, got {value!r}.") from error
    if shapes is not None and array.shape not in shapes:
        allowed = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"`{name}` must have shape {allowed}, got shape {array.shape}.")
    if isinstance(array, jax.core.Tracer):
        return array
    known = np.asarray(array)
    if not np.all(np.isfinite(known)):
        raise ValueError(f"`{name}` must be finite, got {value}.")
    if positive and not np.all(known > 0):
        raise ValueError(f"`{name}` must be positive, got {value}.")
    if non_negative and not np.all(known >= 0):
        raise ValueError(f"`{name}` must not be negative, got {value}.")
    if at_least is not None and not np.all(known >= at_least):
        raise ValueError(f"`{name}` must be at least {at_least}, got {value}.")
    return array


def neuron_count(num_neurons: IntLike) -> int:
    """The size of a population, refused where it is none."""
    return whole_number("num_neurons", num_neurons, 1)


def for_each(model, num_neurons: int, **rules_and_values) -> None:
    """Sets parameters of a model in its constructor, each a number or one for each neuron.

    Args:
        model: the model under construction.
        num_neurons: K.
        rules_and_values: `positive`, `non_negative` and `free`, each a dictionary from the names of
            parameters to their values.
    """
    for rule, values in rules_and_values.items():
        checks = {} if rule == "free" else {rule: True}
        for name, value in values.items():
            checked = parameter(name, value, shapes=((), (num_neurons,)), **checks)
            setattr(model, name, checked)


def below(name: str, low: Array, other: str, high: Array) -> None:
    """Refuses a parameter that must lie below another one and does not."""
    if isinstance(low, jax.core.Tracer) or isinstance(high, jax.core.Tracer):
        return
    if not np.all(np.asarray(low) < np.asarray(high)):
        raise ValueError(f"`{name}` must lie below `{other}`, got {low} and {high}.")
