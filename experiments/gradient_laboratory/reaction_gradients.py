"""Gradients of jump processes: five estimators on bimolecular association and the repressilator.

Event SDEs beside Gillespie's algorithm with its score function, alternative paths and the
straight-through Gumbel-softmax.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import roughsnn as rs
from roughsnn.plotting import COLOURS, COLUMN_WIDTH
from roughsnn.plotting.style import legend, tidy
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import at_least

from ..settings import PartSettings
from .jumps import ESTIMATORS, SYSTEMS, estimate, true_gradient

_RATES = ("log on", "log off")
PARAMETERS = {
    "association, weak": _RATES, "association, strong": _RATES,
    "repressilator": ("log rate", "log half", "log decay"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Gradients of jump processes: five estimators on two systems of reactions."""

    systems: tuple[str, ...] = tuple(SYSTEMS)
    """Systems by name."""
    trials: int = 400
    """Trials of a block."""
    blocks: int = 5
    """Blocks for each estimator."""
    output: Path = Path("runs/reaction-gradients")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {"trials": at_least(2), "blocks": at_least(1)}
    without_repeats: ClassVar = ("systems",)
    presets: ClassVar = {"quick": {"trials": 100, "blocks": 1}}

    def __post_init__(self):
        super().__post_init__()
        unknown = [name for name in self.systems if name not in SYSTEMS]
        if unknown:
            raise ValueError(f"`systems` holds {unknown[0]!r}; systems are {'; '.join(SYSTEMS)}.")


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Estimate, and write what was found into a new folder."""
    s = settings
    parts: dict[str, Any] = {}
    for name in s.systems:
        parts[f"{name}: truth"] = partial(true_gradient, name, s.trials, s.blocks, s.seed + 1)
        for estimator in ESTIMATORS:
            parts[f"{name}: {estimator}"] = partial(
                estimate, name, estimator, s.trials, s.blocks, s.seed
            )
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts, folder.checkpoints("parts", s.checkpoint_every), settings=s,
            progress=s.progress,
        )  # fmt: skip
        folder.write_json("outcomes.json", results)
        table = report(s, results)
        folder.write_text("table.md", table)
        folder.write_figure("variance.png", draw_variance(s, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


def standard_errors_off(results: dict[str, Any], name: str, estimator: str) -> float:
    """How many standard errors an estimate is from the true gradient, in the worst parameter."""
    truth, one = results[f"{name}: truth"], results[f"{name}: {estimator}"]
    error = np.hypot(one["error"], truth["error"])
    return float(np.max(np.abs(np.subtract(one["gradient"], truth["gradient"])) / error))


def report(settings: Settings, results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    lines = ["| system | parameter | true gradient | " + " | ".join(ESTIMATORS) + " |",
             "|---" * (3 + len(ESTIMATORS)) + "|"]  # fmt: skip
    for name in settings.systems:
        truth = results[f"{name}: truth"]
        for i, parameter in enumerate(PARAMETERS[name]):
            row = [name, parameter, _with_error(truth["gradient"][i], truth["error"][i])]
            for estimator in ESTIMATORS:
                one = results[f"{name}: {estimator}"]
                row.append(_with_error(one["gradient"][i], one["error"][i]))
            lines.append("| " + " | ".join(row) + " |")
    lines += ["", "Variance of a trial over the squared gradient, all parameters together:", ""]
    lines += ["| system | " + " | ".join(ESTIMATORS) + " |"]
    lines += ["|---" * (1 + len(ESTIMATORS)) + "|"]
    for name in settings.systems:
        row = [f"{relative_variance(results, name, estimator):.3g}" for estimator in ESTIMATORS]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def relative_variance(results: dict[str, Any], name: str, estimator: str) -> float:
    """Of the gradient from one trial, over the squared length of the true one."""
    truth = np.square(results[f"{name}: truth"]["gradient"]).sum()
    return float(np.sum(results[f"{name}: {estimator}"]["variance"]) / truth)


def _with_error(value: float, error: float) -> str:
    return f"{value:.4g}" if error == 0 else f"{value:.3g} ± {error:.2g}"


def draw_variance(settings: Settings, results: dict[str, Any]):
    """The variance of each estimator on each system."""
    import matplotlib.pyplot as plt

    size = (1.6 * COLUMN_WIDTH, 2.4)
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    place = np.arange(len(settings.systems))
    width = 0.8 / len(ESTIMATORS)
    for n, estimator in enumerate(ESTIMATORS):
        values = [relative_variance(results, name, estimator) for name in settings.systems]
        ax.bar(place + (n - 2) * width, values, width, color=COLOURS[n], label=estimator)
    ax.set_yscale("log")
    ax.set_xticks(place, list(settings.systems))
    tidy(ax, "", "variance of a trial / gradient$^2$")
    legend(ax)
    return figure
