"""Files of spike times: into one `Recording`, with an error that says what to do."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""Seconds in a unit of time."""

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
        neurons: names of the neurons.
        conditions: names of the conditions.
        trials: the trials.
        remarks: what was done to the file on the way in, in words.
    """

    neurons: list[str]
    conditions: list[str]
    trials: list[Trial]
    remarks: list[str]

    def of(self, condition: int) -> list[Trial]:
        """The trials of a condition."""
        return [trial for trial in self.trials if trial.condition == condition]

    def rate(self, neuron: int, condition: int) -> float:
        """Spikes per second of a neuron in a condition."""
        trials = self.of(condition)
        spikes = sum(trial.spikes[neuron].size for trial in trials)
        return spikes / sum(trial.stop - trial.start for trial in trials)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of a file mean what; `None` for a column that is not there."""

    time: str | None = None
    trial: str | None = None
    neuron: str | None = None
    condition: str | None = None


def read_recording(
    files: Sequence[Path],
    *,
    unit: str = "s",
    columns: Columns | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Recording:
    """Read spike times from CSV or NPZ files.

    A CSV file has a header and a row for each spike, or just one column of numbers. An NPZ file
    holds one array for each column. Several files are several conditions, named after the files.

    Args:
        files: the files.
        unit: of the times: `s`, `ms` or `us`.
        columns: which columns mean what; left out, the time is the only column, or that whose name
            contains "time".
        start: when the recording of each trial began, in the unit of the file; by default 0, or,
            where spikes come before, the first spike.
        stop: when it ended; by default a mean interval after the last spike of the file.

    Raises:
        RecordingError: a file that cannot be read, or holds too few spikes.
    """
    columns = Columns() if columns is None else columns
    if unit not in UNITS:
        raise RecordingError(f"`time_unit` is {unit!r}; it must be one of {', '.join(UNITS)}.")
    if not files:
        raise RecordingError("`spikes` is empty; give a file of spike times, CSV or NPZ.")
    if len(files) > 1 and columns.condition is not None:
        raise RecordingError(
            "Several files are several conditions, so `condition_column` has no place; give one "
            "file with that column, or leave the column out."
        )
    remarks: list[str] = []
    rows = []
    stems = [Path(file).stem for file in files]
    for number, file in enumerate(files):
        times, trials, neurons, conditions = _read_columns(Path(file), columns)
        times = times * UNITS[unit]
        name = stems[number] if stems.count(stems[number]) == 1 else f"{stems[number]} {number}"
        if columns.condition is None:
            conditions = np.full(times.size, name)
        rows.append((times, trials, neurons, conditions))
        if columns.trial is None and np.any(np.diff(times) < 0) and columns.neuron is None:
            remarks.append(f"{Path(file).name}: the times were not sorted; they are now.")
    times, trials, neurons, conditions = map(np.concatenate, zip(*rows, strict=True))
    scale = UNITS[unit]
    recording = _assemble(
        times,
        trials,
        neurons,
        conditions,
        None if start is None else start * scale,
        None if stop is None else stop * scale,
        remarks,
    )
    _check_enough(recording)
    return recording


def _read_columns(path: Path, columns: Columns):
    if not path.is_file():
        raise RecordingError(f"{path}: there is no such file. Give a CSV or NPZ of spike times.")
    if path.suffix.lower() == ".npz":
        table = _npz_table(path)
    elif path.suffix.lower() in (".csv", ".txt", ".tsv", ""):
        table = _csv_table(path)
    else:
        raise RecordingError(f"{path}: the ending must be .csv, .tsv, .txt or .npz.")
    time = columns.time or _time_column(table, path)
    for name in (time, columns.trial, columns.neuron, columns.condition):
        if name is not None and name not in table:
            raise RecordingError(f"{path}: there is no column {name!r}; it has {sorted(table)}.")
    times = _numbers(table[time], time, path)
    if times.size == 0:
        raise RecordingError(f"{path}: there is no spike in it.")

    def labels(column):
        values = np.zeros(times.size, int) if column is None else table[column]
        values = np.asarray(values).astype(str)
        if values.shape != times.shape:
            raise RecordingError(
                f"{path}: {column!r} has shape {values.shape} and the times {times.shape}; every "
                "spike needs one entry."
            )
        return values

    return times, labels(columns.trial), labels(columns.neuron), labels(columns.condition)


def _npz_table(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError) as error:
        raise RecordingError(f"{path}: it cannot be read as NPZ: {error}") from error


def _csv_table(path: Path) -> dict[str, np.ndarray]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: it is not a text file: {error}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise RecordingError(f"{path}: it is empty.")
    delimiter = next((d for d in ("\t", ";", ",") if d in lines[0]), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = rows[0]
    if all(_is_number(cell) for cell in header):
        header = ["time"] + [f"column {i}" for i in range(2, len(header) + 1)]
    else:
        rows = rows[1:]
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise RecordingError(
                f"{path}: row {number + 1} of the data has {len(row)} entries and the header "
                f"{len(header)}; every spike needs one entry in each column."
            )
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(header)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _time_column(table: dict[str, np.ndarray], path: Path) -> str:
    if len(table) == 1:
        return next(iter(table))
    found = [name for name in table if "time" in name.lower()]
    if len(found) == 1:
        return found[0]
    raise RecordingError(
        f"{path}: it has the columns {sorted(table)}; say which holds the spike times with "
        "`--time-column`."
    )


def _numbers(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1:
        raise RecordingError(
            f"{path}: {name!r} has shape {values.shape}; it must be one array with a time for each "
            "spike."
        )
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        bad = next((i, v) for i, v in enumerate(values) if not _is_number(str(v)))
        raise RecordingError(
            f"{path}: {name!r} holds {str(bad[1])!r} in row {bad[0] + 1}; it must be a number."
        ) from None
    if not np.all(np.isfinite(numbers)):
        row = int(np.argmax(~np.isfinite(numbers))) + 1
        raise RecordingError(f"{path}: {name!r} is not finite in row {row}; remove that spike.")
    return numbers


def _assemble(times, trials, neurons, conditions, start, stop, remarks) -> Recording:
    first = min(float(times.min()), 0.0) if start is None else start
    names, which = _names(neurons)
    condition_names = list(dict.fromkeys(conditions))
    parts: list[Trial] = []
    repeated = outside = 0
    for number, condition in enumerate(condition_names):
        here = conditions == condition
        labels = _names(trials[here])[0]
        last = stop
        if last is None:
            # The recording went on for a while after the last spike, but who knows how long.
            end = float(times[here].max())
            last = end + (end - first) * len(labels) * len(names) / (int(here.sum()) + 1)
        if not last > first:
            raise RecordingError(
                f"`start` is {first:g} s and `stop` {last:g} s; the recording must end after it "
                "starts. Check `time_unit`."
            )
        for label in labels:
            spikes = []
            for neuron in range(len(names)):
                mine = np.sort(times[here & (trials == label) & (which == neuron)])
                inside = mine[(mine >= first) & (mine <= last)]
                outside += mine.size - inside.size
                distinct = np.unique(inside)
                repeated += inside.size - distinct.size
                spikes.append(distinct)
            parts.append(Trial(number, first, last, spikes))
    if repeated:
        remarks.append(
            f"{repeated} spikes at exactly the time of another of the same neuron were left out."
        )
    if outside:
        remarks.append(f"{outside} spikes outside `start` and `stop` were left out.")
    return Recording(names, [str(c) for c in condition_names], parts, remarks)


def _names(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Distinct labels, numbers in their order, and which of them each entry is."""
    distinct = list(dict.fromkeys(labels.tolist()))
    if all(_is_number(label) for label in distinct):
        distinct.sort(key=float)
    index = {label: i for i, label in enumerate(distinct)}
    return distinct, np.array([index[label] for label in labels.tolist()], dtype=int)


def _check_enough(recording: Recording) -> None:
    for c, condition in enumerate(recording.conditions):
        for n, neuron in enumerate(recording.neurons):
            spikes = sum(trial.spikes[n].size for trial in recording.of(c))
            if spikes < FEWEST_SPIKES:
                raise RecordingError(
                    f"Neuron {neuron} has {spikes} spikes in condition {condition}; a fit needs "
                    f"{FEWEST_SPIKES} or more of each neuron in each condition. Record longer, "
                    "leave the neuron out, or join conditions."
                )
