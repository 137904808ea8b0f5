"""The command `roughsnn`."""

import contextlib
import dataclasses
import difflib
import errno
import importlib
import importlib.metadata
import importlib.util
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

EXPERIMENTS = {
    "input-current": "experiments.holberg_salvi_2024.input_current",
    "synaptic-weights": "experiments.holberg_salvi_2024.synaptic_weights",
    "predictive-coding": "experiments.huh_sejnowski_2018.predictive_coding",
    "delayed-memory-xor": "experiments.huh_sejnowski_2018.delayed_memory_xor",
}
"""Experiments by the name that the command knows; each module has `Settings` and `run`."""

COMMANDS = {
    "fit": "experiments.recorded_spike_trains",
    "simulate": "roughsnn.commands.simulate",
    "plot": "roughsnn.commands.plot",
}
"""The other commands that take settings; each module has `Settings` and `run` as well."""

_USAGE = """usage: roughsnn COMMAND ...

  roughsnn list                   the experiments
  roughsnn run EXPERIMENT         run one; it writes a numbered folder under runs/
  roughsnn run EXPERIMENT --resume FOLDER
                                  go on with a run that was cut off
  roughsnn fit                    fit a model to recorded spike trains
  roughsnn simulate               simulate a model; write its spikes and a raster
  roughsnn plot PATH              draw a file of spikes or the curves of a run
  roughsnn --version              the version that is installed

  roughsnn --distributed COMMAND ...
                                  one of several processes that share out the trials, started by
                                  SLURM or MPI, or told by JAX_COORDINATOR_ADDRESS,
                                  JAX_NUM_PROCESSES and JAX_PROCESS_ID

Each of them explains its settings with --help. Exit codes: 0 done, 1 failed, 2 not understood,
130 interrupted by Ctrl-C, 143 ended by SIGTERM, both after what was reached is kept.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 for success, 1 for a run that failed, 2 for
    a command that was not understood, 130 after Ctrl-C and 143 after SIGTERM."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    match arguments:
        case [] | ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case ["--version"]:
            print(f"roughsnn {importlib.metadata.version('roughsnn')}")
            return 0
        case ["--distributed", *rest]:
            refusal = _join_processes()
            return main(rest) if refusal is None else _refused(refusal)
        case ["list"]:
            print(_listed())
            return 0
        case ["run", "-h" | "--help"]:
            print(f"usage: roughsnn run EXPERIMENT [--help]\n\n{_listed()}")
            return 0
        case ["run", name, *rest] if name in EXPERIMENTS:
            return _run(EXPERIMENTS[name], f"roughsnn run {name}", rest)
        case [name, *rest] if name in COMMANDS:
            return _run(COMMANDS[name], f"roughsnn {name}", rest)
        case ["run", *rest]:
            close = difflib.get_close_matches(rest[0], EXPERIMENTS, n=1) if rest else []
            hint = f"; did you mean {close[0]}?" if close else ""
            known = ", ".join(EXPERIMENTS)
            return _refused(f"`run` takes the name of an experiment: {known}{hint}")
    return _refused(f"unknown command {arguments[0]!r}\n{_USAGE.rstrip()}")


def _join_processes() -> str | None:
    """Join the other processes of a cluster's job, before anything of JAX is used; the reason
    where that cannot be done."""
    import os

    import jax

    given = {
        name: int(os.environ[f"JAX_{name.upper()}"])
        for name in ("num_processes", "process_id")
        if os.environ.get(f"JAX_{name.upper()}", "").isdigit()
    }
    try:
        jax.distributed.initialize(**given)
    except (ValueError, RuntimeError) as error:
        return (
            f"the other processes cannot be joined: {error} Start the command by `srun` or "
            "`mpirun`, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."
        )
    return None


def _listed() -> str:
    return "\n".join(f"{name:20} {_summary(module)}" for name, module in EXPERIMENTS.items())


def _summary(module: str) -> str:
    doc = importlib.import_module(module).__doc__ or ""
    return doc.strip().splitlines()[0]


def _refused(message: str, code: int = 2) -> int:
    print(f"roughsnn: {message}", file=sys.stderr)
    return code


def _run(module_name: str, program: str, rest: Sequence[str]) -> int:
    """Run a module with the settings given on the command line."""
    if importlib.util.find_spec("tyro") is None:
        return _refused(
            "the commands need the extra `experiments`: pip install roughsnn[experiments]"
        )
    module = importlib.import_module(module_name)
    try:
        settings = _settings(module, program, rest)
    except SystemExit as exit:  # tyro has said why
        return exit.code if isinstance(exit.code, int) else 2
    except (OSError, ValueError, ImportError) as error:
        return _refused(str(error))

    import roughsnn as rs

    with _sigterm_interrupts() as ended:
        try:
            module.run(settings)
        except rs.RunInterrupted as error:
            print(f"\nroughsnn: {error}", file=sys.stderr)
            if hasattr(settings, "resume"):
                print(f"Go on with: {program} --resume {error.folder}", file=sys.stderr)
            return 143 if ended else 130
        except KeyboardInterrupt:
            return _refused("interrupted", 143 if ended else 130)
        except (
            rs.CheckpointError, rs.EventSolveError, rs.TrainingError, OSError, ValueError
        ) as error:  # fmt: skip
            return _refused(_one_line(error), 1)
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def _settings(module: Any, program: str, rest: Sequence[str]) -> Any:
    """The settings given; those of the earlier run where `--resume` names one."""
    import tyro

    def parse(**default):
        return tyro.cli(
            module.Settings, prog=program, args=rest, description=module.__doc__, **default
        )

    settings = parse()
    if getattr(settings, "resume", None) is None:
        return settings
    from roughsnn.runs.folder import read_settings

    earlier = read_settings(settings.resume, module.Settings)
    return parse(default=dataclasses.replace(earlier, resume=settings.resume, progress=True))


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[list]:
    """SIGTERM, with which clusters announce the end, saves as Ctrl-C does; the list is then not
    empty."""
    ended = []
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return

    def interrupt(*_):
        ended.append("SIGTERM")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


_ADVICE = {
    errno.ENOSPC: "Make room there, or give another folder.",
    errno.EDQUOT: "Make room in your quota, or give another folder.",
    errno.EACCES: "Give a folder that you may write to.",
    errno.EPERM: "Give a folder that you may write to.",
    errno.EROFS: "Give a folder that you may write to.",
    errno.ENOTDIR: "There is a file where a folder is needed: give another folder.",
    errno.EEXIST: "There is a file where a folder is needed: give another folder.",
}


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}. {_ADVICE.get(error.errno or 0, '')}".rstrip()
    return text


if __name__ == "__main__":
    raise SystemExit(main())
