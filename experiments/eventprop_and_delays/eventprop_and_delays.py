"""EventProp on Yin-Yang, trained delays, and pseudospikes for neurons that are silent.

Exact gradients of spike times train weights, and delays beside them; and quadratic neurons, whose
spikes come and go at the end of a trial alone, learn to fire from silence.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import at_least

from ..settings import PartSettings
from . import single_neuron, yin_yang
from .figures import draw_accuracies, draw_curve, draw_single_neuron
from .reporting import named_parts, report


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """EventProp on Yin-Yang, trained delays, and pseudospikes for neurons that are silent."""

    hidden: int = 120
    """Hidden neurons of the network whose weights are trained."""
    epochs: int = 20
    """Passes through the points to train on, of that network."""
    few_hidden: int = 30
    """Hidden neurons of the networks with delays, trained and not."""
    few_epochs: int = 10
    """Passes of those."""
    train_size: int = 5000
    """Points of Yin-Yang to train on."""
    test_size: int = 1000
    """Points to test on."""
    seeds: int = 3
    """Networks and single neurons of each kind."""
    compared_hidden: int = 12
    """Hidden neurons of the network whose gradients are compared."""
    compared_points: int = 8
    """Points of the mini-batch of that comparison."""
    steps: int = 3000
    """Steps of gradient descent of single neurons."""
    curve_points: int = 201
    """Weights on the curves of the loss of a neuron with one input."""
    largest_weight: float = 20.0
    """The largest of them."""
    output: Path = Path("runs/eventprop-and-delays")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "hidden": at_least(1), "epochs": at_least(1), "few_hidden": at_least(1),
        "few_epochs": at_least(1), "train_size": at_least(32), "test_size": at_least(1),
        "seeds": at_least(1), "compared_hidden": at_least(1), "compared_points": at_least(1),
        "steps": at_least(1), "curve_points": at_least(2), "largest_weight": at_least(1),
    }  # fmt: skip
    presets: ClassVar = {
        "quick": {
            "hidden": 60, "epochs": 3, "few_epochs": 3, "train_size": 1000, "test_size": 500,
            "seeds": 1, "steps": 600,
        }
    }  # fmt: skip


def run(settings: Settings) -> tuple[dict[str, Any], Path]:
    """Compare gradients, train networks and neurons, and write what was found into a new folder."""
    s = settings
    sizes = s.train_size, s.test_size
    parts: dict[str, Any] = {
        "gradients": partial(yin_yang.agreement, s.compared_hidden, s.compared_points, s.seed),
        "curve": partial(single_neuron.curve, s.largest_weight, s.curve_points),
        "differences": partial(single_neuron.differences, s.seed),
    }
    trained = {
        "weights": lambda seed: partial(yin_yang.train_weights, seed, s.hidden, s.epochs, *sizes),
        "weights and delays": lambda seed: partial(
            yin_yang.train_delays, seed, s.few_hidden, True, s.few_epochs, *sizes
        ),
        "weights of few": lambda seed: partial(
            yin_yang.train_delays, seed, s.few_hidden, False, s.few_epochs, *sizes
        ),
        "pseudospikes": lambda seed: partial(single_neuron.train, seed, True, s.steps),
        "ordinary spikes": lambda seed: partial(single_neuron.train, seed, False, s.steps),
    }
    parts |= {name: trained[kind](seed) for name, kind, seed in named_parts(s)}
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


_FIGURES = {"accuracies": draw_accuracies, "curve": draw_curve, "neuron": draw_single_neuron}
