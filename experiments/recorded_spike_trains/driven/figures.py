"""A driven neuron beside its recording."""

import numpy as np

from roughsnn.plotting.style import colour, tidy

from .data import DrivenData
from .fitting import DrivenFit
from .judging import Judged, rates_of


def filter_with_errors(fit: DrivenFit, data: DrivenData) -> tuple[np.ndarray, np.ndarray]:
    """The filter of each column of the stimulus and its standard errors, shape (lags, columns)."""
    values = data.filter.of_weights(np.asarray(fit.model.weights))
    return values, data.filter.errors_of(fit.weights_covariance)


def draw_driven(data: DrivenData, fit: DrivenFit, models: list[Judged], width: float, title: str):
    """Filter with its errors, rates, a raster under one stimulus, and the time-rescaling plot.

    Args:
        data: the recording.
        fit: the neuron.
        models: what neuron and GLM say.
        width: of the kernel of rates, in seconds.
        title: of the page.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9.0, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=9)
    ax = axes[0, 0]
    values, errors = filter_with_errors(fit, data)
    lags = 1000 * data.filter.lags
    for k, name in enumerate(data.filter.names):
        ax.plot(lags, values[:, k], color=colour(k), label=name)
        ax.fill_between(
            lags, values[:, k] - 2 * errors[:, k], values[:, k] + 2 * errors[:, k],
            color=colour(k), alpha=0.25, linewidth=0,
        )  # fmt: skip
    ax.axhline(0, color="0.7", linewidth=0.6)
    ax.set_ylim(*(1.6 * np.abs(values).max() * np.array([-1, 1])))
    ax.legend(frameon=False, fontsize=7)
    tidy(ax, "lag (ms)", "filter, with 2 standard errors")

    trial = data.trials[0]
    block = int(np.argmax(trial.held))
    start, stop = trial.edges[block], trial.edges[block + 1]
    ax = axes[0, 1]
    rows = [trial.spikes, *models[0].samples[0][:15]]
    shown = [1000 * (x[(x >= start) & (x < stop)] - start) for x in rows]
    ax.eventplot(
        shown, colors=["black", *[colour(0)] * (len(shown) - 1)], linelengths=0.8, linewidths=0.8
    )
    ax.set_xlim(0, 1000 * (stop - start))
    tidy(ax, "time (ms)", "recorded (bottom), neuron")

    ax = axes[1, 0]
    first = int((start - trial.start) / data.step)
    last = int((stop - trial.start) / data.step)
    times = 1000 * data.step * np.arange(last - first)
    for number, model in enumerate(models):
        recorded, generated, _ = rates_of(data, model.samples, width)
        if number == 0:
            ax.fill_between(
                times, recorded[first:last], color="0.85", linewidth=0, label="recorded"
            )
        ax.plot(times, generated[first:last], color=colour(number), linewidth=1, label=model.name)
    ax.set_xlim(0, times[-1])
    ax.legend(frameon=False, fontsize=7)
    tidy(ax, "time (ms)", "rate, free-running (1/s)")

    ax = axes[1, 1]
    count = 0
    for number, model in enumerate(models):
        z = np.concatenate([
            r[t.held[t.block(t.spikes[:-1])]]
            for r, t in zip(model.rescaled, data.trials, strict=True) if t.spikes.size > 1
        ])  # fmt: skip
        u = np.sort(-np.expm1(-z))
        count = z.size
        ax.plot((np.arange(u.size) + 0.5) / u.size, u, color=colour(number), linewidth=1)
    line = np.array([0.0, 1.0])
    band = 1.358 / np.sqrt(max(count, 1))
    ax.fill_between(line, line - band, line + band, color="0.9", linewidth=0)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    tidy(ax, "uniform quantile (band: 5 % test)", "rescaled interval")
    return figure
