"""The command `roughsnn`."""

import dataclasses
import difflib
import errno
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from roughsnn.commands.ending import Interrupts, SecondSignal, interrupts, leave

# In a checkout the experiments lie beside the package; what is installed has them inside it, so
# that a package of that name of the user's is left alone.
_INSTALLED = "roughsnn.experiments"
_PACKAGE = _INSTALLED if importlib.util.find_spec(_INSTALLED) else "experiments"

EXPERIMENTS = {
    "input-current": f"{_PACKAGE}.holberg_salvi_2024.input_current",
    "synaptic-weights": f"{_PACKAGE}.holberg_salvi_2024.synaptic_weights",
    "predictive-coding": f"{_PACKAGE}.huh_sejnowski_2018.predictive_coding",
    "delayed-memory-xor": f"{_PACKAGE}.huh_sejnowski_2018.delayed_memory_xor",
    "fast-sampling": f"{_PACKAGE}.masset_2022.fast_sampling",
    "mirror-symmetry": f"{_PACKAGE}.george_2021.mirror_symmetry",
    "surrogates-are-not-gradients": f"{_PACKAGE}.gygax_zenke_2025.surrogates_are_not_gradients",
    "surrogate-gradients": f"{_PACKAGE}.zenke_vogels_2021.surrogate_gradients",
    "braille-letters": f"{_PACKAGE}.zenke_vogels_2021.braille_letters",
    "conductance-perturbation": f"{_PACKAGE}.fiete_seung_2006.conductance_perturbation",
    "random-feedback": f"{_PACKAGE}.neftci_2017.random_feedback",
    "eventprop-and-delays": f"{_PACKAGE}.eventprop_and_delays.eventprop_and_delays",
    "gradient-laboratory": f"{_PACKAGE}.gradient_laboratory.gradient_laboratory",
    "reaction-gradients": f"{_PACKAGE}.gradient_laboratory.reaction_gradients",
    "balance-2012": f"{_PACKAGE}.bourdoukan_2012.spike_code",
    "balance-2015": f"{_PACKAGE}.bourdoukan_deneve_2015.linear_systems",
}
"""Experiments by the name that the command knows; each module has `Settings` and `run`."""

COMMANDS = {
    "fit": f"{_PACKAGE}.recorded_spike_trains",
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


def command() -> NoReturn:
    """The command line as a process of its own, which ends with the exit code of `main`."""
    if threading.current_thread() is threading.main_thread():
        SecondSignal()
    leave(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 for success, 1 for a run that failed, 2 for
    a command that was not understood, 130 after Ctrl-C and 143 after SIGTERM."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with interrupts() as interrupt:
        try:
            code = _main(arguments, interrupt)
            interrupt.over = True
        except KeyboardInterrupt:
            code = _refused("interrupted", interrupt.code or 130)
    return code


def _main(arguments: list[str], interrupt: Interrupts) -> int:
    match arguments:
        case [] | ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case ["--version"]:
            print(f"roughsnn {importlib.metadata.version('roughsnn')}")
            return 0
        case ["--distributed", *rest]:
            refusal = _join_processes()
            return _main(rest, interrupt) if refusal is None else _refused(refusal)
        case ["list"]:
            print(_listed())
            return 0
        case ["run", "-h" | "--help"]:
            print(f"usage: roughsnn run EXPERIMENT [--help]\n\n{_listed()}")
            return 0
        case ["run", name, *rest] if name in EXPERIMENTS:
            return _run(EXPERIMENTS[name], f"roughsnn run {name}", rest, interrupt)
        case [name, *rest] if name in COMMANDS:
            return _run(COMMANDS[name], f"roughsnn {name}", rest, interrupt)
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
    width = max(map(len, EXPERIMENTS))
    return "\n".join(f"{name:{width}} {_summary(module)}" for name, module in EXPERIMENTS.items())


def _summary(module: str) -> str:
    doc = importlib.import_module(module).__doc__ or ""
    return doc.strip().splitlines()[0]


def _refused(message: str, code: int = 2) -> int:
    print(f"roughsnn: {message}", file=sys.stderr)
    return code


def _run(module_name: str, program: str, rest: Sequence[str], interrupt: Interrupts) -> int:
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

    expected = (rs.CheckpointError, rs.EventSolveError, rs.TrainingError, OSError, ValueError)
    try:
        module.run(settings)
    except rs.RunInterrupted as error:
        return _interrupted(error, program, settings, interrupt)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        if interrupt.code is not None:
            # It came while Python was called from compiled code, which made an error of it.
            return _refused("interrupted", interrupt.code)
        if isinstance(error, expected):
            return _refused(_one_line(error), 1)
        traceback.print_exc()
        return 1
    return 0


def _interrupted(error: Any, program: str, settings: Any, interrupt: Interrupts) -> int:
    print(f"\nroughsnn: {error}", file=sys.stderr)
    if hasattr(settings, "resume"):
        print(f"Go on with: {program} --resume {error.folder}", file=sys.stderr)
    return interrupt.code or 130


def _settings(module: Any, program: str, rest: Sequence[str]) -> Any:
    """The settings given; those of the earlier run where `--resume` names one."""
    import tyro

    def parse(**default):
        return tyro.cli(
            module.Settings, prog=program, args=rest, description=module.__doc__, **default
        )

    # `--quick` and the like change what the other settings are by default
    sizes = getattr(module.Settings, "presets", {})
    chosen = {name: True for name in sizes if f"--{name.replace('_', '-')}" in rest}
    settings = parse(default=module.Settings(**chosen)) if chosen else parse()
    if getattr(settings, "resume", None) is None:
        return settings
    from roughsnn.runs.folder import read_settings
    from roughsnn.runs.settings import check_resumed

    earlier = read_settings(settings.resume, module.Settings)
    settings = parse(default=dataclasses.replace(earlier, resume=settings.resume, progress=True))
    check_resumed(settings, earlier)
    return settings


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
    command()
