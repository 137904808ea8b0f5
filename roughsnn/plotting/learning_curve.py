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
) -> Any:
    """Draw one quantity of a training history over steps.

    Args:
        history: as in `FitResult.history`: arrays over steps by name.
        ax: axes to draw on; by default those of a new figure.
        name: which quantity.
        label: name of the curve, for a legend.
        log: logarithmic scale; it needs positive values, and others are left out.
        smooth: draw the running mean over so many steps, with the values themselves behind it.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: `history` has no such quantity.
        ValueError: `smooth < 1`, or values that are not one per step.
    """
    if name not in history:
        raise KeyError(f"`history` has no {name!r}; it has {sorted(history)}.")
    ax = _curve(np.asarray(history[name]), ax, label, smooth)
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
) -> Any:
    """Draw a parameter over training steps, beside its true value as a dashed line.

    Args:
        values: the parameter at each step, shape `(steps,)`.
        ax: axes to draw on; by default those of a new figure.
        true: the value that generated the data.
        name: name of the parameter, for the label of the axis.
        label: name of the curve, for a legend.
        smooth: draw the running mean over so many steps, with the values themselves behind it.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `smooth < 1`, or values that are not one per step.
    """
    ax = _curve(np.asarray(values), ax, label, smooth)
    if true is not None:
        ax.axhline(true, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    tidy(ax, "training step", name)
    legend(ax)
    return ax


def _curve(values: np.ndarray, ax: Any, label: str | None, smooth: int) -> Any:
    if values.ndim != 1:
        raise ValueError(f"The values have shape {values.shape}; they must be one per step.")
    if smooth < 1:
        raise ValueError(f"`smooth` is {smooth}; it must be 1 step or more.")
    ax = new_axes(ax, height=2.2)
    # Reference lines and the curves behind running means do not use up a colour.
    drawn = colour(num_curves(ax))
    smooth = min(smooth, max(values.size, 1))
    steps = np.arange(values.size)
    if smooth > 1:
        ax.plot(steps, values, color=drawn, linewidth=0.5, alpha=0.3)
        values = np.convolve(values, np.full(smooth, 1 / smooth), mode="valid")
        steps = steps[smooth - 1 :]
    ax.plot(steps, values, color=drawn, linewidth=1.2, label=label, gid=CURVE)
    return ax
