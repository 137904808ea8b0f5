"""Files of spike times: into one `Recording`, with an error that says what to do."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import roughsnn as rs
from roughsnn import io

FEWEST_SPIKES = 40
"""Spikes of one neuron in one condition below which nothing is fitted."""


class RecordingError(ValueError):
    """A file of spike times that cannot be used; the text says what to do."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """One stretch of recording.

    Attributes:
        condition: number of the condition.
        start: when the recording of the trial begins, in seconds.
        stop: when it ends.
        spikes: sorted spike times of each neuron, in seconds.
    """

    condition: int
    start: float
    stop: float
    spikes: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Recording:
    """Spike trains of the same neurons in trials, each under one condition.

    Attributes:
        neurons: names of the neurons, as the files have them; see `names`.
        conditions: names of the conditions.
        trials: the trials.
        remarks: what was done to the file on the way in, in words.
    """

    neurons: list[str]
    conditions: list[str]
    trials: list[Trial]
    remarks: list[str]

    @property
    def names(self) -> list[str]:
        """Neurons by their numbers from 0, with the names that the files have, where others."""
        return [name if name == str(n) else f"{n} ({name})" for n, name in enumerate(self.neurons)]

    def of(self, condition: int) -> list[Trial]:
        """The trials of a condition."""
        return [trial for trial in self.trials if trial.condition == condition]

    def rate(self, neuron: int, condition: int) -> float:
        """Spikes per second of a neuron in a condition."""
        trials = self.of(condition)
        spikes = sum(trial.spikes[neuron].size for trial in trials)
        return spikes / sum(trial.stop - trial.start for trial in trials)


@dataclasses.dataclass(frozen=True)
class _File:
    """Spikes of a file in seconds.

    Attributes:
        name: of the file, without its ending.
        times: of the spikes, in the order of the file.
        trials: number of the trial of each spike.
        neurons: number of its neuron.
        conditions: name of its condition.
        num_trials: how many trials there are, silent ones included.
        names: of the neurons.
        windows: when each trial began and ended, where the file says it.
    """

    name: str
    times: np.ndarray
    trials: np.ndarray
    neurons: np.ndarray
    conditions: np.ndarray
    num_trials: int
    names: list[str]
    windows: list[tuple[float, float]] | None = None


def read_recording(
    files: Sequence[Path],
    *,
    format: io.TableFormat | None = None,
    condition_column: str | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Recording:
    """Read spike times from tables, CSV or NPZ, or from files of spike trains of roughsnn.

    A table has a row for each spike, see `roughsnn.io.read_table`. Several files are several
    conditions, named after the files. Files of spike trains say what their windows are; in a table,
    every trial has the same.

    Args:
        files: the files.
        format: how they are written.
        condition_column: the column that says which condition a spike is of.
        start: when the recording of each trial began, in the unit of the file; by default 0, or,
            where spikes come before, the first spike.
        stop: when it ended; by default a mean interval after the last spike of the file.

    Raises:
        RecordingError: a file that cannot be read, or holds too few spikes.
    """
    format = io.TableFormat() if format is None else format
    if not files:
        raise RecordingError("`spikes` is empty; give a file of spike times, CSV or NPZ.")
    if len(files) > 1 and condition_column is not None:
        raise RecordingError(
            "Several files are several conditions, so `condition_column` has no place; give one "
            "file with that column, or leave the column out."
        )
    remarks: list[str] = []
    paths = [Path(file) for file in files]
    stems = [path.stem for path in paths]
    parts, scale = [], []
    for number, path in enumerate(paths):
        name = stems[number] if stems.count(stems[number]) == 1 else f"{stems[number]} {number}"
        if not path.is_file():
            raise RecordingError(
                f"{path}: there is no such file. Give a CSV or NPZ of spike times."
            )
        try:
            part, unit, more = _read(path, name, format, condition_column)
        except ValueError as error:
            raise RecordingError(str(error)) from error
        parts.append(part)
        scale.append(unit)
        remarks += [f"{path.name}: {remark}." for remark in more]
    if len(set(scale)) > 1 and (start, stop) != (None, None):
        raise RecordingError(
            f"The files are in {' and '.join(sorted(set(scale)))}, so `start` and `stop` have no "
            "unit. Leave them out, or bring the files to one unit."
        )
    start, stop = (
        None if x is None else float(io.convert_times(x, scale[0], "s")) for x in (start, stop)
    )
    recording = _assemble(parts, start, stop, remarks)
    _check_enough(recording)
    return recording


def _read(
    path: Path, name: str, format: io.TableFormat, condition_column: str | None
) -> tuple[_File, str, list[str]]:
    """A file, its unit of time, and what was done to it."""
    if io.holds_trains(path):
        if condition_column is not None:
            raise ValueError(
                f"{path} holds spike trains and no column of conditions. Leave `condition_column` "
                "out, and give a file for each condition."
            )
        unit, remarks = _unit(path, None, format)
        with jax.enable_x64(True):
            trains = io.read_npz(path, keep_duplicates=True)
            return _of_trains(path, name, trains, unit, remarks)
    others = () if condition_column is None else (condition_column,)
    table = io.read_table(path, format, others=others)
    unit, remarks = _unit(path, table.unit, format)
    remarks = [*table.remarks, *remarks]
    if table.times.size == 0:
        raise ValueError(f"{path}: there is no spike in it. Give a file with spikes.")
    if table.about and condition_column is None:
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the remarks say the same
            trains = io.read_csv(path, keep_duplicates=True, **dataclasses.asdict(format))
            return _of_trains(path, name, trains, unit, remarks)
    times = io.convert_times(table.times, unit, "s")
    trials, labels, about_trials = io.number_labels(table, "trial")
    neurons, names, about_neurons = io.number_labels(table, "neuron")
    remarks += [x for x in (about_trials, about_neurons) if x is not None]
    both = trials * len(names) + neurons
    order = np.argsort(both, kind="stable")
    if np.any((np.diff(times[order]) < 0) & (np.diff(both[order]) == 0)):
        remarks.append("the times were not sorted; they are now")
    conditions = np.full(times.size, name)
    if condition_column is not None:
        conditions = table.others[condition_column]
    part = _File(name, times, trials, neurons, conditions, len(labels), names)
    return part, unit, remarks


def _unit(path: Path, own: str | None, format: io.TableFormat) -> tuple[str, list[str]]:
    """The unit of the times of a file, and a remark where it is a guess."""
    unit = format.time_unit if own is None or own not in io.UNITS else own
    if unit is not None:
        return unit, []
    if own is not None:
        raise ValueError(
            f"{path} is in {own!r}. Say what that is with `time_unit`: {', '.join(io.UNITS)}."
        )
    return "s", ["nothing says the unit of the times; they are taken for seconds"]


def _of_trains(
    path: Path, name: str, trains: rs.SpikeTrains, unit: str, remarks: list[str]
) -> tuple[_File, str, list[str]]:
    """Spike trains that say what their windows are."""
    trains = trains.reshape(-1)
    n = len(trains)
    ends = [
        io.convert_times(np.broadcast_to(np.asarray(x, float), (n,)), unit, "s")
        for x in (trains.t0, trains.t1)
    ]
    windows = [(float(start), float(stop)) for start, stop in zip(*ends, strict=True)]
    lists = trains.to_lists()
    overflowed = np.asarray(trains.overflowed)
    for trial in np.flatnonzero(overflowed):
        last = max((float(times[-1]) for times in lists[trial] if times.size), default=None)
        if last is None or not io.convert_times(last, unit, "s") > windows[trial][0]:
            raise ValueError(
                f"{path}: trial {trial} had no room for its spikes, so that nothing of it is "
                "known. Simulate it again with a larger `max_spikes`."
            )
        windows[trial] = (windows[trial][0], float(io.convert_times(last, unit, "s")))
    if overflowed.any():
        remarks = [
            *remarks,
            f"{overflowed.sum()} trials had no room for all of their spikes and are read up to "
            "their last one",
        ]
    counts = [[times.size for times in row] for row in lists]
    trials = np.repeat(np.arange(n), [sum(row) for row in counts])
    neurons = np.repeat(np.tile(np.arange(trains.num_neurons), n), np.ravel(counts).astype(int))
    times = np.concatenate([np.zeros(0), *(x for row in lists for x in row)])
    times = io.convert_times(times, unit, "s")
    conditions = np.full(times.size, name)
    names = [str(k) for k in range(trains.num_neurons)]
    return _File(name, times, trials, neurons, conditions, n, names, windows), unit, remarks


def _assemble(
    files: list[_File], start: float | None, stop: float | None, remarks: list[str]
) -> Recording:
    """One recording of all files."""
    names = list(dict.fromkeys(name for file in files for name in file.names))
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    tables = [file.times.min() for file in files if file.windows is None]
    first = min([0.0, *map(float, tables)]) if start is None else start
    conditions: list[str] = []
    parts: list[Trial] = []
    repeated = outside = 0

    def add(condition, begin, end, times, neurons):
        nonlocal repeated, outside
        spikes = []
        for neuron in range(len(names)):
            mine = np.sort(times[neurons == neuron])
            inside = mine[(mine >= begin) & (mine <= end)]
            distinct = np.unique(inside)
            outside += mine.size - inside.size
            repeated += inside.size - distinct.size
            spikes.append(distinct)
        parts.append(Trial(condition, begin, end, spikes))

    for file in files:
        neurons = np.array([names.index(name) for name in file.names])[file.neurons.astype(int)]
        if file.windows is not None:
            conditions.append(file.name)
            for trial, (begin, end) in enumerate(file.windows):
                begin = begin if start is None else max(begin, start)
                end = end if stop is None else min(end, stop)
                here = file.trials == trial
                _check_window(begin, end)
                add(len(conditions) - 1, begin, end, file.times[here], neurons[here])
            continue
        several = list(dict.fromkeys(file.conditions.tolist()))
        for condition in several:
            conditions.append(str(condition))
            here = file.conditions == condition
            # of which condition a silent trial was is known only where there is one
            trials = np.unique(file.trials[here]) if len(several) > 1 else range(file.num_trials)
            last = stop
            if last is None:
                # The recording went on for a while after the last spike, but who knows how long.
                end = float(file.times[here].max())
                last = end + (end - first) * len(trials) * len(names) / (int(here.sum()) + 1)
            _check_window(first, last)
            for trial in trials:
                own = here & (file.trials == trial)
                add(len(conditions) - 1, first, last, file.times[own], neurons[own])
        silent = file.num_trials - np.unique(file.trials).size
        if silent and len(several) > 1:
            remarks.append(
                f"{file.name}: {silent} trials without spikes are left out, as it is not known "
                "of which condition they were."
            )
    if repeated:
        remarks.append(
            f"{repeated} spikes at exactly the time of another of the same neuron were left out."
        )
    if outside:
        remarks.append(f"{outside} spikes outside `start` and `stop` were left out.")
    return Recording(names, conditions, parts, remarks)


def _check_window(start: float, stop: float) -> None:
    if not stop > start:
        raise RecordingError(
            f"`start` is {start:g} s and `stop` {stop:g} s; the recording must end after it "
            "starts. Check `time_unit`."
        )


def _check_enough(recording: Recording) -> None:
    for c, condition in enumerate(recording.conditions):
        for n, neuron in enumerate(recording.names):
            spikes = sum(trial.spikes[n].size for trial in recording.of(c))
            if spikes < FEWEST_SPIKES:
                raise RecordingError(
                    f"Neuron {neuron} has {spikes} spikes in condition {condition}; a fit needs "
                    f"{FEWEST_SPIKES} or more of each neuron in each condition. Record longer, "
                    "leave the neuron out, or join conditions."
                )
