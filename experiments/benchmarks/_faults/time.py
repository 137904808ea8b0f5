"""Faults of one kind: time in single precision, and comparisons of two roundings."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn import io
from roughsnn.drivers import TimeGrid
from roughsnn.spikes import cut_times
from roughsnn.spikes.steps import step_numbers

from . import Fault, refusal

KEY = jax.random.key(0)


def _on_a_grid_for_long() -> tuple[str, bool]:
    """600 s in ms: 34.13 Hz, in every part of the window."""
    trains = rs.simulate_on_grid(
        rs.LIF(mu1=0.05), 0.0, 600e3, 0.1, key=KEY, input_current=1.3
    )  # fmt: skip
    steps = np.round(trains.to_lists()[0][0] / 0.1).astype(int)
    intervals = np.diff(steps)
    rates = np.bincount((steps - 1) // 100_000) / 10
    same = intervals.min() == intervals.max()
    found = f"{min(rates):.1f} to {max(rates):.1f} Hz in parts of 10 s, intervals all equal: {same}"
    return found, bool(same) and all(abs(rate - 34.13) <= 0.1 for rate in rates)


def _on_a_grid_late() -> tuple[str, bool]:
    def counts(t0: float) -> np.ndarray:
        trains = rs.simulate_on_grid(
            rs.StochasticLIF(mu1=50.0, sigma=1.0, tau_s=0.05), t0, t0 + 0.5, 1e-4,
            key=KEY, num_samples=8, input_current=1.5,
        )  # fmt: skip
        return np.asarray(trains.times)

    first = counts(0.0)
    same = [np.array_equal(counts(t0), first) for t0 in (3600.0, 36000.0, 1.7e9)]
    return f"as at t0 = 0 at 3600, 36000 and 1.7e9: {same}", all(same)


def _current_as_a_function_late() -> tuple[str, bool]:
    def current(t):
        return 1.5 + 0.1 * jnp.sin(t)

    return refusal(
        lambda: rs.simulate_on_grid(
            rs.LIF(), 1.7e9, 1.7e9 + 1, 1e-4, key=KEY, input_current=current
        ),
        "depends on time", "double precision",
    )  # fmt: skip


def _merged() -> tuple[str, bool]:
    found = []
    for b in (0.0, 5e4, 1.69e9):
        trains = rs.SpikeTrains.from_lists(
            [[b + np.array([0.1, 0.1005, 0.101, 0.5])]], t0=b, t1=b + 1
        )
        intervals = np.asarray(rs.inter_spike_intervals(trains))[0, 0]
        rate = float(rs.spike_rates(trains)[0, 0])
        found.append((float(intervals[0]), float(trains.t0) == b, rate))
    # the recording itself is rounded to 2e-7 at 1.69e9
    right = all(abs(i - 5e-4) < 1e-6 and exact and rate == 4 for i, exact, rate in found)
    return f"first interval, exact start, rate: {found}", right


def _not_resolved() -> tuple[str, bool]:
    times = 9000 + np.array([0.1, 0.1005, 0.101])
    found, right = refusal(
        lambda: rs.SpikeTrains.from_lists([[times]], t0=0.0, t1=9500.0),
        "neuron 0", "9000.1", "shorter windows", "double precision",
    )  # fmt: skip
    cut = cut_times([times], [9000.0], [9001.0])
    trains = rs.SpikeTrains.from_lists(cut, t0=9000.0, t1=9001.0)
    intervals = np.asarray(rs.inter_spike_intervals(trains))[0, 0]
    return f"{found}; cut out: {intervals}", right and bool(np.all(abs(intervals - 5e-4) < 1e-6))


def _files_of_late_recordings() -> tuple[str, bool]:
    b = 1.69e9
    trains = rs.SpikeTrains.from_lists([[b + np.array([0.1, 0.1005, 0.101, 0.5])]], t0=b, t1=b + 1)
    same = []
    with tempfile.TemporaryDirectory() as folder:
        for name, write, read in (
            ("csv", io.write_csv, io.read_csv), ("npz", io.write_npz, io.read_npz),
        ):  # fmt: skip
            path = Path(folder) / f"late.{name}"
            write(path, trains)
            again = read(path)
            same.append(np.array_equal(again.times, trains.times) and again.t0 == b)
    return f"CSV and NPZ come back equal: {same}", all(same)


def _every_second_step() -> tuple[str, bool]:
    counts = []
    for current in (4 / 3, 1.4, 2.0):
        trains = rs.simulate_on_grid(
            rs.LIF(mu1=750.0), 0.0, 1.0, 1e-3, key=KEY, input_current=current
        )
        counts.append(int(trains.counts[0]))
    return f"spikes in 1000 steps: {counts}", counts == [1000] * 3


def _lags() -> tuple[str, bool]:
    """A neuron that fires every second step of 1 ms."""
    times = np.arange(2, 1001, 2) * 1e-3
    found = []
    for t0 in (0.0, 3600.0):
        trains = rs.SpikeTrains.from_lists([[t0 + times]], t0=t0, t1=t0 + 1)
        found.append(np.asarray(rs.correlograms(trains, 1000, 2))[0, 0].astype(int).tolist())
    return f"lags -2 to 2: {found}", found == [[498, 1, 500, 1, 498]] * 2


def _bins() -> tuple[str, bool]:
    found = []
    for unit in (1e-6, 1.0, 1e6):
        for dtype in (jnp.float32, jnp.float64):
            times = (np.arange(1000) * 0.1) * unit
            with jax.enable_x64(dtype == jnp.float64):
                trains = rs.SpikeTrains.from_lists([[times]], t0=0.0, t1=100 * unit, dtype=dtype)
                counts = np.asarray(rs.binned_counts(trains, 1000))
            found.append((int(counts.min()), int(counts.max())))
    return f"spikes a bin, units 1e-6 to 1e6, both precisions: {found}", set(found) == {(1, 1)}


def _input_spikes_on_the_grid() -> tuple[str, bool]:
    network = rs.SpikingNetwork(rs.LIF(mu1=1.0), jnp.zeros((1, 1)), input_weights=[[1.0]])
    late, number = 0, 0
    for t0 in (0.0, 3600.0):
        given = np.arange(7, 10_000, 7) * 1e-4
        inputs = rs.SpikeTrains.from_lists([[t0 + given]], t0=t0, t1=t0 + 1)
        steps = step_numbers(inputs[0], TimeGrid(t0, t0 + 1, 1e-4))
        late += int(np.sum(steps != np.arange(7, 10_000, 7) - 1))
        number += given.size
        rs.simulate_on_grid(network, t0, t0 + 1, 1e-4, key=KEY, input_spikes=inputs)
    return f"{late} of {number} act in another step", late == 0


def _memory() -> tuple[str, bool]:
    """Peak memory of one pair of 1000 spikes a train, against the number of neurons."""
    code = (
        "import sys, resource, numpy as np, roughsnn as rs\n"
        "k = int(sys.argv[1])\n"
        "rng = np.random.default_rng(0)\n"
        "trial = [np.sort(rng.choice(2**20, 30000 // k, False)) / 2**16 for _ in range(k)]\n"
        "x = rs.SpikeTrains.from_lists([trial], t0=0, t1=16)\n"
        "rs.VanRossum(tau=.1).pairs(x, x), rs.cv(x), rs.first_spike_times(x, 1)\n"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for neurons in (10, 1000):
        run = subprocess.run(
            [sys.executable, "-c", code, str(neurons)], capture_output=True, text=True, check=True
        )
        found = re.search(r"peak (\d+)", run.stdout)
        peaks.append(int(found.group(1)) // 1024 if found else 10**9)
    return f"{peaks} MB for 10 and 1000 neurons, 30000 spikes", peaks[1] < peaks[0] + 150


FAULTS: list[Fault] = [
    Fault(1, "a simulation on a grid that changes its speed", _on_a_grid_for_long),
    Fault(1, "a simulation on a grid that begins late", _on_a_grid_late),
    Fault(1, "a current as a function of late times", _current_as_a_function_late),
    Fault(3, "spike times that merge when they are stored", _merged),
    Fault(3, "spikes that the dtype does not resolve", _not_resolved),
    Fault(3, "files of a recording that begins late", _files_of_late_recordings),
    Fault(4, "a neuron that reaches its threshold exactly", _every_second_step),
    Fault(4, "correlograms of spikes on the edges of bins", _lags),
    Fault(4, "spikes on the edges of bins", _bins),
    Fault(4, "input spikes at multiples of the step", _input_spikes_on_the_grid),
    Fault(13, "memory of distances, CV and first spike times", _memory),
]
