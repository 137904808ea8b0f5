"""Spike trains in Neurodata Without Borders files."""

import datetime
import io
from pathlib import Path

import numpy as np

from ..spikes.trains import SpikeTrains
from ._files import new_file, one_batch_axis, package, refuse_duplicates, with_overflow

_COLUMNS = {
    "neuron": "number of the neuron",
    "trial": "number of the trial; times are relative to it",
    "overflowed": "whether the trial had more spikes than there was room for",
    "max_spikes": "room for the spikes of one trial",
}


def write_nwb(
    path: Path | str,
    trains: SpikeTrains,
    *,
    description: str = "spike trains",
    start: datetime.datetime | None = None,
    overwrite: bool = False,
) -> None:
    """Write trains as the table of units: a row for each neuron in each trial.

    The window is the observation interval of every row, so that silent neurons come back. Times
    must be in seconds, as NWB wants them; in another unit, convert them first.

    Args:
        path: of the file.
        trains: trains with one batch axis, in seconds.
        description: of the session.
        start: time of the session, with its time zone; now, by default.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        ImportError: pynwb is not installed.
        OSError: it cannot be written; nothing of it is left.
        ValueError: not exactly one batch axis.
    """
    pynwb, h5py = package("pynwb"), package("h5py")
    one_batch_axis(trains)
    session = pynwb.NWBFile(
        session_description=description,
        identifier=Path(path).stem,
        session_start_time=start or datetime.datetime.now(datetime.UTC),
    )
    for name, meaning in _COLUMNS.items():
        session.add_unit_column(name, meaning)
    starts, ends = (np.broadcast_to(end, len(trains)) for end in (trains.t0, trains.t1))
    overflowed = np.asarray(trains.overflowed)
    for trial, by_neuron in enumerate(trains.to_lists()):
        interval = [[float(starts[trial]), float(ends[trial])]]
        for neuron, times in enumerate(by_neuron):
            session.add_unit(
                spike_times=times,
                obs_intervals=interval,
                neuron=neuron,
                trial=trial,
                overflowed=bool(overflowed[trial]),
                max_spikes=trains.max_spikes,
            )
    content = io.BytesIO()
    with h5py.File(content, "w") as file, pynwb.NWBHDF5IO(file=file, mode="w") as writer:
        writer.write(session)
    with new_file(path, overwrite) as file:
        file.write(content.getvalue())


def read_nwb(
    path: Path | str,
    *,
    t0: float | int | None = None,
    t1: float | int | None = None,
    keep_duplicates: bool = False,
) -> SpikeTrains:
    """Read what `write_nwb` wrote, or the units of any NWB file as the neurons of one trial.

    Args:
        path: of the file.
        t0: start of the window, in seconds; that of the observation intervals by default.
        t1: end of the window, likewise.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        ImportError: pynwb is not installed.
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no units or no window, two spikes of a neuron at one time,
            or spikes that `SpikeTrains.from_lists` refuses.
    """
    package("pynwb")
    with Path(path).open("rb"):  # whether it can be read at all
        pass
    try:
        times, where, max_spikes, seen = _read_units(path)
    except _NoUnits:
        raise ValueError(
            f"{path} holds no units with spike times; there is nothing to read. Sort the spikes "
            "first, or give another file."
        ) from None
    except Exception as error:  # whatever HDF5 and pynwb raise for a damaged file
        raise ValueError(
            f"{path} is damaged or no NWB file ({type(error).__name__}: {error}). Write or export "
            "it again."
        ) from error
    if seen.size == 0 and (t0 is None or t1 is None):
        raise ValueError(f"{path} has no observation intervals; pass `t0=` and `t1=` in seconds.")
    for name in ("trial", "neuron"):
        wrong = (where[name] < 0) | (where[name] != np.floor(where[name]))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{path}, unit {row}: the {name} {where[name][row]} is not a whole number 0 or "
                "more. Correct it, or remove the unit."
            )
        where[name] = where[name].astype(int)
    if len(set(zip(where["trial"], where["neuron"], strict=True))) < len(times):
        raise ValueError(
            f"{path} has two units for one neuron in one trial. Number trials and neurons so that "
            "each pair is there once."
        )
    num_trials, num_neurons = int(where["trial"].max()) + 1, int(where["neuron"].max()) + 1
    trials = [[np.zeros(0)] * num_neurons for _ in range(num_trials)]
    overflowed = np.zeros(num_trials, bool)
    for row in range(len(times)):
        trials[where["trial"][row]][where["neuron"][row]] = times[row]
        overflowed[where["trial"][row]] |= bool(where["overflowed"][row])
        refuse_duplicates(np.sort(times[row]), f"{path}, unit {row}", keep=keep_duplicates)
    try:
        trains = SpikeTrains.from_lists(
            trials,
            t0=float(seen[:, 0].min()) if t0 is None else t0,
            t1=float(seen[:, 1].max()) if t1 is None else t1,
            max_spikes=max_spikes,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error} (`trials[i][k]` is neuron k in trial i.)") from error
    return with_overflow(trains, overflowed)


class _NoUnits(Exception):
    """A file without spike times."""


def _read_units(path: Path | str) -> tuple:
    """Spike times and columns of all units, the room for spikes, and the observation intervals."""
    pynwb = package("pynwb")
    with pynwb.NWBHDF5IO(str(path), "r") as reader:
        units = reader.read().units
        if units is None or len(units) == 0 or "spike_times" not in units.colnames:
            raise _NoUnits
        rows = len(units)
        times = [np.asarray(units["spike_times"][row], np.float64) for row in range(rows)]
        where = dict(
            neuron=np.arange(rows), trial=np.zeros(rows, int), overflowed=np.zeros(rows, bool)
        )
        max_spikes = None
        if set(_COLUMNS) <= set(units.colnames):  # `write_nwb` wrote it
            where = {name: np.asarray(units[name][:]) for name in where}
            max_spikes = int(units["max_spikes"][0])
        seen = np.zeros((0, 2))
        if "obs_intervals" in units.colnames:
            seen = np.concatenate([np.asarray(units["obs_intervals"][row]) for row in range(rows)])
    return times, where, max_spikes, seen
