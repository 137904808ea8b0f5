"""The folder that a run of an experiment writes."""

import dataclasses
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any


def new_run_folder(parent: Path, settings: Any) -> Path:
    """The next numbered folder under `parent`, with the settings and versions of the run in it;
    an earlier run is never written over."""
    parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.name) for p in parent.iterdir() if p.name.isdigit()]
    folder = parent / f"{max(numbers, default=0) + 1:03d}"
    folder.mkdir()
    content = {"settings": dataclasses.asdict(settings), "versions": versions()}
    (folder / "settings.json").write_text(json.dumps(content, default=str, indent=2) + "\n")
    return folder


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose numbers a result depends on."""
    names = ("roughsnn", "jax", "jaxlib", "diffrax", "equinox", "optax", "signax", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        found[name] = importlib.metadata.version(name)
    return found
