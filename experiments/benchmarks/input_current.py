"""The input-current experiment at its real settings, judged over seeds and beside the published.

Sixteen settings (two losses, two noise levels, four sample sizes) with eight data sets each, 1500
steps. Judged are, over the data sets: the mean of the final current against the true 1.5 in
standard errors, how the spread falls with the sample size n, and the published values, one run
each, against ours in standard deviations.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from ..holberg_salvi_2024.input_current import Outcome, Settings, run, table
from ..holberg_salvi_2024.published import INPUT_CURRENT, TRUE_CURRENT
from ._study import Study, format_table


def study(folder: Path | None = None, progress: bool = False) -> Study:
    """Run and judge the experiment.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        progress: whether to show progress bars.
    """
    outcomes = run(Settings(progress=progress))[0] if folder is None else read_metrics(folder)
    figures, bounds, rows = {}, {}, []
    for o in outcomes:
        c, e = o.final_current, o.final_error
        their_c, their_error = INPUT_CURRENT[o.loss, o.sigma, o.sample_size]
        seeds, sd_c, sd_e = len(c), c.std(ddof=1), e.std(ddof=1)
        rows.append(
            [
                o.loss,
                o.sigma,
                o.sample_size,
                (c.mean() - TRUE_CURRENT) / (sd_c / np.sqrt(seeds)),
                abs(their_c - c.mean()) / sd_c,
                (e.mean() - their_error) / sd_e,
            ]
        )
    columns = np.array([row[3:] for row in rows], dtype=float)
    figures["largest_bias_in_standard_errors"] = float(np.abs(columns[:, 0]).max())
    figures["published_current_distance_in_sd"] = float(columns[:, 1].max())
    figures["holdout_error_excess_in_sd"] = float(columns[:, 2].max())
    bounds["largest_bias_in_standard_errors"] = "<= 2.5"
    bounds["published_current_distance_in_sd"] = "<= 3"
    bounds["holdout_error_excess_in_sd"] = "<= 2"
    for loss in dict.fromkeys(o.loss for o in outcomes):
        chosen = [o for o in outcomes if o.loss == loss]
        sizes = np.log([o.sample_size for o in chosen])
        spreads = np.log([o.final_current.std(ddof=1) for o in chosen])
        name = f"spread_exponent_{loss.replace('-', '_')}"
        figures[name] = float(np.polyfit(sizes, spreads, 1)[0])
        bounds[name] = "between -0.7 and -0.3"
    header = ["loss", "sigma", "n", "bias / SE", "|published c - ours| / sd", "error excess / sd"]
    return Study(figures, bounds, table(outcomes) + "\n\n" + format_table(header, rows))


def read_metrics(folder: Path) -> list[Outcome]:
    """The outcomes of a run from its `metrics.csv`. The current in it is that before each step,
    so the last update is left out."""
    runs = defaultdict(lambda: defaultdict(list))
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            hurst = float(row.get("hurst", 0.5))
            setting = (row["loss"], float(row["sigma"]), int(row["sample_size"]), hurst)
            values = [float(row[k]) for k in ("current", "holdout_error", "training_loss")]
            runs[setting][int(row["seed"])].append(values)
    outcomes = []
    for (loss, sigma, n, hurst), seeds in runs.items():
        values = np.array([seeds[i] for i in sorted(seeds)])
        outcomes.append(Outcome(loss, sigma, n, *np.moveaxis(values, -1, 0), hurst=hurst))
    return outcomes
