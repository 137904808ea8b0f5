"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from .conditions import SCALED, SHAPES, constant, of_shape, sparse
from .reporting import of_scales, sparsity


def _panels(number: int, **given: Any):
    import matplotlib.pyplot as plt

    size = (COLUMN_WIDTH * number, 2.6)
    return plt.subplots(1, number, figsize=size, layout="constrained", squeeze=False, **given)


def _curve(ax, groups: list, betas: Any, joined: Any, colour: str, label: str):
    """The accuracy of every network as a dot, and the best or the mean of each steepness joined."""
    for beta, values in zip(betas, groups, strict=True):
        ax.plot([beta] * len(values), values, ".", color=colour, ms=4, alpha=0.5)
    ax.plot(betas, [joined(values) for values in groups], "-", color=colour, lw=1, label=label)


def draw_grid(settings, results: dict[str, Any]):
    """Accuracy over the steepness: of shapes with detached resets, of scales with attached ones."""
    figure, ((left, right),) = _panels(2, sharey=True)
    betas = settings.betas
    for i, shape in enumerate(SHAPES):
        groups = [
            [results[one.name]["accuracy"] for one in of_shape(settings, shape) if one.beta == beta]
            for beta in betas
        ]
        _curve(left, groups, betas, max, COLOURS[i], shape)
    level = max(results[one.name]["accuracy"] for one in constant(settings))
    left.axhline(level, color="0.5", lw=1, ls="--", label="constant")
    for i, shape in enumerate(SCALED):
        groups = [of_scales(settings, results, shape, beta) for beta in settings.scale_betas]
        name = "height one" if i == 0 else "height beta (asymptotic)"
        _curve(right, groups, settings.scale_betas, np.mean, COLOURS[i], name)
    for ax, title in ((left, "shapes, detached reset"), (right, "scales, attached reset")):
        ax.set_xscale("log")
        ax.set_title(title, fontsize=8)
        ax.set_ylim(0, 101)
        tidy(ax, "beta", "test accuracy (%)" if ax is left else "")
        legend(ax)
    return figure


def draw_sparsity(settings, results: dict[str, Any]):
    """Accuracy over the number of hidden spikes."""
    figure, ((ax,),) = _panels(1)
    spikes, accuracy = np.array(sparsity(settings, results)).T
    ax.plot(np.maximum(spikes, 0.1), accuracy, "o-", color=COLOURS[0], lw=1, ms=3)
    free = results[sparse(settings)[0].name]
    ax.plot(free["spikes"], free["accuracy"], "o", color="black", ms=4, label="no limit")
    ax.set_xscale("log")
    ax.set_ylim(0, 101)
    tidy(ax, "hidden spikes of a sample", "test accuracy (%)")
    legend(ax)
    return figure
