"""A spiking network keeps pulses in mind and answers with their exclusive or (delayed-memory XOR).

Pulses of either sign arrive on one channel, a go cue on another. If two pulses came since the
start, the readout is to answer +1 for unequal and -1 for equal signs during the cue; if only one
came, 0. Delays, pulses and cue last longer than the time constants of neurons (25 ms) and synapses
(20 and 5 ms), so the network must hold the pulses in its activity.

Trained from random weights on the full task it stays with the answer 0. What leads out, together:

- assemblies of mutually exciting neurons to start with, whose activity outlasts a pulse;
- a curriculum, in which delays grow as the network masters those it has;
- a loss that looks at the answer alone, and a firm price on rates away from 30 Hz;
- potentials that start anywhere, in each trial anew, so that no answer hangs on single spikes;
- a limit on the share that one trial has in a gradient, as the derivatives of chaotic trials grow
  exponentially.
"""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from .xor_task import ANSWERS, Difficulty, answer_of, draw_trials
from .xor_training import PROGRESS_COLUMNS, Progress, Settings, Trainee, respond, train


def judge(settings: Settings, trainee: Trainee, seed: int, num: int = 2000) -> dict[str, float]:
    """Share of right answers on fresh trials of the full task, a third of them with one pulse; for
    each answer, and with the recurrent weights put to 0."""
    task = settings.task
    full = Difficulty(jnp.asarray(task.longest_delay), jnp.asarray(1 / 3))
    trials = draw_trials(task, full, jr.key(seed + 1_000_000), num)

    @eqx.filter_jit
    def right(network):
        solution = respond(task, network, trials, jr.key(seed + 2_000_000))
        return answer_of(solution.readout[..., 0], trials) == trials.target, solution.num_spikes

    network = trainee.network
    found, spikes = right(network)
    cut = eqx.tree_at(
        lambda net: net.weights, network, replace_fn=lambda w: jax.tree.map(jnp.zeros_like, w)
    )
    outcome = {"accuracy": float(jnp.mean(found))}
    for answer, name in zip(ANSWERS, ("equal", "single", "unequal"), strict=True):
        outcome[name] = float(jnp.mean(found, where=trials.target == answer))
    outcome["without_recurrence"] = float(jnp.mean(right(cut)[0]))
    outcome["rate_hz"] = float(spikes.mean() / (task.num_steps * task.dt) * 1000)
    return outcome


def run(settings: Settings) -> tuple[dict[int, dict[str, float]], Path]:
    """Train and judge every seed; settings, checkpoints, figures and numbers go into a folder."""
    settings = settings.resized()
    outcomes = {}
    with rs.RunFolder.start(settings) as folder:
        for seed in settings.seeds:
            checkpoints = folder.checkpoints(f"seed-{seed}", settings.checkpoint_every)
            trainee, progress = train(settings, seed, checkpoints)
            outcome = judge(settings, trainee, seed)
            outcome |= {"steps": progress.rows[-1][0], "cpu_minutes": progress.cpu_seconds / 60}
            outcomes[seed] = outcome
            folder.write_json("outcomes.json", outcomes)
            folder.write_table(f"seed-{seed}-metrics.csv", PROGRESS_COLUMNS, progress.rows)
            for name, figure in draw_figures(settings, trainee, progress).items():
                folder.write_figure(f"seed-{seed}-{name}.png", figure)
    print(report(outcomes))
    print(f"Written to {folder.path}; go on from there with --resume {folder.path}")
    return outcomes, folder.path


def report(outcomes: dict[int, dict[str, float]]) -> str:
    """One line for each seed."""
    lines = []
    for seed, o in outcomes.items():
        lines.append(
            f"seed {seed}: {o['accuracy']:.1%} right on fresh trials (equal {o['equal']:.1%}, "
            f"single {o['single']:.1%}, unequal {o['unequal']:.1%}), without recurrent weights "
            f"{o['without_recurrence']:.1%}; {o['rate_hz']:.0f} spikes per second and neuron; "
            f"{o['steps']:.0f} steps in {o['cpu_minutes']:.1f} CPU minutes"
        )
    return "\n".join(lines)


def draw_figures(settings: Settings, trainee: Trainee, progress: Progress) -> dict:
    """Three trials with their spikes, and the curriculum."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_raster, plot_readout
    from roughsnn.plotting.style import COLOURS, legend, tidy

    task = settings.task
    full = Difficulty(jnp.asarray(task.longest_delay), jnp.asarray(1 / 3))
    trials = draw_trials(task, full, jr.key(5), 64)
    solution = respond(task, trainee.network, trials, jr.key(6))
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
    curriculum, (top, bottom) = plt.subplots(
        2, 1, figsize=(3.4, 3.0), sharex=True, layout="constrained"
    )
    top.plot(rows[:, 0], rows[:, 4], color=COLOURS[0], linewidth=0.8)
    top.axhline(settings.mastery, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    bottom.plot(rows[:, 0], rows[:, 1], color=COLOURS[1], linewidth=1)
    tidy(top, "", "right answers")
    tidy(bottom, "training step", "longest delay (ms)")
    return {"examples": examples, "curriculum": curriculum}
