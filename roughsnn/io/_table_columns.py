"""Which column of a table of spikes means what: by name where it is given, else by what it says."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

UNITS: dict[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
"""Nanoseconds in a unit of time."""

_UNIT_WORDS = {
    "ns": "ns nsec nanosecond nanoseconds",
    "us": "us µs μs usec microsecond microseconds",
    "ms": "ms msec millisecond milliseconds",
    "s": "s sec secs second seconds",
    "min": "min minute minutes",
}
_UNIT_OF = {word: unit for unit, words in _UNIT_WORDS.items() for word in words.split()}

_TIMES = {
    "t", "ts", "time", "times", "timestamp", "timestamps", "time stamp", "time stamps",
    "spiketime", "spiketimes", "spike time", "spike times", "spike timestamp", "spike timestamps",
    "event time", "event times", "firing time", "firing times",
}  # fmt: skip
_SAMPLES = {
    "sample", "samples", "spike sample", "spike samples", "sample number", "sample numbers",
    "sample index", "spike sample index", "frame", "frames", "spike frame", "spike frames",
}  # fmt: skip
_COUNTERS = {"id", "ids", "number", "numbers", "no", "nr", "num", "index", "idx", "label", "labels"}
_MEANT = {
    "neuron": {
        "neuron", "neurons", "unit", "units", "cell", "cells", "cluster", "clusters", "sender",
        "senders", "gid", "node", "nodes", "spike cluster", "spike clusters",
    },
    "trial": {"trial", "trials"},
}  # fmt: skip
_PERHAPS = {
    "neuron": {
        "", "i", "channel", "channels", "electrode", "electrodes", "tetrode", "shank", "probe",
        "contact", "site", "train", "spike train", "group", "template", "spike template",
        "spike templates", "source", "subject", "animal", "mouse", "rat",
    },
    "trial": {
        "sweep", "repetition", "repeat", "rep", "replicate", "epoch", "episode", "segment",
        "presentation", "session", "block", "run", "trace",
    },
}  # fmt: skip

Column = str | int | np.integer
"""A column by its name, or by its position from 0."""


@dataclasses.dataclass(frozen=True)
class Found:
    """Positions of the columns that are read.

    Attributes:
        time: of the times.
        samples: whether these are numbers of samples.
        unit: of the times, where the name of the column says so.
        neuron: of what says which neuron; empty where nothing does.
        trial: likewise.
        others: of the columns that were asked for beside.
        left: of those that are not read.
    """

    time: int
    samples: bool
    unit: str | None
    neuron: tuple[int, ...]
    trial: tuple[int, ...]
    others: tuple[int, ...]
    left: tuple[int, ...]


def find_columns(
    where: str,
    header: Sequence[str],
    counters: Sequence[bool],
    *,
    named: bool,
    time: Column | None,
    neuron: Column | Sequence[Column] | None,
    trial: Column | Sequence[Column] | None,
    others: Sequence[Column],
    ignore: Sequence[Column],
    sampled: bool,
) -> Found:
    """Which column means what.

    Args:
        where: file and line, for errors.
        header: names of the columns.
        counters: for each column, whether it only counts the rows, or is empty.
        named: whether the file has names of columns.
        time: the column of times, where it is given.
        neuron: the column, or the columns together, that say which neuron, where given.
        trial: likewise.
        others: columns that are wanted beside.
        ignore: columns that are not read, on purpose.
        sampled: whether times are given as numbers of samples.

    Raises:
        ValueError: a column is missing, or one may say which neuron or trial a spike is of and
            nobody says whether it does.
    """
    names = [name.strip() for name in header]

    def place(column: Column) -> int:
        return _place(where, names, column, named)

    left_out = {place(column) for column in ignore}
    taken = {place(column) for column in others}
    given = {
        role: None if columns is None else tuple(place(column) for column in _several(columns))
        for role, columns in (("neuron", neuron), ("trial", trial))
    }
    taken |= {at for columns in given.values() if columns for at in columns}
    free = [at for at in range(len(names)) if at not in left_out and at not in taken]
    at_time = None if time is None else place(time)
    for at in free:
        if not names[at] and not counters[at] and at != at_time:
            raise ValueError(
                f"{where}: column {at} has no name. Name it, or leave it out with `ignore=({at},)`;"
                " where the comma is the decimal sign, pass `decimal=','`."
            )
    if at_time is None:
        at_time = _time(where, names, free, named, sampled)
    _refuse_one_column_twice(where, names, (at_time,), *(x or () for x in given.values()))
    words, unit = _words(names[at_time])
    free = [at for at in free if at != at_time]
    roles = {
        role: _role(where, names, role, columns, free, counters) for role, columns in given.items()
    }
    used = {at_time, *taken, *left_out, *roles["neuron"], *roles["trial"]}
    return Found(
        time=at_time,
        samples=words in _SAMPLES,
        unit=unit,
        neuron=roles["neuron"],
        trial=roles["trial"],
        others=tuple(place(column) for column in others),
        left=tuple(at for at in range(len(names)) if at not in used),
    )


def _refuse_one_column_twice(where: str, names: list[str], *roles: Sequence[int]) -> None:
    read = [at for role in roles for at in role]
    for at in read:
        if read.count(at) > 1:
            raise ValueError(
                f"{where}: the column {names[at] or at!r} is named twice, among those of times, "
                "neurons and trials. A column says one of them."
            )


def _several(columns: Column | Sequence[Column]) -> Sequence[Column]:
    return (columns,) if isinstance(columns, str | int | np.integer) else columns


def _place(where: str, names: list[str], column: Column, named: bool) -> int:
    if isinstance(column, str) and column in names:
        if names.count(column) > 1:
            raise ValueError(f"{where}: there are two columns {column!r}. Rename or remove one.")
        return names.index(column)
    if isinstance(column, int) and 0 <= column < len(names):
        return column
    have = f"among {names}" if named else f"among the {len(names)} that the file has, from 0"
    raise ValueError(
        f"{where}: there is no column {column!r} {have}. Name one that is there, or add a header."
    )


def _time(where: str, names: list[str], free: list[int], named: bool, sampled: bool) -> int:
    if not named:
        if len(names) == 1:
            return 0
        raise ValueError(
            f"{where}: there is no column 'time', as there is no header, and {len(names)} columns: "
            f"say what they are by their positions, such as `time_column=0` and "
            "`neuron_column=1`, or add a header; where the comma is the decimal sign, pass "
            "`decimal=','`."
        )
    for kind in (_SAMPLES, _TIMES) if sampled else (_TIMES, _SAMPLES):
        found = [at for at in free if _words(names[at])[0] in kind]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"{where}: the columns {[names[at] for at in found]} may all be the times. Pass "
                "`time_column=` with one of them, and leave out the others with `ignore=`."
            )
    meant = set().union(*_MEANT.values(), *_PERHAPS.values())
    if len(free) == len(names) == 1 and _base(names[free[0]]) not in meant:
        return free[0]
    raise ValueError(
        f"{where}: there is no column 'time' among {names}. Name the column of spike times with "
        "`time_column=`, or add a header; where the file has none, pass `header=False`."
    )


def _role(
    where: str,
    names: list[str],
    role: str,
    given: tuple[int, ...] | None,
    free: list[int],
    counters: Sequence[bool],
) -> tuple[int, ...]:
    if given is not None:
        return given
    meant = [at for at in free if _base(names[at]) in _MEANT[role]]
    perhaps = [
        at
        for at in free
        if names[at]
        and (base := _base(names[at])) in _PERHAPS[role]
        and not (base == "" and counters[at])
    ]
    if len(meant) == 1 and not perhaps:
        return (meant[0],)
    if not meant and not perhaps:
        return ()
    columns = [names[at] for at in sorted({*meant, *perhaps})]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise ValueError(f"{where}: there are two columns {twice!r}. Rename or remove one.")
    if len(columns) == 1:
        raise ValueError(
            f"{where}: the column {columns[0]!r} may say of which {role} a spike is, and is not "
            f"read as such unasked. Pass `{role}_column={columns[0]!r}`, or "
            f"`ignore=({columns[0]!r},)` if it does not."
        )
    raise ValueError(
        f"{where}: the columns {columns} may each say of which {role} a spike is. Pass "
        f"`{role}_column=` with one of them, or with all that belong together, and leave out the "
        "others with `ignore=`."
    )


def _words(name: str) -> tuple[str, str | None]:
    """The words of a name without units, and the unit."""
    words = re.findall(r"[A-Z]+(?![a-zµμ])|[A-Z]?[a-zµμ]+|\d+", name)
    words = [word.lower() for word in words]
    if len(words) == 1 and words[0] in _UNIT_OF and words[0] != "min":
        return "time", _UNIT_OF[words[0]]
    units = [_UNIT_OF[word] for word in words[1:] if word in _UNIT_OF]
    rest = words[:1] + [word for word in words[1:] if word not in _UNIT_OF | {"in": ""}]
    return " ".join(rest), units[0] if len(units) == 1 else None


def _base(name: str) -> str:
    """The words of a name without those that only say that it counts."""
    words = _words(name)[0].split()
    return " ".join(word for word in words if word not in _COUNTERS)
