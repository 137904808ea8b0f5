"""`SpikeTrains`, the container that simulations, losses, kernels, readers and plots share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .checks import is_traced, refuse_if
from .lists import lists_from_padded, padded_from_lists


class SpikeTrains(eqx.Module):
    r"""A batch of spike trains on one window $[t_0, t_1]$, as padded arrays.

    Train $b$ holds the spikes $(\tau_1, k_1), (\tau_2, k_2), \dots$ of all `num_neurons` neurons,
    sorted by time and, at equal times, by neuron. It is a pytree: it passes through `jit`, `vmap`
    (see `vmap_axes`), `grad` and sharding. Times are in the unit of the model.

    Attributes:
        times: spike times, sorted along the last axis, padded with `inf`.
        neurons: the neuron of each spike, `0 ... num_neurons - 1`, padded with `-1` (int32).
        t0: start of the window.
        t1: end of the window; a spike at `t0` or `t1` belongs to the window.
        overflowed: whether more spikes happened than there was room for, so that the train holds
            only the first `max_spikes` of them.
        num_neurons: number of neurons, silent ones included.

    The constructor takes arrays that are already in this form and checks only what does not
    depend on their values (shapes, dtypes, and the order of a known window), so that it costs
    nothing under `jit`. Use `from_lists` to build and validate trains from recorded times.

    Raises:
        TypeError: `times` is not floating point or `neurons` is not integer.
        ValueError: shapes that do not fit together, `num_neurons < 1`, or `t1 <= t0`.
    """

    times: Float[Array, "*batch max_spikes"]
    neurons: Int[Array, "*batch max_spikes"]
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    overflowed: Bool[Array, "*batch"]
    num_neurons: int = eqx.field(static=True)

    def __init__(
        self,
        times: Any,
        neurons: Any,
        t0: Any,
        t1: Any,
        overflowed: Any = None,
        *,
        num_neurons: int,
    ):
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
        _check_window(t0, t1)
        self.times = times
        self.neurons = neurons.astype(jnp.int32)
        self.t0 = jnp.asarray(t0, dtype=times.dtype)
        self.t1 = jnp.asarray(t1, dtype=times.dtype)
        self.overflowed = overflowed
        self.num_neurons = int(num_neurons)

    # ---- what is in it

    @property
    def max_spikes(self) -> int:
        """Room per train: the number of spikes that fit."""
        return self.times.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the batch; `()` for a single train."""
        return self.times.shape[:-1]

    @property
    def mask(self) -> Bool[Array, "*batch max_spikes"]:
        """True where there is a spike, False in the padding."""
        return self.neurons >= 0

    @property
    def counts(self) -> Int[Array, "*batch"]:
        """Number of spikes of each train, all neurons together."""
        return jnp.sum(self.mask, axis=-1, dtype=jnp.int32)

    @property
    def counts_by_neuron(self) -> Int[Array, "*batch num_neurons"]:
        """Number of spikes of each neuron in each train."""
        size = math.prod(self.batch_shape)
        neurons = self.neurons.reshape(size, self.max_spikes)
        # Padding is sent past the end and dropped; -1 itself would count for the last neuron.
        column = jnp.where(neurons >= 0, neurons, self.num_neurons)
        counts = jnp.zeros((size, self.num_neurons), dtype=jnp.int32)
        rows = jnp.arange(size)[:, None]
        counts = counts.at[rows, column].add(1, mode="drop")
        return counts.reshape(*self.batch_shape, self.num_neurons)

    @property
    def vmap_axes(self) -> SpikeTrains:
        """`in_axes` or `out_axes` that map over the first batch axis and share the window.

        ```python
        jax.vmap(f, in_axes=(trains.vmap_axes,))(trains)
        ```
        """
        return eqx.tree_at(
            lambda x: (x.times, x.neurons, x.overflowed, x.t0, x.t1), self, (0, 0, 0, None, None)
        )

    # ---- in and out

    @classmethod
    def from_lists(
        cls,
        trials: Sequence[Any],
        *,
        t0: float | int,
        t1: float | int,
        num_neurons: int | None = None,
        max_spikes: int | None = None,
        dtype: Any = None,
    ) -> SpikeTrains:
        """Build and validate trains from spike times on the host.

        Args:
            trials: one entry per trial. Each is a **list** with one array of spike times per
                neuron (empty for a silent neuron; `[times]` for a single neuron), or a **tuple**
                `(times, neurons)` of equally long arrays. Times must be non-decreasing: unsorted
                times are refused, not sorted, because they usually mean a mistake in a file.
                In a pair, spikes at equal times may come in any order.
            t0: start of the window.
            t1: end of the window; spikes at `t0` and `t1` are inside.
            num_neurons: number of neurons; needed for pairs and for an empty list of trials.
            max_spikes: room per train; by default that of the busiest trial.
            dtype: of the times; by default JAX's default floating-point type.

        Returns:
            trains with batch shape `(len(trials),)`.

        Raises:
            TypeError: an entry that is not a list, a pair or an array of numbers.
            ValueError: a NaN, a time outside the window, unsorted times, a neuron number that
                is negative or too large, trials with different numbers of neurons, more spikes
                than `max_spikes`, or `t1 <= t0`. The message names the trial.
        """
        _check_window(t0, t1)
        times, neurons, num_neurons = padded_from_lists(
            trials,
            t0=float(t0),
            t1=float(t1),
            num_neurons=num_neurons,
            max_spikes=max_spikes,
        )
        dtype = jnp.result_type(float) if dtype is None else dtype
        return cls(jnp.asarray(times, dtype=dtype), neurons, t0, t1, num_neurons=num_neurons)

    def to_lists(self) -> list:
        """Spike times as nested lists over the batch; innermost, one NumPy array per neuron.

        The inverse of `from_lists` for a batch of trials. A single train (batch shape `()`) gives
        the list over its neurons.
        """
        return lists_from_padded(np.asarray(self.times), np.asarray(self.neurons), self.num_neurons)

    # ---- parts of it

    def select(self, neurons: Sequence[int] | int) -> SpikeTrains:
        """Keep only the spikes of `neurons`, renumbered `0, 1, ...` in the order asked for.

        Raises:
            ValueError: no neuron, one that does not exist, or one asked for twice.
        """
        chosen = np.atleast_1d(np.asarray(neurons))
        if chosen.ndim != 1 or chosen.size == 0 or not np.issubdtype(chosen.dtype, np.integer):
            raise ValueError(
                f"`neurons` is {neurons!r}; it must be a neuron number or a non-empty list of them."
            )
        wrong = (chosen < 0) | (chosen >= self.num_neurons)
        if wrong.any():
            raise ValueError(
                f"`neurons` asks for neuron {chosen[int(np.argmax(wrong))]}; there are "
                f"{self.num_neurons} neurons, numbered 0 to {self.num_neurons - 1}."
            )
        if np.unique(chosen).size != chosen.size:
            raise ValueError(f"`neurons` is {chosen.tolist()}; each neuron may appear only once.")
        # One entry more than there are neurons: padding (-1) reads the last one, which is -1.
        new_number = np.full(self.num_neurons + 1, -1, dtype=np.int32)
        new_number[chosen] = np.arange(chosen.size, dtype=np.int32)
        relabelled = jnp.asarray(new_number)[self.neurons]
        return _packed(
            self.times, relabelled, self.t0, self.t1, self.overflowed, num_neurons=chosen.size
        )

    def window(self, t0: Any, t1: Any) -> SpikeTrains:
        """Keep the spikes in `[t0, t1]`, which becomes the new window; times are not shifted.

        Both ends are included, so a spike exactly where two windows meet is in both. A train that
        had overflowed is still marked unless it is known to be complete up to the new `t1`.

        Raises:
            ValueError: `t1 <= t0`, or a window that is not inside the present one.
        """
        _check_window(t0, t1)
        t0 = jnp.asarray(t0, dtype=self.times.dtype)
        t1 = jnp.asarray(t1, dtype=self.times.dtype)
        outside = (t0 < self.t0) | (t1 > self.t1)
        known = "" if is_traced((self, t0, t1)) else f" [{t0:g}, {t1:g}]"
        present = "" if is_traced((self, t0, t1)) else f" [{self.t0:g}, {self.t1:g}]"
        message = (
            f"The window{known} asked for is not inside the present window{present}; spikes "
            "outside the present window are not known. Ask for a window inside it."
        )
        t0, t1 = refuse_if((t0, t1), outside, message)
        kept = self.mask & (self.times >= t0) & (self.times <= t1)
        # The recorded spikes of an overflowed train are its first ones: complete until the last.
        last = jnp.max(jnp.where(self.mask, self.times, self.t0), axis=-1, initial=-jnp.inf)
        overflowed = self.overflowed & (t1 >= last)
        neurons = jnp.where(kept, self.neurons, -1)
        return _packed(self.times, neurons, t0, t1, overflowed, num_neurons=self.num_neurons)

    def first(self, n: int) -> SpikeTrains:
        """Keep the first `n` spikes of each train; `max_spikes` becomes `n`.

        This is a choice, not an overflow: a train is marked as overflowed only if it was before
        and holds fewer than `n` spikes.

        Raises:
            ValueError: `n < 0`.
        """
        if n < 0:
            raise ValueError(f"`n` is {n}; it must be 0 or more.")
        overflowed = self.overflowed & (self.counts < n)
        cut = _replace(self, self.times[..., :n], self.neurons[..., :n], overflowed)
        return cut.pad_to(n)

    def keep(self, kept: Bool[Array, "*batch max_spikes"]) -> SpikeTrains:
        """Keep the spikes marked by `kept`, moved to the front; `max_spikes` stays."""
        neurons = jnp.where(kept, self.neurons, -1)
        return _packed(
            self.times, neurons, self.t0, self.t1, self.overflowed, num_neurons=self.num_neurons
        )

    def pad_to(self, max_spikes: int) -> SpikeTrains:
        """The same trains with room for `max_spikes` spikes.

        Raises:
            ValueError: a train has more spikes than that (a run-time error inside `jit`).
        """
        if max_spikes < 0:
            raise ValueError(f"`max_spikes` is {max_spikes}; it must be 0 or more.")
        extra = max_spikes - self.max_spikes
        if extra >= 0:
            widths = [(0, 0)] * len(self.batch_shape) + [(0, extra)]
            times = jnp.pad(self.times, widths, constant_values=jnp.inf)
            neurons = jnp.pad(self.neurons, widths, constant_values=-1)
            return _replace(self, times, neurons, self.overflowed)
        times, neurons = refuse_if(
            (self.times[..., :max_spikes], self.neurons[..., :max_spikes]),
            self.mask[..., max_spikes:],
            f"`max_spikes` is {max_spikes}, fewer than some train has spikes. Give room for all, "
            "or use `first(n)` to keep only the first n on purpose.",
        )
        return _replace(self, times, neurons, self.overflowed)

    # ---- the batch

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError("A single train (batch shape `()`) has no length; see `counts`.")
        return self.batch_shape[0]

    def __getitem__(self, index: Any) -> SpikeTrains:
        """Index the batch axes, as NumPy does; out-of-range indices are an `IndexError`."""
        index = index if isinstance(index, tuple) else (index,)
        if not is_traced(index):
            # JAX clamps an index that is out of range; NumPy refuses it.
            host_index = tuple(np.asarray(i) if isinstance(i, jax.Array) else i for i in index)
            np.broadcast_to(False, self.batch_shape)[host_index]
        spikes = (*index, slice(None)) if Ellipsis in map(_ellipsis, index) else (*index, ...)
        return _replace(self, self.times[spikes], self.neurons[spikes], self.overflowed[index])

    def reshape(self, *batch_shape: int) -> SpikeTrains:
        """Trains with another batch shape of the same size; one entry may be -1."""
        overflowed = self.overflowed.reshape(batch_shape)
        shape = (*overflowed.shape, self.max_spikes)
        return _replace(self, self.times.reshape(shape), self.neurons.reshape(shape), overflowed)

    @staticmethod
    def concatenate(trains: Sequence[SpikeTrains], axis: int = 0) -> SpikeTrains:
        """Join batches along a batch axis; room is that of the roomiest.

        Raises:
            ValueError: nothing to join, different numbers of neurons or different windows.
        """
        return _joined(trains, jnp.concatenate, axis)

    @staticmethod
    def stack(trains: Sequence[SpikeTrains], axis: int = 0) -> SpikeTrains:
        """Join equally shaped batches along a new batch axis; room is that of the roomiest.

        Raises:
            ValueError: nothing to join, different numbers of neurons or different windows.
        """
        return _joined(trains, jnp.stack, axis)


