"""Balance 2012: an optimal representation in spikes, learned from weak connections.

The autapse of a single neuron, and homogeneous and heterogeneous networks at the settings of
`roughsnn run balance-2012`, ten seeds. Each bound is on the worst seed of the heterogeneous
network; the homogeneous one is reported, not judged.
"""

from pathlib import Path

from ..bourdoukan_2012.spike_code import Outcome, Settings, read_outcomes, run
from ._study import Study, format_table


def study(folder: Path | None = None, progress: bool = False) -> Study:
    """Learn and judge, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        progress: whether to show a progress bar.
    """
    found = run(Settings(progress=progress))[0] if folder is None else read_outcomes(folder)
    return study_of(*found)


def study_of(autapse: dict[str, float], outcomes: list[Outcome]) -> Study:
    """The study of a run's outcomes."""
    figures = dict(autapse)
    bounds = {"autapse_25": "between 0.695 and 0.855", "autapse_400": "between 0.03 and 0.07"}
    rows = [[name, f"{value:.3g}", bounds[name]] for name, value in autapse.items()]

    def add(name: str, values: list[float], worst: float, bound: str = "") -> None:
        figures[name] = worst
        if bound:
            bounds[name] = bound
        rows.append([name, " ".join(f"{value:.3g}" for value in values), bound])

    for kind in dict.fromkeys(o.population for o in outcomes):
        some = [o for o in outcomes if o.population == kind]
        judged = kind == "heterogeneous"
        for name, values, choose, bound in (
            ("loss_factor", [o.loss_factor for o in some], min, ">= 300"),
            ("mean_distance", [o.mean_distance for o in some], max, "<= 0.03"),
            ("largest_distance", [o.largest_distance for o in some], max, "<= 0.15"),
            ("rate_off", [abs(o.rate_over_optimal - 1) for o in some], max, "<= 0.15"),
            ("cv_off", [abs(o.after.cv - 1) for o in some], max, "<= 0.1"),
            ("cv_before", [o.before.cv for o in some], max, ""),
            ("fano_before", [o.before.fano for o in some], max, ""),
            ("fano", [o.after.fano for o in some], max, ""),
        ):
            add(f"{kind}_{name}", values, float(choose(values)), bound if judged else "")
    return Study(figures, bounds, format_table(["figure", "seeds", "bound"], rows))
