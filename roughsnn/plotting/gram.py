"""Matrices between trains, of a kernel or a distance, and the witness function of two samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import (
    CURVE,
    ON_IMAGE,
    colour,
    colour_scale,
    legend,
    new_axes,
    num_curves,
    remove_images,
    tidy,
    whole_numbers,
)


def plot_gram(
    gram: ArrayLike | Sequence,
    ax: Any = None,
    *,
    sizes: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    order: ArrayLike | Sequence | None = None,
    colour_bar: bool = True,
) -> Any:
    """Draw a Gram matrix, sample by sample and sorted inside each.

    Lines part the samples. Two samples of one law give four blocks that look alike; blocks on the
    diagonal that are brighter than those beside them are what an MMD sees.

    A matrix that is on the axes already is replaced.

    Args:
        gram: symmetric Gram matrix, shape `(n, n)`, the trains of the first sample first.
        ax: axes to draw on; by default those of a new figure.
        sizes: number of trains in each sample, which add up to `n`; one sample by default.
        names: names of the samples, for the labels of the axes.
        order: one number per train, by which the trains of each sample are sorted; by default the
            mean of each row, so that trains that carry much of the kernel stand out.
        colour_bar: also draw the scale of colours.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: arguments of shapes that do not fit.
    """
    return _matrix("gram", gram, ax, sizes, names, order, colour_bar, "kernel", sort=True)


def plot_distances(
    distances: ArrayLike | Sequence,
    ax: Any = None,
    *,
    sizes: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    order: ArrayLike | Sequence | None = None,
    name: str = "distance",
    colour_bar: bool = True,
) -> Any:
    """Draw a matrix of distances between spike trains, sample by sample.

    Dark is near. Samples of one law give four blocks that look alike.

    A matrix that is on the axes already is replaced.

    Args:
        distances: shape `(n, n)`, as `VanRossum(tau=...)(trains)` gives, the trains of the first
            sample first.
        ax: axes to draw on; by default those of a new figure.
        sizes: number of trains in each sample, which add up to `n`; one sample by default.
        names: names of the samples, for the labels of the axes.
        order: one number per train, by which the trains of each sample are sorted; by default they
            stay as they are.
        name: name of the distance, for the scale of colours.
        colour_bar: also draw the scale of colours.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: arguments of shapes that do not fit.
    """
    return _matrix("distances", distances, ax, sizes, names, order, colour_bar, name, sort=False)


def _matrix(argument, matrix, ax, sizes, names, order, colour_bar, scale, *, sort):
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"`{argument}` has shape {matrix.shape}; it must be (n, n).")
    n = matrix.shape[0]
    sizes = [n] if sizes is None else [int(size) for size in sizes]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ValueError(f"`sizes` is {sizes}; they must add up to the {n} trains of `{argument}`.")
    if names is not None and len(names) != len(sizes):
        raise ValueError(f"`names` has {len(names)} entries for {len(sizes)} samples.")
    if order is None:
        values = matrix.sum(axis=1) if sort else np.arange(n)
    else:
        values = np.asarray(order)
    if values.shape != (n,):
        raise ValueError(f"`order` has shape {values.shape}; it must be one number per train.")
    sample = np.repeat(np.arange(len(sizes)), sizes)
    sorting = np.lexsort((values, sample))

    ax = new_axes(ax, height=2.8)
    remove_images(ax)
    shown = matrix[np.ix_(sorting, sorting)] if n else np.full((1, 1), np.nan)
    image = ax.imshow(shown, cmap="viridis", aspect="equal", interpolation="nearest")
    ends = np.cumsum(sizes)
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="white", linewidth=0.8, gid=ON_IMAGE)
        ax.axvline(end - 0.5, color="white", linewidth=0.8, gid=ON_IMAGE)
    whole_numbers(ax)
    tidy(ax, "train", "train")
    if names is not None:
        middle = ends - np.asarray(sizes) / 2 - 0.5
        ax.set_xticks(middle, names)
        ax.set_yticks(middle, names, rotation=90, va="center")
        ax.tick_params(length=0)
    if colour_bar:
        colour_scale(ax, image, scale)
    return ax


def plot_witness(
    values: ArrayLike | Sequence,
    witness: ArrayLike | Sequence,
    ax: Any = None,
    *,
    label: str | None = None,
    name: str = "spikes in the train",
) -> Any:
    """Draw a witness function against one property of the trains, a dot for each train.

    The higher, the more a train is like the first sample and the less like the second. A cloud
    that rises, falls or bends says that the samples differ in this property.

    Args:
        values: the property, shape `(trains,)`, such as `trains.counts`.
        witness: the witness function at the trains, shape `(trains,)`.
        ax: axes to draw on; by default those of a new figure.
        label: name of the trains, for a legend.
        name: name of the property, for the label of the axis.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `values` and `witness` are not equally many numbers.
    """
    values, witness = np.asarray(values), np.asarray(witness)
    if values.ndim != 1 or values.shape != witness.shape:
        raise ValueError(
            f"`values` has shape {values.shape} and `witness` {witness.shape}; both must be "
            "(trains,)."
        )
    ax = new_axes(ax, height=2.2)
    drawn = colour(num_curves(ax))
    if num_curves(ax) == 0:
        ax.axhline(0, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    ax.plot(
        values,
        witness,
        linestyle="none",
        marker="o",
        markersize=3,
        alpha=0.6,
        markeredgewidth=0,
        color=drawn,
        label=label,
        gid=CURVE,
    )
    tidy(ax, name, "witness $w$")
    legend(ax)
    return ax