def _ellipsis(entry: Any) -> Any:
    """`entry` if it is `...`; comparing arrays with `...` would be elementwise."""
    return entry if entry is Ellipsis else None


def _check_window(t0: Any, t1: Any) -> None:
    for name, value in (("t0", t0), ("t1", t1)):
        if jnp.ndim(value) != 0:
            raise ValueError(
                f"`{name}` has shape {jnp.shape(value)}; it must be a single number, shared by "
                "all trains."
            )
        if not is_traced(value) and not math.isfinite(value):
            raise ValueError(f"`{name}` is {float(value)}; it must be finite.")
    if not is_traced((t0, t1)) and not float(t0) < float(t1):
        raise ValueError(
            f"`t1` is {float(t1):g} and `t0` is {float(t0):g}; the window must end after it starts."
        )


def _replace(trains: SpikeTrains, times: Array, neurons: Array, overflowed: Array) -> SpikeTrains:
    return SpikeTrains(
        times, neurons, trains.t0, trains.t1, overflowed, num_neurons=trains.num_neurons
    )


def _packed(
    times: Array, neurons: Array, t0: Any, t1: Any, overflowed: Array, *, num_neurons: int
) -> SpikeTrains:
    """Trains from spikes with gaps (neuron -1): sorted again, the gaps moved to the end."""
    times = jnp.where(neurons >= 0, times, jnp.inf)
    order = jnp.lexsort((neurons, jax.lax.stop_gradient(times)), axis=-1)
    times = jnp.take_along_axis(times, order, axis=-1)
    neurons = jnp.take_along_axis(neurons, order, axis=-1)
    return SpikeTrains(times, neurons, t0, t1, overflowed, num_neurons=num_neurons)


