"""Mirror symmetry by coincidence of delays: axes, noise that helps, buildings and vegetation."""

from pathlib import Path

from ..george_2021.mirror_symmetry import Settings, run
from ..george_2021.reporting import noise_curve, report
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
    axes, scenes, tuning = results["vertical"], results["scenes"], results["tuning"]
    curve = noise_curve(settings, results)
    ends = max(curve[0], curve[-1])
    figures = {
        "least_axis_score": min(axes["scores"]),
        "axes_not_found": len(axes["first"]) - sum(axes["first"]),
        "largest_score_without_symmetry": max(axes["controls"]),
        "noise_of_largest_score": settings.noises[int(curve.argmax())],
        "largest_score_in_noise": float(curve.max()),
        "score_at_ends": float(ends),
        "largest_score_over_ends": float(curve.max() - 2 * ends),
        "auc_of_buildings": scenes["auc"],
        "auc_of_edge_counts": scenes["auc_of_counts"],
        "delay_error_before": tuning["error_before"],
        "delay_error_after": tuning["error_after"],
        "pairs_missed_after": tuning["pairs"] - tuning["detected_after"],
    }
    turned = results["oriented"]["errors"]
    figures["share_of_oriented_axes_found"] = sum(
        angle < 7.6 and offset <= 1.5 for angle, offset in turned
    ) / len(turned)
    bounds = {
        "least_axis_score": ">= 4",
        "axes_not_found": "<= 0",
        "largest_score_without_symmetry": "< 1",
        "noise_of_largest_score": "between 0.2 and 0.4",
        # at least twice the values at both ends
        "largest_score_over_ends": ">= 0",
        "auc_of_buildings": ">= 0.95",
        "auc_of_edge_counts": "between 0.4 and 0.6",
    }
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))
