"""Perturbations of conductances give a gradient from a reward: its size, and what it learns.

The estimate beside differences, one neuron that learns a time course, XOR by a hidden layer, and
the variance of a trial beside those of pathwise gradients and other perturbations.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import above, at_least

from ..settings import PartSettings
from . import one_neuron, variance, xor
from .figures import draw_gradients, draw_learning, draw_variance
from .reporting import report


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Perturbations of conductances give a gradient from a reward: its size, and what it learns."""

    blocks: int = 20
    """Estimates of the gradient, of 1,000 trials each."""
    block_trials: int = 1000
    """Trials of an estimate, and of a difference."""
    updates: int = 3000
    """Updates of the time course, of 8 trials each."""
    rate: float = 5e-3
    """Rate at which the time course is learned."""
    hidden: int = 20
    """Hidden neurons of XOR."""
    xor_updates: int = 300
    """Updates of XOR, of 64 trials each."""
    xor_rate: float = 0.02
    """Rate at which XOR is learned, at the beginning."""
    xor_scale: float = 0.01
    """Size of the excitatory perturbation of XOR in each step."""
    tests: int = 400
    """Trials that XOR is tested on."""
    sizes: tuple[int, ...] = (1, 8)
    """Numbers of neurons for the variance."""
    variance_trials: int = 400
    """Trials for each variance."""
    seeds: int = 3
    """Networks for the time course."""
    xor_networks: int = 3
    """Networks for XOR."""
    seed: int = 1
    """Seed of the first; the others have the next."""
    output: Path = Path("runs/conductance-perturbation")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "blocks": at_least(2), "block_trials": at_least(1), "updates": at_least(1),
        "rate": above(0), "hidden": at_least(1), "xor_updates": at_least(1),
        "xor_rate": above(0), "xor_scale": above(0), "tests": at_least(1),
        "sizes": at_least(1), "variance_trials": at_least(2), "seeds": at_least(1),
        "xor_networks": at_least(1),
    }  # fmt: skip
    presets: ClassVar = {
        "quick": {
            "blocks": 10, "block_trials": 400, "updates": 200, "xor_updates": 20, "tests": 100,
            "sizes": (1,), "variance_trials": 100, "seeds": 1, "xor_networks": 1,
        }
    }  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Measure, learn, and write all of it into a new folder."""
    s = settings
    laws = {
        "white": rs.WhitePerturbation(one_neuron.SCALE),
        "empiric": rs.PoissonPerturbation(0.5, one_neuron.SCALE),
    }
    parts: dict[str, Any] = {
        f"gradient {name}": partial(
            one_neuron.compare, s.seed, law, s.block_trials, s.blocks, max(1, s.blocks // 10)
        )
        for name, law in laws.items()
    }
    for seed in range(s.seed, s.seed + s.seeds):
        parts[f"time course {seed}"] = partial(one_neuron.learn, seed, s.updates, s.rate, "running")
    for seed in range(s.seed, s.seed + s.xor_networks):
        parts[f"XOR {seed}"] = partial(
            xor.learn, seed, s.hidden, s.xor_updates, s.xor_rate, s.xor_scale, s.tests
        )
    for kind in variance.KINDS:
        for size in s.sizes:
            for rule in variance.rules(kind):
                parts[f"variance {kind}, {size}, {rule}"] = partial(
                    variance.scatter, kind, rule, size, s.variance_trials
                )
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts, folder.checkpoints("parts", s.checkpoint_every), settings=s,
            progress=s.progress,
        )  # fmt: skip
        folder.write_json("outcomes.json", results)
        table = report(s, results)
        folder.write_text("table.md", table)
        for name, draw in _FIGURES.items():
            folder.write_figure(f"{name}.png", draw(s, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {"gradients": draw_gradients, "learning": draw_learning, "variance": draw_variance}
