"""Tables with a row for each spike, text or arrays: one strict reader for all who need it."""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .._checks import RealLike, number
from ._table_columns import UNITS, Column, Found, find_columns
from ._table_text import (
    DESCRIPTION,
    Compression,
    are,
    is_archive,
    looks_like_a_number,
    read_cells,
    to_number,
)


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """How a table of spikes is written; what is left out is taken from the file or refused.

    A column is named by its name or by its position from 0.

    Attributes:
        time_column: of the times; by default one that is called so, or the only one.
        neuron_column: of the neurons, or several columns that together say which neuron, such as
            `("tetrode", "unit")`. By default one that is called neuron, unit, cell or cluster, with
            `_id` or without; names that may mean it or not, such as `channel` or `id`, are refused
            until one says which it is.
        trial_column: of the trials, likewise; by default one that is called trial.
        ignore: columns that are not read, on purpose.
        delimiter: one character between the columns; `" "` for any number of blanks.
        decimal: the decimal sign.
        header: whether the first row are names; by default, unless all of it are numbers.
        compression: of the file; by default what its first bytes say.
        time_unit: of the times in the file: `ns`, `us`, `ms`, `s`, `min`; by default what the file
            or the name of the column says.
        sampling_rate: samples per second, where times are numbers of samples.
    """

    time_column: Column | None = None
    neuron_column: Column | Sequence[Column] | None = None
    trial_column: Column | Sequence[Column] | None = None
    ignore: Sequence[Column] = ()
    delimiter: str | None = None
    decimal: Literal[".", ","] = "."
    header: bool | None = None
    compression: Compression | None = None
    time_unit: str | None = None
    sampling_rate: RealLike | None = None

    def __post_init__(self):
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f"`delimiter` is {self.delimiter!r}; it must be one character.")
        if self.decimal not in (".", ","):
            raise ValueError(f"`decimal` is {self.decimal!r}; it must be '.' or ','.")
        if self.time_unit is not None:
            check_unit("time_unit", self.time_unit)
        for name in ("time_column", "neuron_column", "trial_column", "ignore"):
            object.__setattr__(self, name, _checked_column(name, getattr(self, name)))
        rate = self.sampling_rate
        if rate is not None:
            rate = number("sampling_rate", rate, positive=True)
            object.__setattr__(self, "sampling_rate", rate)
        if rate is not None and self.time_unit is not None:
            raise ValueError(
                "`sampling_rate` says that times are numbers of samples, and `time_unit` that they "
                "are times. Give one of the two."
            )

    def named(self) -> tuple[Column, ...]:
        """The columns that are given."""
        given = (self.time_column, self.neuron_column, self.trial_column, self.ignore)
        parts = [
            (x,) if isinstance(x, str | int | np.integer) else x for x in given if x is not None
        ]
        return tuple(column for part in parts for column in part)


@dataclasses.dataclass(frozen=True)
class SpikeTable:
    """What a table says.

    Attributes:
        path: the file.
        times: of the spikes, in `unit`, in double precision, in the order of the file.
        unit: of the times; `None` where nothing says it.
        trials: to which trial each spike belongs, as written; `None` without such a column.
        neurons: likewise.
        others: further columns that were asked for.
        rows: where each spike stands, in words: the line, or the row of an array.
        written: each time as it is written.
        about: where `write_csv` wrote the file, what its first line says: the window `t0` and `t1`,
            `num_trials`, `num_neurons`, `max_spikes`, the trials that `overflowed`; else empty.
        remarks: what was not read, in words.
    """

    path: Path
    times: np.ndarray
    unit: str | None
    trials: np.ndarray | None
    neurons: np.ndarray | None
    others: dict[Column, np.ndarray]
    rows: Sequence[str]
    written: Sequence[str]
    about: dict[str, Any]
    remarks: tuple[str, ...]


def read_table(
    path: Path | str, format: TableFormat | None = None, *, others: Sequence[Column] = ()
) -> SpikeTable:
    """Read a table with a row for each spike: text, packed or not, or an NPZ archive with an array
    for each column.

    Args:
        path: of the file.
        format: how it is written.
        others: further columns that are wanted.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, what a column means is not certain, or a time is no number. The
            message names file, line and remedy.
    """
    path, format = Path(path), TableFormat() if format is None else format
    cells = read_columns(path, format, others)
    header, columns, rows, named = cells.header, cells.columns, cells.rows, cells.named
    about, where, remarks, format = cells.about, cells.where, list(cells.remarks), cells.format
    counters = [counts_rows(name, column) for name, column in zip(header, columns, strict=True)]
    found = find_columns(
        where, header, counters, named=named, time=format.time_column,
        neuron=format.neuron_column, trial=format.trial_column,
        others=[_column(name, named) for name in others], ignore=format.ignore,
        sampled=format.sampling_rate is not None,
    )  # fmt: skip
    if found.left:
        left = [header[at] or at for at in found.left]
        remarks.append(f"the column{'s' * (len(left) > 1)} {left} {are(left)} not read")
    times, unit = times_of(path, header, columns, rows, found, format)
    unit = _described_unit(path, about, format) if about else unit

    def labels(places: tuple[int, ...], name: str) -> np.ndarray | None:
        return labels_of(path, [columns[at] for at in places], rows, name) if places else None

    return SpikeTable(
        path=path,
        times=times,
        unit=unit,
        trials=labels(found.trial, "trial"),
        neurons=labels(found.neuron, "neuron"),
        others={
            name: np.array(columns[at], str) for name, at in zip(others, found.others, strict=True)
        },
        rows=rows,
        written=columns[found.time],
        about=about,
        remarks=tuple(remarks),
    )


