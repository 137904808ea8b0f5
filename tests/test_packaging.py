"""What an installation brings along and what an import costs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiments.benchmarks.import_time import modules_of_extras

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
METADATA = PROJECT["project"]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_line_and_names_no_index(lock):
    for line in (ROOT / lock).read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==[^\s;@]+( ; [^@/]+)?", line), line


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ["experiments"]),
        ("requirements-dev.lock", list(METADATA["optional-dependencies"])),
    ],
)
def test_a_lock_has_every_dependency(lock, extras):
    pinned = {_name(line) for line in (ROOT / lock).read_text().splitlines()}
    wanted = METADATA["dependencies"] + [
        requirement for extra in extras for requirement in METADATA["optional-dependencies"][extra]
    ]
    assert {_name(requirement) for requirement in wanted} - pinned - {"roughsnn"} == set()


def test_what_is_installed_is_one_package():
    """Nothing by a common name such as `experiments` comes to lie among the packages of a user, so
    that experiments import one another by where they lie, and not by that name."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["roughsnn"]
    assert wheel["force-include"] == {"experiments": "roughsnn/experiments"}
    for file in (ROOT / "experiments").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            named += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "experiments" for name in named), file


def test_the_import_needs_no_extra():
    program = "import sys, roughsnn; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    extras = modules_of_extras()
    assert {"matplotlib", "tqdm", "tyro", "mkdocs", "neo", "pynwb"} <= extras
    assert set(done.stdout.split()).isdisjoint(extras)
