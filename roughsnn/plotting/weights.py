"""Synaptic weights: learned beside true ones, and as a matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from .style import (
    CURVE,
    colour,
    colour_scale,
    legend,
    new_axes,
    num_curves,
    remove_images,
    tidy,
    whole_numbers,
)


def plot_weights(
    true: ArrayLike | Sequence,
    learned: ArrayLike | Sequence,
    ax: Any = None,
    *,
    connections: ArrayLike | None = None,
    label: str | None = None,
) -> Any:
    """Draw learned weights against the true ones; on the dashed line they are equal.

    The legend says the mean absolute error.

    Args:
        true: the weights that generated the data, of any shape.
        learned: the weights that were found, of the same shape.
        ax: axes to draw on; by default those of a new figure.
        connections: boolean array of that shape, which weights there are; all by default.
        label: name of the weights, for the legend.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: arrays of different shapes.
    """
    true, learned = np.asarray(true, dtype=float), np.asarray(learned, dtype=float)
    if true.shape != learned.shape:
        raise ValueError(
            f"`true` has shape {true.shape} and `learned` {learned.shape}; they must be alike."
        )
    there = _mask(connections, true.shape)
    true, learned = true[there], learned[there]
    ax = new_axes(ax, height=2.8)
    already = num_curves(ax)
    if already == 0:
        ax.axline((0, 0), slope=1, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    if true.size:
        error = f"error {np.mean(np.abs(learned - true)):.2g}"
        label = error if label is None else f"{label}, {error}"
    ax.plot(
        true,
        learned,
        linestyle="none",
        marker="o",
        markersize=3,
        alpha=0.6,
        markeredgewidth=0,
        color=colour(already),
        label=label,
        gid=CURVE,
    )
    ax.set_aspect("equal", adjustable="datalim")
    tidy(ax, "true weight", "learned weight")
    legend(ax)
    return ax


def plot_weight_matrix(
    weights: ArrayLike | Sequence,
    ax: Any = None,
    *,
    connections: ArrayLike | None = None,
    limit: float | int | None = None,
    colour_bar: bool = True,
) -> Any:
    """Draw a matrix of weights, from row to column: red excites, blue inhibits, grey is no synapse.

    A matrix that is on the axes already is replaced.

    Args:
        weights: shape `(pre, post)`.
        ax: axes to draw on; by default those of a new figure.
        connections: boolean array of that shape, where there are synapses; by default everywhere.
        limit: size of the weight with the darkest colour, so that two matrices can be compared;
            by default that of the largest.
        colour_bar: also draw the scale of colours.

    Returns:
        the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no matrix, a mask of another shape, or a limit that is not positive.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 2:
        raise ValueError(f"`weights` has shape {weights.shape}; it must be (pre, post).")
    there = _mask(connections, weights.shape)
    if limit is None:
        limit = float(np.abs(weights[there]).max(initial=0)) or 1.0
    elif not limit > 0:
        raise ValueError(f"`limit` is {limit}; it must be positive.")
    ax = new_axes(ax, height=2.8)
    remove_images(ax)
    ax.set_facecolor("0.85")
    shown = np.ma.array(weights, mask=~there)
    image = ax.imshow(
        shown if shown.size else np.full((1, 1), np.nan),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="equal",
        interpolation="nearest",
    )
    whole_numbers(ax)
    tidy(ax, "to neuron", "from neuron")
    if colour_bar:
        colour_scale(ax, image, "weight")
    return ax


def _mask(connections: Any, shape: tuple[int, ...]) -> np.ndarray:
    if connections is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(connections)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(
            f"`connections` is {mask.dtype} of shape {mask.shape}; it must be boolean of the shape "
            f"of the weights, {shape}."
        )
    return mask
