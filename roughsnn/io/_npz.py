"""Spike trains in a NumPy archive."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..spikes.trains import SpikeTrains
from ._files import new_file, refuse_duplicates
from ._table_text import is_archive

# Times count from the start of the window, and the name says so.
_ARRAYS = ("times_since_start", "neurons", "t0", "t1", "overflowed", "num_neurons")


def npz_bytes(trains: SpikeTrains) -> bytes:
    """What `write_npz` writes."""
    content = io.BytesIO()
    arrays = {name: np.asarray(getattr(trains, name)) for name in _ARRAYS[1:]}
    arrays["times_since_start"] = np.asarray(trains.times)
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType]
    return content.getvalue()


def write_npz(path: Path | str, trains: SpikeTrains, *, overwrite: bool = False) -> None:
    """Write trains of any batch shape, arrays by the names of the attributes of `SpikeTrains`.

    The spike times are `times_since_start`: from the start of the window, as `times` of the trains.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        OSError: it cannot be written; nothing of it is left.
    """
    content = npz_bytes(trains)
    with new_file(path, overwrite) as file:
        file.write(content)


def holds_trains(path: Path | str) -> bool:
    """Whether a file is an archive of spike trains, as `write_npz` makes them.

    Raises:
        OSError: it cannot be read.
    """
    if not is_archive(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile:
        return False
    return {"neurons.npy", "num_neurons.npy"} <= names


def read_npz(path: Path | str, *, keep_duplicates: bool = False) -> SpikeTrains:
    """Read what `write_npz` wrote, and check every value.

    Args:
        path: of the file.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or holds no valid spike trains; the message names the file, the
            train and the value.
    """
    arrays = _read_arrays(path)
    try:
        num_neurons = int(arrays["num_neurons"])
        for name, kinds, wanted in (
            ("times_since_start", "f", "floating point"), ("neurons", "iu", "whole numbers")
        ):  # fmt: skip
            if arrays[name].dtype.kind not in kinds:
                raise TypeError(f"`{name}` has dtype {arrays[name].dtype}; it must be {wanted}.")
        if np.any(np.abs(arrays["neurons"]) > np.iinfo(np.int32).max):
            raise ValueError("a number in `neurons` is too large.")
        trains = SpikeTrains(*(arrays[name] for name in _ARRAYS[:-1]), num_neurons=num_neurons)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds no spike trains that can be read: {error} Write it again with "
            "`write_npz`."
        ) from error
    _check_values(path, trains, keep_duplicates)
    return trains


def _check_values(path: Path | str, trains: SpikeTrains, keep_duplicates: bool) -> None:
    rows = int(np.prod(trains.batch_shape))  # -1 is ambiguous where there is no room for spikes
    times = np.asarray(trains.times).reshape(rows, trains.max_spikes)
    neurons = np.asarray(trains.neurons).reshape(rows, trains.max_spikes)
    ends = np.asarray(trains.durations).reshape(rows)
    for row, (own, whose) in enumerate(zip(times, neurons, strict=True)):
        spikes = whose >= 0
        faults = {
            "is NaN": np.isnan(own),
            "is padding in the midst of spikes": spikes != np.sort(spikes)[::-1],
            "does not fit its padding": spikes != np.isfinite(own),
            f"is outside the window, 0 to {ends[row]:g} from its start": spikes
            & ((own < 0) | (own > ends[row])),
            "is earlier than the spike before it": np.append(False, own[1:] < own[:-1])[: own.size],
            f"is of a neuron not among 0 to {trains.num_neurons - 1}": (whose < -1)
            | (whose >= trains.num_neurons),
        }
        for fault, where in faults.items():
            if where.any():
                at = int(np.argmax(where))
                raise ValueError(
                    f"{path}, train {row}, spike {at}: time {own[at]} of neuron {whose[at]} "
                    f"{fault}. Correct the arrays, or write the file again with `write_npz`."
                )
        for neuron in np.unique(whose[spikes]):
            where = f"{path}, train {row}, neuron {neuron}"
            refuse_duplicates(own[whose == neuron], where, keep=keep_duplicates)


def _read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    again = "Write it again with `write_npz`."
    damage = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)
    try:
        with Path(path).open("rb") as file:
            if file.read(2) != b"PK":
                raise ValueError("it does not begin as archives do")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            arrays = {name: archive[name] for name in _ARRAYS if name in archive.files}
    except damage as error:
        raise ValueError(f"{path} is damaged or no NumPy archive: {error}. {again}") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path} holds no spike trains: it has no array {missing[0]!r}. {again}")
    return arrays
