"""A spiking network keeps pulses in mind and answers with their exclusive or (delayed-memory XOR).

Pulses of either sign arrive on one channel, a go cue on another. If two pulses came since the
start, the readout is to answer +1 for unequal and -1 for equal signs during the cue; if only one
came, 0. Delays, pulses and cue last longer than the time constants of neurons (25 ms) and synapses
(20 and 5 ms), so the network must hold the pulses in its activity.

Trained from random weights it stays with the answer 0. What leads out, together:

- assemblies of mutually exciting neurons to start with, silent at rest, whose activity outlasts a
  pulse; with them no delay is too long from the start, and gradients stay moderate;
- a loss that looks at the answer alone, and a firm price on rates away from 30 Hz;
- small steps of the recurrent weights, and a step back wherever one has destroyed what was there;
- potentials that start anywhere, in each trial anew, so that no answer hangs on single spikes;
- a limit on the share that one trial has in a gradient.
"""

import json
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.gated import GatedNetwork

from .xor_task import ANSWERS, answer_of, draw_trials
from .xor_training import PROGRESS_COLUMNS, Progress, Settings, initial_network, respond, train


def judge(
    settings: Settings, network: GatedNetwork, seed: int, num: int = 2000
) -> dict[str, float]:
    """Share of right answers on fresh trials, a third of them with one pulse; for each answer, and
    with the recurrent weights put to 0.

    Beside it stands what the network could do before training, had its readout alone been fitted:
    by least squares, with a small ridge, to as many trials as are judged.
    """
    task = settings.task

    @eqx.filter_jit
    def response(network, seed):
        trials = draw_trials(task, jr.key(seed), num)
        solution = respond(task, network, trials, jr.key(seed + 1_000_000), throw=False)
        right = answer_of(solution.readout[..., 0], trials) == trials.target
        # the mean readout is that of the mean traces
        traces = solution.traces[..., network.read_from, :]
        means = jnp.einsum("bt,btn->bn", trials.weight, traces)
        return right, trials.target, means, solution.num_spikes

    judged, fitted = jnp.asarray(seed + 1_000_000), jnp.asarray(seed + 3_000_000)
    right, target, _, spikes = response(network, judged)
    silent = tuple(jnp.zeros_like(w) for w in network.weights)
    cut = eqx.tree_at(lambda net: net.weights, network, silent)
    outcome = {"accuracy": float(jnp.mean(right))}
    for answer, name in zip(ANSWERS, ("equal", "single", "unequal"), strict=True):
        outcome[name] = float(jnp.mean(right, where=target == answer))
    outcome["without_recurrence"] = float(jnp.mean(response(cut, judged)[0]))
    outcome["rate_hz"] = float(spikes.mean() / (task.num_steps * task.dt) * 1000)

    start = initial_network(settings, jr.split(jr.key(seed))[0])
    _, target, means, _ = response(start, fitted)
    ridge = 1e-3 * num * jnp.eye(network.num_neurons, dtype=means.dtype)
    readout = jnp.linalg.solve(means.T @ means + ridge, means.T @ target)
    start = eqx.tree_at(lambda net: net.readout, start, readout[:, None])
    outcome["readout_alone"] = float(jnp.mean(response(start, judged)[0]))
    return outcome


def run(settings: Settings) -> tuple[dict[int, dict[str, float]], Path]:
    """Train and judge every seed; settings, checkpoints, figures and numbers go into a folder."""
    settings = settings.resized()
    outcomes = {}
    with rs.RunFolder.start(settings) as folder:
        for seed in settings.seeds:
            checkpoints = folder.checkpoints(f"seed-{seed}", settings.checkpoint_every)
            network, progress = train(settings, seed, checkpoints)
            outcomes[seed] = judge(settings, network, seed) | {
                "steps": progress.done,
                "setbacks": progress.setbacks,
                "cpu_minutes": progress.cpu_seconds / 60,
                "minutes": progress.seconds / 60,
            }
            folder.write_json("outcomes.json", outcomes)
            folder.write_table(f"seed-{seed}-metrics.csv", PROGRESS_COLUMNS, progress.rows)
            for name, figure in draw_figures(settings, network, progress).items():
                folder.write_figure(f"seed-{seed}-{name}.png", figure)
    print(report(outcomes))
    print(f"Written to {folder.path}; go on from there with --resume {folder.path}")
    return outcomes, folder.path


def read_outcomes(folder: Path) -> dict[int, dict[str, float]]:
    """The numbers of a run, by seed."""
    read = json.loads((folder / "outcomes.json").read_text())
    return {int(seed): outcome for seed, outcome in read.items()}


def report(outcomes: dict[int, dict[str, float]]) -> str:
    """One line for each seed."""
    lines = []
    for seed, o in outcomes.items():
        lines.append(
            f"seed {seed}: {o['accuracy']:.1%} right on fresh trials (equal {o['equal']:.1%}, "
            f"single {o['single']:.1%}, unequal {o['unequal']:.1%}), without recurrent weights "
            f"{o['without_recurrence']:.1%}, with the readout alone fitted "
            f"{o['readout_alone']:.1%}; {o['rate_hz']:.0f} spikes per second and neuron; "
            f"{o['steps']:.0f} steps, {o['setbacks']:.0f} setbacks, {o['cpu_minutes']:.1f} CPU "
            f"minutes in {o['minutes']:.1f} minutes"
        )
    return "\n".join(lines)


def draw_figures(settings: Settings, network: GatedNetwork, progress: Progress) -> dict:
    """Three trials with their spikes, and the learning curve."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_raster, plot_readout
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

    rows = np.array(progress.rows)
    curve, (top, bottom) = plt.subplots(2, 1, figsize=(3.4, 3.0), sharex=True, layout="constrained")
    top.plot(rows[:, 0], rows[:, 2], color=COLOURS[0], linewidth=1)
    top.axhline(1 / 3, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    top.set_ylim(0, 1)
    bottom.plot(rows[:, 0], rows[:, 1], color=COLOURS[1], linewidth=1)
    bottom.set_ylim(bottom=0)
    tidy(top, "", "right answers")
    tidy(bottom, "training step", "loss")
    return {"examples": examples, "learning-curve": curve}
