"""What all formats share: files that are whole or absent, and names of missing packages."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..spikes.trains import SpikeTrains
from .whole_file import whole_file


@contextlib.contextmanager
def new_file(path: Path | str, overwrite: bool) -> Iterator[BinaryIO]:
    """A file to write to that appears under `path` when all of it is written.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        OSError: it cannot be written; nothing of it is left.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists already; choose another name, or pass `overwrite=True` to replace it."
        )
    with whole_file(path) as file:
        yield file


def one_batch_axis(trains: SpikeTrains) -> SpikeTrains:
    """`trains` itself.

    Raises:
        ValueError: it has not exactly one batch axis, that of the trials.
    """
    if len(trains.batch_shape) != 1:
        raise ValueError(
            f"`trains` has batch shape {trains.batch_shape}; a file holds one axis of trials. "
            "Use `reshape(-1)`."
        )
    return trains


def refuse_duplicates(times: np.ndarray, where: str, *, keep: bool) -> None:
    """Fail if one neuron, whose sorted times these are, fires twice at one time, unless that is
    to be kept.

    Raises:
        ValueError: it does; the text begins with `where`.
    """
    again = np.flatnonzero(np.diff(times) == 0)
    if again.size and not keep:
        raise ValueError(
            f"{where}: there are two spikes at {times[again[0]]:g}. Remove one, or pass "
            "`keep_duplicates=True` if both are meant."
        )


def with_overflow(trains: SpikeTrains, overflowed: Any) -> SpikeTrains:
    """The same trains with their marks of overflow."""
    return trains.with_spikes(trains.times, trains.neurons, overflowed)


def package(name: str) -> Any:
    """The optional package `name`.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This format needs {name.split('.')[0]}, which is not installed: "
            "`pip install roughsnn[formats]`"
        ) from error
