"""Runs that are killed, files that are damaged, disks that are full: nothing is lost or changed.

A run of `roughsnn run predictive-coding` at a small size is killed by SIGKILL at random moments of
its life, resumed, killed again; whatever it writes at its end must be the same, byte for byte, as
what a run wrote that was left alone. Then runs are begun or resumed where that cannot go well; each
must end with an error that names the file and says what to do, and leave every file as it was.
"""

import contextlib
import io
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from roughsnn import cli

from ._study import Study, format_table

_STEPS = 600
_SIZE = (
    "--num-neurons=8", f"--steps={_STEPS}", "--batch-size=2", "--window=40", "--burn-in=5",
    "--checkpoint-every=20", "--no-progress",
)  # fmt: skip


def study(kills: int = 20, seed: int = 0) -> Study:
    """Kill, resume and compare.

    Args:
        kills: how often a run is killed.
        seed: of the moments.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(root / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "MPLBACKEND": "Agg",
        }
        _run(root / "first", environment)  # compiles
        started = time.monotonic()
        expected = _results(_run(root / "alone", environment))
        seconds = time.monotonic() - started
        rows, equal = _killed_runs(root, environment, kills, seconds, random.Random(seed), expected)
        table = format_table(["kill", "run", "after, s", "steps kept", "in the folder"], rows)
        outcomes = _bad_states(root, root / "alone" / "001")
    table = (
        f"an uninterrupted run takes {seconds:.1f} s and writes {len(expected)} files that hold "
        f"results: {', '.join(sorted(expected))}\n\n{table}\n\n"
        + format_table(
            ["what is wrong", "exit code", "error", "files as they were"],
            [[o.what, o.code, o.text, o.untouched] for o in outcomes],
        )
    )
    figures = {
        "kills": len(rows),
        "kills_in_training": sum(0 < row[3] < _STEPS for row in rows),
        "killed_runs": len(equal),
        "killed_runs_that_differ": sum(not same for same in equal),
        "bad_states": len(outcomes),
        "bad_states_not_refused": sum(o.code not in (1, 2) for o in outcomes),
        "bad_states_without_advice": sum(not o.clear for o in outcomes),
        "bad_states_that_changed_a_file": sum(o.untouched != "yes" for o in outcomes),
    }
    bounds = {
        "kills": f">= {kills}",
        "kills_in_training": f">= {kills // 3}",
        "killed_runs": ">= 1",
        "killed_runs_that_differ": "<= 0",
        "bad_states": ">= 10",
        "bad_states_not_refused": "<= 0",
        "bad_states_without_advice": "<= 0",
        "bad_states_that_changed_a_file": "<= 0",
    }
    return Study(figures, bounds, table)


# --- killing


def _start(output: Path, environment: dict[str, str]) -> subprocess.Popen:
    """The run: begun, or resumed where it has begun."""
    begun = sorted(path.parent for path in output.glob("*/settings.json"))
    which = [f"--resume={begun[-1]}"] if begun else [f"--output={output}"]
    command = [sys.executable, "-m", "roughsnn.cli", "run", "predictive-coding", *_SIZE, *which]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _run(output: Path, environment: dict[str, str]) -> Path:
    """Let it run to its end; its folder."""
    process = _start(output, environment)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run failed: {said}")
    return _newest(output)


def _newest(output: Path) -> Path:
    return max(path.parent for path in output.glob("*/settings.json"))


def _killed_runs(
    root: Path, environment: dict[str, str], kills: int, seconds: float, rng, expected: dict
) -> tuple[list[list], list[bool]]:
    """A row for each kill, and for each run whether its results are those expected."""
    rows, equal = [], []
    output = root / "killed-1"
    while len(rows) < kills:
        process, started = _start(output, environment), time.monotonic()
        # two of three at a step of the training, the others at a time: of start, compilation, end
        taken = _taken(output)
        by_step = taken < _STEPS and rng.random() < 2 / 3
        step = rng.randrange(taken, _STEPS) if by_step else _STEPS
        moment = math.inf if by_step else rng.uniform(0.1, 0.9) * seconds
        while process.poll() is None and _taken(output) <= step:
            if time.monotonic() - started > moment:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.02))
        process.kill()
        _, said = process.communicate()
        if process.returncode == 0:  # it was faster
            equal.append(_results(_newest(output)) == expected)
            output = root / f"killed-{len(equal) + 1}"
            continue
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the run failed: {said}")
        files = [p for p in output.rglob("*") if p.is_file()]
        half = sum(p.name.endswith(".unfinished") for p in files)
        holds = f"{len(files)} files" + (", one half written" if half else "")
        after = time.monotonic() - started
        rows.append([len(rows) + 1, len(equal) + 1, after, _taken(output), holds])
        if _taken(output) >= _STEPS and rng.random() < 0.5:
            # let it come to its end, and kill another
            equal.append(_results(_run(output, environment)) == expected)
            output = root / f"killed-{len(equal) + 1}"
    equal.append(_results(_run(output, environment)) == expected)
    return rows, equal


def _taken(output: Path) -> int:
    """The step of the newest checkpoint, or 0."""
    found = [p.name for p in output.glob("*/checkpoints/fit/step-*.ckpt")]
    return int(max(found, default="step-0.ckpt")[5:-5])


def _results(folder: Path) -> dict[str, bytes]:
    """What the files of results hold. Those with clock times in them are left out, and of the
    outcomes the seconds: metrics, network, spikes, figures, checkpoints by their arrays."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".npz", ".model", ".png")
    }
    outcomes = json.loads((folder / "outcomes.json").read_text())
    for outcome in outcomes:
        del outcome["seconds"]
    found["outcomes.json"] = json.dumps(outcomes).encode()
    newest = max(folder.rglob("*.ckpt"))
    # a line with the checksum, a line that describes, and the arrays
    found[newest.name] = newest.read_bytes().split(b"\n", 2)[2]
    return found


