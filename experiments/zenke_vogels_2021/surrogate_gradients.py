"""Surrogate gradients: the shape matters little, the scale does, and activity may be sparse.

Networks learn to tell random manifolds apart with surrogate derivatives of several shapes, scales
and costs of activity.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import at_least

from ..settings import PartSettings
from .conditions import conditions, name_of_network, scale_seeds, scaled
from .figures import draw_grid, draw_sparsity
from .random_manifolds import train
from .reporting import report


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Surrogate gradients: the shape matters little, the scale does, and activity may be sparse."""

    samples: int = 500
    """Points of each of the ten manifolds; eight tenths to train on, one each to validate and to
    test."""
    epochs: int = 8
    """Passes through the points to train on."""
    betas: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Steepness of the surrogates."""
    rates: tuple[float, ...] = (0.1,)
    """Learning rates of Adam."""
    scale_betas: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    """Steepness of surrogates with resets that are differentiated, whose scales are compared."""
    scale_rates: tuple[float, ...] = (0.02, 0.05)
    """Learning rates there, of which each network takes the better."""
    scale_epochs: int = 20
    """Passes there."""
    scale_seeds: int = 3
    """Networks there, each with manifolds of its own."""
    limits: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)
    """Spikes of a hidden neuron and trial above which activity costs."""
    output: Path = Path("runs/surrogate-gradients")
    """Folder under which the run gets a numbered folder of its own."""

    without_repeats: ClassVar = ("betas", "rates", "scale_betas", "scale_rates", "limits")
    number_ranges: ClassVar = {
        "samples": at_least(10), "epochs": at_least(1), "betas": at_least(0),
        "rates": at_least(0), "scale_betas": at_least(0), "scale_rates": at_least(0),
        "scale_epochs": at_least(1), "scale_seeds": at_least(1), "limits": at_least(0),
    }  # fmt: skip
    presets: ClassVar = {
        "quick": {
            "samples": 100, "epochs": 10, "betas": (1.0, 10.0), "limits": (1.0, 0.1),
            "scale_betas": (1.0, 100.0), "scale_rates": (0.05,), "scale_epochs": 10,
            "scale_seeds": 1,
        }
    }  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Train all networks, and write what was found into a new folder."""
    s = settings
    parts: dict[str, Any] = {
        one.name: partial(train, one, s.samples, s.epochs, s.seed) for one in conditions(s)
    }
    for one in scaled(s):
        for seed in scale_seeds(s):
            name = name_of_network(one, seed)
            parts[name] = partial(train, one, s.samples, s.scale_epochs, seed)
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
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {"grid": draw_grid, "sparsity": draw_sparsity}
