"""The command `python -m experiments.benchmarks`."""

import argparse
import ast
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ._measure import machine_and_versions
from ._study import Study


def list_studies(package: str = "experiments.benchmarks") -> dict[str, str]:
    """The studies of a package: names with dashes, and the first line of each docstring."""
    path = importlib.import_module(package).__path__
    studies = {}
    for module in pkgutil.iter_modules(path):
        if module.name.startswith("_"):
            continue
        spec = importlib.util.find_spec(f"{package}.{module.name}")
        if spec is None or spec.origin is None:
            continue
        # Read, not imported: a list must not wait for every study's imports.
        docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
        studies[module.name.replace("_", "-")] = (docstring or "").split("\n")[0]
    return studies


def run_study(name: str, options: Sequence[str], package: str = "experiments.benchmarks") -> Study:
    """Run the study of this name, with its options as they stand on a command line."""
    import tyro  # here, so that listing needs no extra

    module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
    return tyro.cli(
        module.study,
        args=list(options),
        prog=f"python -m {package} {name}",
        description=module.__doc__,
    )


def main(arguments: Sequence[str] | None = None, package: str = "experiments.benchmarks") -> int:
    """List the studies or run one.

    The last line that a study prints is JSON: its name, figures, bounds and whether they hold.

    Returns:
        The exit code: 0 where every bound holds, 1 where one is missed, 2 for a bad command.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description="Run a study, or list the studies. Options after NAME belong to the study; "
        "NAME --help explains them.",
    )
    parser.add_argument("--names", action="store_true", help="list bare names")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the study to run")
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    studies = list_studies(package)

    if given.name is None:
        width = max(map(len, studies), default=0)
        for name, line in studies.items():
            print(name if given.names else f"{name.ljust(width)}  {line}")
        return 0

    if given.name not in studies:
        close = difflib.get_close_matches(given.name, studies, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print(f"there is no study {given.name!r}{hint}", file=sys.stderr)
        return 2

    study = run_study(given.name, given.options, package)
    print(study.table)
    print(machine_and_versions())
    for name in study.missed:
        print(f"missed: {name} is {study.figures[name]:.6g}, must be {study.bounds[name]}")
    print(study.to_json(given.name), flush=True)
    return 0 if study.holds else 1


if __name__ == "__main__":
    sys.exit(main())
