"""The figures: learning curves, signals with spikes and currents, and free responses."""

from typing import Any

import jax.random as jr
import numpy as np

from roughsnn.balance import BalancedNetwork
from roughsnn.plotting import plot_balance, plot_raster, plot_readout
from roughsnn.plotting.style import COLOURS, legend, tidy

from ..bourdoukan_2012.epochs import one_of
from .judging import FREE, free_responses, response
from .learning import COLUMNS
from .settings import Phase, Settings
from .systems import System


def draw_figures(
    settings: Settings,
    system: System,
    phases: list[Phase],
    networks: BalancedNetwork,
    ideal: BalancedNetwork,
    rows: np.ndarray,
) -> dict[str, Any]:
    """Figures of one system; responses are those of the first seed."""
    return {
        "learning": draw_learning(settings, phases, rows),
        "response": draw_response(settings, system, one_of(networks, 0)),
        "free-response": draw_free(settings, system, one_of(networks, 0), one_of(ideal, 0)),
    }


def draw_learning(settings: Settings, phases: list[Phase], rows: np.ndarray) -> Any:
    """Error, share of the feedback, and distances of the weights over epochs, a line a seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.0), layout="constrained")
    time = settings.epoch * (1 + np.arange(len(rows)))
    drawn = (
        (("error", "squared error / signal"),),
        (("feedback_share", "feedback / slow current"),),
        (("matrix_error", "matrix"), ("slow_distance", "slow"), ("mean_distance", "fast")),
    )
    for ax, measures in zip(axes, drawn, strict=True):
        for number, (name, label) in enumerate(measures):
            values = rows[:, :, COLUMNS.index(name)]
            if np.nanmax(values) == 0:
                continue
            lines = ax.semilogy(time, values, color=COLOURS[number], linewidth=0.7)
            lines[0].set_label(label if len(measures) > 1 else None)
        for change in settings.epoch * np.cumsum([p.epochs for p in phases])[:-1]:
            ax.axvline(change, color="0.85", linewidth=0.6, zorder=0)
        tidy(ax, "time (s)", measures[0][1] if len(measures) == 1 else "distance to the ideal")
        legend(ax)
    return figure


def draw_response(settings: Settings, system: System, network: BalancedNetwork) -> Any:
    """A fresh signal and its readout without feedback, the spikes, and one neuron's currents."""
    import matplotlib.pyplot as plt

    targets, readout, spikes, solution = response(settings, system, network, jr.key(7))
    figure, axes = plt.subplots(
        3, 1, figsize=(3.4, 4.2), height_ratios=(1, 1.1, 0.9), sharex=True, layout="constrained"
    )
    ts = settings.dt0 * (1 + np.arange(len(readout)))
    some = slice(None, None, 20)
    plot_readout(ts[some], readout[some], targets[some], axes[0])
    axes[0].legend(fontsize=5, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    axes[0].set_xlabel("")
    plot_raster(spikes, axes[1])
    axes[1].set_xlabel("")
    neuron = int(np.argmax(np.asarray(solution.spikes).sum(axis=0)))
    _, received = currents(network, solution, targets)
    plot_balance(
        ts[some], received["outside"][some, neuron], received["fast"][some, neuron], axes[2],
        time_unit="s",
    )  # fmt: skip
    lines = axes[2].get_legend_handles_labels()[0]
    axes[2].legend(
        lines, ["input and slow", "fast", "sum"], fontsize=6, frameon=False, ncols=3,
        loc="lower center", bbox_to_anchor=(0.5, 0.97),
    )  # fmt: skip
    return figure


def currents(network: BalancedNetwork, solution: Any, targets: Any) -> tuple[Any, dict[str, Any]]:
    """What neurons receive from outside and slow connections, and from fast ones with the reset,
    filtered with the leak as the potential filters it; their sum is the potential."""
    v, rates = np.asarray(solution.v, float), np.asarray(solution.rates, float)
    fast = -rates @ np.asarray(network.fast, float).T
    return targets, {"fast": fast, "outside": v - fast}


def draw_free(
    settings: Settings, system: System, network: BalancedNetwork, ideal: BalancedNetwork
) -> Any:
    """The readout after a kick, of the network and of the ideal one, beside the system itself."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(6.8, 2.0), sharey=True, layout="constrained")
    steps = round(FREE / settings.dt0)
    ts, some = settings.dt0 * np.arange(steps), slice(None, None, 20)
    values, vectors = np.linalg.eig(system.matrix)
    for ax, net, name in zip(axes, (network, ideal), ("learned", "ideal"), strict=True):
        readout = free_responses(settings, system, net)[0][some]
        weights = np.linalg.solve(vectors, readout[0].astype(complex))
        exact = np.real((weights * np.exp(values * ts[some, None])) @ vectors.T)
        plot_readout(ts[some], readout, exact, ax, time_unit="s")
        ax.set_title(name, fontsize=8)
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    axes[1].set_ylabel("")
    axes[0].legend(fontsize=5, frameon=False, ncols=2)
    return figure
