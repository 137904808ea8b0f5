"""Balance 2015: networks that learn linear dynamical systems, beside the ideal ones.

Damped oscillator, integrator and a random system of four dimensions at the settings of `roughsnn
run balance-2015`, five seeds, with ideal fast connections and with learned ones. Each bound is on
the worst seed.
"""

from pathlib import Path

import numpy as np

from ..bourdoukan_deneve_2015.linear_systems import (
    Outcome,
    Settings,
    read_outcomes,
    run,
)
from ._study import Study, format_table


def study(folder: Path | None = None, progress: bool = False) -> Study:
    """Teach and judge, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        progress: whether to show a progress bar.
    """
    outcomes = run(Settings(progress=progress))[0] if folder is None else read_outcomes(folder)
    return study_of(outcomes)


def study_of(outcomes: list[Outcome]) -> Study:
    """The study of a run's outcomes."""
    figures, bounds, rows = {}, {}, []

    def add(name: str, values: list[float], bound: str = "") -> None:
        figures[name] = float(np.max(values))
        if bound:
            bounds[name] = bound
        rows.append([name, *(f"{value:.3g}" for value in values), bound])

    for system in dict.fromkeys(o.system for o in outcomes):
        given = [o for o in outcomes if o.system == system and not o.learned_fast]
        name = system.replace("-", "_")
        add(f"{name}_matrix_error", [o.matrix_error for o in given], "<= 0.03")
        add(f"{name}_error_over_ideal", [o.error_ratio for o in given], "<= 3")
        add(f"{name}_decay_error", [o.decay_error for o in given], "<= 0.03")
        add(f"{name}_frequency_error", [o.frequency_error for o in given], "<= 0.03")
        add(f"{name}_error", [o.error for o in given])
        add(f"{name}_rate_hz", [o.rate_hz for o in given])
        learned = [o for o in outcomes if o.system == system and o.learned_fast]
        if learned:
            pairs = {o.seed: o for o in given}
            ratios = [o.error / pairs[o.seed].error for o in learned]
            add(f"{name}_learned_fast_error_over_given", ratios, "<= 2")
            add(f"{name}_learned_fast_error_over_ideal", [o.error_ratio for o in learned])
            add(f"{name}_learned_fast_distance", [o.fast_distance for o in learned])
            add(f"{name}_learned_fast_matrix_error", [o.matrix_error for o in learned])
            add(f"{name}_learned_fast_decay_error", [o.decay_error for o in learned])
            add(f"{name}_learned_fast_frequency_error", [o.frequency_error for o in learned])
            # where the error comes from: the slow connections of the theory
            add(f"{name}_learned_fast_ideal_slow_error", [o.ideal_slow_error for o in learned])
            add(f"{name}_learned_fast_transposed_error", [o.transposed_error for o in learned])
            add(f"{name}_learned_fast_matched_error", [o.matched_error for o in learned])
            add(f"{name}_given_fast_matched_error", [o.matched_error for o in given])
    seeds = list(dict.fromkeys(o.seed for o in outcomes))
    header = ["figure, the worst seed is judged", *(f"seed {seed}" for seed in seeds), "bound"]
    return Study(figures, bounds, format_table(header, rows))