# --- what cannot go well


class _Outcome:
    """How the command ended where something was wrong."""

    def __init__(self, what: str, code: int, text: str, names: str, untouched: bool):
        self.what, self.code = what, code
        self.untouched = "yes" if untouched else "no"
        self.clear = names in text and any(word in text for word in _ADVICE)
        self.text = " ".join(text.split()).removeprefix("roughsnn: ")


_ADVICE = ("Move ", "tart anew", "ive ", "ake room", "reads version", "Wait")


def _bad_states(root: Path, finished: Path) -> list[_Outcome]:
    """Begin or resume where that must fail; the environment of this process, no compilation."""
    outcomes = []

    def resume(what: str, names: str, spoil: Callable[[Path], None], *more: str):
        folder = root / "bad" / f"{len(outcomes):03d}"
        shutil.copytree(finished, folder)
        spoil(folder)
        outcomes.append(_try(what, names, folder, ["--resume", str(folder), *more]))

    def newest(folder: Path) -> Path:
        return max(folder.rglob("*.ckpt"))

    def flip(folder):
        content = bytearray(newest(folder).read_bytes())
        content[len(content) // 2] ^= 1
        newest(folder).write_bytes(content)

    def put(content: bytes):
        return lambda folder: newest(folder).write_bytes(content)

    def cut(folder):
        newest(folder).write_bytes(newest(folder).read_bytes()[:-100])

    def drop(folder):
        (folder / "settings.json").unlink()

    def damage(folder):
        (folder / "settings.json").write_text('{"settings": ')

    step = newest(finished).name
    resume("checkpoint with a flipped bit", step, flip)
    resume("checkpoint cut off", step, cut)
    resume("empty checkpoint", step, put(b""))
    resume("a pickle in its place", step, put(b"\x80\x04\x95\x10\x00\x00\x00"))
    resume("checkpoint of a later version", step, put(b"roughsnn checkpoint 9 abc\n{}\n"))
    resume("checkpoint of another model", step, lambda folder: None, "--num-neurons", "9")
    resume("fewer steps than were taken", "checkpoints", lambda folder: None, "--steps", "10")
    resume("no settings in the folder", "settings.json", drop)
    resume("damaged settings", "settings.json", damage)

    folder = root / "bad" / "locked"
    shutil.copytree(finished, folder)
    with contextlib.ExitStack() as stack:
        if (lock := _locked(folder / "checkpoints" / "fit" / ".lock")) is not None:
            stack.enter_context(lock)
            outcomes.append(
                _try("another process goes on with it", "fit", folder, ["--resume", str(folder)])
            )
    missing = root / "bad" / "nowhere"
    outcomes.append(_try("no such folder", "nowhere", root / "bad", ["--resume", str(missing)]))
    (root / "bad" / "file").write_text("mine")
    below = root / "bad" / "file" / "runs"
    outcomes.append(_try("a file where a folder is needed", "file", root / "bad", _new(below)))
    closed = root / "closed"
    closed.mkdir()
    with _nobody_may_write(closed):
        outcomes.append(_try("no permission", "closed", closed, _new(closed / "runs")))
    with _full_disk(root / "disk") as disk:
        if disk is not None:
            (disk / "001").mkdir()
            (disk / "001" / "metrics.csv").write_bytes(b"x" * 60_000)
            outcomes.append(_try("full disk", "disk", disk / "001", _new(disk)))
    return outcomes


def _new(output: Path) -> list[str]:
    return ["--output", str(output)]


def _try(what: str, names: str, watched: Path, arguments: list[str]) -> _Outcome:
    """The command in this process. All files are compared: what is refused changes neither the
    settings of a run nor how it stands."""
    size = [] if arguments[0] == "--resume" else list(_SIZE)
    before, said = _contents(watched), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(["run", "predictive-coding", *size, *arguments, "--no-progress"])
    return _Outcome(what, code, said.getvalue(), names, _contents(watched) == before)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def _locked(path: Path):
    try:
        import fcntl
    except ImportError:
        return None
    file = path.open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@contextlib.contextmanager
def _nobody_may_write(folder: Path):
    """`folder` may not be written to; root, who always may, is somebody else meanwhile."""
    folder.chmod(0o555)
    for above in folder.parents:
        if str(above).startswith(tempfile.gettempdir() + os.sep):
            above.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@contextlib.contextmanager
def _full_disk(folder: Path):
    """A disk of 64 kB, where one may be mounted; else `None`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
