"""Spike times as plain lists on the host: into padded arrays, and out of them."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import checked_arrays
from .windows import rounding_of, window_of


def fields_from_lists(
    trials: Sequence[Any],
    t0: Any,
    t1: Any,
    num_neurons: int | None,
    max_spikes: int | None,
    dtype: Any,
) -> tuple:
    """The fields of the trains, see `SpikeTrains.from_lists`."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
    size = len(trials) if hasattr(trials, "__len__") else 0
    ends = [np.asarray(end, np.float64) for end in (t0, t1)]
    for name, end in zip(("t0", "t1"), ends, strict=True):
        if end.shape not in ((), (size,)):
            raise ValueError(
                f"`{name}` has shape {end.shape}; it must be a single number, or one for each of "
                f"the {size} trials."
            )
    window_bits, duration = window_of(*ends, dtype)
    starts, stops = (np.broadcast_to(end, size) for end in ends)
    times, neurons, num_neurons = padded_from_lists(
        trials, t0=starts, t1=stops, num_neurons=num_neurons, max_spikes=max_spikes, dtype=dtype
    )
    last = np.asarray(duration).reshape(-1, 1)
    times = np.where(neurons >= 0, np.clip(times, 0, last), np.inf).astype(dtype)
    arrays = checked_arrays(times, neurons, None, num_neurons)
    return *arrays, window_bits, duration, num_neurons


