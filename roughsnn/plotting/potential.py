"""Membrane potentials over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import (
    COLOURS,
    CURVE,
    colours_of,
    legend,
    names_of,
    new_axes,
    num_curves,
    tidy,
    with_unit,
)


def plot_potential(
    ts: ArrayLike | Sequence,
    vs: ArrayLike | Sequence,
    threshold: float | int | None = None,
    spike_times: ArrayLike | Sequence | None = None,
    ax: Any = None,
    *,
    label: str | None = None,
    time_unit: str | None = None,
) -> Any:
    r"""Draw membrane potentials, the threshold as a dashed line and spikes as ticks above them.

    Args:
        ts: times, shape `(times,)`; the same time may appear twice, for a jump.
        vs: potentials, shape `(times,)` or `(times, neurons)`. Times or potentials that are not
            finite (padding) are left out.
        threshold: the threshold $v_{th}$.
        spike_times: times of spikes to mark; `inf` (padding) is left out.
        ax: axes to draw on; by default those of a new figure.
        label: name of the curve, for a legend; neurons are numbered, and of more than eight some
            are in the legend.
        time_unit: unit of time for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `ts` and `vs` do not fit together.
    """
    ts, vs = np.asarray(ts), np.asarray(vs)
    if ts.ndim != 1 or vs.ndim not in (1, 2) or vs.shape[0] != ts.shape[0]:
        raise ValueError(
            f"`ts` has shape {ts.shape} and `vs` {vs.shape}; they must be (times,) and (times,) "
            "or (times, neurons)."
        )
    ax = new_axes(ax, height=1.8)
    columns = vs[:, None] if vs.ndim == 1 else vs
    # Threshold and ticks drawn before do not use up a colour.
    number = columns.shape[1]
    drawn = zip(
        columns.T,
        colours_of(number, num_curves(ax)),
        names_of(number, "neuron", label),
        strict=True,
    )
    for potential, colour, name in drawn:
        finite = np.isfinite(ts) & np.isfinite(potential)
        ax.plot(
            ts[finite],
            potential[finite],
            color=colour,
            linewidth=1.0 if number <= len(COLOURS) else 0.5,
            label=name,
            gid=CURVE,
        )
    if threshold is not None:
        ax.axhline(threshold, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    if spike_times is not None:
        spikes = np.ravel(np.asarray(spike_times))
        spikes = spikes[np.isfinite(spikes)]
        # Above the axes, in their own coordinates, so that ticks never cover the curve.
        ax.plot(
            spikes,
            np.full(spikes.shape, 1.03),
            transform=ax.get_xaxis_transform(),
            linestyle="none",
            marker="|",
            markersize=7,
            color="black",
            clip_on=False,
        )
    tidy(ax, with_unit("time", time_unit), "potential $v$")
    legend(ax)
    return ax
