"""Raster plots of spike trains."""

from typing import Any

import numpy as np

from roughsnn.spikes import SpikeTrains

from .style import colour, new_axes, tidy, with_unit


def plot_raster(
    trains: SpikeTrains,
    ax: Any = None,
    *,
    max_trials: int | None = 50,
    time_unit: str | None = None,
) -> Any:
    """Draw each spike as a tick: one row per trial of one neuron, or per neuron of one trial.

    Several neurons in several trials give a block of rows per neuron, in one colour each, with
    the trials of the neuron inside it.

    Args:
        trains: a single train or a batch with one axis.
        ax: axes to draw on; by default those of a new figure.
        max_trials: draw only the first so many trials; the label of the axis says so.
        time_unit: unit of time for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: more than one batch axis, or `max_trials < 1`.
    """
    if len(trains.batch_shape) > 1:
        raise ValueError(
            f"`trains` has batch shape {trains.batch_shape}; it must have one batch axis at most. "
            "Use `reshape(-1)` or index it."
        )
    if max_trials is not None and max_trials < 1:
        raise ValueError(f"`max_trials` is {max_trials}; it must be 1 or more.")
    # Trials that begin at different times are drawn from their starts.
    shared = isinstance(trains.t0, float)
    trials = trains.to_lists(relative=not shared)
    if not trains.batch_shape:
        trials = [trials]
    num_all = len(trials)
    trials = trials[:max_trials]
    num_trials, num_neurons = len(trials), trains.num_neurons

    rows = [trial[neuron] for neuron in range(num_neurons) for trial in trials]
    colours = [colour(neuron) for neuron in range(num_neurons) for _ in trials]
    ax = new_axes(ax, height=float(np.clip(0.8 + 0.05 * len(rows), 1.4, 4.0)))
    if rows:
        ax.eventplot(rows, colors=colours, lineoffsets=np.arange(len(rows)), linelengths=0.8)
    start = trains.t0 if shared else 0.0
    ax.set_xlim(start, start + float(np.max(trains.duration, initial=0)))
    # First neuron and first trial on top, as one reads.
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if num_neurons > 1:
        # A label per neuron while they can be told apart.
        every = -(-num_neurons // 12)
        neurons = np.arange(0, num_neurons, every)
        ax.set_yticks(neurons * max(num_trials, 1) + (num_trials - 1) / 2, neurons)
        ylabel = "neuron" if num_trials == 1 else f"neuron ({num_trials} trials each)"
    else:
        ylabel = "trial"
    if num_all > num_trials:
        ylabel += f"\n(first {num_trials} of {num_all})"
    tidy(ax, with_unit("time", time_unit), ylabel)
    return ax
