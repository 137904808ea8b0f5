"""Faults of one kind: what is given to the command, how it ends, and what is shown."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn import cli
from roughsnn.signatures import permutation_test
from roughsnn.training.progress import Progress

from ...holberg_salvi_2024 import input_current
from ...huh_sejnowski_2018 import predictive_coding
from . import Fault


def _command(*arguments: str) -> tuple[int, str]:
    """Exit code of the command and what it said."""
    said = io.StringIO()
    os.environ["COLUMNS"] = "200"
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(arguments)
    return code, " ".join(said.getvalue().split())


def _steps_with_quick() -> tuple[str, bool]:
    ran: list[Any] = []
    run, input_current.run = input_current.run, ran.append
    try:
        _command("run", "input-current", "--quick", "--steps", "20")
        _command("run", "input-current", "--quick", "--steps", "1500")
        code, said = _command("run", "input-current", "--quick", "--steps", "-3")
    finally:
        input_current.run = run
    steps = [settings.steps for settings in ran]
    right = steps == [20, 1500] and code == 2 and "`steps` is -3" in said
    return f"20 and 1500 steps given, {steps} run; of -3 {code}", right


def _refused(words: str, *arguments: str) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as folder:
        output = () if arguments[0] == "plot" else ("--output", folder)
        code, said = _command(*arguments, *output)
    text = said.split("Error parsing Settings: ")[-1]
    return f"code {code}: {text[:110]}", code == 2 and words in said


def _leaving(sent: signal.Signals, code: int) -> tuple[str, bool]:
    """A run is interrupted while its compiled steps run; one try of what the study `interrupted`
    tries fifty times."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "roughsnn", "run", "input-current", "--quick",
                "--steps=100000", "--checkpoint-every=50", f"--output={folder}", "--no-progress",
            ],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        while process.poll() is None and not [*Path(folder).rglob("*.ckpt")]:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(sent)
        _, said = process.communicate()
        (status,) = Path(folder).glob("*/status.json")
        state = json.loads(status.read_text())["status"]
    right = process.returncode == code and state == "interrupted" and "Go on with" in said
    return f"{sent.name}: code {process.returncode}, {state}", right


def _refused_resume() -> tuple[str, bool]:
    """A finished run is resumed with what is refused before anything runs."""
    with tempfile.TemporaryDirectory() as name:
        settings = predictive_coding.Settings(output=Path(name))
        with rs.RunFolder.start(settings) as run:
            checkpoints = run.checkpoints("fit")
            with checkpoints.open():
                checkpoints.save(1500, jnp.zeros(2), identity={"key": "another"})
        before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
        resume = ("run", "predictive-coding", "--no-progress", "--resume", str(run.path))
        code, said = _command(*resume, "--steps", "10", "--num-neurons", "2", "--batch-size", "1")
        after = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    state = json.loads(after[run.path / "status.json"])["status"]
    right = code == 1 and state == "finished" and before == after
    return f"code {code} ({said[-60:]}), the run is {state}", right


def _psth_twice() -> tuple[str, bool]:
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_psth

    few = rs.SpikeTrains.from_lists([[[0.5]], [[0.6]]], t0=0.0, t1=1.0)
    many = rs.SpikeTrains.from_lists([[np.linspace(0.4, 0.6, 40)]] * 2, t0=0.0, t1=1.0)
    ax = plot_psth(few, num_bins=10)
    plot_psth(many, ax, num_bins=10)
    ax.figure.canvas.draw()
    highest = max(np.max(p.get_data()[0]) for p in ax.patches)  # pyright: ignore
    low, high = ax.get_ylim()
    plt.close(ax.figure)
    return (
        f"up to {highest:.0f} drawn, axis from {low:g} to {high:.0f}",
        low == 0 and high > highest,
    )


def _overflowed_raster() -> tuple[str, bool]:
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_raster

    trains = rs.SpikeTrains.from_lists([[[0.1, 0.58]], [[0.3]]], t0=0.0, t1=2.5)
    cut = rs.SpikeTrains(
        jnp.asarray(trains.times), trains.neurons, 0.0, 2.5, jnp.array([True, False]), num_neurons=1
    )
    ax = plot_raster(cut)
    title = ax.get_title(loc="right")
    plain = plot_raster(trains).get_title(loc="right")
    plt.close("all")
    said = "overflowed" in repr(cut) and "overflowed" not in repr(trains)
    return f"{title!r}; of complete trains {plain!r}", "1 of 2" in title and not plain and said


