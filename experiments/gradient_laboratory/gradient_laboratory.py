"""Every rule on the same networks: bias, scatter, time, memory, and what it learns.

Yin-Yang by neurons that fire at a threshold, the same with noise, and spike trains matched by a
signature kernel; the true gradient stands beside every rule.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import above, at_least

from ..settings import PartSettings
from .bench import TASKS, Bench
from .figures import draw_laboratory
from .reporting import LEARNED, report
from .rules import rules_of

_QUICK_RULES = ("exact, cell engine", "surrogate", "weight perturbation", "spike removal")


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Every rule on the same networks: bias, scatter, time, memory, and what it learns."""

    tasks: tuple[str, ...] = TASKS
    """Tasks: threshold, noise, matching."""
    rules: tuple[str, ...] | None = None
    """Rules by name; all without it."""
    hidden: int = 16
    """Hidden neurons of Yin-Yang."""
    pool: int = 1024
    """Points of Yin-Yang to learn from."""
    blocks: int = 32
    """Mini-batches of 32 samples that a gradient is estimated from."""
    repeats: int = 2
    """Draws of the noise of each of them for the true gradient."""
    rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
    """Rates of Adam that are tried for every rule."""
    search: int = 40
    """Steps with each rate."""
    steps: int = 120
    """Steps with the best rate."""
    points: int = 6
    """How often what was learned is judged."""
    rounds: int = 9
    """Rounds of timing, each with a step of every rule."""
    output: Path = Path("runs/gradient-laboratory")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "hidden": at_least(1), "pool": at_least(256), "blocks": at_least(3),
        "repeats": at_least(1), "rates": above(0), "search": at_least(1), "steps": at_least(1),
        "points": at_least(1), "rounds": at_least(1),
    }  # fmt: skip
    without_repeats: ClassVar = ("tasks", "rates")
    presets: ClassVar = {
        "quick": {
            "tasks": ("threshold",), "rules": _QUICK_RULES, "hidden": 8, "pool": 256, "blocks": 8,
            "repeats": 1, "rates": (1e-2,), "search": 5, "steps": 10, "points": 2, "rounds": 3,
        }
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        unknown = [name for name in self.tasks if name not in TASKS]
        if unknown:
            raise ValueError(f"`tasks` holds {unknown[0]!r}; tasks are {', '.join(TASKS)}.")

    @property
    def bench(self) -> Bench:
        """The sizes of what is measured."""
        names = [field.name for field in dataclasses.fields(Bench)]
        return Bench(**{name: getattr(self, name) for name in names})


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Measure every rule on every task, and write all of it into a new folder."""
    s, bench = settings, settings.bench
    parts: dict[str, Any] = {}
    with rs.RunFolder.start(settings) as folder:
        for name in s.tasks:
            known = list(rules_of(bench.task(name)))
            chosen = known if s.rules is None else list(s.rules)
            unknown = [rule for rule in chosen if rule not in known]
            if unknown:
                raise ValueError(f"`rules` holds {unknown[0]!r}; rules are {'; '.join(known)}.")
            parts[f"{name}: truth"] = partial(bench.check_truth, name)
            for rule in chosen:
                parts[f"{name}: {rule}"] = partial(bench.of_rule, name, rule)
                parts[f"{name}: {rule}{LEARNED}"] = partial(bench.learned, name, rule)
            parts[f"{name}: times"] = partial(bench.times, name, chosen)
        results = compute_parts(
            parts, folder.checkpoints("parts", s.checkpoint_every), settings=s,
            progress=s.progress,
        )  # fmt: skip
        folder.write_json("outcomes.json", results)
        table = report(s, results)
        folder.write_text("table.md", table)
        folder.write_figure("laboratory.png", draw_laboratory(s, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path
