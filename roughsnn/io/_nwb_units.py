"""Units of Neurodata Without Borders files as a table of spikes."""

from pathlib import Path

import numpy as np

from ._files import package
from ._nwb_in import read_content
from ._table import SpikeTable


def read_nwb_units(path: Path | str) -> SpikeTable | None:
    """The spikes of all units of an NWB file, in seconds, where it does not say what was observed.

    Without observation intervals nobody but the user knows when a recording began and ended, as
    with a table. A unit has its number in the table of units, from 0.

    Args:
        path: of the file.

    Returns:
        the table, or `None` for a file with observation intervals, which `read_nwb` reads.

    Raises:
        ImportError: pynwb is not installed.
        OSError: the file cannot be read.
        ValueError: it is damaged, or holds no units with spike times, or a time is not finite.
    """
    package("pynwb")
    content = read_content(path, None)
    if content.observed is not None or content.own is not None:
        return None
    for unit, times in enumerate(content.times):
        wrong = np.flatnonzero(~np.isfinite(times))
        if wrong.size:
            raise ValueError(
                f"{path}, unit {unit}, spike {wrong[0]}: the time {times[wrong[0]]} is not finite. "
                "Correct it, or remove the unit."
            )
    times = np.concatenate(content.times)
    units = np.repeat(np.arange(len(content.times)), [x.size for x in content.times])
    rows = [f"unit {unit}" for unit in units.tolist()]
    written = [repr(time) for time in times.tolist()]
    return SpikeTable(
        path=Path(path), times=times, unit="s", trials=None, neurons=units.astype(str), others={},
        rows=rows, written=written, about={}, remarks=(),
    )  # fmt: skip
