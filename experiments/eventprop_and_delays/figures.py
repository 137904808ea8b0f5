"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from .reporting import NETWORKS, NEURONS, TARGETS, of_kind


def _panels(number: int, **given: Any):
    import matplotlib.pyplot as plt

    size = (COLUMN_WIDTH * number, 2.6)
    return plt.subplots(1, number, figsize=size, layout="constrained", squeeze=False, **given)


def draw_accuracies(settings, results: dict[str, Any]):
    """Wrong answers in the test over epochs, each network a line."""
    figure, ((ax,),) = _panels(1)
    for i, kind in enumerate(NETWORKS):
        size = settings.hidden if kind == "weights" else settings.few_hidden
        name = "weights and delays" if kind == "weights and delays" else "weights"
        for n, one in enumerate(of_kind(settings, results, kind)):
            label = f"{name}, {size} hidden" if n == 0 else None
            wrong = 100 - np.asarray(one["accuracies"])
            ax.semilogy(wrong, color=COLOURS[i], lw=0.8, alpha=0.8, label=label)
    tidy(ax, "epoch", "wrong in the test (%)")
    legend(ax)
    return figure


def draw_curve(settings, results: dict[str, Any]):
    """The loss over the weight of one input, and its slope."""
    figure, ((left, right),) = _panels(2)
    curve = results["curve"]
    styles = {"leaky": "-", "ordinary spikes": "-", "pseudospikes": "--"}
    for i, (kind, style) in enumerate(styles.items()):
        name = "leaky" if kind == "leaky" else f"quadratic, {kind}"
        left.plot(
            curve["weights"], curve["losses"][kind], style, color=COLOURS[i], lw=1, label=name
        )
        right.plot(curve["weights"], curve["slopes"][kind], style, color=COLOURS[i], lw=1)
    left.set_yscale("log")
    left.set_ylim(1e-4, None)
    right.set_yscale("symlog", linthresh=0.01)
    tidy(left, "weight", "loss")
    tidy(right, "weight", "slope of the loss")
    legend(left)
    return figure


def draw_single_neuron(settings, results: dict[str, Any]):
    """Both spike times over training, with and without pseudospikes."""
    figure, (axes,) = _panels(2, sharey=True)
    for ax, kind in zip(axes, NEURONS, strict=True):
        for i, one in enumerate(of_kind(settings, results, kind)):
            for times in one["times"]:
                ax.plot(times, color=COLOURS[i % len(COLOURS)], lw=1)
        for target in TARGETS:
            ax.axhline(target, color="0.5", lw=0.8, ls=":")
        ax.axhline(10.0, color="black", lw=0.8)
        ax.set_title(kind, fontsize=8)
        ax.set_yscale("log")
        tidy(ax, "step", "time of both spikes" if ax is axes[0] else "")
    return figure
