"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import colour_scale, legend, tidy

from .reporting import noise_curve


def _panels(number: int, height: float = 2.4):
    import matplotlib.pyplot as plt

    return plt.subplots(1, number, figsize=(COLUMN_WIDTH * number, height), layout="constrained")


def draw_axes(settings, results: dict[str, Any]):
    """An image of mirrored dots with its axis, the density of the detectors, and the scores."""
    figure, (left, middle, right) = _panels(3, 2.8)
    shown = results["oriented"]["shown"]
    points, density = np.asarray(shown["points"]), np.asarray(shown["density"])
    size, first, last = settings.image_size, settings.reach, settings.reach + settings.neurons - 1
    left.plot(points[:, 1], points[:, 0], ".", color="black", ms=2)
    left.plot([first, last, last, first, first], [first, first, last, last, first],
              color=COLOURS[4], lw=0.8, label="detectors")  # fmt: skip
    left.set_xlim(-1, size)
    left.set_ylim(size, -1)
    image = middle.imshow(density, cmap="viridis", extent=(first, last, last, first))
    colour_scale(middle, image, "spikes of a detector")
    centre = (size - 1) / 2
    normal = np.array([np.cos(shown["angle"]), np.sin(shown["angle"])])
    ends = shown["offset"] * normal + np.outer([-size, size], [-normal[1], normal[0]]) + centre
    for ax, colour in ((left, COLOURS[1]), (middle, "white")):
        limits = ax.get_xlim(), ax.get_ylim()
        ax.plot(ends[:, 0], ends[:, 1], "--", color=colour, lw=0.8, label="axis")
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
        ax.set_aspect("equal")
        tidy(ax, "pixel", "pixel")
    left.legend(fontsize=6, loc="upper right")
    axes = results["vertical"]
    i = np.arange(len(axes["scores"]))
    right.plot(i, axes["scores"], "o", ms=4, color=COLOURS[0], label="mirrored dots")
    right.plot(i, axes["controls"], "o", ms=4, color=COLOURS[1], label="random dots")
    right.axhline(0, color="0.7", lw=0.6)
    tidy(right, "image", "score of the axis' column")
    legend(right)
    return figure


def draw_noise(settings, results: dict[str, Any]):
    """The score of the axis of faint dots over the noise of pixels."""
    figure, ax = _panels(1)
    errors = [results[f"noise {noise}"]["error"] for noise in settings.noises]
    ax.errorbar(
        settings.noises, noise_curve(settings, results), errors, fmt="o-", ms=3, lw=1,
        color=COLOURS[0],
    )  # fmt: skip
    ax.axhline(0, color="0.7", lw=0.6)
    tidy(ax, "noise of a pixel (its threshold is 1)", "score of the axis' column")
    return figure


def draw_scene(settings, results: dict[str, Any]):
    """A scene, its edges, its symmetry density, and the densities of all scenes."""
    figure, axes = _panels(4, 2.8)
    photo, scenes = results["photograph"], results["scenes"]
    image = np.asarray(photo["image"])
    size = image.shape[0]
    axes[0].imshow(image, cmap="gray")
    points = np.zeros(image.shape)
    points[tuple(np.asarray(photo["edges"]).T)] = 1
    axes[1].imshow(1 - points, cmap="gray")
    extent = (-0.5, size - 0.5, size - 0.5, -0.5)
    shown = axes[2].imshow(np.asarray(photo["density"]), cmap="viridis", extent=extent)
    inside = np.zeros(image.shape)
    inside[tuple(np.asarray(photo["inside"]).T)] = 1
    axes[2].contour(inside, [0.5], colors="white", linewidths=0.6)
    colour_scale(axes[2], shown, "spikes of a detector")
    for ax, title in zip(axes, ("scene", "edges", "symmetry density", ""), strict=True):
        ax.set_title(title, fontsize=8)
        if title:
            ax.set_xticks([])
            ax.set_yticks([])
    both = scenes["buildings"] + scenes["vegetation"]
    bins = np.linspace(min(both), max(both), 25)
    for i, name in enumerate(("buildings", "vegetation")):
        axes[3].hist(scenes[name], bins, color=COLOURS[i], alpha=0.7, label=name)
    tidy(axes[3], "mean density of a scene", "scenes")
    legend(axes[3])
    return figure


def draw_tuning(settings, results: dict[str, Any]):
    """Errors of the delays and pairs that are detected, over steps."""
    figure, (left, right) = _panels(2)
    tuning = results["tuning"]
    left.semilogy(tuning["errors"], color=COLOURS[0], lw=1)
    right.plot(tuning["detected"], color=COLOURS[0], lw=1)
    right.axhline(tuning["pairs"], color="0.7", lw=0.6)
    tidy(left, "step of the method", "relative error of the delays")
    tidy(right, "step of the method", "pairs that are detected")
    return figure
