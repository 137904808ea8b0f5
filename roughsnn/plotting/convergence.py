"""Errors against step sizes, with their orders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import CURVE, colour, legend, new_axes, num_curves, tidy, with_unit


def plot_convergence(
    steps: ArrayLike | Sequence,
    errors: ArrayLike | Sequence,
    ax: Any = None,
    *,
    orders: Sequence[float | int] = (),
    label: str | None = None,
    name: str = "error",
    fitted: bool = True,
    linestyle: str = "-",
    time_unit: str | None = None,
) -> Any:
    r"""Draw errors against the steps of a solver, both logarithmic: order $p$ is a line of slope p.

    Args:
        steps: step sizes, shape `(steps,)`.
        errors: the error at each; those that are not positive and finite are left out.
        ax: axes to draw on; by default those of a new figure.
        orders: slopes to draw as dotted lines above the largest error, for comparison.
        label: name of the curve, for a legend.
        name: what the error is of, for the label of the axis.
        fitted: say in the legend the slope of the least-squares line through all points.
        linestyle: of the curve, as matplotlib knows it.
        time_unit: unit of time for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: shapes that differ, or a step that is not positive.
    """
    steps, errors = np.asarray(steps, dtype=float), np.asarray(errors, dtype=float)
    if steps.ndim != 1 or steps.shape != errors.shape:
        raise ValueError(
            f"`steps` has shape {steps.shape} and `errors` {errors.shape}; both must be (steps,)."
        )
    if not np.all(steps > 0):
        raise ValueError(f"`steps` is {steps}; every step must be positive.")
    seen = np.isfinite(errors) & (errors > 0)
    steps, errors = steps[seen], errors[seen]
    if fitted and np.unique(steps).size > 1:
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        label = f"order {slope:.2f}" if label is None else f"{label}, order {slope:.2f}"
    ax = new_axes(ax, height=2.6)
    from matplotlib.ticker import NullFormatter

    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("log")
        # Labels of minor ticks would lie on each other where the steps span less than a decade.
        axis.set_minor_formatter(NullFormatter())
    ax.plot(
        steps,
        errors,
        color=colour(num_curves(ax)),
        marker=".",
        linewidth=1.0,
        linestyle=linestyle,
        label=label,
        gid=CURVE,
    )
    for order in orders if steps.size else ():
        ends = np.array([steps.min(), steps.max()])
        line = 1.5 * errors.max() * (ends / ends[1]) ** order
        ax.plot(ends, line, color="0.6", linewidth=0.9, linestyle=":", zorder=0)
        middle = np.sqrt(ends.prod()), np.sqrt(line.prod())
        ax.annotate(
            f"{order:g}", middle, (-3, 1), textcoords="offset points",
            fontsize=7, color="0.4", ha="right", va="bottom",
        )  # fmt: skip
    tidy(ax, with_unit(r"step $\Delta t$", time_unit), name)
    legend(ax)
    return ax
