"""Spike trains from Neurodata Without Borders files: units, observation intervals and trials."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..spikes import cut_times
from ..spikes.trains import SpikeTrains
from ._files import package, refuse_duplicates, with_overflow
from ._nwb import COLUMNS
from ._observed import common_intervals, own_intervals, windows_within


def read_nwb(
    path: Path | str,
    *,
    t0: float | int | None = None,
    t1: float | int | None = None,
    units: Sequence[int] | None = None,
    intervals: Literal["same", "common"] = "same",
    outside: Literal["refuse", "leave out"] = "refuse",
    trials: str | None = None,
    start_column: str = "start_time",
    stop_column: str = "stop_time",
    around: str | Sequence[float] | np.ndarray | None = None,
    before: float | None = None,
    after: float | None = None,
    keep_duplicates: bool = False,
) -> SpikeTrains:
    """Read what `write_nwb` wrote, or the units of any NWB file as neurons.

    Each observation interval becomes a trial, with a start and a length of its own; or trials are
    cut by a table of the file, or around events. Times are in seconds. A spike on the border of two
    trials is in both. What is left out is named in a warning.

    Args:
        path: of the file.
        t0: start of one window that is cut from the recording; for a file without observation
            intervals, the start of the recording.
        t1: its end.
        units: rows of the table of units to read, from 0; all by default.
        intervals: whether the observation intervals of the units must be the same, or what they
            have in common is read.
        outside: whether spikes outside the observation intervals of their unit, and trials that
            were not observed as a whole, are refused or left out.
        trials: name of the table to cut by: `"trials"`, or another table of intervals.
        start_column: its column of the starts of trials.
        stop_column: its column of their ends.
        around: column of that table, or times, to cut around instead.
        before: how long before it a trial starts.
        after: how long after it a trial ends.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        ImportError: pynwb is not installed.
        OSError: the file cannot be read.
        ValueError: it is damaged, holds no units or no window, units with different observation
            intervals, spikes or trials outside them, two spikes of a neuron at one time, or spikes
            that `SpikeTrains.from_lists` refuses.
    """
    package("pynwb")
    if around is not None and (before is None or after is None):
        raise ValueError("`around` needs `before` and `after`, in seconds. Give both.")
    if isinstance(around, str) and trials is None:
        raise ValueError(
            f"`around` is {around!r}, a column of a table. Name the table, `trials='trials'`."
        )
    content = read_content(path, trials)
    if content.own is not None and (trials is not None or around is not None or units is not None):
        raise ValueError(
            f"{path} holds trials that `write_nwb` wrote, which are not cut again. Read it without "
            "`trials`, `around` and `units`, and use `window` and `select` of the spike trains."
        )
    for unit, times in enumerate(content.times):
        refuse_duplicates(np.sort(times), f"{path}, unit {unit}", keep=keep_duplicates)
    if content.own is not None:
        trains = _own_trains(path, content)
        if t0 is None and t1 is None:
            return trains
        return trains.window(
            np.min(np.asarray(trains.t0)) if t0 is None else t0,
            np.max(np.asarray(trains.t1)) if t1 is None else t1,
        )
    spikes, observed, remarks = _observed(path, content, units, intervals, outside)
    windows = _windows(
        path, content, observed, (t0, t1), trials, (start_column, stop_column),
        around, before, after,
    )  # fmt: skip
    if windows is None:  # the file does not say what was observed: one window holds all of it
        windows, lists = np.array([[t0, t1]], float), [spikes]
    else:
        place = f"{path}, {trials}" if trials is not None else f"{path}"
        windows, remark = windows_within(place, windows, observed, outside)
        remarks.append(remark)
        try:
            lists = cut_times(spikes, windows[:, 0], windows[:, 1])
        except ValueError as error:
            raise ValueError(f"{path}: {error} (`recording[k]` is unit k.)") from error
    remarks = [remark for remark in remarks if remark is not None]
    if remarks:
        warnings.warn(f"{path}: {'; '.join(remarks)}.", stacklevel=2)
    return _from_lists(path, lists, windows, None)


@dataclasses.dataclass(frozen=True)
class _Content:
    """What a file holds.

    Attributes:
        times: of each unit, as they are.
        observed: observation intervals of each unit, if the file has them.
        table: the table that is to be cut by, as its columns.
        own: the columns that `write_nwb` adds, if it wrote the file.
    """

    times: list[np.ndarray]
    observed: list[np.ndarray] | None
    table: dict[str, np.ndarray] | None
    own: dict[str, np.ndarray] | None


class _NoUnits(Exception):
    """A file without spike times."""


def read_content(path: Path | str, table: str | None) -> _Content:
    """What a file holds, with the table that is to be cut by.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds no units.
    """
    with Path(path).open("rb"):  # whether it can be read at all
        pass
    try:
        return _read(path, table)
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


def _read(path: Path | str, table: str | None) -> _Content:
    pynwb = package("pynwb")
    with pynwb.NWBHDF5IO(str(path), "r") as reader:
        session = reader.read()
        units = session.units
        if units is None or len(units) == 0 or "spike_times" not in units.colnames:
            raise _NoUnits
        rows = range(len(units))
        times = [np.asarray(units["spike_times"][row], np.float64) for row in rows]
        observed = None
        if "obs_intervals" in units.colnames:
            observed = [
                np.asarray(units["obs_intervals"][row], np.float64).reshape(-1, 2) for row in rows
            ]
            observed = observed if any(map(len, observed)) else None
        own = None
        if set(COLUMNS) <= set(units.colnames):
            own = {name: np.asarray(units[name][:]) for name in COLUMNS}
        columns = None
        if table is not None:
            tables = {"trials": session.trials, "epochs": session.epochs, **session.intervals}
            found = tables.get(table)
            columns = {} if found is None else {
                name: np.asarray(found[name][:])
                for name in found.colnames
                if np.asarray(found[name][:]).ndim == 1
            }  # fmt: skip
    return _Content(times, observed, columns, own)


def _observed(path, content: _Content, units, intervals, outside):
    """Spikes of the units that are read, what was observed of them, and remarks."""
    chosen = list(range(len(content.times))) if units is None else list(units)
    for unit in chosen:
        if not 0 <= unit < len(content.times):
            raise ValueError(
                f"`units` holds {unit}, and {path} has the units 0 to {len(content.times) - 1}."
            )
    spikes = [content.times[unit] for unit in chosen]
    for unit, times in zip(chosen, spikes, strict=True):
        if np.isnan(times).any() or np.any(np.diff(times) < 0):
            fault = "a NaN" if np.isnan(times).any() else "times that are not sorted"
            raise ValueError(f"{path}, unit {unit} has {fault}. Correct them, or remove the unit.")
    if content.observed is None:
        return spikes, None, []
    observed = [content.observed[unit] for unit in chosen]
    spikes, observed, left = own_intervals(str(path), spikes, observed, outside)
    spikes, common, shared = common_intervals(str(path), spikes, observed, intervals)
    return spikes, common, [left, shared]


def _windows(path, content, observed, window, trials, columns, around, before, after):
    """Starts and ends of the trials; `None` where one window holds all that there is."""
    t0, t1 = window
    if (trials is not None or around is not None) and (t0, t1) != (None, None):
        raise ValueError(
            "`t0` and `t1` cut one window, and `trials` or `around` cut several. Give one of them."
        )
    if around is not None:
        events = around if not isinstance(around, str) else _column(path, content, trials, around)
        events = np.atleast_1d(np.asarray(events, np.float64))
        return np.stack([events - before, events + after], axis=1)
    if trials is not None:
        return np.stack([_column(path, content, trials, name) for name in columns], axis=1)
    if observed is None:
        if t0 is None or t1 is None:
            raise ValueError(
                f"{path} has no observation intervals; pass `t0=` and `t1=` in seconds."
            )
        return None
    if t0 is None and t1 is None:
        return observed
    start = observed[0, 0] if t0 is None else t0
    stop = observed[-1, 1] if t1 is None else t1
    return np.array([[start, stop]], np.float64)


def _column(path, content: _Content, table: str, name: str) -> np.ndarray:
    if not content.table:
        raise ValueError(
            f"{path} has no table {table!r} of intervals. Name another in `trials=`, or pass times "
            "as `around=`."
        )
    if name not in content.table or content.table[name].dtype.kind not in "fiu":
        raise ValueError(
            f"{path}, {table} has no column {name!r} of times; it has {sorted(content.table)}. "
            "Name one of them."
        )
    return content.table[name].astype(np.float64)


def _own_trains(path: Path | str, content: _Content) -> SpikeTrains:
    """What `write_nwb` wrote."""
    own = content.own
    assert own is not None
    where = {}
    for name in ("trial", "neuron"):
        wrong = (own[name] < 0) | (own[name] != np.floor(own[name]))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{path}, unit {row}: the {name} {own[name][row]} is not a whole number 0 or "
                "more. Correct it, or remove the unit."
            )
        where[name] = own[name].astype(int)
    if len(set(zip(where["trial"], where["neuron"], strict=True))) < len(content.times):
        raise ValueError(
            f"{path} has two units for one neuron in one trial. Number trials and neurons so that "
            "each pair is there once."
        )
    if content.observed is None:
        raise ValueError(f"{path} has no observation intervals. Write it again with `write_nwb`.")
    num_trials, num_neurons = int(where["trial"].max()) + 1, int(where["neuron"].max()) + 1
    lists = [[np.zeros(0)] * num_neurons for _ in range(num_trials)]
    overflowed = np.zeros(num_trials, bool)
    windows = np.full((num_trials, 2), np.nan)
    for row, (trial, neuron) in enumerate(zip(where["trial"], where["neuron"], strict=True)):
        lists[trial][neuron] = content.times[row]
        overflowed[trial] |= bool(own["overflowed"][row])
        window = content.observed[row]
        if len(window) != 1 or not (
            np.isnan(windows[trial]).all() or np.array_equal(window[0], windows[trial])
        ):
            raise ValueError(
                f"{path}, unit {row}: the observation intervals {window.tolist()} are not the one "
                f"window of trial {trial}. Correct them, or write the file again with `write_nwb`."
            )
        windows[trial] = window[0]
    if np.isnan(windows).any():
        trial = int(np.argmax(np.isnan(windows).any(1)))
        raise ValueError(
            f"{path} has no unit in trial {trial}. Number trials from 0 on, without gaps."
        )
    trains = _from_lists(path, lists, windows, int(own["max_spikes"][0]))
    return with_overflow(trains, overflowed)


def _from_lists(path, lists: list, windows: np.ndarray, max_spikes: int | None) -> SpikeTrains:
    """Trains with one window where all are the same, else one for each trial."""
    t0: Any = windows[:, 0]
    t1: Any = windows[:, 1]
    if np.all(windows == windows[0]):
        t0, t1 = float(t0[0]), float(t1[0])
    try:
        return SpikeTrains.from_lists(lists, t0=t0, t1=t1, max_spikes=max_spikes)
    except ValueError as error:
        raise ValueError(f"{path}: {error} (`trials[i][k]` is neuron k in trial i.)") from error
