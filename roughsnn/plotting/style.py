"""Sizes and colours that all pictures share."""

from typing import Any

COLUMN_WIDTH = 3.4
"""Width of a one-column figure, in inches."""

COLOURS = (
    "#0072B2",  # blue
    "#D55E00",  # vermillion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#000000",  # black
    "#F0E442",  # yellow
)
"""The palette of Okabe and Ito, which colour-blind readers can tell apart; yellow last, as it is
faint on white."""

CURVE = "roughsnn-curve"
"""The group id that marks a line as a curve with a colour of its own."""


def new_axes(ax: Any, height: float) -> Any:
    """`ax` itself, or the axes of a new one-column figure of the given height in inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib, which is not installed: `pip install roughsnn[experiments]`"
        ) from error
    _, ax = plt.subplots(figsize=(COLUMN_WIDTH, height), layout="constrained")
    return ax


def colour(index: int) -> str:
    """Colour number `index` of the palette, which repeats."""
    return COLOURS[index % len(COLOURS)]


def num_curves(ax: Any) -> int:
    """How many curves, drawn here, the axes hold: the number of the next colour."""
    return sum(artist.get_gid() == CURVE for artist in (*ax.lines, *ax.patches))


def with_unit(name: str, unit: str | None) -> str:
    """The label of an axis: what it shows, and the unit if there is one."""
    return name if unit is None else f"{name} ({unit})"


def tidy(ax: Any, xlabel: str, ylabel: str) -> None:
    """Small type, labels, and no box: what is legible at one-column width."""
    ax.set_xlabel(xlabel, fontsize=8)
    ax.set_ylabel(ylabel, fontsize=8)
    ax.tick_params(labelsize=7, which="both")
    ax.spines[["top", "right"]].set_visible(False)


def whole_numbers(ax: Any) -> None:
    """Ticks at whole numbers only, for axes that number neurons or trains."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)


def legend(ax: Any) -> None:
    """A small frameless legend, if anything on the axes has a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7, frameon=False, handlelength=1.5)


def colour_scale(ax: Any, image: Any, name: str) -> None:
    """The scale of colours of an image, beside its axes."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(name, fontsize=8)
