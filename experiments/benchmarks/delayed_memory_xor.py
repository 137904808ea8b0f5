"""Delayed-memory XOR at the reduced size: right answers on fresh trials, with and without memory.

Three networks of 40 theta neurons, delays of 15 to 50 ms. Asked for are nine right answers of ten
on 2000 fresh trials by at least two of them, and chance once the recurrent weights are put to 0.
The three answers are equally frequent, so chance is a third; a share of a third that is above it by
four standard errors of 2000 trials is not chance. The time is the CPU's, of all cores. Seeds are
trained one after another: side by side they are other runs, by rounding.
"""

from pathlib import Path

from ..huh_sejnowski_2018.delayed_memory_xor import read_outcomes, run
from ..huh_sejnowski_2018.xor_settings import Settings
from ._study import Study, format_table


def study(folder: Path | None = None, seeds: tuple[int, ...] = (20, 21, 22)) -> Study:
    """Train and judge, or read what a run found.

    Args:
        folder: read the run that is in this folder instead of a new one.
        seeds: seeds to train; by default three that were not used to choose the settings.
    """
    if folder is None:
        outcomes = run(Settings(seeds=seeds, side_by_side=False))[0]
    else:
        outcomes = read_outcomes(folder)
    figures: dict[str, float] = {
        "seeds": len(outcomes),
        "seeds_with_nine_right_of_ten": sum(o["accuracy"] >= 0.9 for o in outcomes.values()),
    }
    bounds = {"seeds": ">= 3", "seeds_with_nine_right_of_ten": ">= 2"}
    for seed, outcome in outcomes.items():
        figures[f"accuracy_seed_{seed}"] = outcome["accuracy"]
        figures[f"readout_alone_seed_{seed}"] = outcome["readout_alone"]
        figures[f"order_without_recurrence_seed_{seed}"] = outcome["without_recurrence_order"]
        name = f"without_recurrence_seed_{seed}"
        # a third, and four standard errors of 2000 trials
        figures[name], bounds[name] = outcome["without_recurrence"], "<= 0.375"
        name = f"cpu_minutes_seed_{seed}"
        figures[name], bounds[name] = outcome["cpu_minutes"], "<= 40"
    columns = list(next(iter(outcomes.values())))
    rows = [[c.replace("_", " "), *(o[c] for o in outcomes.values())] for c in columns]
    table = "share of right answers on fresh trials, and by the kind of trial\n"
    header = ["", *(f"seed {seed}" for seed in outcomes)]
    table += format_table(header, rows)
    return Study(figures, bounds, table)
