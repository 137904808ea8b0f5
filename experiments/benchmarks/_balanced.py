"""A balanced network of excitatory and inhibitory neurons, here and in Brian2.

Leaky integrate-and-fire neurons with a hard threshold, current synapses, delays of 1.5 ms and
refractory periods of 2 ms; a fifth of all neurons, and of the synapses into each, is inhibitory.
"""

import json
import subprocess
from pathlib import Path

import numpy as np

import roughsnn as rs

# in seconds
TAU_V, TAU_I, DELAY, REFRACTORY, DT = 20e-3, 5e-3, 1.5e-3, 2e-3, 1e-4
# of so many synapses into each neuron
WEIGHTS, WEIGHED_FOR, DRIVE = (0.5, -2.5), 20, 1.2
SETTLING = 0.5


class Theirs:
    """Brian2 in a process of its own, see `_brian2_worker`."""

    def __init__(self, python, pre, post, weights, v0):
        has = subprocess.run([python, "-c", "import brian2"], capture_output=True, text=True)
        if has.returncode != 0:
            reason = has.stderr.strip().splitlines()[-1]
            raise SystemExit(
                f"This study needs Brian2, and {python} cannot import it "
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


def network(size: int, degree: int, seed: int = 0):
    """The synapses, so many into each neuron, and the first potentials: from whom, to whom, the
    weights, and the potentials. The weights shrink with the root of the number of synapses."""
    rng = np.random.default_rng(seed)
    inhibitory, from_inhibitory = size // 5, degree // 5
    parts = (
        (0, size - inhibitory, degree - from_inhibitory, WEIGHTS[0]),
        (size - inhibitory, inhibitory, from_inhibitory, WEIGHTS[1]),
    )
    pre, post, weights = [], [], []
    for begin, count, number, weight in parts:
        for j in range(size):
            # one more, so that a neuron can be left out of its own
            drawn = begin + rng.choice(count, number + 1, replace=False)
            pre.append(drawn[drawn != j][:number])
            post.append(np.full(number, j))
            weights.append(np.full(number, weight * np.sqrt(WEIGHED_FOR / degree)))
    v0 = rng.uniform(0.0, 0.99, size)
    return (*(np.concatenate(x) for x in (pre, post, weights)), v0)


def ours(pre, post, weights, v0) -> rs.SpikingNetwork:
    """The network of this library."""
    neurons = rs.LIF(v0.size, mu1=1 / TAU_V, mu2=1 / TAU_I, v0=v0)
    return rs.SpikingNetwork(
        neurons, weights, rs.SparseConnections(pre, post, v0.size), axonal_delays=DELAY,
        refractory=REFRACTORY,
    )  # fmt: skip


def statistics_of(times, neurons, size: int, seconds: float):
    """The mean rate, and the mean over neurons of the CV of their intervals."""
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
