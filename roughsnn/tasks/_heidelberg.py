"""Spoken digits and commands as spikes of an artificial cochlea."""

from pathlib import Path
from typing import Any

import numpy as np

from roughsnn._checks import RealLike, number
from roughsnn.spikes import SpikeTrains
from roughsnn.training import LabelledData

from ._packages import package

CHANNELS = 700
"""Of the artificial cochlea."""


def read_heidelberg(
    path: Any, *, t1: RealLike | None = None, samples: slice | None = None
) -> LabelledData:
    """Read a file of the Spiking Heidelberg Digits (SHD) or the Spiking Speech Commands (SSC):
    speech as spikes of 700 channels.

    The files, HDF5, are published at compneuro.net and have to be there already. SHD has 20
    classes, SSC 35. Accuracies on SHD are often of a network that was chosen by the same test data:
    keep some of the training data for that choice, by speakers that occur nowhere else.

    Args:
        path: the file, for example `shd_train.h5`, unpacked.
        t1: the end of the window, in seconds from the start of a recording; spikes after it are
            left out. By default the window ends with the last spike of all.
        samples: which recordings, for example `slice(0, 100)`; by default all.

    Returns:
        spike trains with times in seconds, and the numbers of their classes.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: h5py is not installed, which comes with the extra `tasks`.
        ValueError: the file is not one of these, or holds a channel that there is not, a time that
            is negative or not finite, or no recording that was asked for.

    Reference: Cramer, Stradmann, Schemmel & Zenke (2022), The Heidelberg Spiking Data Sets for the
    Systematic Evaluation of Spiking Neural Networks, IEEE TNNLS 33:2744.
    """
    h5py = package("h5py", "Files of the Heidelberg data", "h5py")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path` is {str(path)!r}; there is no such file.")
    chosen = slice(None) if samples is None else samples
    try:
        with h5py.File(path, "r") as file:
            times = [np.asarray(x, np.float64) for x in file["spikes/times"][chosen]]
            units = [np.asarray(x, np.int64) for x in file["spikes/units"][chosen]]
            labels = np.asarray(file["labels"][chosen], np.int32)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not read as SHD or SSC: {error}. Such a file is HDF5, unpacked, with "
            "'spikes/times', 'spikes/units' and 'labels'."
        ) from error
    _check(path, times, units, labels)
    end = max((float(x.max()) for x in times if x.size), default=0.0)
    end = (end or 1.0) if t1 is None else number("t1", t1, positive=True)
    trials = [_in_order(time, unit, end) for time, unit in zip(times, units, strict=True)]
    trains = SpikeTrains.from_lists(trials, t0=0.0, t1=end, num_neurons=CHANNELS)
    return LabelledData(trains, labels)


def _in_order(time: np.ndarray, unit: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The spikes of a recording until `end`, sorted. Times are stored in half precision, in which
    two spikes of a channel may be one: then one is kept."""
    time = time.astype(np.float32)
    order = np.lexsort((unit, time))
    time, unit = time[order], unit[order]
    again = np.zeros(len(time), bool)
    again[1:] = (np.diff(time) == 0) & (np.diff(unit) == 0)
    kept = ~again & (time <= end)
    return time[kept].astype(np.float64), unit[kept]


def _check(path: Path, times: list, units: list, labels: np.ndarray) -> None:
    if not (len(times) == len(units) == len(labels) > 0):
        raise ValueError(
            f"{path} gives {len(times)} recordings' times, {len(units)} recordings' channels and "
            f"{len(labels)} labels; there must be as many of each, and one at least. Check "
            "`samples`."
        )
    for n, (time, unit) in enumerate(zip(times, units, strict=True)):
        if time.shape != unit.shape or time.ndim != 1:
            raise ValueError(
                f"{path}: recording {n} has {time.size} times and {unit.size} channels."
            )
        if not np.all(np.isfinite(time) & (time >= 0)):
            raise ValueError(f"{path}: recording {n} has a time that is negative or not finite.")
        if unit.size and not (unit.min() >= 0 and unit.max() < CHANNELS):
            raise ValueError(
                f"{path}: recording {n} has channels {unit.min()} to {unit.max()}; they go from 0 "
                f"to {CHANNELS - 1}."
            )
