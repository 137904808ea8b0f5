"""Other codes of spiking networks, each in an interpreter of its own."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

CODES = ("snntorch", "spyx")


class OtherCode:
    """A code in a process, see `_spiking_codes_worker`.

    Attributes:
        note: its version.
        spikes: by network, the spikes of hidden neurons and of outputs in its last step.
    """

    def __init__(self, code: str, python: str, networks: Path, cores: Iterable[int]):
        worker = Path(__file__).with_name("_spiking_codes_worker.py")
        # (cell engines and others of this project are not to be found by it)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, str(worker), code, json.dumps(list(cores))], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.spikes: dict[str, list[float]] = {}
        self.note = self._ask(str(networks))["version"]

    def step(self, network: str) -> Callable[[], tuple[float, float]]:
        """A function that takes a training step, and returns its wall-clock and CPU seconds."""

        def run():
            answer = self._ask(network)
            self.spikes[network] = answer["spikes"]
            return answer["wall"], answer["cpu"]

        return run

    def _ask(self, question: Any) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("The process of another code ended; its own message stands above.")
        return json.loads(answer)

    def close(self):
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def other_codes(
    stack: contextlib.ExitStack, python: str, networks: dict[str, dict[str, Any]],
    cores: Iterable[int],
) -> tuple[dict[str, OtherCode], list[str]]:  # fmt: skip
    """Those that the interpreter can import, and what is to be said about them.

    Args:
        stack: what ends the processes.
        python: the interpreter.
        networks: by name, arrays: `raster` of shape (steps, samples, inputs), `labels`,
            `into_hidden`, `into_outputs`, `between` where hidden neurons are connected, and the
            factors `alpha` and `beta` by which currents and potentials decay in a step.
        cores: what they may run on; all where there is none.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    flat = {f"{name}:{key}": x for name, one in networks.items() for key, x in one.items()}
    np.savez(folder / "networks.npz", **flat)  # pyright: ignore[reportArgumentType]
    found, notes = {}, []
    for code in CODES:
        has = subprocess.run([python, "-c", f"import {code}"], capture_output=True, text=True)
        if has.returncode != 0:
            reason = (has.stderr.strip().splitlines() or ["no message"])[-1]
            notes.append(
                f"Not beside {code}: {python} cannot import it ({reason}). Make an environment "
                f"for it, `python -m venv ENV && ENV/bin/pip install {code}`, and pass "
                "`--other-python ENV/bin/python`."
            )
            continue
        other = OtherCode(code, python, folder / "networks.npz", cores)
        stack.callback(other.close)
        found[code] = other
        notes.append(other.note)
    return found, notes
