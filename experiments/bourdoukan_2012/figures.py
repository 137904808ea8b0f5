"""The figures: the autapse, learning curves, activity before and after, neurons removed."""

from typing import Any

import jax
import numpy as np

from roughsnn.balance import BalancedNetwork
from roughsnn.plotting import plot_raster, plot_readout
from roughsnn.plotting.style import COLOURS, legend, tidy

from .epochs import one_of
from .judging import Outcome, Stretch, removal_over_time, respond, trains_of
from .learning import COLUMNS
from .networks import Population
from .settings import EPOCH, Settings


def draw_autapse(found: dict[str, np.ndarray]) -> Any:
    """The weight over time, and the potential at the start and at the end of learning."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(6.8, 1.9), layout="constrained")
    time = found["time"]
    axes[0].plot(time, (found["weight"] - 1) ** 2, color=COLOURS[0], linewidth=1)
    axes[0].set_yscale("log")
    tidy(axes[0], "time", "distance D")
    for ax, start, name in ((axes[1], 20.0, "start"), (axes[2], time[-1] - 5, "end")):
        seen = (time >= start) & (time < start + 5)
        ax.plot(time[seen], found["v"][seen], color="black", linewidth=0.8, label="potential")
        ax.axhline(0.5, color="0.7", linewidth=0.6)
        ax.axhline(-0.5, color=COLOURS[2], linewidth=0.8, label="optimal reset")
        ax.set_title(f"{name} of learning", fontsize=8)
        tidy(ax, "time", "potential")
    legend(axes[1])
    return figure


def draw_learning(settings: Settings, rows: np.ndarray, outcomes: list[Outcome]) -> Any:
    """Loss, distances and rate over time, a line a seed, with the optimum dashed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(6.8, 2.0), layout="constrained")
    time = EPOCH * (1 + np.arange(len(rows)))
    optimal = [o.optimal for o in outcomes]
    drawn = (
        ("loss", (("loss", None),), np.mean([o.loss for o in optimal])),
        ("distance D", (("mean_distance", "mean"), ("largest_distance", "largest")), None),
        ("rate of a neuron", (("rate", None),), np.mean([o.rate for o in optimal])),
    )
    for ax, (ylabel, measures, optimum) in zip(axes, drawn, strict=True):
        for number, (name, label) in enumerate(measures):
            values = rows[:, :, COLUMNS.index(name)]
            lines = ax.semilogy(time, values, color=COLOURS[number], linewidth=0.7)
            lines[0].set_label(label)
        if optimum is not None:
            ax.axhline(optimum, color="black", linestyle="--", linewidth=0.8, label="optimum")
        tidy(ax, "time", ylabel)
        legend(ax)
    return figure


def draw_activity(
    settings: Settings, population: Population, weak: BalancedNetwork, learned: BalancedNetwork
) -> Any:
    """Spikes, signal and readout, excitation and inhibition of a neuron, and intervals between
    spikes, before and after learning; of the first seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 2, figsize=(6.8, 6.4), layout="constrained")
    for column, networks, name in ((0, weak, "before"), (1, learned, "after")):
        parts = respond(settings, population, networks, 400.0)
        seen = [jax.tree.map(lambda a: a[0], part) for part in parts]
        x, readout = seen[0].x, seen[0].readout
        shown = round(15.0 / settings.dt0)
        ts = settings.dt0 * (1 + np.arange(shown))
        plot_raster(trains_of(seen[0].spikes[None, :shown], settings.dt0)[0], axes[0, column])
        axes[0, column].set_title(f"{name} learning", fontsize=8)
        plot_readout(ts, readout[:shown], x[:shown], axes[1, column])
        if column:
            axes[1, column].get_legend().remove()
        else:
            axes[1, column].legend(fontsize=5, frameon=False, ncols=2)
        excited, inhibited, neuron = balance_of(one_of(networks, 0), seen[0])
        ax = axes[2, column]
        ax.plot(ts, excited[:shown], color=COLOURS[1], linewidth=0.8, label="excitation")
        ax.plot(ts, -inhibited[:shown], color=COLOURS[2], linewidth=0.8, label="inhibition")
        tidy(ax, "time", f"input to neuron {neuron}")
        legend(ax)
        ax = axes[3, column]
        spikes = np.concatenate([part.spikes for part in seen])
        intervals = settings.dt0 * np.concatenate(
            [np.diff(np.flatnonzero(of_one)) for of_one in spikes.T]
        )
        longest = 5 * intervals.mean()
        ax.hist(intervals, bins=60, range=(0, longest), density=True, color="0.75")
        at = np.linspace(0, longest, 200)
        mean = intervals.mean()
        ax.plot(at, np.exp(-at / mean) / mean, color=COLOURS[1], linewidth=1, label="exponential")
        tidy(ax, "interval between spikes", "density")
        legend(ax)
    return figure


def balance_of(network: BalancedNetwork, seen: Stretch) -> tuple[np.ndarray, np.ndarray, int]:
    """What excites and what inhibits the neuron that fires most, as its potential filters it: the
    input, and the spikes of all neurons, its own resets among them."""
    neuron = int(np.argmax(seen.spikes.sum(axis=0)))
    weights = np.asarray(network.fast[neuron], float)
    received = seen.rates * weights
    inhibited = np.where(weights > 0, received, 0).sum(axis=1)
    total = seen.v[:, neuron]
    return total + inhibited, inhibited, neuron


def draw_removal(
    settings: Settings,
    population: Population,
    learned: BalancedNetwork,
    outcomes: list[Outcome],
    share: float = 0.4,
) -> Any:
    """Neurons removed halfway through: spikes and readout; error and rate over the share."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(6.8, 3.4), layout="constrained")
    x, readout, trains = removal_over_time(settings, population, learned, share)
    ts = settings.dt0 * (1 + np.arange(len(x)))
    plot_raster(trains, axes[0, 0])
    axes[0, 0].set_xlabel("")
    plot_readout(ts, readout, x, axes[1, 0])
    axes[1, 0].get_legend().remove()
    for ax in axes[:, 0]:
        ax.axvline(ts[len(ts) // 2], color="0.5", linewidth=0.8)
    for ax, column, ylabel in ((axes[0, 1], 1, "squared error"), (axes[1, 1], 2, "rate of a rest")):
        for outcome in outcomes:
            values = np.array(outcome.removed)
            ax.semilogy(values[:, 0], values[:, column], color=COLOURS[0], linewidth=0.7)
        tidy(ax, "share of neurons removed", ylabel)
    axes[1, 1].set_ylabel("rate of a neuron left", fontsize=8)
    return figure
