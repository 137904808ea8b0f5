"""What a model makes of labelled data: metrics, and decisions, batch by batch."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from roughsnn._checks import IntLike, optional_whole_number
from roughsnn._host_errors import as_themselves
from roughsnn.devices import same_on_each_host
from roughsnn.estimators import spikes_of
from roughsnn.spikes import SpikeTrains

from .arguments import seed_axes
from .labelled import LabelledData

Metrics = Mapping[str, Callable[[Any, Any, Any], Any]]


def evaluate(
    model: PyTree,
    data: LabelledData,
    *,
    simulate: Callable[[Any, Any, PRNGKeyArray], Any],
    metrics: Metrics,
    key: PRNGKeyArray,
    batch_size: IntLike | None = None,
) -> dict[str, float]:
    """The mean over all samples of metrics of a model, batch by batch.

    ```python
    rs.evaluate(
        result.model, test, simulate=simulate, key=key, batch_size=100,
        metrics={"accuracy": lambda model, generated, labels: loss.accuracy(generated, labels)},
    )
    ```

    Batches are as equal as can be, and each counts by its size: a metric that is a mean over
    samples comes out as that over all of them, whatever the batch size. There are at most two
    sizes, and so at most two simulations to compile; `predict`, and the evaluation of `holdout` in
    [`roughsnn.fit`][], share them with it where the sizes agree.

    Args:
        model: any model.
        data: inputs and targets.
        simulate: function of the model, inputs and a key that draws one trial for each input.
        metrics: named functions `(model, generated, targets) -> scalar`, means over the samples.
        key: random key; batch b has the noise of `jax.random.fold_in(key, b)`.
        batch_size: at most so many samples are simulated at a time; by default all.

    Returns:
        the mean of each metric.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: no samples, a batch size out of range, or a metric that is not a scalar.
    """
    check_labelled("data", data)
    _check_functions({"simulate": simulate} | {f"metrics[{n!r}]": f for n, f in metrics.items()})
    sizes = batch_sizes(len(data), optional_whole_number("batch_size", batch_size, 1))
    values = means(model, data, simulate, metrics, key, sizes)
    return {name: float(value) for name, value in zip(sorted(metrics), values, strict=True)}


def predict(
    model: PyTree,
    inputs: PyTree,
    *,
    simulate: Callable[[Any, Any, PRNGKeyArray], Any],
    decision: Callable[[Any], Any] | None = None,
    key: PRNGKeyArray,
    batch_size: IntLike | None = None,
) -> Any:
    """What a model decides for each input, batch by batch.

    Args:
        model: any model.
        inputs: a pytree of arrays or spike trains with a leading axis over the samples, as in
            [`roughsnn.LabelledData`][].
        simulate: as in [`roughsnn.evaluate`][].
        decision: function of the generated trains that returns one entry per sample (a pytree of
            arrays with a leading axis over them), such as `loss.decide` of a classification loss;
            by default the trains themselves.
        key: as in [`roughsnn.evaluate`][].
        batch_size: as in [`roughsnn.evaluate`][].

    Returns:
        the decisions of all samples, in the order of the inputs.

    Raises:
        TypeError: as in [`roughsnn.evaluate`][].
        ValueError: as in [`roughsnn.evaluate`][], or decisions that are not one per sample.
    """
    _check_functions({"simulate": simulate} | ({} if decision is None else {"decision": decision}))
    data = LabelledData(inputs, inputs)
    check_labelled("inputs", data)
    sizes = batch_sizes(len(data), optional_whole_number("batch_size", batch_size, 1))
    parts = []
    for number, (start, size) in enumerate(sizes):
        batch = data[start : start + size]
        with as_themselves():
            part = _drawn(simulate, model, batch.inputs, key, jnp.asarray(number, jnp.int32))
            if decision is not None:
                part = _decided(decision, part)
                _check_decisions(part, size)
        parts.append(part)
    return jax.tree.map(_joined, *parts, is_leaf=_is_trains)


def means(
    model: PyTree,
    data: LabelledData,
    simulate: Callable,
    metrics: Metrics,
    key: Any,
    sizes: list[tuple[int, int]],
    seeds: bool = False,
) -> np.ndarray:
    """The mean of each metric, in the order of their names; with `seeds` all arguments have a first
    axis over seeds and so has the result."""
    total, samples = 0.0, 0
    for number, (start, size) in enumerate(sizes):
        batch_number = jnp.asarray(number, jnp.int32)
        with as_themselves():
            if seeds:
                batch = _part_of_seeds(data, slice(start, start + size))
                values = _measured_many(simulate, dict(metrics), model, batch, key, batch_number)
            else:
                batch = data[start : start + size]
                generated = _drawn(simulate, model, batch.inputs, key, batch_number)
                values = _measured(dict(metrics), model, generated, batch.targets)
            total = total + size * np.asarray(jax.device_get(values), np.float64)
        samples += size
    return np.asarray(total) / samples


def batch_sizes(samples: int, most: int | None) -> list[tuple[int, int]]:
    """Where each batch begins, and its size: as few batches as can be, of sizes as equal as can
    be, all but the last of one size."""
    most = samples if most is None else min(most, samples)
    size = -(-samples // -(-samples // most))
    return [(start, min(size, samples - start)) for start in range(0, samples, size)]


def check_labelled(name: str, data: Any) -> None:
    """Fail unless it is labelled data with a sample or more."""
    if not isinstance(data, LabelledData):
        raise TypeError(
            f"`{name}` is a {type(data).__name__}; it must be `roughsnn.LabelledData(inputs, "
            "targets)`."
        )
    if len(data) == 0:
        raise ValueError(f"`{name}` holds no sample; it must hold one or more.")


@eqx.filter_jit
def _drawn(simulate, model, inputs, key, number):
    """What a model generates: a program of its own, compiled once for all that is asked of it."""
    return same_on_each_host(spikes_of(simulate(model, inputs, jr.fold_in(key, number))))


@eqx.filter_jit
def _measured(metrics, model, generated, targets) -> Float[Array, " metrics"]:
    values = []
    for name in sorted(metrics):
        value = jnp.asarray(metrics[name](model, generated, targets))
        if value.shape != ():
            raise ValueError(
                f"`metrics[{name!r}]` returned an array of shape {value.shape}; it must be a "
                "scalar, the mean over the samples."
            )
        values.append(value.astype(jnp.result_type(float)))
    return same_on_each_host(jnp.stack(values) if values else jnp.zeros(0))


@eqx.filter_jit
def _measured_many(simulate, metrics, models, batch, keys, number):
    """The metrics of a batch of every seed."""

    def one_seed(model, batch, key):
        generated = _drawn(simulate, model, batch.inputs, key, number)
        return _measured(metrics, model, generated, batch.targets)

    return eqx.filter_vmap(one_seed, in_axes=(eqx.if_array(0), seed_axes(batch), 0))(
        models, batch, keys
    )


@eqx.filter_jit
def _decided(decision, generated):
    return same_on_each_host(decision(generated))


def _part_of_seeds(data: LabelledData, samples: slice) -> LabelledData:
    return jax.tree.map(lambda x: x[:, samples], data, is_leaf=_is_trains)


def _joined(*parts: Any) -> Any:
    if _is_trains(parts[0]):
        return SpikeTrains.concatenate(parts)
    return jnp.concatenate(parts) if eqx.is_array(parts[0]) else parts[0]


def _check_decisions(decided: Any, size: int) -> None:
    for leaf in jax.tree.leaves(decided, is_leaf=_is_trains):
        shape = leaf.batch_shape if _is_trains(leaf) else jnp.shape(leaf)
        if shape[:1] != (size,):
            raise ValueError(
                f"`decision` returned an array of shape {shape} for {size} samples; its first axis "
                "must run over them."
            )


def _check_functions(functions: Mapping[str, Any]) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"`{name}` is a {type(function).__name__}; it must be a function.")


def _is_trains(node: Any) -> bool:
    return isinstance(node, SpikeTrains)