@dataclasses.dataclass(frozen=True)
class Columns:
    """A table as columns of text.

    Attributes:
        header: their names, or their positions.
        columns: the cells of each.
        rows: where each row stands, in words.
        named: whether the file has names of columns.
        where: file and line of the header, for errors.
        about: what the first line says, where `write_csv` wrote the file.
        remarks: what was not read.
        format: how it is written, with columns as the file counts them.
    """

    header: list[str]
    columns: list[list[str]]
    rows: list[str]
    named: bool
    where: str
    about: dict[str, Any]
    remarks: list[str]
    format: TableFormat


def read_columns(path: Path, format: TableFormat, asked: Sequence[Column]) -> Columns:
    """The columns of a table, text or archive.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged.
    """
    if is_archive(path):
        header, columns, rows, remarks = _arrays(path, (*asked, *format.named()))
        own = dataclasses.replace(format, decimal=".")
        return Columns(header, columns, rows, True, f"{path}", {}, remarks, own)
    cells = read_cells(
        path,
        delimiter=format.delimiter,
        decimal=format.decimal,
        header=format.header,
        compression=format.compression,
    )
    columns = [[row[at] for row in cells.rows] for at in range(len(cells.header))]
    rows = [f"line {line}" for line in cells.lines]
    about = {} if cells.description is None else _about(path, cells.description)
    where = f"{path}, line {cells.header_line}"
    named = cells.has_header
    own = dataclasses.replace(
        format,
        time_column=_column(format.time_column, named),
        neuron_column=_column(format.neuron_column, named),
        trial_column=_column(format.trial_column, named),
        ignore=_column(tuple(format.ignore), named),
    )
    return Columns(cells.header, columns, rows, named, where, about, list(cells.remarks), own)


def check_unit(name: str, unit: str) -> None:
    """Refuse what is no unit of time that is known here."""
    if unit not in UNITS:
        raise ValueError(f"`{name}` is {unit!r}; it must be one of {', '.join(UNITS)}.")


def convert_times(times: Any, unit: str, to: str) -> Any:
    """Times in another unit, rounded once."""
    ratio = Fraction(UNITS[unit], UNITS[to])
    return times * float(ratio.numerator) / float(ratio.denominator)


def _checked_column(name: str, column: Any) -> Any:
    """A column, or several of them, with positions as Python integers."""
    if column is None or isinstance(column, str):
        return column
    if isinstance(column, int | np.integer) and not isinstance(column, bool):
        return int(column)
    if isinstance(column, Sequence | np.ndarray) and np.ndim(column) == 1:
        return tuple(_checked_column(name, part) for part in column)
    raise ValueError(
        f"`{name}` is {column!r}; a column is given by its name or by its position from 0."
    )


def _column(column: Any, named: bool) -> Any:
    """Without a header, positions may come as text, as from a command line."""
    if isinstance(column, str):
        return int(column) if not named and column.isdecimal() else column
    if isinstance(column, Sequence):
        return [_column(part, named) for part in column]
    return column


def counts_rows(name: str, column: Sequence[str]) -> bool:
    """Whether a column has nothing to say: it is empty, or counts the rows from 0 or 1."""
    if not any(column):
        return True
    start = {"0": 0, "1": 1}.get(column[0])
    # in few rows, a column with a name may by chance be neurons that fire in turn
    enough = len(column) >= (10 if name else 1)
    return start is not None and enough and all(x == str(i) for i, x in enumerate(column, start))


