"""Firing statistics and speed of a balanced network of 1000 neurons beside Brian2.

800 excitatory and 200 inhibitory leaky integrate-and-fire neurons with a hard threshold, current
synapses, 20 synapses into each, delays of 1.5 ms and refractory periods of 2 ms; the spread of
potentials at the start and chaos do the rest. The same connections, weights and first potentials,
by forward Euler at 0.1 ms on both sides: `simulate_on_grid` here, Brian2 there. A chaotic network
does not repeat spike by spike, so its statistics are compared. Times are those of one simulated
second, by turns, after each side has compiled.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._balanced import DRIVE, DT, SETTLING, Theirs, network, ours, statistics_of
from ._study import Study, format_table

_SIZE, _DEGREE = 1000, 20


def study(seconds: float = 10.0, rounds: int = 5, brian2_python: str = sys.executable) -> Study:
    """Run the comparison.

    Args:
        seconds: simulated time of which statistics are taken, after half a second.
        rounds: rounds of timing.
        brian2_python: a Python interpreter that has Brian2, in an environment of its own where its
            version does not go with this one's NumPy (`pip install brian2 "numpy<2.4"`).
    """
    pre, post, weights, v0 = network(_SIZE, _DEGREE)
    theirs = Theirs(brian2_python, pre, post, weights, v0)
    model = ours(pre, post, weights, v0)

    def our_run(duration):
        wall, cpu = time.perf_counter(), time.process_time()
        trains = rs.simulate_on_grid(model, 0.0, duration, DT, key=jr.key(0), input_current=DRIVE)
        jax.block_until_ready(trains.times)
        clocks = time.perf_counter() - wall, time.process_time() - cpu
        keep = np.isfinite(trains.times[0])
        return clocks, np.asarray(trains.times[0])[keep], np.asarray(trains.neurons[0])[keep]

    runs = {"ours": our_run, "Brian2": theirs.run}
    rows, rates, variations, clocks = [], {}, {}, {name: [] for name in runs}
    for name, run in runs.items():
        _, times, neurons = run(seconds + SETTLING)
        after = times > SETTLING
        rates[name], variations[name] = statistics_of(times[after], neurons[after], _SIZE, seconds)
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
