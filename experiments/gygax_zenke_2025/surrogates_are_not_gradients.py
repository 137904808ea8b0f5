"""Surrogate gradients are no gradients, may have the wrong sign, and train all the same.

Along a closed loop a surrogate gradient does not integrate to zero, as every gradient does; maps
show where its sign is wrong; and networks whose neurons fire at a threshold, or at random, learn
with it to fire a picture.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import at_least

from ..settings import PartSettings
from .figures import draw_distances, draw_loop, draw_rasters, draw_signs
from .reporting import KINDS, report
from .sigmoid_network import loop, signs
from .spike_matching import match

STEEPNESSES = (1.0, 5.0, 20.0)
"""Of the surrogates along the loop."""


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Surrogate gradients are no gradients, may have the wrong sign, and train all the same."""

    points: int = 20_000
    """Points on the loop."""
    fine_points: int = 2**21
    """Points on the loop for the gradient of the steep network, and for the limit of the others."""
    map_size: int = 201
    """Points in each direction of the maps of signs."""
    neurons: int = 200
    """Inputs, hidden and output neurons of the network that learns a picture, so many of each."""
    steps: int = 189
    """Steps of the picture, 1 ms each."""
    epochs: int = 1500
    """Presentations of the picture."""
    trials: int = 10
    """Trials of the stochastic network in a presentation."""
    seeds: int = 3
    """Networks of each kind."""
    output: Path = Path("runs/surrogates-are-not-gradients")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "points": at_least(100), "fine_points": at_least(100), "map_size": at_least(3),
        "neurons": at_least(2), "steps": at_least(2), "epochs": at_least(1),
        "trials": at_least(1), "seeds": at_least(1),
    }  # fmt: skip
    presets: ClassVar = {
        "quick": {
            "map_size": 101, "neurons": 100, "steps": 100, "epochs": 400,
            "seeds": 1,
        }
    }  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Measure loops and signs, learn pictures, and write all of it into a new folder."""
    s = settings
    parts: dict[str, Any] = {
        "loop": partial(loop, s.points, s.fine_points, STEEPNESSES),
        "signs": partial(signs, s.map_size),
    }
    for kind in KINDS:
        for seed in range(s.seed, s.seed + s.seeds):
            for name, learns in ((f"{kind} {seed}", True), (f"{kind} {seed}, control", False)):
                parts[name] = partial(
                    match, kind, s.neurons, s.steps, s.epochs, s.trials, seed, learns
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
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {
    "loop": draw_loop,
    "signs": draw_signs,
    "rasters": draw_rasters,
    "distances": draw_distances,
}
