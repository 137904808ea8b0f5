"""Firing statistics and speed of a balanced network of 1000 neurons beside Brian2.

800 excitatory and 200 inhibitory leaky integrate-and-fire neurons with a hard threshold, current
synapses, 20 synapses into each, delays of 1.5 ms and refractory periods of 2 ms; the spread of
potentials at the start and chaos do the rest. The same connections, weights and first potentials,
by forward Euler at 0.1 ms on both sides: `simulate_on_grid` here, Brian2 there. A chaotic network
does not repeat spike by spike, so its statistics are compared. Times are those of one simulated
second, by turns, after each side has compiled.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

# in seconds
TAU_V, TAU_I, DELAY, REFRACTORY, DT = 20e-3, 5e-3, 1.5e-3, 2e-3, 1e-4
EXCITATORY, INHIBITORY, DEGREE = 800, 200, (16, 4)
WEIGHTS, DRIVE = (0.5, -2.5), 1.2
SETTLING = 0.5


def study(seconds: float = 10.0, rounds: int = 5, brian2_python: str = sys.executable) -> Study:
    """Run the comparison.

    Args:
        seconds: simulated time of which statistics are taken, after half a second.
        rounds: rounds of timing.
        brian2_python: a Python interpreter that has Brian2, in an environment of its own where its
            version does not go with this one's NumPy (`pip install brian2 "numpy<2.4"`).
    """
    pre, post, weights, v0 = _network()
    theirs = _Theirs(brian2_python, pre, post, weights, v0)
    network = _ours(pre, post, weights, v0)

    def our_run(duration):
        wall, cpu = time.perf_counter(), time.process_time()
        trains = rs.simulate_on_grid(network, 0.0, duration, DT, key=jr.key(0), input_current=DRIVE)
        jax.block_until_ready(trains.times)
        clocks = time.perf_counter() - wall, time.process_time() - cpu
        keep = np.isfinite(trains.times[0])
        return clocks, np.asarray(trains.times[0])[keep], np.asarray(trains.neurons[0])[keep]

    runs = {"ours": our_run, "Brian2": theirs.run}
    rows, rates, variations, clocks = [], {}, {}, {name: [] for name in runs}
    for name, run in runs.items():
        _, times, neurons = run(seconds + SETTLING)
        after = times > SETTLING
        rates[name], variations[name] = _statistics(times[after], neurons[after], seconds)
        run(1.0)
    for _ in range(rounds):
        for name, run in runs.items():
            clocks[name].append(run(1.0)[0])
    for name in runs:
        wall, cpu = (statistics.median(x) for x in zip(*clocks[name], strict=True))
        rows.append([name, rates[name], variations[name], wall, cpu])
    pairs = list(zip(clocks["ours"], clocks["Brian2"], strict=True))
    figures = {
        "rate": rates["ours"],
        "rate_error": abs(rates["ours"] / rates["Brian2"] - 1),
        "cv": variations["ours"],
        "cv_error": abs(variations["ours"] - variations["Brian2"]),
        "cpu_ratio": statistics.median(a[1] / b[1] for a, b in pairs),
        "wall_ratio": statistics.median(a[0] / b[0] for a, b in pairs),
    }
    bounds = {
        "rate_error": "<= 0.02",
        "cv_error": "<= 0.03",
        "cpu_ratio": "<= 1.5",
        "wall_ratio": "<= 1.5",
    }
    header = ["", "rate, Hz", "CV", "wall s per s", "CPU s per s"]
    about = theirs.about
    note = (
        f"{pre.size} synapses, statistics over {seconds:g} s; Brian2 {about['version']} (NumPy "
        f"{about['numpy']}) with {about['target']}; ours in {jnp.result_type(float)}"
    )
    return Study(figures, bounds, f"{note}\n{format_table(header, rows)}")


class _Theirs:
    """Brian2 in a process of its own, see `_brian2_worker`."""

    def __init__(self, python, pre, post, weights, v0):
        has = subprocess.run([python, "-c", "import brian2"], capture_output=True, text=True)
        if has.returncode != 0:
            reason = has.stderr.strip().splitlines()[-1]
            raise SystemExit(
                f"The study balanced-network needs Brian2, and {python} cannot import it "
                f"({reason}). Make an environment for it, `python -m venv ENV && ENV/bin/pip "
                "install brian2 'numpy<2.4' setuptools`, and pass `--brian2-python ENV/bin/python`."
            )
        worker = Path(__file__).with_name("_brian2_worker.py")
        self.process = subprocess.Popen(
            [python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        network = dict(
            dt=DT, tau_v=TAU_V, tau_i=TAU_I, drive=DRIVE, delay=DELAY, refractory=REFRACTORY,
            pre=pre.tolist(), post=post.tolist(), weights=weights.tolist(), v0=v0.tolist(),
        )  # fmt: skip
        self.about = self._ask(network)

    def _ask(self, question):
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("Brian2's process ended; its own message stands above.")
        return json.loads(answer)

    def run(self, duration):
        """The seconds on both clocks, and the spikes."""
        found = self._ask(duration)
        clocks = found["wall"], found["cpu"]
        return clocks, np.asarray(found["times"]), np.asarray(found["neurons"], int)


def _network(seed: int = 0):
    """The synapses, by excitatory and inhibitory in-degree, and the first potentials."""
    rng = np.random.default_rng(seed)
    size = EXCITATORY + INHIBITORY
    pre, post, weights = [], [], []
    for begin, count, degree, weight in (
        (0, EXCITATORY, DEGREE[0], WEIGHTS[0]),
        (EXCITATORY, INHIBITORY, DEGREE[1], WEIGHTS[1]),
    ):
        for j in range(size):
            others = np.setdiff1d(np.arange(begin, begin + count), [j])
            pre.append(rng.choice(others, degree, replace=False))
            post.append(np.full(degree, j))
            weights.append(np.full(degree, weight))
    v0 = rng.uniform(0.0, 0.99, size)
    return (*(np.concatenate(x) for x in (pre, post, weights)), v0)


def _ours(pre, post, weights, v0):
    neurons = rs.LIF(v0.size, mu1=1 / TAU_V, mu2=1 / TAU_I, v0=v0)
    return rs.SpikingNetwork(
        neurons, weights, rs.SparseConnections(pre, post, v0.size), axonal_delays=DELAY,
        refractory=REFRACTORY,
    )  # fmt: skip


def _statistics(times, neurons, seconds):
    """The mean rate, and the mean over neurons of the CV of their intervals."""
    size = EXCITATORY + INHIBITORY
    order = np.lexsort((times, neurons))
    times, neurons = times[order], neurons[order]
    intervals = np.diff(times)[np.diff(neurons) == 0]
    owner = neurons[1:][np.diff(neurons) == 0]
    counts = np.bincount(owner, minlength=size)
    enough = counts >= 5
    mean = np.bincount(owner, intervals, size) / np.maximum(counts, 1)
    square = np.bincount(owner, (intervals - mean[owner]) ** 2, size) / np.maximum(counts - 1, 1)
    variation = np.sqrt(square[enough]) / mean[enough]
    return times.size / size / seconds, float(variation.mean())
