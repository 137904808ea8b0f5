"""The command `roughsnn`."""

import importlib
import sys
from collections.abc import Sequence

EXPERIMENTS = {
    "input-current": "experiments.holberg_salvi_2024.input_current",
    "predictive-coding": "experiments.huh_sejnowski_2018.predictive_coding",
    "delayed-memory-xor": "experiments.huh_sejnowski_2018.delayed_memory_xor",
}
"""Experiments by the name that the command knows; each module has `Settings` and `run`."""

_USAGE = """usage: roughsnn COMMAND ...

  roughsnn list                     the experiments
  roughsnn run EXPERIMENT [--help]  run one; --help explains its settings
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 for success, 2 for a command that was not
    understood, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    match arguments:
        case [] | ["-h" | "--help"]:
            print(_USAGE, end="")
            return 0
        case ["list"]:
            for name, module in EXPERIMENTS.items():
                print(f"{name:20} {_summary(module)}")
            return 0
        case ["run", name, *rest] if name in EXPERIMENTS:
            return _run(name, rest)
        case ["run", *_]:
            known = ", ".join(EXPERIMENTS)
            print(f"roughsnn: `run` takes the name of an experiment: {known}", file=sys.stderr)
            return 2
    print(f"roughsnn: unknown command {arguments[0]!r}\n{_USAGE}", end="", file=sys.stderr)
    return 2


def _summary(module: str) -> str:
    doc = importlib.import_module(module).__doc__ or ""
    return doc.strip().splitlines()[0]


def _run(name: str, rest: Sequence[str]) -> int:
    try:
        import tyro
    except ImportError:
        print(
            "roughsnn: experiments need the extra `experiments`: pip install roughsnn[experiments]",
            file=sys.stderr,
        )
        return 2
    experiment = importlib.import_module(EXPERIMENTS[name])
    settings = tyro.cli(experiment.Settings, prog=f"roughsnn run {name}", args=rest)
    try:
        experiment.run(settings)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