def _joined(trains: Sequence[SpikeTrains], join: Any, axis: int) -> SpikeTrains:
    trains = list(trains)
    if not trains:
        raise ValueError("`trains` is empty; there must be at least one batch to join.")
    reference = trains[0]
    for index, other in enumerate(trains):
        if other.num_neurons != reference.num_neurons:
            raise ValueError(
                f"`trains[{index}]` has {other.num_neurons} neurons and `trains[0]` "
                f"{reference.num_neurons}; only trains of the same neurons can be joined."
            )
    rank = len(reference.batch_shape) + (join is jnp.stack)
    if not -rank <= axis < rank:
        raise ValueError(f"`axis` is {axis}; it must name one of the {rank} batch axes.")
    axis %= rank
    different = jnp.stack(
        [(x.t0 != reference.t0) | (x.t1 != reference.t1) for x in trains],
    )
    room = max(x.max_spikes for x in trains)
    padded = [x.pad_to(room) for x in trains]
    times = refuse_if(
        join([x.times for x in padded], axis=axis),
        different,
        "The trains have different windows [t0, t1]; bring them to one with `window` first.",
    )
    neurons = join([x.neurons for x in padded], axis=axis)
    overflowed = join([x.overflowed for x in padded], axis=axis)
    return _replace(reference, times, neurons, overflowed)
