"""Labelled data: what a model is given, and what it should make of it, sample by sample."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from roughsnn._shown import is_known
from roughsnn.spikes import SpikeTrains
from roughsnn.spikes.checks import is_traced


class LabelledData(eqx.Module):
    """Inputs and their targets: entry i of the one belongs to entry i of the other.

    ```python
    data = rs.LabelledData(inputs=points, targets=labels)  # shapes (samples, 4) and (samples,)
    data[:100], len(data)
    ```

    Attributes:
        inputs: a pytree of arrays with a leading axis over the samples. Spike trains count as one
            entry, with their first batch axis.
        targets: likewise, with as many samples.

    Raises:
        TypeError: an entry that is neither an array nor SpikeTrains.
        ValueError: no array at all, an array without axes, or different numbers of samples.
    """

    inputs: PyTree
    targets: PyTree

    def __init__(self, inputs: PyTree, targets: PyTree):
        self.inputs = _arrays("inputs", inputs)
        self.targets = _arrays("targets", targets)
        _check_samples(_entries("inputs", self.inputs) + _entries("targets", self.targets))

    def __len__(self) -> int:
        """The number of samples."""
        return _shape(jax.tree.leaves(self.inputs, is_leaf=_is_trains)[0])[0]

    def __getitem__(self, index: Any) -> "LabelledData":
        """Some of the samples, by a slice, an array of their numbers or an array of bools.

        Raises:
            IndexError: a number out of range.
            TypeError: a single number or anything else.
        """
        if not isinstance(index, slice):
            if isinstance(index, list):
                index = np.asarray(index, dtype=None if index else np.int32)
            if not isinstance(index, np.ndarray | jax.Array) or index.ndim != 1:
                raise TypeError(
                    f"`index` is {index!r}; it must be a slice or an array with one axis, of "
                    "sample numbers or of bools. For sample i alone use `data[i : i + 1]`."
                )
            if not is_traced(index):
                # JAX clamps an index that is out of range; NumPy refuses it.
                np.broadcast_to(False, len(self))[np.asarray(index)]
        taken = jax.tree.map(lambda x: x[index], (self.inputs, self.targets), is_leaf=_is_trains)
        return LabelledData(*taken)

    def __repr__(self) -> str:
        lines = [f"labelled data: {len(self)} samples"]
        for name, entry in _entries("inputs", self.inputs) + _entries("targets", self.targets):
            lines.append(f"{name}: {_described(entry)}")
        return "\n".join(lines)


class WithInputs(eqx.Module):
    """`simulate` with its inputs given: a function of the model and a key.

    Attributes:
        simulate: function of the model, inputs and a key.
        inputs: of the samples to draw.
    """

    simulate: Callable[[Any, Any, PRNGKeyArray], Any]
    inputs: PyTree

    def __call__(self, model: PyTree, key: PRNGKeyArray) -> Any:
        return self.simulate(model, self.inputs, key)

    def as_simulation(self) -> Any:
        """The [`roughsnn.Simulation`][] of these inputs, or `None` where `simulate` does not say
        which it is, by a method `simulation(inputs)`."""
        make = getattr(self.simulate, "simulation", None)
        return None if make is None else make(self.inputs)

    def trials(self, model: PyTree, key: PRNGKeyArray) -> Any:
        """The same, with where each trial ended, if `simulate` says so."""
        draw = getattr(self.simulate, "trials", self.simulate)
        return draw(model, self.inputs, key)


def of_batch(simulate: Callable, data: Any) -> tuple[Callable[[Any, PRNGKeyArray], Any], Any]:
    """What draws a batch, as a function of model and key, and what the loss compares it with."""
    if isinstance(data, LabelledData):
        return WithInputs(simulate, data.inputs), data.targets
    return simulate, data


def samples_shape(data: LabelledData, axes: int, name: str) -> tuple[int, ...]:
    """The first axes of every entry, such as seeds and samples; `name` is that of the data.

    Raises:
        ValueError: an entry that has fewer, or others.
    """
    entries = _entries("inputs", data.inputs) + _entries("targets", data.targets)
    first, shape = entries[0][0], _shape(entries[0][1])[:axes]
    for what, entry in entries:
        if _shape(entry)[:axes] != shape or len(shape) < axes:
            raise ValueError(
                f"`{name}.{what}` has shape {_shape(entry)}; it must begin with the same {axes} "
                f"axes as `{name}.{first}`, which begins with {shape}: for several seeds, those "
                "over seeds and over samples."
            )
    return shape


def _is_trains(node: Any) -> bool:
    return isinstance(node, SpikeTrains)


def _shape(entry: Any) -> tuple[int, ...]:
    return entry.batch_shape if _is_trains(entry) else jnp.shape(entry)


def _entries(name: str, tree: PyTree) -> list[tuple[str, Any]]:
    """Arrays and spike trains with their names, such as `inputs['left']`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_trains)
    return [(f"{name}{jax.tree_util.keystr(path)}", leaf) for path, leaf in leaves]


def _arrays(name: str, tree: PyTree) -> PyTree:
    """The tree with arrays of NumPy made arrays of JAX."""
    for what, leaf in _entries(name, tree):
        if isinstance(leaf, SpikeTrains | jax.Array):
            continue
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
            continue
        raise TypeError(
            f"`{what}` is {_short(leaf)}; it must be an array or SpikeTrains with one entry per "
            "sample. Make a list an array with `jnp.asarray`; what all samples share belongs in "
            "`simulate`."
        )
    return jax.tree.map(
        lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, tree, is_leaf=_is_trains
    )


def _check_samples(entries: list[tuple[str, Any]]) -> None:
    for name in ("inputs", "targets"):
        if not any(what.startswith(name) for what, _ in entries):
            raise ValueError(f"`{name}` holds no array; it must hold one entry per sample.")
    first, samples = entries[0][0], None
    for name, entry in entries:
        shape = _shape(entry)
        kind = "batch shape" if _is_trains(entry) else "shape"
        if not shape:
            raise ValueError(
                f"`{name}` has {kind} {shape}; its first axis must run over the samples. Give a "
                "single sample an axis of length 1."
            )
        samples = shape[0] if samples is None else samples
        if shape[0] != samples:
            raise ValueError(
                f"`{name}` has {kind} {shape} and so {shape[0]} samples, and `{first}` {samples}; "
                "their first axes must agree, as entry i of the one belongs to entry i of the "
                "other."
            )


def _described(entry: Any) -> str:
    """An entry in a line: spike trains by their first line."""
    if _is_trains(entry):
        return repr(entry).split("\n")[0]
    text = f"{entry.dtype}[{','.join(map(str, entry.shape))}]"
    whole = jnp.issubdtype(entry.dtype, jnp.integer)
    if whole and entry.ndim == 1 and entry.size and is_known(entry):
        values, counts = np.unique(np.asarray(entry), return_counts=True)
        if values.size <= 12:
            found = zip(values, counts, strict=True)
            text += f", {', '.join(f'{n} of {value}' for value, n in found)}"
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
