"""Braille letters, read by a recurrent network from recordings of touch.

The recordings are not part of the package: the folder in which they lie is a setting.
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
from .braille import train

PUBLISHED = 96.7


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Braille letters, read by a recurrent network from recordings of touch."""

    folder: Path = Path("data")
    """Folder with the file `braille_taxels.npz` of recordings."""
    epochs: int = 40
    """Passes through the recordings to train on."""
    falling_rate: bool = False
    """Whether the learning rate falls to zero along a cosine."""
    seeds: int = 3
    """Networks, each with a part of the recordings of its own to test on."""
    output: Path = Path("runs/braille-letters")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {"epochs": at_least(1), "seeds": at_least(1)}
    presets: ClassVar = {"quick": {"epochs": 5, "seeds": 1}}


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Train the networks, and write what was found into a new folder."""
    s = settings
    if not (s.folder / "braille_taxels.npz").is_file():
        raise FileNotFoundError(
            f"`folder` is {str(s.folder)!r}, which holds no braille_taxels.npz; give the folder "
            "with the recordings: --folder FOLDER."
        )
    seeds = range(s.seed, s.seed + s.seeds)
    parts = {
        f"network {seed}": partial(train, s.folder, s.epochs, seed, s.falling_rate)
        for seed in seeds
    }
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts,
            folder.checkpoints("parts", s.checkpoint_every),
            settings=s,
            progress=s.progress,
        )
        folder.write_json("outcomes.json", results)
        table = report(results)
        folder.write_text("table.md", table)
        folder.write_figure("losses.png", draw(results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


def report(results: dict[str, Any]) -> str:
    """What was measured, in Markdown."""
    rows = [(f"accuracy in the test, {name}", one["accuracy"], "") for name, one in results.items()]
    tested = [one["accuracy"] for one in results.values()]
    error = f" ± {np.std(tested, ddof=1) / len(tested) ** 0.5:.1f}" if len(tested) > 1 else ""
    lines = [f"| {a} | {b:.1f} % | {c} |" for a, b, c in rows]
    lines.append(f"| mean | {np.mean(tested):.1f}{error} % | {PUBLISHED} % |")
    trained = np.mean([one["train"] for one in results.values()])
    lines.append(f"| in training, mean | {trained:.1f} % | 99.4 % |")
    spikes = np.mean([one["spikes"] for one in results.values()])
    lines.append(f"| hidden spikes of a recording | {spikes:.0f} |  |")
    return "\n".join(["| figure | measured | published |", "|---|---|---|", *lines]) + "\n"


def draw(results: dict[str, Any]):
    """The loss over epochs."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(COLUMN_WIDTH, 2.6), layout="constrained")
    for i, (name, one) in enumerate(results.items()):
        label = f"{name}: {one['accuracy']:.1f} % in the test"
        colour = COLOURS[i % len(COLOURS)]
        ax.semilogy(
            1 + np.arange(len(one["losses"])), one["losses"], color=colour, lw=1, label=label
        )
    tidy(ax, "epoch", "loss")
    legend(ax)
    return figure