def times_of(path, header, columns, rows, found: Found, format: TableFormat):
    """Times in double precision, and their unit."""
    column = columns[found.time]
    unit = found.unit if format.time_unit is None else format.time_unit
    name = header[found.time]
    if found.samples and format.sampling_rate is None and format.time_column is None:
        raise ValueError(
            f"{path}: the column {name!r} are numbers of samples. Pass `sampling_rate=`, samples "
            "per second; or, if they are times, `time_column=` and `time_unit=`."
        )
    if found.unit is not None and format.time_unit not in (None, found.unit):
        raise ValueError(
            f"{path}: the column {name!r} is in {found.unit}, and `time_unit` is "
            f"{format.time_unit!r}. Leave it out, or rename the column."
        )
    if found.unit is not None and format.sampling_rate is not None:
        raise ValueError(
            f"{path}: the column {name!r} is in {found.unit}, and `sampling_rate` says that it "
            "holds numbers of samples. Leave it out, or name another `time_column=`."
        )
    times = np.array([to_number(text, format.decimal) for text in column], float)
    for at in np.flatnonzero(~np.isfinite(times)):
        what = "no number" if np.isnan(times[at]) else "not finite"
        raise ValueError(
            f"{path}, {rows[at]}: the time {column[at]!r} is {what}. Remove the row or correct "
            f"it.{_hint(column[at], format.decimal)}"
        )
    if format.sampling_rate is None:
        return times, unit
    for at in np.flatnonzero(times != np.floor(times)):
        raise ValueError(
            f"{path}, {rows[at]}: {column[at]!r} is no number of a sample. Correct it, or leave "
            "`sampling_rate` out if these are times."
        )
    return times / format.sampling_rate, "s"


def _described_unit(path: Path, about: dict[str, Any], format: TableFormat) -> str:
    """The unit that the first line of the file says, which must not be another than what is given.

    Where it is none that is known here, it is that which is given.
    """
    own = about["unit"]
    if format.sampling_rate is not None:
        raise ValueError(
            f"{path}, line 1 says that times are in {own!r}, and `sampling_rate` that they are "
            "numbers of samples. Leave it out, or remove the line."
        )
    if format.time_unit in (None, own):
        return own
    if own in UNITS:
        raise ValueError(
            f"{path}, line 1 says that times are in {own!r}, and `time_unit` is "
            f"{format.time_unit!r}. Leave it out, or remove the line."
        )
    return format.time_unit


def _hint(text: str, decimal: str) -> str:
    other = "," if decimal == "." else "."
    if not looks_like_a_number(text) or other not in text:
        return ""
    return f" Where {other!r} is the decimal sign, pass `decimal={other!r}`."


def labels_of(path, columns: list[Sequence[str]], rows, name: str) -> np.ndarray:
    for column in columns:
        for at, text in enumerate(column):
            if not text:
                raise ValueError(
                    f"{path}, {rows[at]}: the {name} '' is missing. Complete the row or remove it."
                )
    if len(columns) == 1:
        return np.array(columns[0], str)
    # ("1 2", "3") and ("1", "2 3") are two
    plain = not any(" " in text for column in columns for text in column)
    together = " ".join if plain else str
    return np.array([together(parts) for parts in zip(*columns, strict=True)], str)


def _arrays(
    path: Path, asked: Sequence[Column]
) -> tuple[list[str], list[list[str]], list[str], list[str]]:
    """An archive as a table: names, columns as text, the rows in words, and what is no column."""
    damage = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except damage as error:
        raise ValueError(
            f"{path} is damaged or no NumPy archive: {error}. Write it again with `numpy.savez`."
        ) from error
    columns = {name: x for name, x in arrays.items() if x.ndim == 1 or name in asked}
    shapes = {name: x.shape for name, x in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(
            f"{path} holds arrays of the shapes {shapes or {n: x.shape for n, x in arrays.items()}}"
            "; a table has one-dimensional arrays of one length, with an entry for each spike. "
            "Write each column as such an array, and leave out the others."
        )
    others = [name for name in arrays if name not in columns]
    remarks = [f"the array{'s' * (len(others) > 1)} {others} {are(others)} not read"]
    texts = [[_as_text(value) for value in array.tolist()] for array in columns.values()]
    rows = [f"row {row}" for row in range(len(texts[0]))]
    return list(columns), texts, rows, remarks if others else []


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _about(path: Path, line: str) -> dict[str, Any]:
    kinds = {
        "t0": _ends, "t1": _ends, "num_trials": int, "num_neurons": int, "max_spikes": int,
    }  # fmt: skip
    try:
        about = json.loads(line.removeprefix(DESCRIPTION))
        about |= {name: kind(about[name]) for name, kind in kinds.items()}
        about["unit"] = str(about["unit"])
        about["overflowed"] = [int(i) for i in about["overflowed"]]
        if not (about["num_trials"] >= 0 and about["num_neurons"] >= 1):
            raise ValueError("a number of trials or neurons is too small")
        for name in ("t0", "t1"):
            if np.ndim(about[name]) and len(about[name]) != about["num_trials"]:
                raise ValueError(f"`{name}` has not one number for each trial")
        if not all(0 <= i < about["num_trials"] for i in about["overflowed"]):
            raise ValueError("a trial of `overflowed` does not exist")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}, line 1: the description of the file is damaged ({error!r}): {line!r}. "
            "Remove the line and pass `t0=` and `t1=`, or write the file again."
        ) from error
    return about


def _ends(value: Any) -> Any:
    """An end of the window of all trials, or one for each."""
    return np.asarray(value, float) if isinstance(value, list) else float(value)
