"""Pictures of recorded beside generated spike trains."""

import numpy as np

from roughsnn.plotting.style import COLOURS, colour, tidy

from .judging import LAGS, Sample, correlogram
from .splitting import Part, windows_as_trains


def draw(part: Part, samples: list[Sample], history: dict[str, dict], title: str):
    """One page for a neuron in a condition.

    Rasters of held-out windows and of windows of the first model, interval histograms,
    autocorrelograms, the time-rescaling plot and the learning curves. Axes end a little above what
    is recorded and the models: a baseline that runs away leaves the picture.

    Args:
        part: the data.
        samples: all generators, models after baselines.
        history: of the fits, by the name of the model, see `Trained`.
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

    def density(intervals):
        return np.histogram(intervals, edges)[0] / intervals.size / np.diff(np.log10(edges))

    ax.stairs(density(part.held), edges, fill=True, color="0.85", label="recorded, held out")
    for sample, drawn in curves:
        ax.stairs(density(sample.intervals), edges, color=drawn, linewidth=1, label=sample.name)
    ax.set_xscale("log")
    highest = max(density(x).max() for x in [part.held, *[m.intervals for m in models]])
    ax.set_ylim(0, 1.3 * highest)
    tidy(ax, "interval (s)", "density (1/decade)")
    names = ax.get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=4, fontsize=7, frameon=False)

    ax = axes[1, 0]
    lags = (np.arange(LAGS) + 1) * part.window / 2 / LAGS
    observed = correlogram(part.held_windows)
    ax.bar(lags, observed, lags[0], color="0.85")
    highest = observed.max()
    for sample, drawn in curves:
        trains = windows_as_trains(sample.windows, part.window / part.unit, part.unit)
        values = correlogram(trains)
        ax.plot(lags, values, color=drawn, linewidth=1)
        if sample in models:
            highest = max(highest, values.max())
    ax.set_ylim(0, 1.3 * highest)
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
    for i, rows in enumerate(history.values()):
        # losses of different kinds have different units, and rounds different noise
        numbers = np.arange(rows["loss"].size) + 1
        for number in np.unique(rows["round"]):
            at = rows["round"] == number
            ratio = rows["shown"][at] / rows["loss"][0]
            ax.plot(numbers[at], ratio, ".-", color=COLOURS[i], linewidth=1)
    ax.set_ylim(bottom=0)
    tidy(ax, "evaluation of the model", "loss / first loss")
    return figure
