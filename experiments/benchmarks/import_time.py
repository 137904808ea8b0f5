"""Time of `import roughsnn` beside `import diffrax`, and what it must not import.

Fresh processes by turns, one pair a round; the ratio is the median over rounds of ratios within a
round. No package may be imported that only an extra brings: figures, formats, the command line.
"""

import importlib.metadata
import itertools
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

from ._study import Study, format_table

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_TIMED = (
    "import time; wall, cpu = time.perf_counter(), time.process_time(); import {}; "
    "print(time.perf_counter() - wall, time.process_time() - cpu)"
)
_LISTED = "import sys, {}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def study(rounds: int = 15) -> Study:
    """Run the comparison.

    Args:
        rounds: how many pairs of processes are timed, after one pair that is not.
    """
    names = ("roughsnn", "diffrax")
    times = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            clocks = tuple(map(float, _python(_TIMED.format(name)).split()))
            if number:
                times[name].append(clocks)
    wall, cpu = (
        statistics.median(
            ours[clock] / theirs[clock] for ours, theirs in zip(*times.values(), strict=True)
        )
        for clock in (0, 1)
    )
    extras = modules_of_extras()
    imported = set(_python(_LISTED.format("roughsnn")).split())
    intruders = sorted(imported & extras)
    rows = [
        [f"import {name}", *(statistics.median(clocks) for clocks in zip(*each, strict=True))]
        for name, each in times.items()
    ]
    rows.append(["ratio", wall, cpu])
    table = format_table(["", "wall, s", "CPU, s"], rows)
    table += (
        f"\n\n{len(extras)} modules come with extras alone; imported of them: "
        f"{', '.join(intruders) or 'none'}"
    )
    return Study(
        figures={
            "wall_ratio": wall,
            "cpu_ratio": cpu,
            "modules_of_extras": len(extras),
            "modules_of_extras_imported": len(intruders),
        },
        bounds={
            "wall_ratio": "<= 1.3",
            "modules_of_extras": ">= 1",
            "modules_of_extras_imported": "<= 0",
        },
        table=table,
    )


def modules_of_extras() -> set[str]:
    """Names of the installed modules that an extra brings and the package itself does not need."""
    # from the repository: what an editable install knows of them may be of another day
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    core = _with_dependencies({_name(line) for line in project["dependencies"]})
    lines = itertools.chain.from_iterable(project["optional-dependencies"].values())
    extra = {_name(line) for line in lines} - core - {"roughsnn"}
    modules = importlib.metadata.packages_distributions()
    return {
        module
        for module, brought_by in modules.items()
        if {_canonical(name) for name in brought_by} <= extra
        and not {_canonical(name) for name in brought_by} & core
    }


def _with_dependencies(names: set[str]) -> set[str]:
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            wanted = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting |= {_name(line) for line in wanted if "extra ==" not in line} - found
    return found


def _name(requirement: str) -> str:
    return _canonical(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout
