"""Histograms of spike trains: of the intervals between spikes, and of spikes over time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from roughsnn.spikes import SpikeTrains, binned_counts
from roughsnn.spikes.windows import common_duration

from .style import (
    COLOURS,
    CURVE,
    colour,
    colours_of,
    cover,
    from_zero,
    legend,
    names_of,
    new_axes,
    num_curves,
    tidy,
    with_unit,
)


def plot_intervals(
    trains: SpikeTrains,
    ax: Any = None,
    *,
    bins: int | Sequence | ArrayLike = 30,
    density: bool = True,
    log: bool = False,
    exponential: bool = False,
    label: str | None = None,
    time_unit: str | None = None,
) -> Any:
    """Draw the histogram of the intervals between successive spikes of each neuron.

    Intervals of all trials and neurons go into one histogram; take one neuron with
    `trains.select`, and call again with the same axes to compare.

    Args:
        trains: any batch of trains. Without any interval the histogram is zero.
        ax: axes to draw on; by default those of a new figure.
        bins: how many equal bins between the shortest and the longest interval, or their edges.
        density: divide by the number of intervals and the width of the bin, so that the area is 1;
            otherwise count.
        log: bins of equal ratio and a logarithmic axis; intervals of length 0 are left out.
        exponential: also draw, dashed, the exponential law of the same mean: intervals of a Poisson
            process.
        label: name of the histogram, for a legend.
        time_unit: unit of time for the labels of the axes.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `bins` that are no positive number and no increasing edges.
    """
    # On the host: a picture is not worth a compilation for each new shape.
    intervals = np.concatenate([np.zeros(0), *map(np.diff, _by_neuron(trains))]).astype(float)
    intervals = intervals[(intervals > 0) | (not log)]
    edges = _edges(bins, intervals, log, float(np.max(trains.duration, initial=0)))
    heights, edges = np.histogram(intervals, edges)
    inside = max(int(heights.sum()), 1)
    heights = heights / inside / np.diff(edges) if density else heights.astype(float)

    ax = new_axes(ax, height=2.0)
    drawn = colour(num_curves(ax))
    ax.stairs(heights, edges, color=drawn, fill=True, alpha=0.15)
    ax.stairs(heights, edges, color=drawn, linewidth=1.2, label=label, gid=CURVE)
    if exponential and intervals.size:
        ts = (np.geomspace if log else np.linspace)(edges[0], edges[-1], 400)
        law = np.exp(-ts / intervals.mean()) / intervals.mean()
        if not density:
            # Counts in the bin that the time lies in.
            bin_of = np.clip(np.searchsorted(edges, ts, side="right") - 1, 0, len(heights) - 1)
            law = law * intervals.size * np.diff(edges)[bin_of]
        ax.plot(ts, law, color=drawn, linewidth=0.9, linestyle="--")
    if log:
        ax.set_xscale("log")
    from_zero(ax)
    ylabel = "intervals"
    if density:
        ylabel = "density" if time_unit is None else f"density (1/{time_unit})"
    tidy(ax, with_unit("interval", time_unit), ylabel)
    legend(ax)
    return ax


def plot_psth(
    trains: SpikeTrains,
    ax: Any = None,
    *,
    num_bins: int = 40,
    errors: bool = True,
    label: str | None = None,
    time_unit: str | None = None,
) -> Any:
    """Draw the peri-stimulus time histogram: the rate of each neuron over time, a mean over trials.

    Args:
        trains: any batch of trains; all its axes are trials. Without any, the rate is zero.
        ax: axes to draw on; by default those of a new figure.
        num_bins: number of equal bins of the window.
        errors: shade one standard error of the mean over trials, where there are two or more, and
            eight neurons or fewer.
        label: name of the histogram, for a legend; neurons are numbered, and of more than eight
            some are in the legend.
        time_unit: unit of time for the labels of the axes.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `num_bins < 1`.
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` is {num_bins}; it must be 1 or more.")
    length = common_duration(trains, "A PSTH")
    # Trials that begin at different times are drawn one over the other, from their starts.
    start = trains.t0 if isinstance(trains.t0, float) else 0.0
    edges = start + np.arange(num_bins + 1) * (float(length) / num_bins)
    num_trials, k = math.prod(trains.batch_shape), trains.num_neurons
    counts = np.asarray(binned_counts(trains, num_bins), float).reshape(num_trials, k, num_bins)
    rates = counts.sum(axis=0) / max(num_trials, 1) / np.diff(edges)

    ax = new_axes(ax, height=2.0)
    cover(ax, edges[0], edges[-1], first=not ax.has_data())
    few = k <= len(COLOURS)
    colours, names = colours_of(k, num_curves(ax)), names_of(k, "neuron", label)
    for neuron, (drawn, name) in enumerate(zip(colours, names, strict=True)):
        ax.stairs(
            rates[neuron], edges, color=drawn, linewidth=1.2 if few else 0.5, label=name, gid=CURVE
        )
        if errors and few and num_trials > 1:
            spread = counts[:, neuron].std(axis=0, ddof=1) / np.sqrt(num_trials) / np.diff(edges)
            low, high = (
                np.append(values, values[-1])
                for values in (np.maximum(rates[neuron] - spread, 0), rates[neuron] + spread)
            )
            ax.fill_between(edges, low, high, step="post", color=drawn, alpha=0.2, linewidth=0)
    from_zero(ax)
    tidy(
        ax,
        with_unit("time", time_unit),
        "rate" if time_unit is None else f"rate (spikes/{time_unit})",
    )
    legend(ax)
    return ax


def _by_neuron(trains: SpikeTrains) -> list[np.ndarray]:
    """The spike times of each neuron in each trial, all in one list."""
    trials = trains.reshape(math.prod(trains.batch_shape)).to_lists(relative=True)
    return [times for trial in trials for times in trial]


def _edges(bins: Any, values: np.ndarray, log: bool, window: float) -> np.ndarray:
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        if bins < 1:
            raise ValueError(f"`bins` is {bins}; it must be 1 or more, or the edges of the bins.")
        low, high = (values.min(), values.max()) if values.size else (window / 100, window)
        if low == high:
            low, high = 0.9 * low, 1.1 * high if high > 0 else window
        return np.geomspace(low, high, bins + 1) if log else np.linspace(low, high, bins + 1)
    edges = np.asarray(bins, dtype=float)
    good = edges.ndim == 1 and edges.size > 1 and bool(np.all(np.diff(edges) > 0))
    if not good or (log and edges[0] <= 0):
        raise ValueError(
            f"`bins` is {bins!r}; it must be a number of bins, or their edges, two or more in "
            f"increasing order{' and positive' if log else ''}."
        )
    return edges
