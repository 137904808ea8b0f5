"""Packages that only some tasks need."""

import importlib
from typing import Any


def package(name: str, needed_by: str, offered_as: str) -> Any:
    """The optional package `name`.

    Args:
        name: the module to import.
        needed_by: what needs it, as the beginning of a sentence.
        offered_as: the name of the distribution that has it.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{needed_by} need {offered_as}, which is not installed: `pip install roughsnn[tasks]`"
        ) from error
