"""Training that survives: Yin-Yang by exact spike times, and runs that are broken on purpose.

A network of 5 input spikes, 30 hidden and 3 output neurons learns the Yin-Yang task (Kriener,
Goeltz & Petrovici 2022) by the times of its first output spikes: hard-threshold LIF neurons and
stochastic ones, three solvers, seeds; batches of 150. Weights are drawn wide, so that spikes graze
thresholds as training goes on. Nothing is tuned for accuracy; it is printed to show that something
is learned.

Then runs meet a NaN, an exploding network, Ctrl-C, SIGTERM, a full disk under a checkpoint and one
under a log: each has to hand back the model after its last good step, to the bit that of a run of
so many steps.
"""

import errno
import itertools
import os
import signal
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.spikes import first_spike_times
from roughsnn.tasks import yin_yang

from ._study import Study, format_table

_HIDDEN, _CLASSES, _BATCH = 30, 3, 150
_WINDOW, _STEP = 4.0, 0.05
_SOLVERS = {"euler": dfx.Euler(), "heun": dfx.Heun(), "tsit5": dfx.Tsit5()}


def network(model: str, key: Any) -> rs.SpikingNetwork:
    """The network at its start; time is in units of the synaptic time constant."""
    size = _HIDDEN + _CLASSES
    if model == "lif":
        neurons = rs.LIF(size, mu1=0.5, mu2=1.0, v_th=1.0, reset_to=0.0)
    else:
        neurons = rs.StochasticLIF(
            size, mu1=0.5, mu2=1.0, sigma=0.05, v_th=1.0, v_reset=1.0, beta=10.0, tau_s=0.1,
            alpha=0.1,
        )  # fmt: skip
    into_hidden, into_output = jr.split(key)
    weights, inputs = np.zeros((size, size)), np.zeros((5, size))
    inputs[:, :_HIDDEN] = 1.5 + jr.normal(into_hidden, (5, _HIDDEN))
    weights[:_HIDDEN, _HIDDEN:] = 0.5 + 0.4 * jr.normal(into_output, (_HIDDEN, _CLASSES))
    connections = np.zeros((size, size), bool)
    connections[:_HIDDEN, _HIDDEN:] = True
    return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs)


def spikes_of(points: Any) -> rs.SpikeTrains:
    """Each coordinate as the time of a spike in [0.15, 2], and a fifth input at 0.15."""
    ones = jnp.zeros((points.shape[0], 1))
    times = 0.15 + 1.85 * jnp.concatenate([points, ones], axis=1)
    order = jnp.argsort(times, axis=1)
    times = jnp.take_along_axis(times, order, axis=1)
    return rs.SpikeTrains(times, order.astype(jnp.int32), 0.0, _WINDOW, num_neurons=5)


def trials(model, points, key, solver: str, throw: bool = False) -> rs.SpikeTrains:
    """The response of the network to each point."""
    return rs.simulate(
        model, 0.0, _WINDOW, _STEP, key=key, num_samples=points.shape[0], max_spikes=120,
        input_spikes=spikes_of(points), solver=_SOLVERS[solver], throw=throw,
    )  # fmt: skip


def output_times(trains: rs.SpikeTrains) -> Any:
    """When each output neuron fires first; the end of the window where it does not."""
    times = first_spike_times(trains.select(range(_HIDDEN, _HIDDEN + _CLASSES)), 1)[..., 0]
    return jnp.where(jnp.isfinite(times), times, _WINDOW)


def loss(generated: tuple[rs.SpikeTrains, Any], _: Any) -> Any:
    """Cross-entropy of the classes by first spikes."""
    trains, labels = generated
    logits = -output_times(trains) / 0.2
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def right(model, generated, holdout) -> Any:
    """The share of the batch whose own output fires first."""
    trains, labels = generated
    return jnp.mean(jnp.argmin(output_times(trains), axis=1) == labels)


def simulated(solver: str, throw: bool = False):
    """What `fit` calls: a batch of points and their classes is drawn, and simulated."""
    data = yin_yang(5000, seed=42)
    points, labels = data.inputs, data.targets
    points = points.astype(float)

    def simulate(model, key):
        draw, noise = jr.split(key)
        chosen = jr.randint(draw, (_BATCH,), 0, points.shape[0])
        return trials(model, points[chosen], noise, solver, throw), labels[chosen]

    return simulate


def settings(solver: str, **others) -> dict[str, Any]:
    """Arguments of `fit`, the same for all runs."""
    return {
        "simulate": simulated(solver),
        "loss": loss,
        "optimiser": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3)),
        "trainable": lambda model: (model.weights, model.input_weights),
        "metrics": {"right": right},
        "progress": False,
    } | others


def _train(model: str, solver: str, seed: int, steps: int) -> tuple[Any, float]:
    """One run, and its seconds; a line of progress now and then."""
    begin = time.perf_counter()

    def callback(step, _, history):
        if step % 100 == 0:
            print(f"  {model} {solver} {seed}: step {step}, {_digest(history, 100)}", flush=True)

    result = rs.fit(
        network(model, jr.key(seed)), None, num_steps=steps, key=jr.key(1000 + seed),
        callback=callback, **settings(solver),
    )  # fmt: skip
    return result, time.perf_counter() - begin


