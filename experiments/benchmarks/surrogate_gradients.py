"""Shapes, scales and costs of activity of surrogate gradients; Braille letters by touch.

After Zenke & Vogels (2021), at the settings of `roughsnn run surrogate-gradients`. Networks of
20 inputs, 100 hidden neurons and ten readouts tell random manifolds apart. Judged is that the best
network of each of three shapes is within two points of the others and reaches 95 %, and that a
constant surrogate does not; that with resets that are differentiated a surrogate whose height grows
with its steepness loses, from the lowest steepness to the highest, and that one of height one does
not; and that accuracy is flat down to half the spikes of networks without a limit, and falls below
that. Where the folder with the recordings is given, 200 recurrent neurons have to read Braille
letters, 95 % on the mean of three networks; the authors report 96.7 %.
"""

from pathlib import Path

import numpy as np

from ..zenke_vogels_2021 import braille_letters
from ..zenke_vogels_2021.reporting import (
    accuracies,
    flat_until,
    of_scales,
    report,
    sparsity,
    standard_error,
)
from ..zenke_vogels_2021.surrogate_gradients import Settings, run
from ._outcomes import outcomes
from ._study import Study

SHAPES = ("SuperSpike", "sigmoid", "Esser")


def study(
    folder: Path | None = None,
    braille_data: Path | None = None,
    braille_run: Path | None = None,
    quick: bool = False,
    progress: bool = False,
) -> Study:
    """Train, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        braille_data: where the recordings of Braille letters lie, to learn them.
        braille_run: the folder of a run of `braille-letters`, to judge it; without either, that
            part is left out.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    found = accuracies(settings, results)
    figures = {name.replace(" ", "_").replace(",", ""): value for name, value in found.items()}
    best = [found[shape] for shape in SHAPES]
    figures["worst_shape"] = min(best)
    figures["spread_of_shapes"] = max(best) - min(best)
    figures["constant_below_worst_shape"] = min(best) - found["constant"]
    low, high = min(settings.scale_betas), max(settings.scale_betas)
    for shape in ("asymptotic", "SuperSpike"):
        ends = [of_scales(settings, results, shape, beta) for beta in (low, high)]
        figures[f"{shape}_loses"] = float(np.mean(ends[0]) - np.mean(ends[1]))
        # (the same manifolds for both)
        figures[f"standard_error_of_{shape}_loses"] = standard_error(
            [a - b for a, b in zip(*ends, strict=True)]
        )
    points = sparsity(settings, results)
    free = max(spikes for spikes, _ in points)
    figures["share_of_spikes_that_is_enough"] = flat_until(settings, results) / free
    figures["sparsest_loses"] = points[0][1] - points[-1][1]
    bounds = {
        "worst_shape": ">= 95", "spread_of_shapes": "<= 2", "constant_below_worst_shape": ">= 10",
        "asymptotic_loses": ">= 10", "SuperSpike_loses": "<= 5",
        "share_of_spikes_that_is_enough": "<= 0.5", "sparsest_loses": ">= 10",
    }  # fmt: skip
    table = report(settings, results)
    if braille_data is not None or braille_run is not None:
        given = {} if braille_data is None else {"folder": braille_data}
        _, letters = outcomes(
            braille_letters.run, braille_letters.Settings, braille_run, quick=quick,
            progress=progress, **given,
        )  # fmt: skip
        tested = [one["accuracy"] for one in letters.values()]
        figures["braille"], figures["braille_lowest"] = float(np.mean(tested)), min(tested)
        bounds["braille"] = ">= 95"
        table += "\n" + braille_letters.report(letters)
    return Study(figures, bounds, table)
