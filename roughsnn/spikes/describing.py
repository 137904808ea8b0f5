"""Spike trains in words, for printing."""

from typing import Any

import numpy as np

from roughsnn._shown import is_known, shown


def described(trains: Any) -> str:
    """Window, trials, neurons and spikes; inside `jit` what is known there."""
    times, neurons, overflowed = trains.times, trains.neurons, trains.overflowed
    if not all(hasattr(x, "shape") for x in (times, neurons, overflowed)):
        return "SpikeTrains (without arrays)"
    batch, room = tuple(times.shape[:-1]), times.shape[-1]
    count = int(np.prod(batch))
    trials = "one trial" if not batch else f"{count} trial{'' if count == 1 else 's'}"
    if len(batch) > 1:
        trials += f" {batch}"
    number = trains.num_neurons
    text = f"SpikeTrains: {trials} of {number} neuron{'' if number == 1 else 's'}"
    if not is_known(times, neurons, overflowed):
        return f"{text}, room for {room} spikes each, times {shown(times)}"
    per_trial = np.sum(np.asarray(neurons) >= 0, axis=-1)
    text += f", {_window(trains)}, {per_trial.sum()} spikes"
    if count > 1:
        text += f" ({per_trial.min()} to {per_trial.max()} a trial)"
    text += f", room for {room}{' each' if count > 1 else ''}"
    cut_off = int(np.sum(np.asarray(overflowed)))
    if cut_off:
        text += "; it overflowed" if not batch else f"; {cut_off} overflowed"
        text += ", so that later spikes are not in it"
    return text


def _window(trains: Any) -> str:
    start, stop = trains.t0, trains.t1
    if not is_known(start, stop):
        return "window not known"
    if np.ndim(start) == 0 and np.ndim(stop) == 0:
        return f"window [{float(start):.10g}, {float(stop):.10g}]"
    return f"windows of their own, starts {shown(start)}, ends {shown(stop)}"
