"""One side of the studies of balanced networks, in an interpreter that has Brian2.

It reads the network as one line of JSON, and then durations, one a line; for each it answers with
the wall-clock and CPU seconds of the run, and the spikes. It imports nothing of this project.
"""

import json
import logging
import sys
import time

import brian2 as b  # pyright: ignore[reportMissingImports]
import numpy as np


def main():
    """Build the network and run it as often as asked."""
    logging.getLogger("brian2").setLevel(logging.ERROR)
    out = sys.stdout
    sys.stdout = sys.stderr
    given = json.loads(sys.stdin.readline())
    dt = given["dt"]
    b.defaultclock.dt = dt * b.second
    equations = """
    dv/dt = (syn + drive - v) / tau_v : 1 (unless refractory)
    dsyn/dt = -syn / tau_i : 1
    """
    names = {
        "tau_v": given["tau_v"] * b.second,
        "tau_i": given["tau_i"] * b.second,
        "drive": given["drive"],
    }
    group = b.NeuronGroup(
        len(given["v0"]), equations, threshold="v >= 1", reset="v = 0",
        refractory=given["refractory"] * b.second, method="euler", namespace=names,
    )  # fmt: skip
    synapses = b.Synapses(
        group, group, "w : 1", on_pre="syn_post += w", delay=given["delay"] * b.second
    )
    synapses.connect(i=np.array(given["pre"]), j=np.array(given["post"]))
    synapses.w = given["weights"]
    group.v = given["v0"]
    monitor = b.SpikeMonitor(group)
    network = b.Network(group, synapses, monitor)
    network.store()
    network.run(2 * dt * b.second)
    # weak references, whose `type` is that of the reference
    target = next(iter(group.state_updater.code_objects)).__class__.__name__
    answer = {"version": b.__version__, "numpy": np.__version__, "target": target}
    print(json.dumps(answer), file=out, flush=True)
    for line in sys.stdin:
        duration = json.loads(line)
        network.restore()
        wall, cpu = time.perf_counter(), time.process_time()
        network.run(duration * b.second)
        answer = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            # a spike is labelled with the start of its step
            "times": (np.asarray(monitor.t / b.second) + dt).tolist(),
            "neurons": np.asarray(monitor.i).tolist(),
        }
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
