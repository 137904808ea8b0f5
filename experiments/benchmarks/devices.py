"""The same spikes on one device, on four, and on two processes; and what is gained in time.

Three ways of running one script: one CPU device, four simulated CPU devices in one process, and two
processes on this machine with two devices each, joined by `jax.distributed`. Spikes and the metrics
of spikes must have the same SHA-256. Losses of a training differ by rounding, as the gradients of
the trials are added up in another order. The four devices share the same cores, so the time
says what sharing out costs; what it gains shows on a machine with more cores or cards.
"""

import json
import os
import socket
import subprocess
import sys

import numpy as np

from ._study import Study, format_table

_DEVICES = "--xla_force_host_platform_device_count={}"


def study(trials: int = 1024, rounds: int = 7) -> Study:
    """Run the three ways.

    Args:
        trials: trials of the simulation that is timed.
        rounds: how many of them are timed, after one that is not.
    """
    arguments = [str(trials), str(rounds)]
    one, _ = _finish(_start(arguments, devices=1))
    four, four_said = _finish(_start(arguments, devices=4))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = [
        _start(
            arguments, devices=2, JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]  # fmt: skip
    (two, two_said), (_, more_said) = map(_finish, both)
    said = four_said + two_said + more_said
    ways = {"one device": one, "four devices": four, "two processes of two": two}
    figures, bounds, rows = {}, {}, []
    for way, found in ways.items():
        losses = np.array(found["losses"]), np.array(one["losses"])
        error = float(np.max(np.abs(losses[0] / losses[1] - 1)))
        rows.append(
            [way, found["devices"], found["spikes"][:12], found["first_spikes_of_odd"][:12]]
            + [found["metrics"][:12], error, found["trials_per_second"]]
        )
        if found is one:
            continue
        name = way.replace(" ", "_")
        same = sum(found[k] != one[k] for k in ("spikes", "first_spikes_of_odd", "metrics"))
        figures[f"{name}_digests_that_differ"], bounds[f"{name}_digests_that_differ"] = same, "<= 0"
        figures[f"{name}_loss_error"], bounds[f"{name}_loss_error"] = error, "<= 1e-9"
        figures[f"{name}_throughput"] = found["trials_per_second"] / one["trials_per_second"]
    figures["devices"], bounds["devices"] = four["devices"], ">= 4"
    figures["rematerialisations"] = said.count("rematerialization")
    bounds["rematerialisations"] = "<= 0"
    header = ["", "devices", "spikes", "of 61 trials", "metrics", "loss, relative", "trials/s"]
    return Study(figures, bounds, format_table(header, rows))


def _start(arguments: list[str], devices: int, **more: str) -> subprocess.Popen:
    environment = os.environ | more | {"XLA_FLAGS": _DEVICES.format(devices)}
    environment |= {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "experiments.benchmarks._devices_worker", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finish(process: subprocess.Popen) -> tuple[dict, str]:
    """What a process printed, and what was said beside it."""
    out, said = process.communicate(timeout=400)
    if process.returncode:
        raise RuntimeError(f"a process failed: {said}")
    # the library that joins processes prints as well
    found = [line for line in out.splitlines() if line.startswith("{")]
    return json.loads(found[-1]) if found else {}, said
