"""Which leaves of a model are differentiated and trained."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


def trainable_leaves(model: PyTree, trainable: Any = None) -> PyTree:
    """A pytree like `model` with True at the leaves to train and False elsewhere.

    Args:
        model: any pytree, usually an equinox module.
        trainable: `None` for all floating-point arrays; or a function from the model to the node,
            or tuple of nodes, whose floating-point arrays are trained, as the `where` of
            `equinox.tree_at`; or a pytree of bools with the structure of `model`.

    Raises:
        TypeError: `trainable` is none of these.
        ValueError: nothing would be trained, or a leaf that is marked cannot be.
    """
    floating = jax.tree.map(eqx.is_inexact_array, model)
    if trainable is None:
        chosen = floating
        what = "`model` has no floating-point array to train"
    elif jax.tree.structure(trainable) == jax.tree.structure(model) and jax.tree.leaves(trainable):
        # Before the test for a function: a model, and so its pytree of bools, may be callable.
        chosen = trainable
        what = "`trainable` marks no leaf of `model`"
        _check_marks(chosen, floating)
    elif callable(trainable):
        nothing = jax.tree.map(lambda _: False, model)
        if isinstance(trainable(model), bool):
            raise TypeError(
                "`trainable` returned a bool for the model; it must be a function from the model "
                "to what is trained, such as `lambda model: model.mu1`. A function of single "
                "leaves makes marks by `jax.tree.map(function, model)`."
            )
        chosen = eqx.tree_at(trainable, nothing, replace=trainable(floating))
        what = "`trainable` selects no floating-point array of `model`"
    else:
        raise TypeError(
            f"`trainable` is a {type(trainable).__name__}; it must be None, a function from the "
            "model to what is trained, such as `lambda model: model.mu1`, or a pytree of bools "
            "with the structure of the model."
        )
    if not any(jax.tree.leaves(chosen)):
        raise ValueError(
            f"{what}. A python number is not trained; make it an array with `jnp.asarray`."
        )
    return chosen


def leaf_names(model: PyTree, chosen: PyTree) -> list[str]:
    """Names such as `.neurons.mu1` of the leaves of `model` marked True, in order."""
    marked = eqx.filter(model, chosen)
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(marked)]


def _check_marks(chosen: PyTree, floating: PyTree) -> None:
    marks = jax.tree_util.tree_leaves_with_path(chosen)
    for (path, mark), possible in zip(marks, jax.tree.leaves(floating), strict=True):
        name = jax.tree_util.keystr(path)
        if not isinstance(mark, bool):
            raise TypeError(f"`trainable` has {mark!r} at {name}; every leaf must be a bool.")
        if mark and not possible:
            raise ValueError(
                f"`trainable` marks {name}, which is not a floating-point array and cannot be "
                "trained. Make it an array with `jnp.asarray`, or mark it False."
            )