def _printed() -> tuple[str, bool]:
    x = jnp.arange(12.0)
    gram = jnp.exp(-((x[:, None] - x[None]) ** 2) / 20)
    result = permutation_test(gram, 6, key=jax.random.key(0), num_permutations=99)
    trains = rs.SpikeTrains.from_lists([[[0.1, 0.2], []], [[0.3], []]], t0=0.0, t1=1.0)
    texts = [str(result), str(trains), jax.eval_shape(lambda: trains).__repr__()]
    right = (
        f"p-value {float(result.p_value):.4g}" in texts[0]
        and "statistic" in texts[0]
        and all(words in texts[1] for words in ("window [0, 1]", "2 neurons", "3 spikes"))
    )
    return "; ".join(text.splitlines()[0] for text in texts), right


def _result_printed() -> tuple[str, bool]:
    neuron = rs.LIF(1, mu1=1.0)
    solution = rs.simulate_solution(
        neuron, 0.0, 0.2, 0.1, key=jax.random.key(0), num_samples=2, max_spikes=2
    )
    text = repr(solution.result)
    return text, text == "RESULTS.successful (2 of 2 samples)"


def _error_once() -> tuple[str, bool]:
    script = (
        "import jax, roughsnn as rs\n"
        "neuron, key = rs.StochasticLIF(), jax.random.key(0)\n"
        "def trains(current):\n"
        "    return rs.simulate(neuron, 0., 5., .05, key=key, num_samples=4, max_spikes=1,\n"
        "                       input_current=current)\n"
        "jax.jit(trains)(1.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    times = done.stderr.count("has room for")
    right = done.returncode == 1 and times == 1 and len(lines) <= 6 and "EventSolve" in lines[-1]
    return f"{len(lines)} lines, the text {times} times; the last: {lines[-1][:70]}", right


def _many_neurons() -> tuple[str, bool]:
    import matplotlib.pyplot as plt

    from roughsnn.plotting import plot_psth, plot_raster, plot_readout

    trains = rs.SpikeTrains.from_lists([[[0.5]] * 200], t0=0.0, t1=1.0)
    entries = len(plot_psth(trains).get_legend().get_texts())
    ticks = [int(t.get_text()) for t in plot_raster(trains).get_yticklabels()]
    ts, two = np.linspace(0, 1, 3), np.zeros((3, 2))
    lines = plot_readout(ts, two, two).lines
    targets = {line.get_color() for line in lines[::2]}
    plt.close("all")
    right = entries <= 10 and ticks == list(range(0, 200, 20)) and len(targets) == 2
    return f"{entries} entries, ticks at {ticks[:3]} ..., targets in {len(targets)} colours", right


def _log_file() -> tuple[str, bool]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), Progress(1000, enabled=True) as bar:
        for _ in range(1000):
            bar.update(1, 0.5)
    lines = said.getvalue().splitlines()
    longest = max(map(len, lines))
    return f"{len(lines)} lines of at most {longest} characters", longest < 100 and len(lines) < 25


FAULTS: list[Fault] = [
    Fault(17, "steps beside --quick", _steps_with_quick),
    Fault(
        17, "simulate --sigma -1", lambda: _refused("`sigma` is -1.0", "simulate", "--sigma", "-1")
    ),
    Fault(
        17, "simulate --layers 2 3 --neurons 4",
        lambda: _refused("`neurons` 4", "simulate", "--layers", "2", "3", "--neurons", "4"),
    ),
    Fault(
        17, "synaptic-weights --improved --steps 3 2",
        lambda: _refused(
            "not used with `improved`", "run", "synaptic-weights", "--improved", "--steps", "3", "2"
        ),
    ),
    Fault(
        17, "delayed-memory-xor --max-steps 20",
        lambda: _refused("`max_steps` is 20", "run", "delayed-memory-xor", "--max-steps", "20"),
    ),
    Fault(18, "SIGTERM during a run", lambda: _leaving(signal.SIGTERM, 143)),
    Fault(18, "Ctrl-C during a run", lambda: _leaving(signal.SIGINT, 130)),
    Fault(19, "a refused resume of a finished run", _refused_resume),
    Fault(24, "plot_psth twice on the same axes", _psth_twice),
    Fault(24, "plot_raster of trains that overflowed", _overflowed_raster),
    Fault(25, "print(two_sample_test(...)), print(trains)", _printed),
    Fault(25, "solution.result", _result_printed),
    Fault(25, "an error inside jit", _error_once),
    Fault(26, "200 neurons, two targets", _many_neurons),
    Fault(26, "progress in a log file", _log_file),
]  # fmt: skip
