"""Every rule on the same networks: bias beside theory, exact gradients beside a surrogate's time.

At the settings of `roughsnn run gradient-laboratory`: Yin-Yang by neurons that fire at a threshold,
the same with escape noise and noise of the membrane, and spike trains matched by a
signature-kernel loss. Judged is that rules which theory calls unbiased lie within 3 standard errors
of the true gradient, along it and as a whole (without noise: within 1 % of it; perturbations:
within 3 of differences of the loss averaged over the perturbation, along the gradient); that the
true gradients lie within 3 of central differences with common random numbers where there is noise;
and that the exact gradient of the cell engine takes at most 3 times as long as the surrogate's. The
biases of all others are reported.
"""

from pathlib import Path

from ..gradient_laboratory.gradient_laboratory import Settings, run
from ..gradient_laboratory.reporting import gaps, judged_biases, reached, report, rules_in, times_of
from ._outcomes import outcomes
from ._study import Study

_EXACT, _SURROGATE = "exact, cell engine", "surrogate"


def study(folder: Path | None = None, quick: bool = False, progress: bool = False) -> Study:
    """Measure, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        quick: a small size, on which the bounds need not hold.
        progress: whether to show progress.
    """
    settings, results = outcomes(run, Settings, folder, quick=quick, progress=progress)
    figures, bounds = {}, {}
    biases = judged_biases(settings, results)
    figures["rules_called_unbiased"] = len(biases)
    figures["largest_standard_errors_off"] = max(biases.values(), default=0.0)
    bounds["largest_standard_errors_off"] = "<= 3"
    exact = gaps(settings, results)
    if exact:
        figures["largest_gap_without_noise"] = max(exact.values())
        bounds["largest_gap_without_noise"] = "<= 0.01"
    noisy = [z for task in settings.tasks if task != "threshold"
             for z in results[f"{task}: truth"]["z"]]  # fmt: skip
    if noisy:
        figures["largest_standard_errors_of_truth"] = max(abs(z) for z in noisy)
        bounds["largest_standard_errors_of_truth"] = "<= 3"
    for task in settings.tasks:
        times, ends = times_of(results, task), reached(settings, results, task)
        if _EXACT in times and _SURROGATE in times:
            name = f"{task}_exact_over_surrogate_time"
            figures[name] = times[_EXACT] / times[_SURROGATE]
            bounds[name] = "<= 3"
        for rule, one in rules_in(settings, results, task).items():
            name = f"{task}_{rule}".replace(",", "").replace(" ", "_").replace("-", "_").lower()
            figures[f"{name}_cosine"] = one["cosine"]
            figures[f"{name}_bias"] = one["bias"]
            figures[f"{name}_variance"] = one["variance"]
            figures[f"{name}_at_equal_steps"], figures[f"{name}_at_equal_time"] = ends[rule]
    return Study({k: float(v) for k, v in figures.items()}, bounds, report(settings, results))
