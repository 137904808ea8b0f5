"""Tables of values that vary in time, such as a stimulus: a row for each time, strictly read."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._checks import RealLike, number
from ._table import TableFormat, counts_rows, labels_of, read_columns, times_of
from ._table_columns import Column, find_columns
from ._table_text import to_number


@dataclasses.dataclass(frozen=True)
class Series:
    """Values that vary in time.

    Attributes:
        path: the file.
        times: in `unit`, increasing within each trial, in double precision.
        unit: of the times; `None` where nothing says it.
        values: a column for each of `names`, shape (times, columns).
        names: of the columns.
        trials: to which trial each row belongs, as written; `None` without such a column.
        rows: where each row stands, in words.
        remarks: what was not read, in words.
    """

    path: Path
    times: np.ndarray
    unit: str | None
    values: np.ndarray
    names: list[str]
    trials: np.ndarray | None
    rows: Sequence[str]
    remarks: tuple[str, ...]


def read_series(
    path: Path | str,
    format: TableFormat | None = None,
    *,
    columns: Sequence[Column] | None = None,
    rate: RealLike | None = None,
) -> Series:
    """Read a table of values in time: text, packed or not, or an NPZ archive.

    Times need not be evenly spaced. They increase within a trial.

    Args:
        path: of the file.
        format: how it is written, see `TableFormat`; there is no column of neurons.
        columns: the columns of values; by default all that are neither times, nor trials, nor
            named in `format.ignore`.
        rate: rows per second, for a file without times; the first row of each trial is then at 0.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, what a column means is not certain, a value or a time is no
            finite number, or times do not increase. The message names file, line and remedy.
    """
    path, format = Path(path), TableFormat() if format is None else format
    rate = None if rate is None else number("rate", rate, positive=True)
    cells = read_columns(path, format, tuple(columns or ()))
    header, texts, rows, where = cells.header, cells.columns, cells.rows, cells.where
    if not rows:
        raise ValueError(f"{where}: there is no row of values. Export the table again.")
    counters = [counts_rows(name, column) for name, column in zip(header, texts, strict=True)]
    if rate is None:
        found = find_columns(
            where, header, counters, named=cells.named, time=cells.format.time_column, neuron=(),
            trial=cells.format.trial_column, others=tuple(columns or ()),
            ignore=cells.format.ignore,
            sampled=format.sampling_rate is not None,
        )  # fmt: skip
        times, unit = times_of(path, header, texts, rows, found, cells.format)
        chosen = found.others if columns else tuple(at for at in found.left if header[at])
        left = [header[at] for at in found.left] if columns else []
        at_trial = found.trial
    else:
        at_trial = tuple(at for at, name in enumerate(header) if name.strip().lower() == "trial")
        chosen = tuple(at for at in range(len(header)) if at not in at_trial)
        if columns:
            chosen = tuple(header.index(str(name)) for name in columns if str(name) in header)
        times, unit, left = np.zeros(len(rows)), "s", []
    if not chosen:
        raise ValueError(
            f"{where}: there is no column of values beside that of times. Add one, or name it with "
            "`columns=`."
        )
    trials = labels_of(path, [texts[at] for at in at_trial], rows, "trial") if at_trial else None
    values = np.stack([_numbers(path, texts[at], header[at], rows, format) for at in chosen], 1)
    if rate is not None:
        times = _counted(trials, len(rows)) / rate
    _refuse_unordered(path, times, trials, rows)
    remarks = list(cells.remarks)
    if left:
        remarks.append(f"the columns {left} are not read")
    names = [header[at] for at in chosen]
    return Series(path, times, unit, values, names, trials, rows, tuple(remarks))


def _numbers(path, column, name, rows, format: TableFormat) -> np.ndarray:
    values = np.array([to_number(text, format.decimal) for text in column], float)
    for at in np.flatnonzero(~np.isfinite(values)):
        what = "no number" if np.isnan(values[at]) else "not finite"
        raise ValueError(
            f"{path}, {rows[at]}: the value {column[at]!r} of {name!r} is {what}. Correct it, or "
            f"leave the column out with `ignore=({name!r},)`."
        )
    return values


def _counted(trials: np.ndarray | None, count: int) -> np.ndarray:
    """The number of each row within its trial, from 0."""
    if trials is None:
        return np.arange(count, dtype=float)
    numbers = np.zeros(count)
    for trial in np.unique(trials):
        own = trials == trial
        numbers[own] = np.arange(int(own.sum()))
    return numbers


def _refuse_unordered(path, times: np.ndarray, trials: np.ndarray | None, rows) -> None:
    for trial in [None] if trials is None else np.unique(trials):
        own = np.flatnonzero(np.ones(times.size, bool) if trials is None else trials == trial)
        wrong = np.flatnonzero(np.diff(times[own]) <= 0)
        if wrong.size:
            at = int(own[wrong[0] + 1])
            raise ValueError(
                f"{path}, {rows[at]}: the time {times[at]:g} does not come after "
                f"{times[own[wrong[0]]]:g} before it. Sort the rows by time, and name "
                "the column of trials with `trial_column=` where there are several."
            )
