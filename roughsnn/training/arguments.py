"""What `fit` and `fit_many` accept, and the errors that say so."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from roughsnn.estimators import AbstractGradientEstimator, Pathwise
from roughsnn.runs import Checkpoints
from roughsnn.runs.checkpoints import digest_of
from roughsnn.spikes import SpikeTrains

from .early_stop import EarlyStop
from .labelled import LabelledData, samples_shape
from .loop import Keeper
from .step import TrainStep


def keeper_of(
    checkpoint: Checkpoints | None, step: TrainStep, key: Any, data: Any, holdout: Any
) -> Keeper | None:
    """What keeps a run in checkpoints, if it is to be kept."""
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, Checkpoints):
        raise TypeError(
            f"`checkpoint` is a {type(checkpoint).__name__}; it must be "
            '`roughsnn.Checkpoints("folder")`.'
        )
    identity = {
        "key": digest_of(key),
        "data": digest_of(data),
        "holdout": digest_of(holdout),
        "batch_size": str(step.batch_size),
        "metrics": ", ".join(step.recorded),
    }
    return Keeper(checkpoint, identity)


def make_step(
    simulate, loss, optimiser, estimator, trainable, batch_size, metrics, between_steps, conditions
) -> TrainStep:
    """The training step, of arguments that are checked."""
    functions = {"simulate": simulate, "loss": loss}
    if between_steps is not None:
        functions["between_steps"] = between_steps
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"`{name}` is a {type(function).__name__}; it must be a function.")
    estimator = Pathwise() if estimator is None else estimator
    if not isinstance(estimator, AbstractGradientEstimator):
        raise TypeError(
            f"`estimator` is {estimator!r}; it must be an estimator such as "
            "`roughsnn.PathwiseWithBoundary()`."
        )
    return TrainStep(
        simulate, loss, optimiser, trainable, batch_size, dict(metrics or {}), estimator,
        between_steps, conditions,
    )  # fmt: skip


def check_early_stop(
    early_stop: EarlyStop | None, step: TrainStep, evaluated: tuple[str, ...] = ()
) -> None:
    """Fail unless what is watched is recorded, in each step or of held-out data."""
    recorded = (*step.recorded, *evaluated)
    if early_stop is not None and early_stop.monitor not in recorded:
        raise ValueError(
            f"`early_stop` watches {early_stop.monitor!r}; it must be one of {recorded}."
        )


def check_data(
    data: SpikeTrains | LabelledData | None, batch_size: int | None, batch_shape: str, rank: int
) -> int | None:
    """The number of samples (of a seed), if there are data: trains of the batch shape that is
    wanted, or labelled data."""
    if data is None:
        if batch_size is not None:
            raise ValueError(
                f"`batch_size` is {batch_size} and `data` None; without data there are no batches."
            )
        return None
    if isinstance(data, LabelledData):
        shape = samples_shape(data, rank, "data")
    elif isinstance(data, SpikeTrains):
        shape = data.batch_shape
    else:
        raise TypeError(
            f"`data` is a {type(data).__name__}; it must be SpikeTrains, LabelledData or None."
        )
    if len(shape) != rank or 0 in shape:
        raise ValueError(f"`data` has batch shape {shape}; it must be {batch_shape} and not empty.")
    return shape[-1]


def check_seed_axis(name: str, tree: PyTree, num_seeds: int) -> None:
    """Fail unless every array has an entry for each seed."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_trains)
    for path, leaf in leaves:
        shape = leaf.batch_shape if _is_trains(leaf) else jnp.shape(leaf)
        if (_is_trains(leaf) or eqx.is_array(leaf)) and shape[:1] != (num_seeds,):
            kind = "batch shape" if _is_trains(leaf) else "shape"
            raise ValueError(
                f"`{name}{jax.tree_util.keystr(path)}` has {kind} {shape}; its first axis must "
                f"have one entry per key, {num_seeds}. To share a value among all seeds use "
                "`equinox.filter_vmap(lambda key: value)(keys)`."
            )


def _is_trains(node: Any) -> bool:
    return isinstance(node, SpikeTrains)


def seed_axes(tree: PyTree) -> PyTree:
    """`in_axes` over the first axis of every array; the window of spike trains is shared."""

    def axes(node):
        if _is_trains(node):
            return node.vmap_axes
        return 0 if eqx.is_array(node) else None

    return jax.tree.map(axes, tree, is_leaf=_is_trains)
