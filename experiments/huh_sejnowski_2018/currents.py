"""The currents that a network's neurons receive, from outside and from each other."""

from typing import Any

import numpy as np

from roughsnn.gated import GatedNetwork, GatedSolution

SLOW, FAST = 0, 1
"""The synapse populations of both experiments."""


def currents(network: GatedNetwork, signals, solution: GatedSolution):
    """External and recurrent currents, (trials, steps, N), the latter for each population.

    They are smoothed over 5 ms: the membrane integrates them, and single spikes of a millisecond
    would hide what it makes of them.
    """
    width = max(round(5.0 / float(solution.ts[1] - solution.ts[0])), 1)
    external = np.asarray(network.external_current(signals))
    recurrent = np.asarray(network.recurrent_current(solution.traces))

    def smooth(x):
        return np.apply_along_axis(np.convolve, 1, x, np.full(width, 1 / width), mode="same")

    populations = {p: smooth(recurrent[..., p, :]) for p in (SLOW, FAST)}
    return smooth(external), populations


def draw_balance(ts: np.ndarray, external: np.ndarray, recurrent: dict[int, np.ndarray]) -> Any:
    """The currents of the three neurons with the strongest input, in the first trial."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_balance

    chosen = np.argsort(-np.var(external[0], axis=0))[:3]
    balance, axes = plt.subplots(
        3, 2, figsize=(6.8, 3.6), layout="constrained", sharex=True, sharey="row"
    )
    for ax, name in zip(axes[0], ("fast", "slow"), strict=True):
        ax.set_title(f"{name} recurrent current", fontsize=8)
    for row, neuron in zip(axes, chosen, strict=True):
        for ax, population in zip(row, (FAST, SLOW), strict=True):
            plot_balance(ts, external[0, :, neuron], recurrent[population][0, :, neuron], ax)
            ax.get_legend().remove()
            ax.set_xlabel("")
            ax.set_ylabel(f"neuron {neuron}" if population == FAST else "", fontsize=8)
    axes[0, 0].legend(fontsize=6, frameon=False, ncols=3)
    for ax in axes[-1]:
        ax.set_xlabel("time (ms)", fontsize=8)
    return balance
