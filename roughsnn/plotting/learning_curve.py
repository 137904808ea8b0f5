"""Curves over training steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import CURVE, colour, legend, new_axes, num_curves, tidy


def plot_learning_curve(
    history: Mapping[str, ArrayLike | Sequence],
    ax: Any = None,
    *,
    name: str = "loss",
    label: str | None = None,
    log: bool = True,
    smooth: int = 1,
    steps: ArrayLike | Sequence | None = None,
    color: str | None = None,
    linestyle: str = "-",
    band: bool = True,
) -> Any:
    """Draw one quantity of a training history over steps, of one seed or of several.

    Args:
        history: as in `FitResult.history`: arrays over steps by name, shape `(steps,)`, or
            `(seeds, steps)`: then the mean over seeds is drawn.
        ax: axes to draw on; by default those of a new figure.
        name: which quantity.
        label: name of the curve, for a legend.
        log: logarithmic scale; it needs positive values, and others are left out.
        smooth: draw the running mean over so many steps, with the values themselves behind it.
        steps: the step of each value, shape `(steps,)`; by default they are counted from 0.
        color: of the curve; by default the next of the palette.
        linestyle: of the curve, as matplotlib knows it.
        band: of several seeds, also shade from the lowest to the highest.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: `history` has no such quantity.
        ValueError: `smooth < 1`, or values that are not one per step (and seed).
    """
    if name not in history:
        raise KeyError(f"`history` has no {name!r}; it has {sorted(history)}.")
    values = np.asarray(history[name])
    ax = _curve(values, ax, label, smooth, steps, color, linestyle, band)
    if log:
        ax.set_yscale("log", nonpositive="mask")
    tidy(ax, "training step", name.replace("_", " "))
    legend(ax)
    return ax


def plot_parameter(
    values: ArrayLike | Sequence,
    ax: Any = None,
    *,
    true: float | int | None = None,
    name: str = "parameter",
    label: str | None = None,
    smooth: int = 1,
    steps: ArrayLike | Sequence | None = None,
    color: str | None = None,
    linestyle: str = "-",
    band: bool = True,
) -> Any:
    """Draw a parameter over training steps, beside its true value as a dashed line.

    Args:
        values: the parameter at each step, shape `(steps,)`, or `(seeds, steps)`: then the mean
            over seeds is drawn.
        ax: axes to draw on; by default those of a new figure.
        true: the value that generated the data.
        name: name of the parameter, for the label of the axis.
        label: name of the curve, for a legend.
        smooth: draw the running mean over so many steps, with the values themselves behind it.
        steps: the step of each value, shape `(steps,)`; by default they are counted from 0.
        color: of the curve; by default the next of the palette.
        linestyle: of the curve, as matplotlib knows it.
        band: of several seeds, also shade from the lowest to the highest.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `smooth < 1`, or values that are not one per step (and seed).
    """
    ax = _curve(np.asarray(values), ax, label, smooth, steps, color, linestyle, band)
    if true is not None:
        ax.axhline(true, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    tidy(ax, "training step", name)
    legend(ax)
    return ax


def _curve(
    values: np.ndarray,
    ax: Any,
    label: str | None,
    smooth: int,
    steps: ArrayLike | Sequence | None,
    color: str | None,
    linestyle: str,
    band: bool,
) -> Any:
    if values.ndim not in (1, 2) or (values.ndim == 2 and len(values) == 0):
        raise ValueError(
            f"The values have shape {values.shape}; they must be one per step, or one per seed and "
            "step."
        )
    if smooth < 1:
        raise ValueError(f"`smooth` is {smooth}; it must be 1 step or more.")
    rows = np.atleast_2d(values)
    x = np.arange(rows.shape[1]) if steps is None else np.asarray(steps)
    if x.shape != rows.shape[1:]:
        raise ValueError(
            f"`steps` has shape {x.shape}; it must be {rows.shape[1:]}, one for each value."
        )
    ax = new_axes(ax, height=2.2)
    # Reference lines and the curves behind running means do not use up a colour.
    drawn = colour(num_curves(ax)) if color is None else color
    smooth = min(smooth, max(rows.shape[1], 1))
    if smooth > 1:
        ax.plot(x, rows.mean(axis=0), color=drawn, linewidth=0.5, alpha=0.3)
        window = np.full(smooth, 1 / smooth)
        rows = np.array([np.convolve(row, window, mode="valid") for row in rows])
        x = x[smooth - 1 :]
    if band and len(rows) > 1:
        low, high = rows.min(axis=0), rows.max(axis=0)
        ax.fill_between(x, low, high, color=drawn, alpha=0.12, linewidth=0)
    mean, style = rows.mean(axis=0), {"linewidth": 1.2, "linestyle": linestyle}
    ax.plot(x, mean, color=drawn, label=label, gid=CURVE, **style)
    return ax
