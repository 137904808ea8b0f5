"""Balanced networks learn linear dynamical systems from the feedback of their own error.

Input, and the error x - D r of the readout with a large gain, reach the neurons through the same
feed-forward weights. Slow connections take over, by a rule that sees the error current at a neuron
and the activity of the sender, what the feedback provides, until it can be switched off: the
network has become the dynamical system. Fast connections learn from potentials to keep excitation
and inhibition in balance, which is what makes the error of the whole visible in each neuron.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

import roughsnn as rs

from .figures import draw_figures
from .judging import Outcome, judge
from .learning import COLUMNS, ideal_networks, teach
from .settings import Settings
from .systems import system_named

__all__ = ["Settings", "read_outcomes", "report", "run"]


def run(settings: Settings) -> tuple[list[Outcome], Path]:
    """Teach and judge every system; settings, checkpoints, figures and numbers go into a folder."""
    outcomes: list[Outcome] = []
    rows: list[list[Any]] = []
    with rs.RunFolder.start(settings) as folder:
        for name in settings.systems:
            system = system_named(name)
            ideal = ideal_networks(settings, system)
            for learn_fast in (False, True) if settings.learn_fast else (False,):
                label = f"{name}-fast-learned" if learn_fast else name
                checkpoints = folder.checkpoints(label, settings.checkpoint_every)
                networks, measures = teach(settings, system, learn_fast, checkpoints)
                found = judge(settings, system, learn_fast, networks, ideal, measures)
                outcomes += found
                print(report(found), flush=True)
                rows += [
                    [label, seed, epoch, *map(float, measures[epoch, i])]
                    for i, seed in enumerate(settings.seeds)
                    for epoch in range(len(measures))
                ]
                folder.write_json("outcomes.json", [dataclasses.asdict(o) for o in outcomes])
                folder.write_table("metrics.csv", ["system", "seed", "step", *COLUMNS], rows)
                drawn = draw_figures(
                    settings, system, settings.phases(learn_fast), networks, ideal, measures
                )
                for figure, drawing in drawn.items():
                    folder.write_figure(f"{label}-{figure}.png", drawing)
    print(f"Written to {folder.path}; go on from there with --resume {folder.path}")
    return outcomes, folder.path


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcomes of a run."""
    read = json.loads((folder / "outcomes.json").read_text())
    return [Outcome(**(o | {"modes": tuple(map(tuple, o["modes"]))})) for o in read]


def report(outcomes: list[Outcome]) -> str:
    """The outcomes of one system, means and worst over seeds, in a few lines."""
    first = outcomes[0]

    def over_seeds(name: str) -> str:
        values = np.array([getattr(o, name) for o in outcomes])
        return f"{values.mean():.3g} (at most {values.max():.3g})"

    how = "fast connections learned" if first.learned_fast else "ideal fast connections"
    return "\n".join(
        [
            f"{first.system}, {how}, {len(outcomes)} seeds: recovered matrix off by "
            f"{over_seeds('matrix_error')}, error without feedback {over_seeds('error')}, of the "
            f"ideal network {over_seeds('ideal_error')}, untaught {over_seeds('error_before')}",
            f"  free response: decay off by {over_seeds('decay_error')}, frequency by "
            f"{over_seeds('frequency_error')}; feedback over slow current "
            f"{over_seeds('feedback_share')}; {over_seeds('rate_hz')} spikes per second and "
            f"neuron, CV {over_seeds('cv')}; fast connections off by {over_seeds('fast_distance')}",
        ]
    )
