"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from .reporting import KINDS
from .sigmoid_network import LINE_EDGE, LINE_STEEPNESS, PLANE_EDGE, PLANE_STEEPNESS
from .spike_matching import picture


def _panels(number: int, height: float = 2.6, **given: Any):
    import matplotlib.pyplot as plt

    size = (COLUMN_WIDTH * number, height)
    return plt.subplots(1, number, figsize=size, layout="constrained", squeeze=False, **given)


def draw_loop(settings, results: dict[str, Any]):
    """The integral of surrogate gradients and of the gradient on the way around the loop."""
    figure, ((ax,),) = _panels(1)
    for i, (b, running) in enumerate(results["loop"]["running"].items()):
        name = "gradient" if b == "true" else f"surrogate, b' = {b}"
        way = (np.arange(len(running)) + 0.5) / len(running)
        colour, style = ("black", ":") if b == "true" else (COLOURS[i], "-")
        ax.plot(way, running, style, color=colour, lw=1, label=name)
        if b != "true":
            ax.plot(1, results["loop"]["surrogate"][b], "o", color=colour, ms=3, clip_on=False)
    ax.axhline(0, color="0.7", lw=0.6)
    tidy(ax, "share of the loop", "integral of the gradient")
    # (between the curves, where they leave room)
    ax.legend(
        fontsize=6.5, frameon=False, loc="center", bbox_to_anchor=(0.63, 0.505), handlelength=1.5,
        labelspacing=0.2,
    )  # fmt: skip
    return figure


def draw_signs(settings, results: dict[str, Any]):
    """Where the sign is wrong, over two weights; and integrals of surrogate derivatives over
    one."""
    from matplotlib.colors import ListedColormap

    found = results["signs"]
    narrow = [b for b in found["wrong"] if float(b) < PLANE_STEEPNESS]
    figure, (axes,) = _panels(len(narrow) + 1)
    # 0: derivative negative, 1: positive, 2: the surrogate's sign is another
    colours = ListedColormap(["white", "0.85", COLOURS[1]])
    edge = PLANE_EDGE
    for ax, b in zip(axes, narrow, strict=False):
        shown = (np.asarray(found["sign"]) > 0).astype(int)
        shown[np.asarray(found["wrong"][b]) > 0] = 2
        ax.imshow(
            shown.T, origin="lower", extent=(-edge, edge, -edge, edge), cmap=colours, vmin=0,
            vmax=2, interpolation="nearest",
        )  # fmt: skip
        share = 100 * found["share"][b]
        ax.set_title(f"b = {PLANE_STEEPNESS:g}, b' = {b}: {share:.1f} % wrong", fontsize=8)
        tidy(ax, "$v_1$", "$v_2$")
    ax = axes[-1]
    for i, (b, integral) in enumerate(found["integrated"].items()):
        integral = np.asarray(integral) / np.ptp(integral)
        place, true = found["lowest"][b], float(b) == LINE_STEEPNESS
        colour = "black" if true else COLOURS[i]
        label = f"output, b = {b}" if true else f"surrogate, b' = {b}"
        ax.plot(found["line"], integral, color=colour, lw=1, label=label)
        ax.plot(place, np.interp(place, found["line"], integral), "o", color=colour, ms=4)
    ax.set_xlim(-LINE_EDGE, LINE_EDGE)
    tidy(ax, "w", "integral over w, scaled")
    legend(ax)
    return figure


def draw_rasters(settings, results: dict[str, Any]):
    """The picture, and what networks of both kinds fire before and after."""
    figure, (axes,) = _panels(4, 2.4, sharex=True, sharey=True)
    target = np.argwhere(picture(settings.steps, settings.neurons))
    shown = [("the picture", target)]
    first = f"{KINDS[0]} {settings.seed}"
    shown.append((f"{KINDS[0]}, before", np.asarray(results[first]["before"])))
    for kind in KINDS:
        raster = np.asarray(results[f"{kind} {settings.seed}"]["after"])
        shown.append((f"{kind}, after", raster))
    for ax, (title, spikes) in zip(axes, shown, strict=True):
        spikes = spikes.reshape(-1, 2)
        ax.plot(spikes[:, 0], spikes[:, 1], ".", color="black", ms=150 / settings.neurons)
        ax.set_title(title, fontsize=8)
        ax.set_xlim(0, settings.steps)
        ax.set_ylim(0, settings.neurons)
        tidy(ax, "time (ms)", "output neuron" if ax is axes[0] else "")
    return figure


def draw_distances(settings, results: dict[str, Any]):
    """The distance of the output from the picture over epochs, the mean over networks and a window
    of epochs, with hidden weights that learn and that do not."""
    figure, ((ax,),) = _panels(1)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    window = max(1, settings.epochs // 60)
    for i, kind in enumerate(KINDS):
        for name, style in (("", "-"), (", control", "--")):
            curves = [results[f"{kind} {seed}{name}"]["distances"] for seed in seeds]
            mean = np.convolve(np.mean(curves, axis=0), np.ones(window) / window, "valid")
            label = kind + (", hidden weights fixed" if name else "")
            ax.semilogy(window / 2 + np.arange(mean.size), mean, style, color=COLOURS[i], lw=1,
                        label=label)  # fmt: skip
    tidy(ax, "epoch", "van Rossum distance")
    legend(ax)
    return figure
