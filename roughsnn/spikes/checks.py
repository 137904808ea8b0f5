"""Conditions on values: an ordinary error where they are known, a run-time one inside `jit`."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
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
