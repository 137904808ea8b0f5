"""Conditions on values: an ordinary error where they are known, a run-time one inside `jit`."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from roughsnn._host_errors import refused_on_host

Tree = TypeVar("Tree", bound=PyTree)


def is_traced(tree: PyTree) -> bool:
    """Whether any leaf of `tree` is being traced, so that its value is not known yet."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def refuse_if(tree: Tree, predicate: Bool[Array, "..."], message: str) -> Tree:
    """Return `tree`, or fail with `message` if any entry of `predicate` holds.

    Outside `jit` the failure is a `ValueError`. Where `predicate` is traced it comes at run time,
    see `roughsnn._host_errors`, and the returned tree must be used for the check to be kept.
    """
    predicate = jnp.any(predicate)
    if is_traced(predicate):
        return carry(tree, refused_on_host(predicate, message))
    if bool(predicate):
        raise ValueError(message)
    return tree


def carry(tree: Tree, failed: Bool[Array, ""]) -> Tree:
    """`tree`, such that whoever uses it also computes `failed`, what a run-time check returned.

    The check itself takes the flag alone: what passes through it passes through one device, so an
    array that is shared out among several would be gathered there and spread again.
    """
    return jax.tree.map(
        lambda x: jnp.where(failed, jnp.zeros_like(x), x) if eqx.is_array(x) else x, tree
    )


def checked_arrays(times: Any, neurons: Any, overflowed: Any, num_neurons: int) -> tuple:
    """Times, neurons and marks of overflow as arrays, once their shapes and dtypes fit."""
    times, neurons = jnp.asarray(times), jnp.asarray(neurons)
    if not jnp.issubdtype(times.dtype, jnp.floating):
        raise TypeError(f"`times` has dtype {times.dtype}; it must be floating point.")
    if not jnp.issubdtype(neurons.dtype, jnp.integer):
        raise TypeError(f"`neurons` has dtype {neurons.dtype}; it must be integer.")
    if times.ndim == 0 or times.shape != neurons.shape:
        raise ValueError(
            f"`times` has shape {times.shape} and `neurons` {neurons.shape}; both must have "
            "the shape (*batch, max_spikes)."
        )
    if overflowed is None:
        overflowed = jnp.zeros(times.shape[:-1], dtype=bool)
    overflowed = jnp.asarray(overflowed, dtype=bool)
    if overflowed.shape != times.shape[:-1]:
        raise ValueError(
            f"`overflowed` has shape {overflowed.shape}; it must have the batch shape "
            f"{times.shape[:-1]} of `times`, one flag per train."
        )
    if num_neurons < 1:
        raise ValueError(f"`num_neurons` is {num_neurons}; it must be 1 or more.")
    return times, neurons.astype(jnp.int32), overflowed


def checked_grazing(grazing: Any, batch: tuple[int, ...]) -> Array:
    """Which trains have a spike that only grazes its threshold; none, unless it is given."""
    if grazing is None:
        return jnp.zeros(batch, jnp.int32)
    grazing = jnp.asarray(grazing, jnp.int32)
    if grazing.shape != batch:
        raise ValueError(
            f"`grazing` has shape {grazing.shape}; it must have the batch shape {batch} of "
            "`times`, one number per train."
        )
    return grazing


def chosen_neurons(neurons: Any, num_neurons: int) -> np.ndarray:
    """Numbers of neurons, of which there are `num_neurons`, each once."""
    chosen = np.atleast_1d(np.asarray(neurons))
    if chosen.ndim != 1 or chosen.size == 0 or not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(
            f"`neurons` is {neurons!r}; it must be a neuron number or a non-empty list of them."
        )
    wrong = (chosen < 0) | (chosen >= num_neurons)
    if wrong.any():
        raise ValueError(
            f"`neurons` asks for neuron {chosen[int(np.argmax(wrong))]}; there are "
            f"{num_neurons} neurons, numbered 0 to {num_neurons - 1}."
        )
    if np.unique(chosen).size != chosen.size:
        raise ValueError(f"`neurons` is {chosen.tolist()}; each neuron may appear only once.")
    return chosen
