"""What an experiment found, in a new run or in one that has ended."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roughsnn.runs.folder import read_settings


def outcomes(
    run: Callable, settings: type, folder: Path | None, **given: Any
) -> tuple[Any, dict[str, Any]]:
    """The settings and what was found: of the run in `folder`, or of a new one with the settings
    that are given."""
    if folder is not None:
        return read_settings(folder, settings), json.loads((folder / "outcomes.json").read_text())
    fresh = settings(**given)
    return fresh, run(fresh)[0]
