"""pySigLib, an independent C++ code, in an interpreter of its own."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Clocked = Callable[[], tuple[float, float]]


class _Process:
    """The other side, see `_pysiglib_worker`."""

    def __init__(self, python: str, paths: Path):
        worker = Path(__file__).with_name("_pysiglib_worker.py")
        self.process = subprocess.Popen(
            [python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self.ask(str(paths))["version"]

    def ask(self, question: Any) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("pySigLib's process ended; its own message stands above.")
        return json.loads(answer)

    def close(self):
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def beside_pysiglib(
    stack: contextlib.ExitStack,
    python: str,
    arrays: dict[str, np.ndarray],
    errors: dict[str, float],
    tolerance: float = 1e-6,
) -> tuple[dict[str, Clocked], list[str]]:
    """Functions that run a case once in pySigLib, and what is to be said about them.

    Args:
        stack: what ends the process.
        python: the interpreter.
        arrays: `CASE_x` and `CASE_y`, paths, and `CASE_exact`, their Gram; `signature_x`.
        errors: by case, the largest relative error here.
        tolerance: which the series keeps with the order that is taken.
    """
    has = subprocess.run([python, "-c", "import pysiglib"], capture_output=True, text=True)
    if has.returncode != 0:
        reason = (has.stderr.strip().splitlines() or ["no message"])[-1]
        return {}, [
            f"Not beside pySigLib: {python} cannot import it ({reason}). Make an environment for "
            "it, `python -m venv ENV && ENV/bin/pip install pysiglib`, and pass "
            "`--pysiglib-python ENV/bin/python`."
        ]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    np.savez(folder / "paths.npz", **arrays)  # pyright: ignore[reportArgumentType]
    other = _Process(python, folder / "paths.npz")
    stack.callback(other.close)

    def runs(what: str, case: str, order: int) -> Clocked:
        def run():
            answer = other.ask({"what": what, "case": case, "order": order})
            return answer["wall"], answer["cpu"]

        return run

    notes = [f"pySigLib {other.version}, on all cores."]
    found = {"signature_d23_gradient_pysiglib": runs("signature_gradient", "signature", 3)}
    for case, error in errors.items():
        for order in range(6, 18, 2):
            theirs = other.ask({"what": "gram", "case": case, "order": order})["error"]
            if theirs <= tolerance:
                break
        notes.append(
            f"{case}: largest relative error {error:.2g} here, {theirs:.2g} there with order "
            f"{order}."
        )
        found[f"event_{case}_pysiglib"] = runs("gram", case, order)
        found[f"event_{case}_gradient_pysiglib"] = runs("gradient", case, order)
    return found, notes
