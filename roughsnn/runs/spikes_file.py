"""Spike trains in a NumPy archive: the attributes of `SpikeTrains` by name."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from roughsnn.spikes import SpikeTrains

_ARRAYS = ("times", "neurons", "t0", "t1", "overflowed", "num_neurons")


def write_spikes(file: Any, trains: SpikeTrains) -> None:
    """Write trains to an open file."""
    arrays = {name: np.asarray(getattr(trains, name)) for name in _ARRAYS}
    np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def read_spikes(path: Path | str) -> SpikeTrains:
    """Read what `write_spikes` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, or damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = sorted(set(_ARRAYS) - set(archive.files))
            if missing:
                raise ValueError(f"{path} holds no spike trains: it has no array {missing[0]!r}.")
            arrays = {name: archive[name] for name in _ARRAYS}
    except (zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ValueError(f"{path} is damaged or no NumPy archive: {error}.") from error
    num_neurons = int(arrays.pop("num_neurons"))
    return SpikeTrains(**arrays, num_neurons=num_neurons)
