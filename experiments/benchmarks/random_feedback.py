"""Digits by event-driven random back-propagation: accuracy, control, alignment, error spikes.

After Neftci et al. (2017), on scikit-learn's digits, at the settings of `roughsnn run
random-feedback`. Judged are the means over networks: the best accuracy within five epochs, how much
better it is than with fixed hidden weights at the end, the angle between feedback and forward
weights in every part of the second half, and the error spikes of the last part beside the first.
"""

from pathlib import Path

from ..neftci_2017.random_feedback import Settings, run
from ..neftci_2017.reporting import KINDS, of_kind, report
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
    accuracy = {kind: 100 * of_kind(results, kind, "accuracy").mean(0) for kind in KINDS}
    angles = of_kind(results, KINDS[0], "angle").mean(0)
    errors = of_kind(results, KINDS[0], "errors").mean(0)
    learned, fixed = (accuracy[kind] for kind in KINDS)
    figures = {
        "accuracy_within_five_epochs": learned[:6].max(),
        "accuracy": learned[-1],
        "accuracy_with_fixed_hidden_weights": fixed[-1],
        "points_above_fixed_hidden_weights": learned[-1] - fixed.max(),
        "angle_at_first": angles[0],
        "largest_angle_in_second_half": angles[len(angles) // 2 :].max(),
        "angle_fell_by": angles[0] - angles[-1],
        "error_spikes_at_last_over_first": errors[-1] / errors[0],
    }
    bounds = {
        "accuracy_within_five_epochs": ">= 80",
        "points_above_fixed_hidden_weights": ">= 10",
        "largest_angle_in_second_half": "< 90",
        "angle_fell_by": "> 0",
        "error_spikes_at_last_over_first": "< 1",
    }
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))
