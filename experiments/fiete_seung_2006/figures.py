"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from .one_neuron import EXCITATORY, STEP, WINDOW, target
from .reporting import scatter_of, seeds_of, seeds_of_xor


def _panels(number: int, height: float = 2.5):
    import matplotlib.pyplot as plt

    return plt.subplots(1, number, figsize=(COLUMN_WIDTH * number, height), layout="constrained")


def draw_gradients(settings, results: dict[str, Any]):
    """Estimates of the gradient beside differences."""
    figure, ax = _panels(1)
    for name, colour, shift in (("white", COLOURS[0], -0.1), ("empiric", COLOURS[1], 0.1)):
        one = results[f"gradient {name}"]
        number = np.arange(len(one["estimate"])) + shift
        ax.errorbar(
            number, one["estimate"], yerr=one["error"], fmt="o", ms=3, lw=1, color=colour,
            label=f"{name} perturbation",
        )  # fmt: skip
    true = results["gradient white"]["differences"]
    ax.plot(true, "_", color="black", ms=9, label="differences, white")
    ax.axvline(EXCITATORY - 0.5, color="0.7", lw=0.6)
    tidy(ax, "input, excitatory and inhibitory", "derivative of the loss")
    legend(ax)
    return figure


def draw_learning(settings, results: dict[str, Any]):
    """The time course before and after, the reward, and the loss of XOR."""
    figure, axes = _panels(3)
    first = results[f"time course {settings.seed}"]
    t = STEP * np.arange(1, int(WINDOW / STEP) + 1)
    axes[0].plot(t, target(), color="black", lw=1, label="target")
    for name, colour in (("before", COLOURS[1]), ("after", COLOURS[0])):
        axes[0].plot(t[::4], first[name], color=colour, lw=1, label=name)
    tidy(axes[0], "time (ms)", "filtered spikes")
    legend(axes[0])
    for seed in seeds_of(settings):
        _smooth(axes[1], results[f"time course {seed}"]["rewards"], COLOURS[0])
    for seed in seeds_of_xor(settings):
        _smooth(axes[2], results[f"XOR {seed}"]["losses"], COLOURS[2])
    axes[1].axhline(-0.8, color="0.6", lw=0.6, ls="--")
    tidy(axes[1], "update of 8 trials", "reward")
    axes[2].set_yscale("log")
    tidy(axes[2], "update of 64 trials", "XOR: loss")
    return figure


def _smooth(ax: Any, values: Any, colour: str) -> None:
    """A curve of means over windows."""
    window = max(1, len(values) // 50)
    mean = np.convolve(values, np.ones(window) / window, "valid")
    ax.plot(window / 2 + np.arange(mean.size), mean, color=colour, lw=1)


def draw_variance(settings, results: dict[str, Any]):
    """The variance of a trial against the number of neurons."""
    figure, axes = _panels(2)
    for ax, kind in zip(axes, ("conductances", "currents"), strict=True):
        scatter = scatter_of(settings, results, kind)
        sizes = list(scatter)
        for i, rule in enumerate(scatter[sizes[0]]):
            colour, name = COLOURS[i], rule.split(", ", 1)[-1]
            values = [scatter[size][rule]["variance"] for size in sizes]
            ax.loglog(sizes, values, "o-", ms=3, lw=1, color=colour, label=name)
        ax.set_title(f"synapses bring {kind}", fontsize=8)
        tidy(ax, "neurons", "variance of a trial / gradient²")
        legend(ax)
    return figure
