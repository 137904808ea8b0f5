"""The synaptic-weights experiment at its real settings, over seeds, beside the published.

Three seeds and three sample sizes by the published loss and optimiser, 1500 steps each, and the
improved designs on the same data. Judged are test loss and weight error of the published design
against the published values in standard deviations over seeds, the weight error of the improved
designs, and the wall time of the published design for one seed, all sizes.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from ..holberg_salvi_2024.published import SYNAPTIC_WEIGHTS
from ..holberg_salvi_2024.synaptic_weights import Settings, run
from ..holberg_salvi_2024.weights_report import (
    by_setting,
    final_test_loss,
    read_outcomes,
    table,
)
from ._study import Study


def study(
    folder: tuple[Path, ...] = (), seeds: tuple[int, ...] = (1, 2, 3), progress: bool = False
) -> Study:
    """Run and judge the experiment.

    Args:
        folder: judge the runs in these folders together, instead of new ones.
        seeds: seeds of a new run.
        progress: whether to show progress bars.
    """
    if folder:
        outcomes = [outcome for one in folder for outcome in read_outcomes(one)]
    else:
        # the time is that of one seed
        published = Settings(seeds=seeds, progress=progress, side_by_side=False)
        outcomes = run(published)[0]
        outcomes += run(Settings(seeds=seeds, progress=progress, improved=True))[0]
    figures, bounds, seconds = {}, {}, defaultdict(float)
    for (design, n), group in by_setting(outcomes).items():
        error = np.array([o.error[-1] for o in group])
        if design != "published":
            figures[f"{design}_weight_error_{n}"] = float(error.mean())
            bounds[f"{design}_weight_error_{n}"] = "<= 0.15"
            continue
        loss, theirs = np.array([final_test_loss(o) for o in group]), SYNAPTIC_WEIGHTS[n]
        for name, ours, their in (
            ("test_loss", loss, theirs.test_loss),
            ("weight_error", error, theirs.weight_error),
        ):
            figures[f"{name}_excess_in_sd_{n}"] = float((ours.mean() - their) / ours.std(ddof=1))
            bounds[f"{name}_excess_in_sd_{n}"] = "<= 1"
        for o in group:
            seconds[o.seed] += o.seconds
    if seconds:
        figures["minutes_of_one_seed"] = float(np.mean(list(seconds.values()))) / 60
        bounds["minutes_of_one_seed"] = "<= 15"
    return Study(figures, bounds, table(outcomes))
