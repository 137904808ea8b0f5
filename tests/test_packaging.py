"""What an installation brings along and what an import costs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiments.benchmarks.import_time import modules_of_extras

ROOT = Path(__file__).parent.parent
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


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


def test_the_import_needs_no_extra():
    program = "import sys, roughsnn; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    extras = modules_of_extras()
    assert {"matplotlib", "tqdm", "tyro", "mkdocs", "neo", "pynwb"} <= extras
    assert set(done.stdout.split()).isdisjoint(extras)
