"""Files of spike times: into one `Recording`, with an error that says what to do."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roughsnn import io

from .sources import Cutting, File, read_file

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
        name: of the trial, as the file has it.
    """

    condition: int
    start: float
    stop: float
    spikes: list[np.ndarray]
    name: str = "0"


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


def read_recording(
    files: Sequence[Path],
    *,
    format: io.TableFormat | None = None,
    condition_column: str | None = None,
    start: float | None = None,
    stop: float | None = None,
    cutting: Cutting | None = None,
    neurons: Sequence[str] = (),
    fewest: int = FEWEST_SPIKES,
) -> Recording:
    """Read spike times from tables, files of spike trains, NWB, neo, or folders of a spike sorter.

    A table has a row for each spike, see `roughsnn.io.read_table`. Several files are several
    conditions, named after the files. Files of spike trains, NWB and neo say what their windows
    are; in a table and in a folder of Kilosort or phy, every trial has the same.

    Args:
        files: the files.
        format: how they are written.
        condition_column: the column that says which condition a spike is of.
        start: when the recording of each trial began, in the unit of the file; by default 0, or,
            where spikes come before, the first spike.
        stop: when it ended; by default a mean interval after the last spike of the file.
        cutting: what is read of files that hold more than a table.
        neurons: names of the neurons that are read; all by default.
        fewest: spikes that each neuron must have in each condition.

    Raises:
        RecordingError: a file that cannot be read, or holds too few spikes.
    """
    format = io.TableFormat() if format is None else format
    cutting = Cutting() if cutting is None else cutting
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
        if not path.exists():
            raise RecordingError(
                f"{path}: there is no such file. Give a table of spike times, NWB, a file that neo "
                "reads, or a folder of Kilosort or phy."
            )
        try:
            part, unit, more = read_file(path, name, format, condition_column, cutting)
        except (ValueError, ImportError) as error:
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
    recording = _only(_assemble(parts, start, stop, remarks), neurons)
    _check_enough(recording, fewest)
    return recording


def _assemble(
    files: list[File], start: float | None, stop: float | None, remarks: list[str]
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

    def add(condition, begin, end, times, neurons, name):
        nonlocal repeated, outside
        spikes = []
        for neuron in range(len(names)):
            mine = np.sort(times[neurons == neuron])
            inside = mine[(mine >= begin) & (mine <= end)]
            distinct = np.unique(inside)
            outside += mine.size - inside.size
            repeated += inside.size - distinct.size
            spikes.append(distinct)
        parts.append(Trial(condition, begin, end, spikes, name))

    for file in files:
        neurons = np.array([names.index(name) for name in file.names])[file.neurons.astype(int)]
        if file.windows is not None:
            conditions.append(file.name)
            for trial, (begin, end) in enumerate(file.windows):
                begin = begin if start is None else max(begin, start)
                end = end if stop is None else min(end, stop)
                here = file.trials == trial
                _check_window(begin, end)
                add(len(conditions) - 1, begin, end, file.times[here], neurons[here],
                    file.trial_names[trial])  # fmt: skip
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
                add(len(conditions) - 1, first, last, file.times[own], neurons[own],
                    file.trial_names[trial])  # fmt: skip
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


def _only(recording: Recording, names: Sequence[str]) -> Recording:
    """The same recording of some neurons."""
    if not names:
        return recording
    unknown = [name for name in names if name not in recording.neurons]
    if unknown:
        shown = ", ".join(recording.neurons[:12]) + ", ..." * (len(recording.neurons) > 12)
        raise RecordingError(
            f"`neurons` holds {unknown[0]!r}, and the recording has the neurons {shown}. Name some "
            "of these."
        )
    places = [recording.neurons.index(name) for name in dict.fromkeys(names)]
    trials = [
        dataclasses.replace(trial, spikes=[trial.spikes[n] for n in places])
        for trial in recording.trials
    ]
    kept = [recording.neurons[n] for n in places]
    return dataclasses.replace(recording, neurons=kept, trials=trials)


def _check_window(start: float, stop: float) -> None:
    if not stop > start:
        raise RecordingError(
            f"`start` is {start:g} s and `stop` {stop:g} s; the recording must end after it "
            "starts. Check `time_unit`."
        )


def _check_enough(recording: Recording, fewest: int) -> None:
    for c, condition in enumerate(recording.conditions):
        for n, neuron in enumerate(recording.names):
            spikes = sum(trial.spikes[n].size for trial in recording.of(c))
            if spikes < fewest:
                raise RecordingError(
                    f"Neuron {neuron} has {spikes} spikes in condition {condition}; a fit needs "
                    f"{fewest} or more of each neuron in each condition. Record longer, "
                    "leave the neuron out (`neurons` names those that are read), or join "
                    "conditions."
                )
