"""`SpikeTrains`, the container that simulations, losses, kernels, readers and plots share."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from .checks import checked_arrays, checked_grazing, chosen_neurons, is_traced, refuse_if
from .cutting import cut_trains, inner_window
from .describing import described
from .joining import joined
from .lists import fields_from_lists, lists_from_padded
from .presence import Presence, checked_presence
from .windows import check_ends, number_of, spread, window_of


class SpikeTrains(eqx.Module):
    r"""A batch of spike trains, each on a window $[t_0, t_1]$, as padded arrays.

    Train $b$ holds the spikes $(\tau_1, k_1), (\tau_2, k_2), \dots$ of all `num_neurons` neurons,
    sorted by time and, at equal times, by neuron. It is a pytree: it passes through `jit`, `vmap`
    (see `vmap_axes`), `grad` and sharding. Times are in the unit of the model.

    Times count from the start of the window: a spike at $t$ is stored as $t - t_0$. So single
    precision resolves the spikes of a trial wherever in a recording it begins. The ends of the
    window are kept as bit patterns of float64 numbers, exact in every precision; `to_lists` gives
    times as they were recorded.

    All trains share one window, or each has its own. What only makes sense for trials of one length
    (a PSTH, the distance of two trains) refuses others.

    Attributes:
        times: spike times since the start of the window, sorted along the last axis, padded with
            `inf`.
        neurons: the neuron of each spike, `0 ... num_neurons - 1`, padded with `-1` (int32).
        window_bits: both ends of the window as bit patterns of float64; see `t0` and `t1`. Shared,
            or with the batch shape in front (or the first axes of it).
        duration: length of the window, likewise; a spike at 0 or at `duration` belongs to it.
        overflowed: whether more spikes happened than there was room for, so that the train holds
            only the first `max_spikes` of them.
        grazing: 1 where a spike only grazes its threshold and so has no derivative, 2 where one was
            clipped, else 0; see `conditions` of [`roughsnn.simulate`][].
        presence: of trains from a [`roughsnn.ClockEngine`][] with surrogate derivatives, whether
            each neuron fires in each step; else `None`, and every spike is there for certain. See
            [`roughsnn.spikes.Presence`][].
        num_neurons: number of neurons, silent ones included.

    The constructor takes arrays in this form and the ends `t0` and `t1` of the window (numbers, or
    one for each train); it checks nothing that depends on traced values. Use `from_lists` to build
    and validate trains from recorded times, and `with_spikes` for other spikes on the same windows.

    Raises:
        TypeError: `times` is not floating point or `neurons` is not integer.
        ValueError: shapes that do not fit together, `num_neurons < 1`, or `t1 <= t0`.
    """

    times: Float[Array, "*batch max_spikes"]
    neurons: Int[Array, "*batch max_spikes"]
    window_bits: UInt32[Array, "... 2 2"] | UInt32[np.ndarray, "... 2 2"]
    duration: Float[Array, "*window"]
    overflowed: Bool[Array, "*batch"]
    grazing: Int[Array, "*batch"]
    presence: Presence | None
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
        grazing: Any = None,
        presence: Presence | None = None,
    ):
        times, neurons, overflowed = checked_arrays(times, neurons, overflowed, num_neurons)
        check_ends(t0, t1, times.shape[:-1])
        self.times, self.neurons, self.overflowed = times, neurons, overflowed
        self.grazing = checked_grazing(grazing, times.shape[:-1])
        self.presence = checked_presence(presence, times.shape[:-1], num_neurons)
        self.window_bits, self.duration = window_of(t0, t1, times.dtype)
        self.num_neurons = int(num_neurons)

    def with_spikes(
        self, times: Any, neurons: Any, overflowed: Any = None, *, num_neurons: int | None = None
    ) -> SpikeTrains:
        """Other spikes on the same windows, which stay exact inside `jit` too; arguments as in the
        constructor. The batch of the spikes may have more axes at its end than this one has. Their
        presence is certain."""
        num_neurons = self.num_neurons if num_neurons is None else num_neurons
        arrays = checked_arrays(times, neurons, overflowed, num_neurons)
        grazing = spread(self.grazing, arrays[2].shape)
        return _assembled(*arrays, grazing, self.window_bits, self.duration, num_neurons)

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
    def presence_by_neuron(self) -> Float[Array, "*batch num_neurons"]:
        """`counts_by_neuron` as real numbers: sums of the presence of spikes, with its surrogate
        derivative where there is one."""
        if self.presence is None:
            return self.counts_by_neuron.astype(self.times.dtype)
        return jnp.sum(self.presence.values, axis=-2)

    def without_presence(self) -> SpikeTrains:
        """The same spikes, there for certain: what is then made of them has no surrogate
        derivative."""
        return eqx.tree_at(lambda x: x.presence, self, None, is_leaf=lambda x: x is None)

    def _only_for_certain(self, what: str) -> None:
        if self.presence is not None:
            raise ValueError(
                f"These trains hold the presence of spikes on the grid of a ClockEngine, and "
                f"`{what}` does not carry it along. Take `trains.without_presence()` first, whose "
                "spikes have no surrogate derivative."
            )

    @property
    def t0(self) -> Any:
        """Start of the window: a float, or a float64 array of NumPy with one for each train.

        Inside `jit`, an array in JAX's default precision, rounded: `times` and `duration` do not
        need it.
        """
        return number_of(self.window_bits[..., 0, :])

    @property
    def t1(self) -> Any:
        """End of the window, as `t0`."""
        return number_of(self.window_bits[..., 1, :])

    @property
    def durations(self) -> Float[Array, "*batch"]:
        """Length of the window of each train."""
        return spread(self.duration, self.batch_shape)

    @property
    def vmap_axes(self) -> SpikeTrains:
        """`in_axes` or `out_axes` that map over the first batch axis; a shared window stays whole.

        ```python
        jax.vmap(f, in_axes=(trains.vmap_axes,))(trains)
        ```
        """
        window = None if self.window_bits.ndim == 2 else 0
        length = None if self.duration.ndim == 0 else 0
        presence = None if self.presence is None else self.presence.vmap_axes
        return _assembled(0, 0, 0, 0, window, length, self.num_neurons, presence)

    # ---- in and out

    @classmethod
    def from_lists(
        cls,
        trials: Sequence[Any],
        *,
        t0: Any,
        t1: Any,
        num_neurons: int | None = None,
        max_spikes: int | None = None,
        dtype: Any = None,
    ) -> SpikeTrains:
        """Build and validate trains from recorded spike times on the host, in double precision.

        Times are those of the recording, not of the trial: the start of the window is taken off
        before they are rounded to `dtype`. Observation intervals or trials of a recording become
        trials with a `t0` and `t1` of their own; [`roughsnn.spikes.cut_times`][] cuts a recording.

        Args:
            trials: one entry per trial. Each is a **list** with one array of spike times per
                neuron (empty for a silent neuron; `[times]` for a single neuron), or a **tuple**
                `(times, neurons)` of equally long arrays. Times must be non-decreasing: unsorted
                times are refused, not sorted, because they usually mean a mistake in a file.
                In a pair, spikes at equal times may come in any order.
            t0: start of the window, one number or one for each trial.
            t1: end of the window, likewise; spikes at `t0` and `t1`, up to the rounding of double
                precision, are inside.
            num_neurons: number of neurons; needed for pairs and for an empty list of trials.
            max_spikes: room per train; by default that of the busiest trial.
            dtype: of the times; by default JAX's default floating-point type.

        Returns:
            trains with batch shape `(len(trials),)`.

        Raises:
            TypeError: an entry that is not a list, a pair or an array of numbers.
            ValueError: a NaN, a time outside the window, unsorted times, a neuron number that
                is negative or too large, trials with different numbers of neurons, more spikes
                than `max_spikes`, or `t1 <= t0`; two spikes of a neuron that would become one in
                `dtype`. The message names the trial.
        """
        fields = fields_from_lists(trials, t0, t1, num_neurons, max_spikes, dtype)
        return _assembled(*fields[:3], checked_grazing(None, fields[2].shape), *fields[3:])

    def to_lists(self, *, relative: bool = False) -> list:
        """Spike times as nested lists over the batch; innermost, one float64 array per neuron.

        The inverse of `from_lists` for a batch of trials. A single train (batch shape `()`) gives
        the list over its neurons.

        Args:
            relative: times since the start of the window. By default times of the recording, in
                double precision: of those that are this time in the dtype of `times`, the one with
                the fewest digits.
        """
        bits = spread(np.asarray(self.window_bits), self.batch_shape, inner=2)
        starts, ends = np.moveaxis(np.asarray(number_of(bits)), -1, 0)
        times, neurons = np.asarray(self.times), np.asarray(self.neurons)
        if relative:
            starts = ends = None
        return lists_from_padded(times, neurons, self.num_neurons, starts, ends)

    # ---- parts of it

    def select(self, neurons: Sequence[int] | int) -> SpikeTrains:
        """Keep only the spikes of `neurons`, renumbered `0, 1, ...` in the order asked for.

        Raises:
            ValueError: no neuron, one that does not exist, or one asked for twice.
        """
        chosen = chosen_neurons(neurons, self.num_neurons)
        # One entry more than there are neurons: padding (-1) reads the last one, which is -1.
        new_number = np.full(self.num_neurons + 1, -1, dtype=np.int32)
        new_number[chosen] = np.arange(chosen.size, dtype=np.int32)
        relabelled = jnp.asarray(new_number)[self.neurons]
        packed = self._packed(self.times, relabelled, self.overflowed, int(chosen.size))
        if self.presence is None:
            return packed
        return packed._with_presence(self.presence.select(chosen))

    def window(self, t0: Any, t1: Any) -> SpikeTrains:
        """Keep the spikes in `[t0, t1]`, which becomes the new window.

        Both ends are times of the recording, as `t0` and `t1` of the trains, and are included, up
        to the rounding of double precision and of the times; so a spike exactly where two windows
        meet is in both. A train that had overflowed is still marked unless it is known to be
        complete up to the new `t1`. See `cut` for many windows of one train.

        Args:
            t0: start of the window, one number or one for each train.
            t1: end of the window, likewise.

        Raises:
            ValueError: `t1 <= t0`, or a window that is not inside the present one.
        """
        self._only_for_certain("window")
        times, kept, bits, duration, overflowed = inner_window(self, t0, t1)
        moved = _assembled(
            times, self.neurons, overflowed, self.grazing, bits, duration, self.num_neurons
        )
        return moved.keep(kept)

    def cut(self, starts: Any, ends: Any, *, max_spikes: int | None = None) -> SpikeTrains:
        """Cut one train into trials, each with a window of its own; they may overlap.

        On the host, in double precision. To cut around events: `starts = events - before` and
        `ends = events + after`; the event itself is then at `before` in every trial. A recording
        that the dtype does not resolve as a whole is better cut before it becomes trains, by
        [`roughsnn.spikes.cut_times`][].

        Args:
            starts: starts of the windows, of shape `(n,)`, times of the recording.
            ends: ends of the windows.
            max_spikes: room per trial; by default that of the busiest.

        Returns:
            trains of batch shape `(n,)`. A trial is marked as overflowed where the train was and
            is not known to be complete up to its end.

        Raises:
            ValueError: more than one train, `ends` that are not after `starts`, a window that is
                not inside the present one, or more spikes than `max_spikes`.
        """
        self._only_for_certain("cut")
        trials, starts, ends, overflowed = cut_trains(self, starts, ends)
        trains = SpikeTrains.from_lists(
            trials, t0=starts, t1=ends, num_neurons=self.num_neurons, max_spikes=max_spikes,
            dtype=self.times.dtype,
        )  # fmt: skip
        return trains.with_spikes(trains.times, trains.neurons, overflowed)

    def first(self, n: int) -> SpikeTrains:
        """Keep the first `n` spikes of each train; `max_spikes` becomes `n`.

        This is a choice, not an overflow: a train is marked as overflowed only if it was before
        and holds fewer than `n` spikes.

        Raises:
            ValueError: `n < 0`.
        """
        if n < 0:
            raise ValueError(f"`n` is {n}; it must be 0 or more.")
        self._only_for_certain("first")
        overflowed = self.overflowed & (self.counts < n)
        cut = self.with_spikes(self.times[..., :n], self.neurons[..., :n], overflowed)
        return cut.pad_to(n)

    def keep(self, kept: Bool[Array, "*batch max_spikes"]) -> SpikeTrains:
        """Keep the spikes marked by `kept`, moved to the front; `max_spikes` stays."""
        self._only_for_certain("keep")
        own = jnp.where(kept, self.neurons, -1)
        return self._packed(self.times, own, self.overflowed, self.num_neurons)

    def _with_presence(self, presence: Presence | None) -> SpikeTrains:
        return eqx.tree_at(lambda x: x.presence, self, presence, is_leaf=lambda x: x is None)

    def _packed(self, times: Any, neurons: Any, overflowed: Any, num_neurons: int) -> SpikeTrains:
        """Spikes with gaps (neuron -1), sorted again, the gaps moved to the end."""
        times = jnp.where(neurons >= 0, times, jnp.inf)
        order = jnp.lexsort((neurons, jax.lax.stop_gradient(times)), axis=-1)
        times = jnp.take_along_axis(times, order, axis=-1)
        neurons = jnp.take_along_axis(neurons, order, axis=-1)
        return self.with_spikes(times, neurons, overflowed, num_neurons=num_neurons)

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
            padded = self.with_spikes(times, neurons, self.overflowed)
            return padded._with_presence(self.presence)
        times, neurons = refuse_if(
            (self.times[..., :max_spikes], self.neurons[..., :max_spikes]),
            self.mask[..., max_spikes:],
            f"`max_spikes` is {max_spikes}, fewer than some train has spikes. Give room for all, "
            "or use `first(n)` to keep only the first n on purpose.",
        )
        return self.with_spikes(times, neurons, self.overflowed)._with_presence(self.presence)

    # ---- the batch

    def __repr__(self) -> str:
        return described(self)

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
        inner = (slice(None),) * 2 if Ellipsis in map(_ellipsis, index) else ()
        return _assembled(
            self.times[spikes], self.neurons[spikes], self.overflowed[index], self.grazing[index],
            *self._windows(
                lambda x: x[index], lambda x: x[(*index, *inner)], traced=is_traced(index)
            ), self.num_neurons,
            self._presence_as(lambda x: x[(*index, *inner)]),
        )  # fmt: skip

    def _presence_as(self, change: Callable) -> Presence | None:
        return None if self.presence is None else self.presence.of(change)

    def _windows(self, of_trains: Callable, of_bits: Callable, traced: bool = False) -> tuple:
        """What is shared by all trains as it is, what each has of its own changed."""
        bits, length, batch = self.window_bits, self.duration, self.batch_shape
        # Windows that are known stay so inside `jit`: a kernel may ask how long they are.
        known = not traced and not is_traced((bits, length))
        with jax.ensure_compile_time_eval() if known else contextlib.nullcontext():
            bits = bits if bits.ndim == 2 else of_bits(spread(bits, batch, inner=2))
            return bits, length if length.ndim == 0 else of_trains(spread(length, batch))

    def reshape(self, *batch_shape: int) -> SpikeTrains:
        """Trains with another batch shape of the same size; one entry may be -1."""
        overflowed = self.overflowed.reshape(batch_shape)
        batch = overflowed.shape
        times, neurons = (x.reshape(*batch, self.max_spikes) for x in (self.times, self.neurons))
        windows = self._windows(lambda x: x.reshape(batch), lambda x: x.reshape(*batch, 2, 2))
        presence = self._presence_as(lambda x: x.reshape(*batch, *x.shape[-2:]))
        return _assembled(
            times, neurons, overflowed, self.grazing.reshape(batch), *windows, self.num_neurons,
            presence,
        )  # fmt: skip

    @staticmethod
    def concatenate(trains: Sequence[SpikeTrains], axis: int = 0) -> SpikeTrains:
        """Join batches along a batch axis; room is that of the roomiest.

        Where windows differ, or are not known to be equal because of `jit`, each train keeps its
        own.

        Raises:
            ValueError: nothing to join or different numbers of neurons.
        """
        return _assembled(*joined(trains, jnp.concatenate, axis))

    @staticmethod
    def stack(trains: Sequence[SpikeTrains], axis: int = 0) -> SpikeTrains:
        """Join equally shaped batches along a new batch axis, as `concatenate` does."""
        return _assembled(*joined(trains, jnp.stack, axis))


def _ellipsis(entry: Any) -> Any:
    """`entry` if it is `...`; comparing arrays with `...` would be elementwise."""
    return entry if entry is Ellipsis else None


def _assembled(
    times: Any, neurons: Any, overflowed: Any, grazing: Any, window_bits: Any, duration: Any,
    num_neurons: int, presence: Any = None,
) -> SpikeTrains:  # fmt: skip
    """Trains of these very fields, with nothing converted; also of axes in place of arrays."""
    trains = object.__new__(SpikeTrains)
    fields = dict(
        times=times, neurons=neurons, window_bits=window_bits, duration=duration,
        overflowed=overflowed, grazing=grazing, presence=presence, num_neurons=int(num_neurons),
    )  # fmt: skip
    for name, value in fields.items():
        object.__setattr__(trains, name, value)
    return trains
