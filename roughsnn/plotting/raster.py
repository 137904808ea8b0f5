"""Raster plots of spike trains."""

from typing import Any

import numpy as np

from roughsnn.spikes import SpikeTrains

from .style import COLOURS, cover, new_axes, numbered, tidy, with_unit

ROWS = "roughsnn-rows-"
"""How the group id of drawn rows begins; their number follows."""


def plot_raster(
    trains: SpikeTrains,
    ax: Any = None,
    *,
    max_trials: int | None = 50,
    time_unit: str | None = None,
) -> Any:
    """Draw each spike as a tick: one row per trial of one neuron, or per neuron of one trial.

    Several neurons in several trials give a block of rows per neuron, in one colour each, with
    the trials of the neuron inside it. A second call on the same axes draws its rows below.

    Trials that had more spikes than there was room for are shaded from their last recorded spike
    on, and the title says so: what happened then is not known.

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
    ax = new_axes(ax, height=float(np.clip(0.8 + 0.05 * len(rows), 1.4, 4.0)))
    start = trains.t0 if shared else 0.0
    stops = start + np.atleast_1d(np.asarray(trains.durations, float))
    end = start + float(np.max(trains.duration, initial=0))
    cover(ax, start, end, first=not ax.has_data())
    # Rows of an earlier call stay above, parted by a line.
    above = _rows_drawn(ax)
    _draw_rows(ax, rows, above, num_trials)
    cut_off = np.atleast_1d(np.asarray(trains.overflowed))[:max_trials]
    _mark_cut_off(ax, trials, cut_off, above, start, stops)
    if above:
        ax.axhline(above - 0.5, color="0.5", linewidth=0.6)
    # First neuron and first trial on top, as one reads.
    ax.set_ylim(max(above + len(rows), 1) - 0.5, -0.5)
    if num_neurons > 1:
        names = numbered(num_neurons)
        places = [n * max(num_trials, 1) + (num_trials - 1) / 2 for n in names]
        ylabel = "neuron" if num_trials == 1 else f"neuron ({num_trials} trials each)"
    else:
        names = places = numbered(num_trials)
        ylabel = "trial"
    if above:
        names = [*(text.get_text() for text in ax.get_yticklabels()), *names]
        places = [*ax.get_yticks(), *(above + place for place in places)]
    ax.set_yticks(places, names)
    if num_all > num_trials:
        ylabel += f"\n(first {num_trials} of {num_all})"
    tidy(ax, with_unit("time", time_unit), ylabel)
    return ax


def _rows_drawn(ax: Any) -> int:
    """How many rows earlier calls have drawn on the axes."""
    drawn = [int(c.get_gid()[len(ROWS) :]) for c in ax.collections if _is_rows(c)]
    return sum(drawn)


def _is_rows(artist: Any) -> bool:
    return str(artist.get_gid()).startswith(ROWS)


def _draw_rows(ax: Any, rows: list[np.ndarray], above: int, num_trials: int) -> None:
    """All ticks as one artist, however many rows there are."""
    counts = [len(times) for times in rows]
    place = above + np.repeat(np.arange(len(rows)), counts)
    neuron = np.repeat(np.arange(len(rows)) // max(num_trials, 1), counts)
    # Beyond the palette a colour says no more which neuron it is, only where the next one begins.
    num_neurons = len(rows) // max(num_trials, 1)
    palette = COLOURS if num_neurons <= len(COLOURS) else ("#0072B2", "#000000")
    ax.vlines(
        np.concatenate([np.zeros(0), *rows]),
        place - 0.4,
        place + 0.4,
        colors=[palette[n % len(palette)] for n in neuron],
        linewidth=1.5 if len(rows) <= 60 else 0.8,
        gid=f"{ROWS}{len(rows)}",
    )


def _mark_cut_off(
    ax: Any,
    trials: list[list[np.ndarray]],
    cut_off: np.ndarray,
    above: int,
    start: float,
    stops: np.ndarray,
) -> None:
    """Shade what is not known of trials that had more spikes than there was room for."""
    shaded = 0
    for trial, neurons in enumerate(trials):
        if not cut_off[trial]:
            continue
        begin = max((float(times[-1]) for times in neurons if len(times)), default=start)
        for neuron in range(len(neurons)):
            row = above + neuron * len(trials) + trial
            ax.fill_between(
                [begin, stops[trial]], row - 0.5, row + 0.5, color="#D55E00", alpha=0.2, lw=0
            )
        shaded += 1
    if shaded:
        some = "this trial" if len(trials) == 1 else f"{shaded} of {len(trials)} trials"
        ax.set_title(
            f"shaded: not recorded, no room for more spikes ({some})",
            fontsize=7, color="#D55E00", loc="right",
        )  # fmt: skip