def padded_from_lists(
    trials: Sequence[Any],
    *,
    t0: np.ndarray,
    t1: np.ndarray,
    num_neurons: int | None,
    max_spikes: int | None,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Validate `trials` and pad them: `(times, neurons, num_neurons)`, float64 and int32.

    The times are those since the starts `t0` of the windows, rounded to `dtype`. See
    `SpikeTrains.from_lists` for what a trial may be and for the errors.
    """
    if isinstance(trials, str | bytes) or not isinstance(trials, Sequence):
        raise TypeError(
            f"`trials` is a {type(trials).__name__}; it must be a list with one entry per trial."
        )
    windows = zip(t0.tolist(), t1.tolist(), strict=True)
    trains = [
        _events_of(trial, index, *window)
        for index, (trial, window) in enumerate(zip(trials, windows, strict=True))
    ]
    num_neurons = _number_of_neurons(trials, trains, num_neurons)

    longest = max((times.size for times, _ in trains), default=0)
    if max_spikes is None:
        max_spikes = longest
    if max_spikes < 0:
        raise ValueError(f"`max_spikes` is {max_spikes}; it must be 0 or more.")
    if longest > max_spikes:
        index = int(np.argmax([times.size for times, _ in trains]))
        raise ValueError(
            f"`max_spikes` is {max_spikes}, but trial {index} has {longest} spikes. "
            f"Pass `max_spikes={longest}` or more, or leave it out."
        )

    times = np.full((len(trains), max_spikes), np.inf)
    neurons = np.full((len(trains), max_spikes), -1, dtype=np.int32)
    for row, (trial_times, trial_neurons) in enumerate(trains):
        rounded = (trial_times - t0[row]).astype(dtype)
        _check_resolution(trial_times, trial_neurons, rounded, row)
        # times of different neurons may have become equal
        order = np.lexsort((trial_neurons, rounded))
        times[row, : trial_times.size] = rounded[order]
        neurons[row, : trial_neurons.size] = trial_neurons[order]
    return times, neurons, num_neurons


def lists_from_padded(
    times: np.ndarray,
    neurons: np.ndarray,
    num_neurons: int,
    starts: Any = None,
    ends: Any = None,
) -> list:
    """Nested lists over the batch axes; innermost, one float64 array of times per neuron.

    With `starts` and `ends` of the windows, times are those of the recording.
    """
    if times.ndim > 1:
        windows = (None, None) if starts is None or ends is None else (starts, ends)
        return [
            lists_from_padded(
                times[row],
                neurons[row],
                num_neurons,
                *(w if w is None else w[row] for w in windows),
            )
            for row in range(len(times))
        ]
    spikes = neurons >= 0
    times, neurons = times[spikes], neurons[spikes]
    if starts is None or ends is None:
        times = times.astype(np.float64)
    else:
        times = absolute_times(times, float(starts), float(ends))
    return [times[neurons == neuron] for neuron in range(num_neurons)]


def absolute_times(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Times since `start` as float64 times of the recording.

    Of the numbers that become this very time again when the start is taken off, the one with the
    fewest digits: what was recorded, where that had few. So what is written can be read back
    unchanged, as far as double precision resolves it.
    """
    exact = start + times.astype(np.float64)
    found, missing = exact.copy(), np.ones(times.shape, bool)
    if not times.size:
        return found
    scale = int(np.ceil(np.log10(max(abs(start), abs(end)))))
    candidates = [np.round(exact, digits) for digits in range(-scale, 17 - scale)]
    candidates += [exact, np.nextafter(exact, end), np.nextafter(exact, start)]
    for candidate in candidates:
        rounded = candidate[missing]
        again = (np.clip(rounded, start, end) - start).astype(times.dtype) == times[missing]
        places = np.flatnonzero(missing)[again]
        found[places] = rounded[again]
        missing[places] = False
        if not missing.any():
            break
    return np.clip(found, start, end)


def _events_of(trial: Any, index: int, t0: float, t1: float) -> tuple[np.ndarray, np.ndarray]:
    """One trial as `(times, neurons)`, sorted by time and, at equal times, by neuron."""
    name = f"trials[{index}]"
    if isinstance(trial, tuple):
        times, neurons = _pair(trial, name)
        _check_times(times, name, t0, t1, _precision(trial[0]))
    elif isinstance(trial, list):
        per_neuron = [
            _times_array(times, f"trials[{index}][{neuron}]") for neuron, times in enumerate(trial)
        ]
        for neuron, times in enumerate(per_neuron):
            _check_times(times, f"trials[{index}][{neuron}]", t0, t1, _precision(trial[neuron]))
        times = np.concatenate([np.zeros(0), *per_neuron])
        neurons = np.repeat(np.arange(len(per_neuron)), [x.size for x in per_neuron])
    else:
        raise TypeError(
            f"`{name}` is a {type(trial).__name__}; a trial must be a list with one array of spike "
            "times per neuron (for a single neuron: `[times]`), or a tuple `(times, neurons)`."
        )
    order = np.lexsort((neurons, times))
    return times[order], neurons[order]


def _pair(trial: tuple, name: str) -> tuple[np.ndarray, np.ndarray]:
    if len(trial) != 2:
        raise ValueError(
            f"`{name}` is a tuple of length {len(trial)}; a tuple must be a pair "
            "`(times, neurons)`. For one array of spike times per neuron use a list."
        )
    times = _times_array(trial[0], f"{name}[0]")
    neurons = np.asarray(trial[1])
    if neurons.size == 0:
        neurons = neurons.astype(np.int32)
    if not np.issubdtype(neurons.dtype, np.integer):
        raise TypeError(
            f"`{name}[1]` has dtype {neurons.dtype}; the second entry of a pair "
            "`(times, neurons)` must hold the neuron number of each spike as integers. For one "
            "array of spike times per neuron use a list instead of a tuple."
        )
    if neurons.shape != times.shape:
        raise ValueError(
            f"`{name}` has {times.size} spike times and neuron numbers of shape {neurons.shape}; "
            "a pair `(times, neurons)` must give one neuron number per spike."
        )
    return times, neurons


def _times_array(times: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` cannot be read as an array of spike times: {error}") from error
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` has shape {array.shape}; spike times must be a one-dimensional array, "
            "empty for a neuron that does not spike."
        )
    return array


def _precision(times: Any) -> float:
    """Relative rounding of times that come in less than double precision."""
    dtype = getattr(times, "dtype", np.dtype(np.float64))
    return float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.floating) else 0.0


