"""The figure of a run."""

from typing import Any

import numpy as np

from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import tidy

from .reporting import HEADINGS, JUDGED, rules_in, times_of


def draw_laboratory(settings, results: dict[str, Any]):
    """A row for each task: cosine to the gradient, variance, time of a step, and what is learned
    over time."""
    import matplotlib.pyplot as plt

    rows = len(settings.tasks)
    size = (3.2 * COLUMN_WIDTH, 2.6 * rows)
    figure, axes = plt.subplots(rows, 4, figsize=size, layout="constrained", squeeze=False)
    names = list(dict.fromkeys(
        rule for task in settings.tasks for rule in rules_in(settings, results, task)
    ))  # fmt: skip
    marks = ["-", "--", ":"]
    styles = {
        rule: (COLOURS[n % len(COLOURS)], marks[(n // len(COLOURS)) % len(marks)])
        for n, rule in enumerate(names)
    }
    for row, task in zip(axes, settings.tasks, strict=True):
        rules, times = rules_in(settings, results, task), times_of(results, task)
        place = np.arange(len(rules))[::-1]
        colours = [styles[rule][0] for rule in rules]
        cosines = [one["cosine"] for one in rules.values()]
        errors = [one["cosine error"] for one in rules.values()]
        row[0].errorbar(cosines, place, xerr=errors, fmt="none", ecolor="0.5", lw=0.8)
        row[0].scatter(cosines, place, c=colours, s=16, zorder=3)
        row[0].axvline(1, color="0.7", lw=0.6)
        row[0].set_xlim(-1.1, 1.1)
        row[0].set_yticks(place, list(rules), fontsize=6)
        tidy(row[0], "cosine to the true gradient", "")
        row[0].set_title(HEADINGS[task], fontsize=7, loc="left")
        row[1].scatter([one["variance"] for one in rules.values()], place, c=colours, s=16)
        row[1].set_xscale("log")
        row[1].set_yticks(place, [])
        tidy(row[1], "variance of a sample / gradient$^2$", "")
        row[2].scatter([times[rule] for rule in rules], place, c=colours, s=16)
        _log_of_times(row[2])
        row[2].set_yticks(place, [])
        tidy(row[2], "CPU time of a step (ms)", "")
        for rule, one in rules.items():
            colour, mark = styles[rule]
            learned = one["learned"]
            taken = np.asarray(learned["steps"]) * times[rule] / 1e3
            row[3].plot(taken[1:], learned["judged"][1:], mark, color=colour, lw=1, label=rule)
        _log_of_times(row[3])
        tidy(row[3], "CPU time of training (s)", JUDGED[task])
    return figure


def _log_of_times(ax) -> None:
    """A logarithmic axis of less than two decades, with numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
