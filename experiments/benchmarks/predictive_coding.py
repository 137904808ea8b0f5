"""Predictive coding with gated synapses: the error, what fast synapses add, and the balance.

30 non-leaky neurons at the settings of `roughsnn run predictive-coding`, judged on 64 fresh
signals. Potentials' correlation and the share of cancelled current are reported, not judged.
"""

import dataclasses
import json
from pathlib import Path

from ..huh_sejnowski_2018.predictive_coding import Outcome, Settings, run
from ._study import Study, format_table


def study(folder: Path | None = None, progress: bool = False) -> Study:
    """Train and judge, or judge only.

    Args:
        folder: judge the run that is in this folder instead of a new one.
        progress: whether to show a progress bar.
    """
    if folder is None:
        outcomes, _ = run(Settings(progress=progress))
    else:
        read = json.loads((folder / "outcomes.json").read_text())
        outcomes = [Outcome(**outcome) for outcome in read]
    figures, bounds, rows = {}, {}, []
    for i, outcome in enumerate(outcomes):
        suffix = "" if len(outcomes) == 1 else f"_{i}"
        measured = dataclasses.asdict(outcome) | {"ablation_factor": outcome.ablation_factor}
        figures |= {name + suffix: float(value) for name, value in measured.items()}
        bounds |= {
            f"error_before{suffix}": ">= 0.8",
            f"error{suffix}": "<= 0.06",
            f"ablation_factor{suffix}": ">= 3",
            f"seconds{suffix}": "<= 300",
        }
        rows += [[name + suffix, value] for name, value in measured.items()]
    return Study(figures, bounds, format_table(["figure", "measured"], rows))
