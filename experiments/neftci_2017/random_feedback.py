"""Digits are learned event by event, from error spikes through fixed random weights.

Event-driven random back-propagation with two-compartment neurons and error neurons; beside it the
same network whose hidden weights stay as they are.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import at_least, between

from ..settings import PartSettings
from .digits import TRAIN, learn
from .figures import draw_learning
from .reporting import KINDS, report


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Digits are learned event by event, from error spikes through fixed random weights."""

    hidden: int = 100
    """Hidden neurons."""
    epochs: int = 5
    """Passes through the digits."""
    samples: int = TRAIN
    """Digits to learn from."""
    seeds: int = 3
    """Networks of each kind."""
    output: Path = Path("runs/random-feedback")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "hidden": at_least(1), "epochs": at_least(1), "samples": between(7, TRAIN),
        "seeds": at_least(1),
    }  # fmt: skip
    presets: ClassVar = {"quick": {"epochs": 2, "seeds": 1}}


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Learn, and write what was found into a new folder."""
    s = settings
    seeds = tuple(range(s.seed, s.seed + s.seeds))
    parts = {
        kind: partial(learn, seeds, s.hidden, s.epochs, s.samples, kind == KINDS[0])
        for kind in KINDS
    }
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts, folder.checkpoints("parts", s.checkpoint_every), settings=s,
            progress=s.progress,
        )  # fmt: skip
        folder.write_json("outcomes.json", results)
        table = report(s, results)
        folder.write_text("table.md", table)
        folder.write_figure("learning.png", draw_learning(s, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path
