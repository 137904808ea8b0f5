"""Spike trains as text: one spike a row, with its trial, neuron and time."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .._checks import IntLike, RealLike, number, optional_whole_number
from ..spikes.trains import SpikeTrains
from ..spikes.windows import rounding_of
from ._files import new_file, one_batch_axis, with_overflow
from ._table import (
    SpikeTable,
    TableFormat,
    check_unit,
    convert_times,
    read_table,
)
from ._table_columns import UNITS, Column
from ._table_labels import number_labels
from ._table_text import DESCRIPTION, Compression

_COLUMNS = ("trial", "neuron", "time")


def write_csv(
    path: Path | str, trains: SpikeTrains, *, unit: str = "s", overwrite: bool = False
) -> None:
    """Write one spike a row, under the columns `trial`, `neuron`, `time`.

    The first line is a comment with the unit, the window and the numbers of trials and neurons,
    so that silent ones come back. Times are those of the recording, with the digits that give
    the same number again.

    Args:
        path: of the file.
        trains: trains with one batch axis.
        unit: of the times, for readers.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: there is a file already and `overwrite` is not set.
        OSError: it cannot be written; nothing of it is left.
        ValueError: not exactly one batch axis.
    """
    one_batch_axis(trains)
    about = {
        "unit": unit,
        "t0": np.asarray(trains.t0).tolist(),
        "t1": np.asarray(trains.t1).tolist(),
        "num_trials": len(trains),
        "num_neurons": trains.num_neurons,
        "max_spikes": trains.max_spikes,
        "overflowed": np.flatnonzero(np.asarray(trains.overflowed)).tolist(),
    }
    lines = [DESCRIPTION + json.dumps(about), ",".join(_COLUMNS)]
    for trial, by_neuron in enumerate(trains.to_lists()):
        times = np.concatenate(by_neuron)
        whose = np.repeat(np.arange(len(by_neuron)), [own.size for own in by_neuron])
        order = np.lexsort((whose, times))
        lines += [f"{trial},{whose[spike]},{float(times[spike])!r}" for spike in order]
    with new_file(path, overwrite) as file:
        file.write(("\n".join(lines) + "\n").encode())


def read_csv(
    path: Path | str,
    *,
    t0: RealLike | None = None,
    t1: RealLike | None = None,
    unit: str | None = None,
    num_neurons: IntLike | None = None,
    num_trials: IntLike | None = None,
    keep_duplicates: bool = False,
    time_column: Column | None = None,
    neuron_column: Column | Sequence[Column] | None = None,
    trial_column: Column | Sequence[Column] | None = None,
    ignore: Sequence[Column] = (),
    delimiter: str | None = None,
    decimal: Literal[".", ","] = ".",
    header: bool | None = None,
    compression: Compression | None = None,
    time_unit: str | None = None,
    sampling_rate: RealLike | None = None,
) -> SpikeTrains:
    """Read what `write_csv` wrote, or any table with a row for each spike.

    Spikes of one neuron in one trial must be in order; beyond that, rows may be sorted by time, by
    neuron or by trial. Neurons and trials are numbered from 0. What is not read (columns, lines)
    and numbers that are not those of the file are named in a warning.

    Args:
        path: of the file, as text or packed by gzip, bz2, xz or zip.
        t0: start of the window, in the unit of the result; needed where the file does not say.
        t1: end of the window, likewise.
        unit: to have the times in: `ns`, `us`, `ms`, `s`, `min`; by default that of the file, or
            seconds where `sampling_rate` is given.
        num_neurons: number of neurons, which are then those numbered below it, silent ones
            included; by default those of the file, or those that are in it.
        num_trials: number of trials, likewise.
        keep_duplicates: allow spikes of one neuron at one time.
        time_column: the column of times, by its name or its position from 0; by default one that
            is called so, or the only one.
        neuron_column: the column of neurons, or several that together say which neuron, such as
            `("tetrode", "unit")`. By default one called neuron, unit, cell or cluster, with `_id`
            or without. Other columns that may mean it, such as `channel` or `id`, are refused until
            one says which it is.
        trial_column: the column of trials, likewise; by default one called trial. Without any, all
            spikes are of one neuron or one trial.
        ignore: columns that are not read, on purpose.
        delimiter: one character between the columns, or `" "` for any number of blanks; by default
            what is in the first line: tab, `;`, `,`, `|` or blanks.
        decimal: the decimal sign.
        header: whether the first row are names; by default, unless all of it are numbers.
        compression: of the file; by default what its first bytes say.
        time_unit: of the times in the file; by default what the file or the name of the column
            says.
        sampling_rate: samples per second, where times are numbers of samples.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty or damaged, a column is missing or may mean two things, or a value
            is no number, NaN, outside the window, out of order or there twice. The message names
            file, line and value.
    """
    num_neurons = optional_whole_number("num_neurons", num_neurons, 1)
    num_trials = optional_whole_number("num_trials", num_trials, 0)
    t0, t1 = (None if x is None else number(n, x) for n, x in (("t0", t0), ("t1", t1)))
    format = TableFormat(
        time_column, neuron_column, trial_column, ignore, delimiter, decimal, header, compression,
        time_unit, sampling_rate,
    )  # fmt: skip
    table = read_table(path, format)
    times, about = _in_unit(table, unit)
    given = dict(t0=t0, t1=t1, num_neurons=num_neurons, num_trials=num_trials)
    about |= {name: value for name, value in given.items() if value is not None}
    for name in ("t0", "t1"):
        if name not in about:
            raise ValueError(
                f"{path} does not say what its window is; pass `t0=` and `t1=`, in the unit of "
                "its times."
            )
    remarks = list(table.remarks)
    numbers, counts = {}, {}
    for role in ("trial", "neuron"):
        count = about.get(f"num_{role}s")
        if count is None and not times.size:
            raise ValueError(f"{path} has no spikes; pass `num_{role}s=` to read it as silence.")
        numbers[role], names, remark = number_labels(table, role, count)
        counts[role] = len(names) if count is None else count
        remarks += [] if remark is None else [remark]
    _check_spikes(table, times, numbers, about, keep_duplicates)
    order = np.argsort(times, kind="stable")
    trials = [order[numbers["trial"][order] == trial] for trial in range(counts["trial"])]
    try:
        trains = SpikeTrains.from_lists(
            [(times[own], numbers["neuron"][own]) for own in trials],
            t0=about["t0"],
            t1=about["t1"],
            num_neurons=counts["neuron"],
            max_spikes=about.get("max_spikes"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error} (`trials[i]` is trial i.)") from error
    if remarks:
        warnings.warn(f"{path}: {'; '.join(remarks)}.", stacklevel=2)
    overflowed = np.zeros(len(trials), bool)
    overflowed[about.get("overflowed", [])] = True
    return with_overflow(trains, overflowed)


def _in_unit(table: SpikeTable, unit: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Times and window in the unit that is wanted."""
    own = table.unit
    if unit is None or unit == own:
        return table.times, dict(table.about)
    check_unit("unit", unit)
    if own not in UNITS:
        raise ValueError(
            f"{table.path} is wanted in the unit {unit!r}, and its own is "
            f"{'not known' if own is None else repr(own)}. Pass `time_unit=`, one of "
            f"{', '.join(UNITS)}."
        )
    about = dict(table.about)
    about |= {name: convert_times(about[name], own, unit) for name in ("t0", "t1") if name in about}
    return convert_times(table.times, own, unit), about


