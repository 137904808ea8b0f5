"""Metrics on held-out labelled data, every so many steps of a run."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .evaluate import batch_sizes, check_labelled, means
from .labelled import LabelledData, samples_shape
from .loop import Reached
from .step import TrainStep

_OF_HOLDOUT = "holdout_"


class HoldOut:
    """Evaluates the model of a run on held-out data, whenever `every` steps have been taken and
    before the first one.

    Every evaluation has the same noise, so that two differ by the model alone.
    """

    def __init__(
        self,
        step: TrainStep,
        data: LabelledData,
        every: int,
        key: Any,
        seeds: bool = False,
    ):
        axes = 2 if seeds else 1
        samples = samples_shape(data, axes, "holdout")[axes - 1]
        self.metrics = {"loss": _Loss(step.loss), **step.metrics}
        self.names = evaluated_names(step)
        self.data, self.every, self.seeds, self.simulate = data, every, seeds, step.simulate
        self.sizes = batch_sizes(samples, step.batch_size)
        # neither the noise nor the mini-batches of a step take this number
        self.key = eqx.filter_vmap(_own_key)(key) if seeds else _own_key(key)

    def __call__(self, reached: Reached) -> Reached:
        """The run, with an evaluation added if one is due."""
        last = reached.evaluated[-1][0] if reached.evaluated else None
        if reached.done % self.every or last == reached.done:
            return reached
        values = means(
            reached.state.model, self.data, self.simulate, self.metrics, self.key, self.sizes,
            self.seeds,
        )  # fmt: skip
        order = sorted(self.metrics)
        values = values[..., [order.index(n.removeprefix(_OF_HOLDOUT)) for n in self.names]]
        return reached._replace(evaluated=(*reached.evaluated, (reached.done, values)))

    def history(self, reached: Reached) -> dict[str, np.ndarray]:
        """Steps and metrics of the evaluations, evaluations along the last axis (seeds, if any,
        along the first)."""
        steps = np.array([step for step, _ in reached.evaluated], dtype=np.int64)
        shape = (*reached.failed.shape, len(self.names))
        values = np.array([x for _, x in reached.evaluated]).reshape(-1, *shape)
        values = np.moveaxis(values, 0, -2)
        steps = np.broadcast_to(steps, values.shape[:-1])
        return {"holdout_step": steps} | {n: values[..., i] for i, n in enumerate(self.names)}


def evaluated_until(
    done: int, evaluations: dict[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """The evaluations of a seed that has taken so many steps, and waited from then on."""
    if not evaluations:
        return {}
    taken = evaluations["holdout_step"][seed] <= done
    return {name: values[seed, taken] for name, values in evaluations.items()}


def evaluated_names(step: TrainStep) -> tuple[str, ...]:
    """Names of what is recorded of held-out data."""
    return tuple(f"{_OF_HOLDOUT}{name}" for name in ("loss", *sorted(step.metrics)))


def holdout_of(
    step: TrainStep,
    data: Any,
    holdout: Any,
    every: int | None,
    log_every: int,
    key: Any,
    samples: int | None,
    seeds: bool = False,
) -> HoldOut | None:
    """What evaluates held-out labelled data, if there are any.

    Raises:
        TypeError: labelled data beside a `holdout` that is not labelled.
        ValueError: `every` without labelled `holdout`.
    """
    if not isinstance(data, LabelledData) or holdout is None:
        if every is not None:
            raise ValueError(
                f"`evaluate_every` is {every}, and there is nothing to evaluate; it needs "
                "`roughsnn.LabelledData` as `data` and as `holdout`."
            )
        return None
    check_labelled("holdout", holdout)
    if every is None:
        assert samples is not None
        every = max(log_every, -(-samples // (step.batch_size or samples)))
    return HoldOut(step, holdout, every, key, seeds)


class _Loss(eqx.Module):
    """The loss as a metric."""

    loss: Callable[[Any, Any], Any]

    def __call__(self, model: PyTree, generated: Any, targets: Any) -> Any:
        return self.loss(generated, targets)


def _own_key(key: PRNGKeyArray) -> PRNGKeyArray:
    return jr.fold_in(key, 2**31 - 1)