def _check_times(times: np.ndarray, name: str, t0: float, t1: float, precision: float) -> None:
    if np.isnan(times).any():
        position = int(np.argmax(np.isnan(times)))
        raise ValueError(
            f"`{name}` has a NaN at position {position}; spike times must be numbers. "
            "Remove missing spikes before building the trains."
        )
    rounding = float(rounding_of(t0, t1)) + precision * max(abs(t0), abs(t1))
    outside = (times < t0 - rounding) | (times > t1 + rounding)
    if outside.any():
        value = times[int(np.argmax(outside))]
        raise ValueError(
            f"`{name}` has a spike at {value:.15g}, outside the window [t0, t1] = [{t0:.15g}, "
            f"{t1:.15g}]. Widen the window or remove the spike; check that both are in the same "
            "unit."
        )
    unsorted = np.diff(times) < 0
    if unsorted.any():
        position = int(np.argmax(unsorted))
        raise ValueError(
            f"`{name}` is not sorted: {times[position]:.15g} at position {position} is followed by "
            f"{times[position + 1]:.15g}. Spike times must be non-decreasing; sort them (and their "
            "neuron numbers with them) first."
        )


def _check_resolution(
    times: np.ndarray, neurons: np.ndarray, rounded: np.ndarray, index: int
) -> None:
    """Fail where rounding makes two spikes of a neuron one."""
    if not np.isfinite(rounded.astype(np.float64)).all():
        raise ValueError(
            f"`trials[{index}]` has times that {rounded.dtype} cannot hold; choose another unit."
        )
    order = np.argsort(neurons, kind="stable")
    same = np.diff(neurons[order]) == 0
    interval = np.diff(times[order])
    lost = same & (interval > 0) & (np.diff(rounded[order].astype(np.float64)) == 0)
    if lost.any():
        place = int(np.argmax(lost))
        first, second = times[order][place : place + 2]
        remedy = "or enable double precision with `jax.config.update('jax_enable_x64', True)`."
        if rounded.dtype.itemsize >= 8:
            remedy = "or take a start near the spikes."
        raise ValueError(
            f"`trials[{index}]`: the spikes of neuron {neurons[order][place]} at {float(first)!r} "
            f"and {float(second)!r} are {interval[place]:g} apart, which {rounded.dtype} does not "
            f"resolve so far from the start of the window. Cut the "
            f"recording into shorter windows, each with its own `t0` and `t1` (see `cut_times`), "
            f"{remedy}"
        )


def _number_of_neurons(
    trials: Sequence[Any], trains: list[tuple[np.ndarray, np.ndarray]], num_neurons: int | None
) -> int:
    lengths = {len(trial) for trial in trials if isinstance(trial, list)}
    if len(lengths) > 1:
        raise ValueError(
            f"`trials` has trials with {sorted(lengths)} neurons; every trial must list the same "
            "number of neurons, with an empty array for a neuron that does not spike."
        )
    if num_neurons is None:
        if lengths:
            num_neurons = lengths.pop()
        else:
            raise ValueError(
                "`num_neurons` is missing; it must be given when there is no trial, or when "
                "trials are `(times, neurons)` pairs, where silent neurons cannot be seen."
            )
    elif lengths and lengths != {num_neurons}:
        raise ValueError(
            f"`num_neurons` is {num_neurons}, but the trials list {lengths.pop()} neurons. "
            "Leave `num_neurons` out or make the two agree."
        )
    if num_neurons < 1:
        raise ValueError(f"`num_neurons` is {num_neurons}; it must be 1 or more.")
    for index, (_, neurons) in enumerate(trains):
        wrong = (neurons < 0) | (neurons >= num_neurons)
        if wrong.any():
            raise ValueError(
                f"`trials[{index}]` has a spike of neuron {neurons[int(np.argmax(wrong))]}; "
                f"neuron numbers must lie between 0 and num_neurons - 1 = {num_neurons - 1}."
            )
    return num_neurons
