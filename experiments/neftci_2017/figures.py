"""The figure of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from .reporting import KINDS, of_kind


def draw_learning(settings, results: dict[str, Any]):
    """Accuracy, angle between feedback and forward weights, and error spikes, over epochs."""
    import matplotlib.pyplot as plt

    size = (3 * COLUMN_WIDTH, 2.5)
    figure, axes = plt.subplots(1, 3, figsize=size, layout="constrained")
    shown = (("accuracy", "test accuracy (%)", 100), ("angle", "angle (degrees)", 1),
             ("errors", "error spikes of a sample", 1))  # fmt: skip
    for ax, (name, label, factor) in zip(axes, shown, strict=True):
        for kind, colour in zip(KINDS, (COLOURS[0], COLOURS[1]), strict=True):
            values = factor * of_kind(results, kind, name)
            parts = values.shape[1] if name == "errors" else values.shape[1] - 1
            first = settings.epochs / parts if name == "errors" else 0.0
            epochs = np.linspace(first, settings.epochs, values.shape[1])
            mean = values.mean(0)
            ax.plot(epochs, mean, color=colour, lw=1, label=kind)
            ax.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        tidy(ax, "epoch", label)
    axes[1].axhline(90, color="0.6", lw=0.6, ls="--")
    legend(axes[0])
    return figure
