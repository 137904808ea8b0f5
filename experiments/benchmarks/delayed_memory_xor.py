"""Delayed-memory XOR at the reduced size: right answers on fresh trials, with and without memory.

Three networks of 40 theta neurons, delays of 15 to 50 ms. Asked for are nine right answers of ten
on 2000 fresh trials by at least two of them, and chance, a third, once the recurrent weights are
put to 0: the cue alone does not say what was before it. The time is the CPU's, of all cores.
"""

from pathlib import Path

from experiments.huh_sejnowski_2018.delayed_memory_xor import read_outcomes, run
from experiments.huh_sejnowski_2018.xor_training import Settings

from ._study import Study, format_table


def study(folder: Path | None = None) -> Study:
    """Train and judge, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
    """
    outcomes = run(Settings())[0] if folder is None else read_outcomes(folder)
    figures: dict[str, float] = {
        "seeds": len(outcomes),
        "seeds_with_nine_right_of_ten": sum(o["accuracy"] >= 0.9 for o in outcomes.values()),
    }
    bounds = {"seeds": ">= 3", "seeds_with_nine_right_of_ten": ">= 2"}
    for seed, outcome in outcomes.items():
        figures[f"accuracy_seed_{seed}"] = outcome["accuracy"]
        figures[f"readout_alone_seed_{seed}"] = outcome["readout_alone"]
        name = f"without_recurrence_seed_{seed}"
        # a third, and four standard errors of 2000 trials
        figures[name], bounds[name] = outcome["without_recurrence"], "<= 0.375"
        name = f"cpu_minutes_seed_{seed}"
        figures[name], bounds[name] = outcome["cpu_minutes"], "<= 40"
    columns = list(next(iter(outcomes.values())))
    rows = [[seed, *(o[column] for column in columns)] for seed, o in outcomes.items()]
    table = "share of right answers on fresh trials, and by the kind of trial\n"
    table += format_table(["seed", *(c.replace("_", " ") for c in columns)], rows)
    return Study(figures, bounds, table)