def _digest(history: dict[str, np.ndarray], steps: int) -> str:
    means = {name: float(np.mean(values[-steps:])) for name, values in history.items()}
    return ", ".join(f"{name} {means[name]:.3g}" for name in ("loss", "right", "left_out"))


# --- runs that are broken

_GOOD = 7


def _from_then_on(rate: float) -> optax.GradientTransformation:
    """A learning rate that is good for so many steps."""
    return optax.sgd(lambda count: jnp.where(jnp.asarray(count) < _GOOD, 0.1, rate))


def _no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _broken() -> list[list[Any]]:
    """Every way to break a run: its name, how it ended, and whether the model is the last good."""
    simulate = simulated("heun", throw=True)
    rows = []

    def fit(num_steps, **others):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rs.fit(
                network("lif", jr.key(0)), None, num_steps=num_steps, key=jr.key(1), log_every=3,
                **settings("heun", simulate=simulate, **others),
            )  # fmt: skip

    def judge(name, status, steady, **others):
        """`others` break the run, `steady` is what a whole one shares with it."""
        result = fit(30, **steady, **others)
        whole = fit(result.num_steps, **steady)
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                jax.tree.leaves(result.model), jax.tree.leaves(whole.model), strict=True
            )
        ]
        kept = result.status is status and 0 < result.num_steps < 30 and all(same)
        message = " ".join(result.message.split())
        rows.append([name, f"{result.status.name} at {result.num_steps}: {message[:90]}", kept])
        print(f"  {name}: {message}", flush=True)

    for name, rate, status in (
        ("NaN", np.nan, rs.FitStatus.NON_FINITE),
        ("exploding network", 1e4, rs.FitStatus.FAILED),
    ):
        judge(name, status, {"optimiser": _from_then_on(rate)})

    steady = {"optimiser": optax.sgd(0.1)}
    for name, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        judge(name, rs.FitStatus.INTERRUPTED, steady, callback=_sends(number))
    with tempfile.TemporaryDirectory() as folder:
        kept = rs.Checkpoints(Path(folder) / "fit", every=3)
        callback = _fills(folder)
        try:
            judge(
                "disk full, checkpoint", rs.FitStatus.FAILED, steady, checkpoint=kept,
                callback=callback,
            )  # fmt: skip
        finally:
            callback.patch.stop()
    judge("disk full, log", rs.FitStatus.FAILED, steady, callback=_logs_to_a_full_disk)
    return rows


def _sends(number: int):
    """A callback that has a signal sent to this process soon after the ninth step."""

    def callback(step, model, history):
        if step == 9:
            # a process that was started in the background ignores Ctrl-C
            if number == signal.SIGINT:
                signal.signal(number, signal.default_int_handler)
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()

    return callback


class _fills:
    """A callback after whose ninth step no file can be written any more."""

    def __init__(self, folder):
        self.patch = mock.patch.object(os, "fsync", _no_space)

    def __call__(self, step, model, history):
        if step == 9:
            self.patch.start()


def _logs_to_a_full_disk(step, model, history):
    if step == 9:
        with Path("/dev/full").open("w") as file:
            file.write("loss\n")


def study(
    models: tuple[str, ...] = ("lif", "stochastic"),
    solvers: tuple[str, ...] = ("euler", "heun", "tsit5"),
    seeds: tuple[int, ...] = (0, 1),
    steps: int = 600,
) -> Study:
    """Train, and break runs.

    Args:
        models: "lif", "stochastic".
        solvers: "euler", "heun", "tsit5".
        seeds: of the weights and of the noise.
        steps: steps of each run.
    """
    print("broken on purpose", flush=True)
    broken = _broken()
    rows, figures = [], {"runs": 0.0, "runs_that_ended_early": 0.0}
    for model, solver, seed in itertools.product(models, solvers, seeds):
        result, seconds = _train(model, solver, seed, steps)
        history = result.history
        last = slice(-max(steps // 10, 1), None)
        row = dict(
            steps=result.num_steps,
            left_out=float(np.mean(history["left_out"])),
            steps_with_some=float(np.mean(history["left_out"] > 0)),
            largest=float(np.max(history["left_out"])),
            loss=float(np.mean(history["loss"][last])),
            right=float(np.mean(history["right"][last])),
            seconds=seconds,
        )
        figures["runs"] += 1
        figures["runs_that_ended_early"] += result.status is not rs.FitStatus.COMPLETED
        figures[f"left_out_{model}_{solver}_{seed}"] = row["left_out"]
        rows.append([model, solver, seed, *row.values()])
        print(f"{model} {solver} seed {seed}: {result.message} {row}", flush=True)
    header = ["model", "solver", "seed", *row] if rows else ["model"]
    table = format_table(header, rows)
    table += "\n\n" + format_table(["broken on purpose", "how it ended", "kept"], broken)
    figures["endings_without_the_last_good_model"] = sum(not kept for *_, kept in broken)
    bounds = {"runs_that_ended_early": "<= 0", "endings_without_the_last_good_model": "<= 0"}
    return Study(figures, bounds, table)
