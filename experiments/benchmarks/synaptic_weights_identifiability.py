"""How well any method can know the synaptic weights from n trials, beside what is reached.

Fisher information of all spikes at the true weights, for each of three seeds, and the information
in the signature words of the improved loss. Judged are the likelihood itself, whose mean score at
the true weights must be 0 up to its standard error, and the errors of the improved designs against
their bounds.
"""

from pathlib import Path

import numpy as np

from ..holberg_salvi_2024.synaptic_weights import Settings, run
from ..holberg_salvi_2024.weights_identifiability import (
    bounds_table,
    error_bounds,
    information,
)
from ..holberg_salvi_2024.weights_network import draw_task
from ..holberg_salvi_2024.weights_report import by_setting, read_outcomes
from ._study import Study, format_table


def study(
    folder: tuple[Path, ...] = (), num_trials: int = 2048, seeds: tuple[int, ...] = (1, 2, 3)
) -> Study:
    """Estimate the information, and hold the improved designs against it.

    Args:
        folder: runs with `improved` to judge together, instead of a new one.
        num_trials: trials by which the information of a seed is estimated.
        seeds: the seeds of the true weights.
    """
    if folder:
        outcomes = [outcome for one in folder for outcome in read_outcomes(one)]
    else:
        outcomes = run(Settings(seeds=seeds, progress=False, improved=True))[0]
    sizes = Settings().sample_sizes
    found = [information(draw_task(seed, 2), num_trials) for seed in seeds]
    each = [error_bounds(one, sizes) for one in found]
    mean = {
        n: {name: float(np.mean([bound[n][name] for bound in each])) for name in each[0][n]}
        for n in each[0]
    }
    figures, bounds, rows = {}, {}, []
    # squares of about independent normal numbers, 96 for each seed but alike within a neuron
    figures["mean_square_score"] = float(np.mean([np.mean(f.score_bias**2) for f in found]))
    bounds["mean_square_score"] = "between 0.5 and 1.7"
    for (design, n), group in by_setting(outcomes).items():
        if str(n) not in mean or design not in mean[str(n)]:
            continue
        error, bound = float(np.mean([o.error[-1] for o in group])), mean[str(n)][design]
        rows.append([design, n, error, bound, error / bound])
        figures[f"{design}_error_over_bound_{n}"] = error / bound
        bounds[f"{design}_error_over_bound_{n}"] = "<= 1.5"
    header = ["design", "n", "weight error", "bound", "ratio"]
    return Study(figures, bounds, bounds_table(mean) + "\n\n" + format_table(header, rows))