def _check_spikes(
    table: SpikeTable,
    times: np.ndarray,
    numbers: dict[str, np.ndarray],
    about: dict[str, Any],
    keep_duplicates: bool,
) -> None:
    """Refuse a spike outside the window, before an earlier one of its neuron, or there twice."""
    starts, ends = (
        end[numbers["trial"]] if np.ndim(end := about[name]) else np.full(times.shape, end)
        for name in ("t0", "t1")
    )
    rounding = rounding_of(starts, ends)
    outside = (times < starts - rounding) | (times > ends + rounding)
    last: dict[tuple[int, int], int] = {}
    pairs = zip(numbers["trial"].tolist(), numbers["neuron"].tolist(), strict=True)
    for at, (trial, neuron) in enumerate(pairs):
        where, written = f"{table.path}, {table.rows[at]}", table.written[at]
        if outside[at]:
            raise ValueError(
                f"{where}: the time {written} is outside the window [{starts[at]}, {ends[at]}]. "
                "Widen the window with `t0=` and `t1=`, check the unit, or "
                "remove the row."
            )
        before = last.get((trial, neuron))
        last[trial, neuron] = at
        if before is None or times[before] < times[at]:
            continue
        if times[before] > times[at]:
            raise ValueError(
                f"{where}: the time {written} is earlier than {table.written[before]} before it, "
                f"of neuron {neuron} in trial {trial}. Sort the rows by time."
            )
        if not keep_duplicates:
            raise ValueError(
                f"{where}: neuron {neuron} has a second spike at {written} in trial {trial}. "
                "Remove the row, or pass `keep_duplicates=True` if both are meant."
            )
