"""Parts of a recording: windows of trains, and lists of spike times cut into trials."""

from collections.abc import Sequence
from typing import Any

import jax.lax as lax
import jax.numpy as jnp
import numpy as np

from .checks import is_traced, refuse_if
from .windows import (
    beside_spikes,
    check_ends,
    difference,
    rounding_of,
    rounding_of_duration,
    spread,
    window_of,
)


def cut_times(
    recording: Sequence[Any], starts: Any, ends: Any, *, tolerance: Any = None
) -> list[list[np.ndarray]]:
    """Cut a recording into trials: for each window, the times of each neuron that lie in it.

    On the host, in double precision, so that nothing is lost before the trials become trains,
    which hold times since their own start:

    ```python
    trials = cut_times(recording, events - 0.1, events + 0.4)
    trains = rs.SpikeTrains.from_lists(trials, t0=events - 0.1, t1=events + 0.4)
    ```

    Args:
        recording: the sorted spike times of each neuron.
        starts: starts of the windows, of shape `(n,)`; windows may overlap.
        ends: ends of the windows.
        tolerance: a spike that is outside a window by no more than this is inside; by default the
            rounding of double precision near these times.

    Returns:
        one list per window, with the times of each neuron, still those of the recording.

    Raises:
        ValueError: `starts` and `ends` that are not one-dimensional and equally long, or not
            finite, an end that is not after its start, or times that are not sorted.
    """
    starts, ends = (np.atleast_1d(np.asarray(x, np.float64)) for x in (starts, ends))
    if starts.ndim != 1 or starts.shape != ends.shape:
        raise ValueError(
            f"`starts` has shape {starts.shape} and `ends` {ends.shape}; both must have one number "
            "for each window."
        )
    wrong = ~(np.isfinite(starts) & np.isfinite(ends) & (starts < ends))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"window {place} is [{starts[place]:.15g}, {ends[place]:.15g}]; it must be finite and "
            "end after it starts."
        )
    slack = rounding_of(starts, ends) if tolerance is None else tolerance
    trials: list[list[np.ndarray]] = [[] for _ in starts]
    for neuron, times in enumerate(recording):
        times = np.asarray(times, np.float64)
        if times.ndim != 1 or np.isnan(times).any() or (np.diff(times) < 0).any():
            raise ValueError(
                f"`recording[{neuron}]` must hold the sorted spike times of a neuron, without NaN."
            )
        first = np.searchsorted(times, starts - slack, side="left")
        last = np.searchsorted(times, ends + slack, side="right")
        for trial, low, high in zip(trials, first, last, strict=True):
            trial.append(times[low:high])
    return [
        [np.clip(times, start, end) for times in trial]
        for trial, start, end in zip(trials, starts, ends, strict=True)
    ]


def cut_trains(trains: Any, starts: Any, ends: Any) -> tuple:
    """Trials, their windows and their marks of overflow, see `SpikeTrains.cut`."""
    if is_traced((trains, starts, ends)):
        raise TypeError("`cut` runs on the host, not inside `jit` or `vmap`; see `window`.")
    if trains.batch_shape not in ((), (1,)):
        raise ValueError(
            f"The trains have batch shape {trains.batch_shape}; `cut` takes one train. Index the "
            "batch, cut each, and join them with `concatenate`."
        )
    train = trains.reshape()
    starts, ends = (np.atleast_1d(np.asarray(x, np.float64)) for x in (starts, ends))
    precision = float(jnp.finfo(trains.times.dtype).eps) * float(train.duration)
    slack = rounding_of(train.t0, train.t1) + precision
    trials = cut_times(train.to_lists(), starts, ends, tolerance=slack)
    wrong = (starts < train.t0 - slack) | (ends > train.t1 + slack)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"Window {place}, [{starts[place]:.15g}, {ends[place]:.15g}], is not inside that of "
            f"the train, [{train.t0:.15g}, {train.t1:.15g}]; spikes outside it are not known. "
            "Leave such windows out."
        )
    last = np.max(np.asarray(train.times), where=np.asarray(train.mask), initial=0.0)
    overflowed = bool(train.overflowed) & (ends >= train.t0 + last)
    return trials, starts, ends, overflowed


def inner_window(trains: Any, t0: Any, t1: Any) -> tuple:
    """Times from the start of a window, which spikes it has, itself, and what has overflowed."""
    dtype, batch = trains.times.dtype, trains.batch_shape
    check_ends(t0, t1, batch)
    if not is_traced((trains.window_bits, t0, t1)):
        t0, t1 = _inside(trains, t0, t1)
    bits, duration = window_of(t0, t1, dtype)
    old, new = trains.window_bits, bits
    if max(old.ndim, new.ndim) > 2:
        old, new = (spread(x, batch, inner=2) for x in (old, new))
    start, rest = difference(new[..., 0, :], old[..., 0, :], dtype)
    late, little = difference(new[..., 1, :], old[..., 1, :], dtype)
    tolerance = rounding_of_duration(trains.window_bits, trains.duration)
    start, rest, late = refuse_if(
        (start, rest, late),
        (jnp.min(start + rest, initial=jnp.inf) < -tolerance)
        | (jnp.max(late + little, initial=-jnp.inf) > tolerance),
        "The window asked for is not inside the present window; spikes outside the present window "
        "are not known. Ask for a window inside it.",
    )
    start, rest, length = (beside_spikes(x, batch) for x in (start, rest, duration))
    # `inf` is replaced before any arithmetic, so that its derivative is 0 and never inf * 0.
    times = (jnp.where(trains.mask, trains.times, 0) - start) - rest
    kept = trains.mask & (times >= -tolerance) & (times <= length + tolerance)
    inside = lax.stop_gradient(jnp.clip(times, 0, length) - times)
    times = jnp.where(kept, times + inside, jnp.inf)
    # The recorded spikes of an overflowed train are its first ones: complete until the last.
    last = jnp.max(jnp.where(trains.mask, trains.times, 0), axis=-1, initial=0)
    end = beside_spikes(trains.duration, batch) + beside_spikes(late + little, batch)
    reached = end if end.ndim == 0 else end[..., 0]
    return times, kept, bits, duration, trains.overflowed & (reached >= last)


def _inside(trains: Any, t0: Any, t1: Any) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a known window, refused where they are outside by more than rounding."""
    t0, t1 = np.asarray(t0, np.float64), np.asarray(t1, np.float64)
    whole = [np.asarray(end) for end in (trains.t0, trains.t1)]
    axes = max(t0.ndim, t1.ndim, whole[0].ndim)
    ends = [x.reshape(x.shape + (1,) * (axes - x.ndim)) for x in (t0, t1, *whole)]
    tolerance = rounding_of(ends[2], ends[3])
    outside = (ends[0] < ends[2] - tolerance) | (ends[1] > ends[3] + tolerance)
    if outside.any():
        place = int(np.argmax(outside.ravel()))
        a, b, c, d = (float(x.ravel()[place]) for x in np.broadcast_arrays(*ends))
        raise ValueError(
            f"The window [{a:.15g}, {b:.15g}] asked for is not inside the present window "
            f"[{c:.15g}, {d:.15g}]; spikes outside the present window are not known. Ask for a "
            "window inside it."
        )
    return t0, t1
