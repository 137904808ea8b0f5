"""What a network reads out, beside what it should."""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import (
    CURVE,
    colour,
    colours_of,
    legend,
    names_of,
    new_axes,
    num_curves,
    tidy,
    with_unit,
)


def plot_readout(
    ts: ArrayLike,
    readout: ArrayLike,
    target: ArrayLike | None = None,
    ax: Any = None,
    *,
    time_unit: str | None = None,
) -> Any:
    """Draw readout channels over time, each with its target behind it: dashed, in a fainter shade
    of the same colour.

    Args:
        ts: times, shape `(times,)`.
        readout: what was read out, shape `(times,)` or `(times, channels)`.
        target: what should have been, of the same shape; NaN where nothing is asked for.
        ax: axes to draw on; by default those of a new figure.
        time_unit: unit of time for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: shapes that do not fit together.
    """
    ts, readout = np.asarray(ts), np.asarray(readout)
    if ts.ndim != 1 or readout.ndim not in (1, 2) or readout.shape[0] != ts.shape[0]:
        raise ValueError(
            f"`ts` has shape {ts.shape} and `readout` {readout.shape}; they must be (times,) and "
            "(times,) or (times, channels)."
        )
    targets = None if target is None else np.asarray(target)
    if targets is not None and targets.shape != readout.shape:
        raise ValueError(
            f"`target` has shape {targets.shape}; it must have that of `readout`, {readout.shape}."
        )
    ax = new_axes(ax, height=1.8)
    columns = readout.reshape(len(ts), -1)
    number = columns.shape[1]
    colours = colours_of(number, num_curves(ax))
    read, wanted = (names_of(number, name, None) for name in ("readout", "target"))
    if number == 1:
        read, wanted = ["readout"], ["target"]
    for channel, drawn in enumerate(colours):
        if targets is not None:
            target_of_channel = targets.reshape(columns.shape)[:, channel]
            ax.plot(
                ts, target_of_channel, linestyle=(0, (3, 1.5)), color=drawn, alpha=0.45,
                linewidth=2.2, label=wanted[channel],
            )  # fmt: skip
        ax.plot(ts, columns[:, channel], color=drawn, linewidth=0.9, label=read[channel], gid=CURVE)
    tidy(ax, with_unit("time", time_unit), "readout")
    legend(ax)
    return ax


def plot_balance(
    ts: ArrayLike,
    external: ArrayLike,
    recurrent: ArrayLike,
    ax: Any = None,
    *,
    time_unit: str | None = None,
) -> Any:
    """Draw the external and the recurrent current of a neuron, and their sum.

    Args:
        ts: times, shape `(times,)`.
        external: current from outside, shape `(times,)`.
        recurrent: current from the network, shape `(times,)`.
        ax: axes to draw on; by default those of a new figure.
        time_unit: unit of time for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: shapes that differ.
    """
    ts, external, recurrent = (np.asarray(x) for x in (ts, external, recurrent))
    if ts.ndim != 1 or not ts.shape == external.shape == recurrent.shape:
        raise ValueError(
            f"`ts`, `external` and `recurrent` have shapes {ts.shape}, {external.shape} and "
            f"{recurrent.shape}; all must be (times,)."
        )
    ax = new_axes(ax, height=1.8)
    ax.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    # A second neuron on the same axes has the same colours, in another kind of line.
    style = ("-", "--", ":", "-.")[num_curves(ax) % 4]
    ax.plot(ts, external, style, color=colour(0), linewidth=1.0, label="external", gid=CURVE)
    ax.plot(ts, recurrent, style, color=colour(1), linewidth=1.0, label="recurrent")
    ax.plot(ts, external + recurrent, style, color="black", linewidth=0.8, label="sum")
    tidy(ax, with_unit("time", time_unit), "current")
    legend(ax)
    return ax
