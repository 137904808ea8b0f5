"""A balanced network learns to represent signals by as few spikes as it takes.

Each neuron is to fire only where its spike lowers the loss |x - D r|^2 + mu |r|^2. With the right
fast connections its potential is the error of the whole network, as far as it concerns the neuron.
From connections much too weak they are learned by a local rule: the potential of the receiver times
the filtered spikes of the sender. A single neuron learns its reset, a homogeneous network of 25
neurons and a heterogeneous one of 50 their connections.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

import roughsnn as rs

from .figures import draw_activity, draw_autapse, draw_learning, draw_removal
from .judging import Activity, Outcome, judge
from .learning import COLUMNS, learn, learn_autapse
from .networks import optimal_networks, populations, weak_networks
from .settings import Settings

__all__ = ["Settings", "read_outcomes", "report", "run"]

TIMES = (25.0, 400.0)
"""When the autapse is looked at."""


def run(settings: Settings) -> tuple[tuple[dict[str, float], list[Outcome]], Path]:
    """Learn and judge; settings, checkpoints, figures and numbers go into a folder."""
    outcomes: list[Outcome] = []
    rows: list[list[Any]] = []
    with rs.RunFolder.start(settings) as folder:
        found = learn_autapse(settings)
        autapse = {
            f"autapse_{time:g}": float(
                found["weight"][np.searchsorted(found["time"], time + settings.autapse_dt0 / 2) - 1]
                - 1
            )
            for time in TIMES
        }
        folder.write_figure("autapse.png", draw_autapse(found))
        folder.write_json("autapse.json", autapse)
        print(_autapse_line(autapse), flush=True)
        for population in populations(settings):
            checkpoints = folder.checkpoints(population.name, settings.checkpoint_every)
            learned, measures = learn(settings, population, checkpoints)
            optimal = optimal_networks(settings, population)
            weak = weak_networks(settings, population, optimal)
            of_population = judge(settings, population, weak, learned, optimal, measures)
            outcomes += of_population
            print(report(of_population), flush=True)
            rows += [
                [population.name, seed, epoch, *map(float, measures[epoch, i])]
                for i, seed in enumerate(settings.seeds)
                for epoch in range(len(measures))
            ]
            folder.write_json("outcomes.json", [dataclasses.asdict(o) for o in outcomes])
            folder.write_table("metrics.csv", ["population", "seed", "step", *COLUMNS], rows)
            figures = {
                "learning": draw_learning(settings, measures, of_population),
                "activity": draw_activity(settings, population, weak, learned),
                "removal": draw_removal(settings, population, learned, of_population),
            }
            for name, figure in figures.items():
                folder.write_figure(f"{population.name}-{name}.png", figure)
    print(f"Written to {folder.path}; go on from there with --resume {folder.path}")
    return (autapse, outcomes), folder.path


def read_outcomes(folder: Path) -> tuple[dict[str, float], list[Outcome]]:
    """The autapse and the outcomes of a run."""
    autapse = json.loads((folder / "autapse.json").read_text())
    outcomes = []
    for read in json.loads((folder / "outcomes.json").read_text()):
        activities = {name: Activity(**read[name]) for name in ("before", "after", "optimal")}
        removed = tuple(map(tuple, read["removed"]))
        outcomes.append(Outcome(**(read | activities | {"removed": removed})))
    return autapse, outcomes


def _autapse_line(autapse: dict[str, float]) -> str:
    return (
        "autapse, distance from the optimum at t = 25 and 400: "
        f"{autapse['autapse_25']:.3f}, {autapse['autapse_400']:.3f}"
    )


def report(outcomes: list[Outcome]) -> str:
    """The outcomes of one kind of network, means and extremes over seeds, in a few lines."""

    def over_seeds(values: list[float]) -> str:
        return f"{np.mean(values):.3g} ({min(values):.3g} to {max(values):.3g})"

    def activity(name: str) -> str:
        parts = [
            f"{part} {over_seeds([getattr(getattr(o, name), part) for o in outcomes])}"
            for part in ("loss", "rate", "cv", "fano", "firing_neurons")
        ]
        return f"  {name}: " + ", ".join(parts)

    return "\n".join(
        [
            f"{outcomes[0].population}, {len(outcomes)} seeds: loss down "
            f"{over_seeds([o.loss_factor for o in outcomes])} times, distance "
            f"{over_seeds([o.mean_distance_before for o in outcomes])} -> "
            f"{over_seeds([o.mean_distance for o in outcomes])}, largest "
            f"{over_seeds([o.largest_distance for o in outcomes])}, rate over the optimum's "
            f"{over_seeds([o.rate_over_optimal for o in outcomes])}",
            *(activity(name) for name in ("before", "after", "optimal")),
            "  squared error with neurons removed: "
            + ", ".join(
                f"{share:.0%} {over_seeds([o.removed[i][1] for o in outcomes])}"
                for i, (share, _, _) in enumerate(outcomes[0].removed)
            ),
        ]
    )
