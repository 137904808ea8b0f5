"""Runs that are interrupted by Ctrl-C and SIGTERM at random moments: exit codes, and going on.

An input-current run at a small size is begun, interrupted, resumed and interrupted again until it
comes to its end; then another is begun. Every process must end with the documented code, every run
must go on, and what it writes in the end must be what a run that was left alone writes.
"""

import collections
import concurrent.futures
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roughsnn._signals import CODES

from ._study import Study, format_table

_STEPS = 1000
_COMMAND = (sys.executable, "-m", "roughsnn", "run", "input-current")
_SIZE = (
    "--sigmas=0.5", "--sample-sizes=64", "--losses=signature", "--seeds=1", f"--steps={_STEPS}",
    "--window=2", "--checkpoint-every=50", "--no-progress",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Interruption:
    """A process that was sent a signal, and how it ended."""

    sent: signal.Signals
    compiled: bool
    before: int
    after: int
    seconds: float
    code: int
    status: str
    said: str

    @property
    def where(self) -> str:
        """What it was doing, from what it had written before and after."""
        if not self.status:
            return "starting"
        if self.after == self.before < _STEPS:
            return "loading or compiling"
        return "training" if self.after < _STEPS else "writing its results"

    @property
    def right(self) -> bool:
        """Whether code and state are those documented."""
        if self.code == 0:
            return self.status == "finished"
        # a signal may come after the state `finished` is written, and before the process has ended
        return self.code == CODES[self.sent] and self.status in ("", "interrupted", "finished")


def study(runs: int = 50, seed: int = 0, processes: int = 2) -> Study:
    """Interrupt, resume and compare.

    Args:
        runs: how many processes are interrupted.
        seed: of the moments.
        processes: how many run side by side.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the processes would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(root / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "MPLBACKEND": "Agg",
        }
        durations = []
        for run in ("cold", "alone"):  # the first one compiles
            started = time.monotonic()
            _to_the_end(root / run, environment)
            durations.append(time.monotonic() - started)
        print(f"alone: {durations[1]:.1f} s; with compilation: {durations[0]:.1f} s", flush=True)
        expected = _results(root / "alone")
        share = [runs // processes + (i < runs % processes) for i in range(processes)]

        def chain(i: int):
            return _chain(root / f"chain-{i}", environment, share[i], durations, seed + i, expected)

        with concurrent.futures.ThreadPoolExecutor(processes) as pool:
            chains = list(pool.map(chain, range(processes)))
    interrupted = [x for found, _ in chains for x in found]
    equal = [same for _, finished in chains for same in finished]
    for x in interrupted:
        if not x.right:
            print(f"{x.sent.name}: code {x.code}, state {x.status!r}: {x.said}", flush=True)
    rows = []
    for where in ("starting", "loading or compiling", "training", "writing its results"):
        for sent in CODES:
            some = [x for x in interrupted if x.where == where and x.sent is sent]
            codes = collections.Counter(x.code for x in some)
            words = ", ".join(f"{code} ({count} times)" for code, count in sorted(codes.items()))
            slowest = max((x.seconds for x in some), default=0.0)
            rows.append([where, signal.Signals(sent).name, len(some), words or "-", slowest])
    header = ["while it was", "signal", "processes", "exit codes", "until it had ended, s"]
    figures = {
        "interruptions": len(interrupted),
        "died_of_a_signal": sum(x.code < 0 for x in interrupted),
        "other_wrong_codes_or_states": sum(not x.right and x.code >= 0 for x in interrupted),
        "runs_finished": len(equal),
        "runs_that_could_not_go_on": sum(same is None for same in equal),
        "runs_with_other_results": sum(same is False for same in equal),
        "longest_seconds_to_leave": max(x.seconds for x in interrupted),
    }
    bounds = {
        "interruptions": f">= {runs}",
        "died_of_a_signal": "<= 0",
        "other_wrong_codes_or_states": "<= 0",
        "runs_finished": ">= 1",
        "runs_that_could_not_go_on": "<= 0",
        "runs_with_other_results": "<= 0",
    }
    text = (
        f"left alone a run takes {durations[1]:.1f} s, {durations[0]:.1f} s with compilation\n\n"
        + format_table(header, rows)
    )
    return Study(figures, bounds, text)


def _chain(
    root: Path, environment: dict[str, str], count: int, durations: list[float], seed: int,
    expected: dict[str, bytes],
) -> tuple[list[_Interruption], list[bool | None]]:  # fmt: skip
    """Interrupt `count` processes; and of each run that came to its end whether its results are
    those expected, `None` where it could not go on."""
    rng, found, finished = random.Random(seed), [], []
    root.mkdir()
    output = root / "1"
    while len(found) < count:
        # a fifth of the processes compile
        compiled = rng.random() < 0.2
        ended = _interrupted(output, environment, compiled, durations, rng)
        if isinstance(ended, _Interruption):
            found.append(ended)
        code = ended.code if isinstance(ended, _Interruption) else ended
        if code == 0 or ended is code:  # it ended by itself, at its end or with an error
            finished.append(_results(output) == expected if code == 0 else None)
            output = root / str(len(finished) + 1)
    try:
        _to_the_end(output, environment)
        finished.append(_results(output) == expected)
    except RuntimeError as error:
        print(error, flush=True)
        finished.append(None)
    return found, finished


def _interrupted(
    output: Path, environment: dict[str, str], compiled: bool, durations: list[float], rng
) -> _Interruption | int:
    """Start or resume the run and send a signal at a random moment; the exit code of a process that
    ended before."""
    sent = rng.choice([*CODES])
    before = _taken(output)
    if compiled:
        environment = environment | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    process, started = _start(output, environment), time.monotonic()
    # half of them at a step of the training or while results are written, the others at a time
    by_step = before < _STEPS and rng.random() < 0.5
    step = rng.choice([rng.randrange(before, _STEPS), _STEPS - 1]) if by_step else _STEPS
    moment = (
        20 * durations[0] if by_step else rng.uniform(0.3, 1.0) * durations[0 if compiled else 1]
    )
    while process.poll() is None and time.monotonic() - started < moment:
        if by_step and _taken(output) > step:
            time.sleep(rng.uniform(0.0, 0.5))
            break
        time.sleep(0.002)
    if process.poll() is not None:
        _, said = process.communicate()
        if process.returncode:
            print(f"ended by itself with code {process.returncode}: {said}", flush=True)
        return process.returncode
    process.send_signal(sent)
    at = time.monotonic()
    _, said = process.communicate()
    seconds = time.monotonic() - at
    return _Interruption(
        sent, compiled, before, _taken(output), seconds, process.returncode, _status(output), said
    )  # fmt: skip


def _start(output: Path, environment: dict[str, str]) -> subprocess.Popen:
    """The run: begun, or resumed where it has begun."""
    begun = sorted(path.parent for path in output.glob("*/settings.json"))
    which = [f"--resume={begun[-1]}", "--no-progress"] if begun else [f"--output={output}", *_SIZE]
    return subprocess.Popen(
        [*_COMMAND, *which], env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def _to_the_end(output: Path, environment: dict[str, str]) -> None:
    process = _start(output, environment)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run ended with code {process.returncode}: {said}")


def _taken(output: Path) -> int:
    """The step of the newest checkpoint, or 0."""
    found = [path.name for path in output.glob("*/checkpoints/*/step-*.ckpt")]
    return int(max(found, default="step-0.ckpt")[5:-5])


def _status(output: Path) -> str:
    """How the run stands, empty if it has not begun."""
    found = sorted(output.glob("*/status.json"))
    return json.loads(found[-1].read_text())["status"] if found else ""


def _results(output: Path) -> dict[str, bytes]:
    """What the files of results hold."""
    folder = max(path.parent for path in output.glob("*/settings.json"))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".npz", ".png", ".md")
    }
