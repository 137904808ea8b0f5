"""Pictures of recorded beside generated spike trains."""

import numpy as np

from roughsnn.plotting.style import COLOURS, colour, legend, tidy

from .judging import LAGS, Sample, correlogram
from .splitting import Part, windows_as_trains


def draw(part: Part, samples: list[Sample], history: dict[str, np.ndarray], title: str):
    """One page for a neuron in a condition.

    Rasters of held-out windows and of windows of the first model, interval histograms,
    autocorrelograms, the time-rescaling plot and the learning curves.

    Args:
        part: the data.
        samples: all generators, models after baselines.
        history: best training loss after each evaluation, by the name of the model.
        title: of the page.
    """
    import matplotlib.pyplot as plt

    models = [s for s in samples if s.name in history]
    figure, axes = plt.subplots(2, 3, figsize=(10.2, 5.6), layout="constrained")
    figure.suptitle(title, fontsize=9)
    shown = min(len(part.windows), 25)
    for ax, windows, name in (
        (axes[0, 0], part.windows, "recorded, held out"),
        (axes[0, 1], models[0].windows, models[0].name),
    ):
        ax.eventplot(windows[:shown], colors="black", linelengths=0.8, linewidths=0.7)
        ax.set_xlim(0, part.window)
        ax.set_title(name, fontsize=8)
        tidy(ax, "time (s)", "window")
    curves = [
        (s, colour(i)) for i, s in enumerate([*models, *[s for s in samples if s not in models]])
    ]

    ax = axes[0, 2]
    low, high = part.held.min() / 2, part.held.max() * 2
    edges = np.geomspace(low, high, 26)
    ax.hist(part.held, edges, density=True, color="0.85", label="recorded, held out")
    for sample, drawn in curves:
        heights = np.histogram(sample.intervals, edges)[0] / sample.intervals.size / np.diff(edges)
        ax.stairs(heights, edges, color=drawn, linewidth=1, label=sample.name)
    ax.set_xscale("log")
    tidy(ax, "interval (s)", "density (1/s)")
    legend(ax)

    ax = axes[1, 0]
    lags = (np.arange(LAGS) + 1) * part.window / 2 / LAGS
    ax.bar(lags, correlogram(part.held_windows), lags[0], color="0.85")
    for sample, drawn in curves:
        trains = windows_as_trains(sample.windows, part.window / part.unit, part.unit)
        ax.plot(lags, correlogram(trains), color=drawn, linewidth=1)
    tidy(ax, "lag (s)", "autocorrelogram / rate")

    ax = axes[1, 1]
    for sample, drawn in curves:
        if sample.rescaled is not None:
            u = np.sort(-np.expm1(-sample.rescaled))
            ax.plot((np.arange(u.size) + 0.5) / u.size, u, color=drawn, linewidth=1)
    band = 1.358 / np.sqrt(part.held.size)
    line = np.array([0.0, 1.0])
    ax.fill_between(line, line - band, line + band, color="0.9", linewidth=0)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    tidy(ax, "uniform quantile (band: 5 % test)", "rescaled interval")

    ax = axes[1, 2]
    for i, (name, values) in enumerate(history.items()):
        # losses of different kinds have different units
        ax.plot(values / values[0], ".-", color=COLOURS[i], linewidth=1, label=name)
    ax.set_yscale("log")
    tidy(ax, "evaluation of the model", "best loss so far / first loss")
    legend(ax)
    return figure
