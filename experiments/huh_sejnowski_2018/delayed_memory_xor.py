"""A spiking network keeps pulses in mind and answers with their exclusive or (delayed-memory XOR).

Pulses of either sign arrive on one channel, a go cue on another. If two pulses came since the
start, the readout is to answer +1 for unequal and -1 for equal signs during the cue; if only one
came, 0. Delays, pulses and cue last longer than the time constants of neurons (25 ms) and synapses
(20 and 5 ms), so the network must hold the pulses in its activity.

Trained from random weights it stays with the answer 0. What leads out, together:

- assemblies of mutually exciting neurons to start with, silent at rest, whose activity outlasts a
  pulse; with them no delay is too long from the start, and gradients stay moderate;
- a loss that looks at the answer alone, and a price on rates away from 30 Hz;
- small steps of the recurrent weights; what is kept is the average over many steps, the best on
  trials for validation, and training goes back to it wherever it has lost much;
- potentials that start anywhere, in each trial anew, so that no answer hangs on single spikes;
- a limit on the share that one trial has in a gradient.
"""

import json
import re
from pathlib import Path

import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.gated import GatedNetwork

from .currents import currents, draw_balance
from .xor_judging import judge
from .xor_network import respond
from .xor_settings import Settings
from .xor_task import ANSWERS, draw_trials
from .xor_training import PROGRESS_COLUMNS, Progress, train


def run(settings: Settings) -> tuple[dict[int, dict[str, float]], Path]:
    """Train and judge every seed; settings, checkpoints, figures and numbers go into a folder."""
    outcomes, rows = {}, []
    with rs.RunFolder.start(settings) as folder:
        for seeds in _groups(settings, folder.path):
            name = "-".join(["seed" if len(seeds) == 1 else "seeds", *map(str, seeds)])
            checkpoints = folder.checkpoints(name, settings.checkpoint_every)
            trained = train(settings, seeds, checkpoints)
            for seed, (network, progress) in zip(seeds, trained, strict=True):
                outcomes[seed] = judge(settings, network, seed) | {
                    "steps": progress.done,
                    "setbacks": progress.setbacks,
                    "cpu_minutes": progress.cpu_seconds / 60,
                    "minutes": progress.seconds / 60,
                }
                folder.write_json("outcomes.json", outcomes)
                rows += [[seed, *row] for row in progress.rows]
                folder.write_table("metrics.csv", ["seed", *PROGRESS_COLUMNS], rows)
                folder.write_model(f"seed-{seed}-network.model", network, time_unit="ms")
                for figure, drawn in draw_figures(settings, network, progress).items():
                    folder.write_figure(f"seed-{seed}-{figure}.png", drawn)
    print(report(outcomes))
    print(f"Written to {folder.path}; go on from there with --resume {folder.path}")
    return outcomes, folder.path


def _groups(settings: Settings, folder: Path) -> list[tuple[int, ...]]:
    """The seeds that are trained together: those that an earlier session began together, and then
    the others."""
    begun = [
        tuple(map(int, re.findall(r"(?<=-)-?\d+", path.name)))
        for path in sorted((folder / "checkpoints").glob("seed*-*"))
    ]
    groups = [seeds for seeds in begun if set(seeds) <= set(settings.seeds)]
    rest = tuple(s for s in settings.seeds if not any(s in seeds for seeds in groups))
    if rest:
        groups += [rest] if settings.side_by_side else [(seed,) for seed in rest]
    return groups


def read_outcomes(folder: Path) -> dict[int, dict[str, float]]:
    """The numbers of a run, by seed."""
    read = json.loads((folder / "outcomes.json").read_text())
    return {int(seed): outcome for seed, outcome in read.items()}


def report(outcomes: dict[int, dict[str, float]]) -> str:
    """Two lines for each seed."""
    lines = []
    for seed, o in outcomes.items():
        lines.append(
            f"seed {seed}: {o['accuracy']:.1%} right on fresh trials (equal {o['equal']:.1%}, "
            f"single {o['single']:.1%}, unequal {o['unequal']:.1%}), {o['rate_hz']:.0f} spikes per "
            f"second and neuron; {o['steps']:.0f} steps, {o['setbacks']:.0f} setbacks, "
            f"{o['cpu_minutes']:.1f} CPU minutes in {o['minutes']:.1f} minutes\n"
            f"  without recurrent weights {o['without_recurrence']:.1%} right (equal "
            f"{o['without_recurrence_equal']:.1%}, single {o['without_recurrence_single']:.1%}, "
            f"unequal {o['without_recurrence_unequal']:.1%}), the signs of two pulses told apart "
            f"in {o['without_recurrence_order']:.1%}; with a new readout "
            f"{o['without_recurrence_refitted']:.1%}; the start with a new readout "
            f"{o['readout_alone']:.1%}, the trained network {o['refitted']:.1%}"
        )
    return "\n".join(lines)


def draw_figures(settings: Settings, network: GatedNetwork, progress: Progress) -> dict:
    """Three trials with their spikes, the currents in one of them, and the learning curve."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_learning_curve, plot_raster, plot_readout
    from roughsnn.plotting.style import COLOURS, legend, tidy

    task = settings.task
    trials = draw_trials(task, jr.key(5), 64)
    solution = respond(task, network, trials, jr.key(6), throw=False)
    ts, names = np.asarray(solution.ts), ("equal signs", "one pulse", "unequal signs")
    examples, axes = plt.subplots(
        3, 3, figsize=(6.8, 4.4), height_ratios=(0.7, 1, 1.3), sharex=True, layout="constrained"
    )
    for column, (answer, name) in enumerate(zip(ANSWERS, names, strict=True)):
        trial = int(np.flatnonzero(np.asarray(trials.target) == answer)[0])
        top, middle, bottom = axes[:, column]
        top.set_title(name, fontsize=8)
        for channel, label in enumerate(("pulses", "cue")):
            x = trials.inputs[trial, :, channel]
            top.plot(ts, x, color=COLOURS[3 + channel], linewidth=1, label=label)
        asked = np.asarray(trials.weight[trial]) > 0
        target = np.where(asked, answer, np.nan)
        plot_readout(ts, solution.readout[trial, :, 0], target, middle)
        middle.set_ylim(-2, 2)
        plot_raster(solution.spike_trains(4000)[trial], bottom, time_unit="ms")
        tidy(top, "", "input" if column == 0 else "")
        middle.set_xlabel("")
        if column == 0:
            legend(top)
        else:
            middle.get_legend().remove()
            middle.set_ylabel("")
            bottom.set_ylabel("")

    external, recurrent = currents(network, trials.inputs, solution)
    shown = [int(np.flatnonzero(np.asarray(trials.target) == ANSWERS[-1])[0])]
    balance = draw_balance(ts, external[shown], {p: x[shown] for p, x in recurrent.items()})

    columns = dict(zip(PROGRESS_COLUMNS, np.array(progress.rows).T, strict=True))
    curve, (top, bottom) = plt.subplots(2, 1, figsize=(3.4, 3.0), sharex=True, layout="constrained")
    steps = columns["step"]
    for name, label in (("accuracy", "trained network"), ("validated", "average")):
        right = {"right answers": columns[name]}
        plot_learning_curve(right, top, name="right answers", steps=steps, label=label, log=False)
    top.axhline(1 / 3, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    top.set_ylim(0, 1)
    top.set_xlabel("")
    plot_learning_curve(columns, bottom, steps=steps, log=False)
    bottom.set_ylim(bottom=0)
    return {"examples": examples, "balance": balance, "learning-curve": curve}
