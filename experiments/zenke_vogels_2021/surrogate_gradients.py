"""Surrogate gradients: the shape matters little, the scale does, and activity may be sparse.

Networks learn to tell random manifolds apart with surrogate derivatives of several shapes, scales and
costs of activity; a recurrent network learns Braille letters from recordings of touch, where their
folder is given.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import SEED, at_least

from . import braille
from .conditions import conditions
from .figures import draw_braille, draw_grid, draw_sparsity
from .random_manifolds import train
from .reporting import report


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Surrogate gradients: the shape matters little, the scale does, and activity may be sparse."""

    samples: int = 500
    """Points of each of the ten manifolds; eight tenths to train on, one each to validate and to
    test."""
    epochs: int = 10
    """Passes through the points to train on."""
    betas: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Steepness of the surrogates."""
    rates: tuple[float, ...] = (0.05, 0.1)
    """Learning rates of Adam."""
    limits: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
    """Spikes of a hidden neuron and trial above which activity costs."""
    braille_folder: Path | None = None
    """Folder with the recordings of Braille letters; without it that part is left out."""
    braille_epochs: int = 60
    """Passes through the recordings to train on."""
    braille_seeds: int = 3
    """Networks that learn Braille letters."""
    seed: int = 0
    """Seed of the manifolds and of the first network."""
    output: Path = Path("runs/surrogate-gradients")
    """Folder under which the run gets a numbered folder of its own."""
    checkpoint_every: int = 1
    """Parts of the run between two checkpoints."""
    quick: bool = False
    """A small size: fewer points, epochs, conditions and networks."""

    without_repeats: ClassVar = ("betas", "rates", "limits")
    number_ranges: ClassVar = {
        "samples": at_least(10), "epochs": at_least(1), "betas": at_least(0),
        "rates": at_least(0), "limits": at_least(0), "braille_epochs": at_least(1),
        "braille_seeds": at_least(1), "seed": SEED,
    }  # fmt: skip
    presets: ClassVar = {
        "quick": {
            "samples": 100, "epochs": 10, "betas": (1.0, 10.0), "rates": (0.05,), "limits": (1.0, 0.1),
            "braille_epochs": 4, "braille_seeds": 1,
        }
    }  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Train all networks, and write what was found into a new folder."""
    s = settings
    parts: dict[str, Any] = {
        one.name: partial(train, one, s.samples, s.epochs, s.seed) for one in conditions(s)
    }
    if s.braille_folder is not None:
        for seed in range(s.seed, s.seed + s.braille_seeds):
            parts[f"braille {seed}"] = partial(
                braille.train, s.braille_folder, s.braille_epochs, seed
            )
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts,
            folder.checkpoints("parts", s.checkpoint_every),
            settings=s,
            progress=s.progress,
        )
        folder.write_json("outcomes.json", results)
        table = report(s, results)
        folder.write_text("table.md", table)
        for name, draw in _FIGURES.items():
            folder.write_figure(f"{name}.png", draw(s, results))
        if s.braille_folder is not None:
            folder.write_figure("braille.png", draw_braille(s, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {"grid": draw_grid, "sparsity": draw_sparsity}
