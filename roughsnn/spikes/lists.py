"""Spike times as plain lists on the host: into padded arrays, and out of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def padded_from_lists(
    trials: Sequence[Any],
    *,
    t0: float,
    t1: float,
    num_neurons: int | None,
    max_spikes: int | None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Validate `trials` and pad them: `(times, neurons, num_neurons)`, float64 and int32.

    See `SpikeTrains.from_lists` for what a trial may be and for the errors.
    """
    if isinstance(trials, str | bytes) or not isinstance(trials, Sequence):
        raise TypeError(
            f"`trials` is a {type(trials).__name__}; it must be a list with one entry per trial."
        )
    trains = [_events_of(trial, index, t0, t1) for index, trial in enumerate(trials)]
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
        times[row, : trial_times.size] = trial_times
        neurons[row, : trial_neurons.size] = trial_neurons
    return times, neurons, num_neurons


def lists_from_padded(times: np.ndarray, neurons: np.ndarray, num_neurons: int) -> list:
    """Nested lists over the batch axes; innermost, one array of times per neuron."""
    if times.ndim > 1:
        return [
            lists_from_padded(row_times, row_neurons, num_neurons)
            for row_times, row_neurons in zip(times, neurons, strict=True)
        ]
    return [times[neurons == neuron] for neuron in range(num_neurons)]


def _events_of(trial: Any, index: int, t0: float, t1: float) -> tuple[np.ndarray, np.ndarray]:
    """One trial as `(times, neurons)`, sorted by time and, at equal times, by neuron."""
    name = f"trials[{index}]"
    if isinstance(trial, tuple):
        times, neurons = _pair(trial, name)
        _check_times(times, name, t0, t1)
    elif isinstance(trial, list):
        per_neuron = [
            _times_array(times, f"trials[{index}][{neuron}]") for neuron, times in enumerate(trial)
        ]
        for neuron, times in enumerate(per_neuron):
            _check_times(times, f"trials[{index}][{neuron}]", t0, t1)
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


def _check_times(times: np.ndarray, name: str, t0: float, t1: float) -> None:
    if np.isnan(times).any():
        position = int(np.argmax(np.isnan(times)))
        raise ValueError(
            f"`{name}` has a NaN at position {position}; spike times must be numbers. "
            "Remove missing spikes before building the trains."
        )
    outside = (times < t0) | (times > t1)
    if outside.any():
        value = times[int(np.argmax(outside))]
        raise ValueError(
            f"`{name}` has a spike at {value:g}, outside the window [t0, t1] = [{t0:g}, {t1:g}]. "
            "Widen the window or remove the spike; check that both are in the same unit."
        )
    unsorted = np.diff(times) < 0
    if unsorted.any():
        position = int(np.argmax(unsorted))
        raise ValueError(
            f"`{name}` is not sorted: {times[position]:g} at position {position} is followed by "
            f"{times[position + 1]:g}. Spike times must be non-decreasing; sort them (and their "
            "neuron numbers with them) first."
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
