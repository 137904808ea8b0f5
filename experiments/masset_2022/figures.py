"""The figures of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy

from . import measuring
from .reporting import sweep_axes, sweep_times

_OF_GEOMETRY = {"naive": COLOURS[1], "natural": COLOURS[0]}


def _panels(number: int, height: float = 2.4):
    import matplotlib.pyplot as plt

    return plt.subplots(1, number, figsize=(COLUMN_WIDTH * number, height), layout="constrained")


def draw_time_courses(settings, results: dict[str, Any]):
    """The average estimate from 50 ms before the mean steps up on, in both networks."""
    figure, axes = _panels(2)
    rows = [("metropolis", "A/sqrt p", measuring.METROPOLIS_MEAN),
            ("balanced", "one a step", measuring.BALANCED_MEAN)]  # fmt: skip
    for ax, (network, variant, mean) in zip(axes, rows, strict=True):
        for geometry, colour in _OF_GEOMETRY.items():
            course = results[f"{network} {geometry} {variant}"]["course"]
            ts = np.arange(1, len(course) + 1) - measuring.EARLY
            ax.plot(ts, course, color=colour, lw=1, label=geometry)
        edges = [-measuring.EARLY, 0, 0, len(course) - measuring.EARLY]
        ax.plot(edges, [0, 0, mean, mean], color="black", lw=0.8, ls="--", label="target")
        tidy(ax, "time since the mean steps up (ms)", "mean estimate")
        ax.set_title(network, fontsize=8)
        legend(ax)
    return figure


def draw_sweeps(settings, results: dict[str, Any]):
    """The time to a new mean over the dimension and over the correlation."""
    figure, axes = _panels(2, 2.8)
    styles = {"balanced one a step": ":", "balanced all due": "-", "metropolis": "--"}
    for ax, (kind, values) in zip(axes, sweep_axes(settings).items(), strict=True):
        for network, line in styles.items():
            for geometry, colour in _OF_GEOMETRY.items():
                times = sweep_times(settings, results, network, geometry, kind)
                if times is None:
                    continue
                x = np.asarray(values, float)
                x = x if kind == "p" else 1 / (1 - x)
                y = np.where(np.asarray(times) > 0, times, np.nan)
                ax.plot(
                    x, y, line, color=colour, marker="o", ms=2.5, lw=1,
                    label=f"{network}, {geometry}",
                )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        label = "dimension p" if kind == "p" else r"$1/(1 - \rho)$"
        tidy(ax, label, "time to a new mean (ms)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=6, frameon=False, ncols=3, loc="outside lower center")
    return figure


def draw_continuous(settings, results: dict[str, Any]):
    """Mean and variance in continuous time, from the onset on, beside the exact law."""
    law = results["continuous"]
    figure, (left, right) = _panels(2)
    times = [row["time"] for row in law["rows"]]
    fine = np.linspace(0, times[-1], 400)
    n, variance = law["trials"], law["variance"]
    left.plot(fine, 6 * (1 - np.exp(-fine)), color="black", lw=0.8, label="Langevin equation")
    right.axhline(variance, color="black", lw=0.8, label="target")
    band = 3 * variance * (2 / n) ** 0.5
    right.axhspan(variance - band, variance + band, color="0.9", lw=0)
    for name, colour, label in (
        ("hidden", COLOURS[2], "hidden state"), ("estimates", COLOURS[0], "readout")
    ):  # fmt: skip
        marker = dict(marker="o", ms=3, lw=0, color=colour, label=label)
        left.plot(times, [row[f"{name}_mean"] for row in law["rows"]], **marker)
        right.plot(times, [row[f"{name}_variance"] for row in law["rows"]], **marker)
    unit = r"time since the onset ($\tau_s$)"
    tidy(left, unit, "mean")
    tidy(right, unit, "variance")
    legend(left)
    legend(right)
    return figure


def draw_posterior(settings, results: dict[str, Any]):
    """Posterior mean and standard deviation of each cause: sampled, and exact."""
    found = results["posterior"]
    figure, ax = _panels(1)
    mean, sd = np.asarray(found["mean"]), np.asarray(found["sd"])
    x = np.arange(mean.size)
    ax.fill_between(x, mean - sd, mean + sd, color="0.85", lw=0, label="posterior, exact")
    ax.plot(x, mean, color="black", lw=0.8)
    ax.errorbar(
        x, found["sampled_mean"], found["sampled_sd"], fmt="o", ms=3, lw=1, color=COLOURS[0],
        label="sampled by spikes",
    )  # fmt: skip
    ax.plot(x, found["cause"], "x", ms=4, color=COLOURS[1], label="true cause")
    tidy(ax, "cause", "value")
    legend(ax)
    return figure
