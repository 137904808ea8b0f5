"""Surrogate gradients around a loop, their sign, and spike trains that learn a picture with them.

Experiments 1 to 3 of Gygax & Zenke (2025), at the settings of `roughsnn run
surrogates-are-not-gradients`. The bounds on distances are the published values, of another picture;
they hold for the mean over networks.
"""

from pathlib import Path

import numpy as np

from ..gygax_zenke_2025.reporting import KINDS, REFERENCE_LOOP, at_ends, report
from ..gygax_zenke_2025.surrogates_are_not_gradients import Settings, run
from ._outcomes import outcomes
from ._study import Study


def study(folder: Path | None = None, quick: bool = False, progress: bool = False) -> Study:
    """Measure, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    loops, signs = results["loop"], results["signs"]
    figures, bounds = {}, {}
    for b, reference in REFERENCE_LOOP.items():
        figures[f"loop_{b}"] = loops["surrogate"][b]
        bounds[f"loop_{b}"] = f"between {reference - 0.002:.4f} and {reference + 0.002:.4f}"
        figures[f"loop_{b}_limit"] = loops["fine"][b]
    figures["largest_loop_of_gradients"] = max(map(abs, loops["true"].values()))
    bounds["largest_loop_of_gradients"] = "< 1e-12"
    for b, share in signs["share"].items():
        figures[f"wrong_signs_{b}"] = share
    for b, share in signs["line_share"].items():
        figures[f"wrong_signs_on_line_{b}"] = share
    # there are some for each narrower surrogate, and none for the gradient itself
    bounds |= {
        "wrong_signs_2": "> 0", "wrong_signs_4": "> 0", "wrong_signs_20": "<= 0",
        "wrong_signs_on_line_15": "> 0", "wrong_signs_on_line_30": "> 0",
        "wrong_signs_on_line_100": "<= 0",
    }  # fmt: skip
    for kind, bound in zip(KINDS, ("<= 0.1", "<= 0.15"), strict=True):
        ends = at_ends(settings, results, kind)
        figures[f"{kind}_distance_before"] = float(np.mean(ends["first"]))
        bounds[f"{kind}_distance_before"] = "> 1"
        figures[f"{kind}_distance"] = float(np.mean(ends["last"]))
        bounds[f"{kind}_distance"] = bound
        figures[f"{kind}_euclidean_distance"] = float(np.mean(ends["differences"]))
        control = at_ends(settings, results, kind, control=True)
        figures[f"{kind}_distance_hidden_fixed"] = float(np.mean(control["last"]))
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))
