"""Spike trains in Neurodata Without Borders files."""

import datetime
import io
from pathlib import Path

import numpy as np

from ..spikes.trains import SpikeTrains
from ._files import new_file, one_batch_axis, package

COLUMNS = {
    "neuron": "number of the neuron",
    "trial": "number of the trial; times are relative to it",
    "overflowed": "whether the trial had more spikes than there was room for",
    "max_spikes": "room for the spikes of one trial",
}
"""Columns of the table of units by which a file of this package is known, with their meaning."""


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
    for name, meaning in COLUMNS.items():
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
