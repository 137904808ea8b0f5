"""The same spikes on one device, on several, and on two processes; and what is gained in time.

Four ways of running one script: one CPU device, two and four simulated CPU devices in one process,
and two processes on this machine with two devices each, joined by `jax.distributed`. Spikes and the
metrics of spikes must have the same SHA-256. Losses of a training differ by rounding, as the
gradients of the trials are added up in another order.

Then the ways take turns at simulating many trials, one at a time, while the others wait. Throughput
is trials a second as a multiple of one device's in the same round, the median over the rounds. The
devices share the cores: more of them than cores cannot gain more than cores, and one device leaves
cores idle where a step of the solver is too small to be shared out.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import numpy as np

from ._study import Study, format_table

_DEVICES = "--xla_force_host_platform_device_count={}"
_LIMIT = 900.0


def study(trials: int = 32768, rounds: int = 9) -> Study:
    """Run the four ways.

    Args:
        trials: trials of the simulation that is timed.
        rounds: how often each way is timed, after once that is not.
    """
    with contextlib.ExitStack() as stack:
        ways = {
            "one device": stack.enter_context(_way(trials, 1)),
            "two devices": stack.enter_context(_way(trials, 2)),
            "four devices": stack.enter_context(_way(trials, 4)),
            "two processes of two": stack.enter_context(_way(trials, 2, processes=2)),
        }
        for way in ways.values():
            way.seconds()
        seconds = np.array([[way.seconds() for way in ways.values()] for _ in range(rounds)])
        said = "".join(way.said() for way in ways.values())
    rates, gains = trials / seconds, seconds[:, :1] / seconds
    one = ways["one device"].found
    figures, bounds, rows = {}, {}, []
    for column, (name, way) in enumerate(ways.items()):
        found = way.found
        losses = np.array(found["losses"]), np.array(one["losses"])
        error = float(np.max(np.abs(losses[0] / losses[1] - 1)))
        low, gain, high = np.quantile(gains[:, column], [0.25, 0.5, 0.75]).tolist()
        rows.append(
            [name, found["devices"], found["spikes"][:12], found["first_spikes_of_odd"][:12]]
            + [found["metrics"][:12], error, float(np.median(rates[:, column]))]
            + [f"{gain:.2f} ({low:.2f} to {high:.2f})"]
        )
        if found is one:
            continue
        name = name.replace(" ", "_")
        same = sum(found[k] != one[k] for k in ("spikes", "first_spikes_of_odd", "metrics"))
        figures[f"{name}_digests_that_differ"], bounds[f"{name}_digests_that_differ"] = same, "<= 0"
        figures[f"{name}_loss_error"], bounds[f"{name}_loss_error"] = error, "<= 1e-9"
        figures[f"{name}_throughput"] = gain
    figures["devices"], bounds["devices"] = ways["four devices"].found["devices"], ">= 4"
    figures["rematerialisations"] = said.count("rematerialization")
    bounds["rematerialisations"] = "<= 0"
    figures["cores"] = float(len(os.sched_getaffinity(0)))
    figures["median_seconds_of_one_device"] = float(np.median(seconds[:, 0]))
    header = ["", "devices", "spikes", "of 61 trials", "metrics", "loss, relative", "trials/s"]
    return Study(figures, bounds, format_table([*header, "times one device (quartiles)"], rows))


class _Way:
    """The processes of one way; `found` is what the first of them printed."""

    def __init__(self, processes: list[subprocess.Popen], errors: list):
        self._processes, self._errors = processes, errors
        self.found = self._read()

    def seconds(self) -> float:
        """How long the simulation takes now."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return self._read()["seconds"]

    def said(self) -> str:
        """What the processes said beside what they found, as far as they have got."""
        texts = []
        for file in self._errors:
            file.seek(0)
            texts.append(file.read())
        return "".join(texts)

    def _read(self) -> dict:
        output = self._processes[0].stdout
        assert output is not None
        # the library that joins processes prints as well
        for line in output:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a process failed: {self.said()}")


@contextlib.contextmanager
def _way(trials: int, devices: int, processes: int = 1) -> Iterator[_Way]:
    """Start processes of so many devices each, which join each other if there are several."""
    more: list[dict[str, str]] = [{}]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        together = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
        more = [together | {"JAX_PROCESS_ID": str(number)} for number in range(processes)]
    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in more]
        started = [_start(trials, devices, m, file) for m, file in zip(more, errors, strict=True)]

        def end():
            for process in started:
                process.kill()

        watch = threading.Timer(_LIMIT, end)
        watch.start()
        try:
            yield _Way(started, errors)
        finally:
            watch.cancel()
            # without more to read they end by themselves, all of them together
            for process in started:
                with contextlib.suppress(OSError):
                    process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
            for process in started:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]


def _start(trials: int, devices: int, more: dict[str, str], errors) -> subprocess.Popen:
    environment = os.environ | more | {"XLA_FLAGS": _DEVICES.format(devices)}
    environment |= {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "experiments.benchmarks._devices_worker", str(trials)]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=errors,
    )  # fmt: skip
