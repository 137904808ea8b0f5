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

ON_IMAGE = "roughsnn-on-image"
"""The group id of a line that belongs to an image."""

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


def colours_of(number: int, before: int = 0) -> list:
    """A colour for each of so many curves, after `before` earlier ones: of the palette while they
    can be told apart, else along a scale from the first to the last."""
    if number <= len(COLOURS):
        return [colour(before + i) for i in range(number)]
    from matplotlib import colormaps

    # The bright end is faint on white.
    return [colormaps["viridis"](0.9 * i / (number - 1)) for i in range(number)]


def names_of(number: int, kind: str, label: str | None) -> list[str | None]:
    """The name of each of so many curves, for a legend; of many curves, only of some that are
    spread over all of them.

    Args:
        number: how many.
        kind: what they are, such as `neuron`.
        label: the name of all of them together.
    """
    if number == 1:
        return [label]
    some = range(number)
    if number > len(COLOURS):
        some = {round(i * (number - 1) / 4) for i in range(5)}
    before = "" if label is None else f"{label}, "
    return [f"{before}{kind} {i}" if i in some else None for i in range(number)]


def from_zero(ax: Any) -> None:
    """Let the vertical axis begin at 0. Its other end goes on following what is drawn, and limits
    that somebody has set stay."""
    if ax.get_autoscaley_on():
        ax.set_ylim(bottom=0, auto=None)


def cover(ax: Any, low: float, high: float, *, first: bool) -> None:
    """Let the horizontal axis reach over a window: exactly if it is the first thing drawn, else
    over what is there already as well."""
    if not first:
        left, right = sorted(ax.get_xlim())
        low, high = min(low, left), max(high, right)
    if low < high:
        ax.set_xlim(low, high)


def numbered(number: int) -> list[int]:
    """Which of so many neurons or trials, counted from 0, have a tick: at most ten, at 0 and
    multiples of 1, 2 or 5 times a power of 10."""
    step, factors = 1, (2, 2.5, 2)
    for i in range(60):
        if number <= 10 * step:
            break
        step = int(step * factors[i % 3])
    return list(range(0, number, step))


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
    """A small frameless legend, if anything on the axes has a label; of more than ten, the first
    nine and how many more there are."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    if len(handles) > 10:
        from matplotlib.lines import Line2D

        left = len(handles) - 9
        handles = [*handles[:9], Line2D([], [], linestyle="none")]
        labels = [*labels[:9], f"and {left} more"]
    # Matplotlib looks long for the best place among many curves, and there is none.
    place = "best" if num_curves(ax) <= 20 else "upper right"
    ax.legend(handles, labels, loc=place, fontsize=7, frameon=False, handlelength=1.5)


def remove_images(ax: Any) -> None:
    """Remove the images on the axes with their scales of colours and the lines drawn on them, so
    that another takes their place."""
    for image in list(ax.images):
        if image.colorbar is not None:
            image.colorbar.remove()
        image.remove()
    for line in [line for line in ax.lines if line.get_gid() == ON_IMAGE]:
        line.remove()


def colour_scale(ax: Any, image: Any, name: str) -> None:
    """The scale of colours of an image, beside its axes."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(name, fontsize=8)
