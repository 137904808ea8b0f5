"""Spike trains as text: one spike a row, with its trial, neuron and time."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..spikes.trains import SpikeTrains
from ._files import new_file, one_batch_axis, with_overflow

_HEAD = "# roughsnn "
_COLUMNS = ("trial", "neuron", "time")


def write_csv(
    path: Path | str, trains: SpikeTrains, *, unit: str = "s", overwrite: bool = False
) -> None:
    """Write one spike a row, under the columns `trial`, `neuron`, `time`.

    The first line is a comment with the unit, the window and the numbers of trials and neurons,
    so that silent ones come back. Times have the digits that give the same number again.

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
        "t0": float(trains.t0),
        "t1": float(trains.t1),
        "num_trials": len(trains),
        "num_neurons": trains.num_neurons,
        "max_spikes": trains.max_spikes,
        "overflowed": np.flatnonzero(np.asarray(trains.overflowed)).tolist(),
    }
    lines = [_HEAD + json.dumps(about), ",".join(_COLUMNS)]
    for trial, (times, neurons) in enumerate(
        zip(np.asarray(trains.times), np.asarray(trains.neurons), strict=True)
    ):
        lines += [
            f"{trial},{neuron},{float(time)!r}"
            for time, neuron in zip(times, neurons, strict=True)
            if neuron >= 0
        ]
    with new_file(path, overwrite) as file:
        file.write(("\n".join(lines) + "\n").encode())


def read_csv(
    path: Path | str,
    *,
    t0: float | int | None = None,
    t1: float | int | None = None,
    time_column: str = "time",
    num_neurons: int | None = None,
    num_trials: int | None = None,
    keep_duplicates: bool = False,
) -> SpikeTrains:
    """Read what `write_csv` wrote, or any table with a row for each spike.

    The columns `trial` and `neuron` may be missing; all spikes are then of trial or neuron 0. Other
    columns are ignored.

    Args:
        path: of the file.
        t0: start of the window; needed where the file does not say.
        t1: end of the window; needed where the file does not say.
        time_column: name of the column of times.
        num_neurons: number of neurons; the largest of the file and one more, where neither this
            nor the file says.
        num_trials: number of trials, likewise.
        keep_duplicates: allow spikes of one neuron at one time.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, a column is missing, or a value is no number, NaN, outside the
            window, out of order or there twice. The message names file, line and value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text ({error}). Export it as CSV.") from error
    lines = text.splitlines()
    about: dict[str, Any] = {}
    skipped = 0
    if lines and lines[0].startswith(_HEAD):
        about, skipped = _about(path, lines[0]), 1
    given = dict(t0=t0, t1=t1, num_neurons=num_neurons, num_trials=num_trials)
    about |= {name: value for name, value in given.items() if value is not None}
    for name in ("t0", "t1"):
        if name not in about:
            raise ValueError(
                f"{path} does not say what its window is; pass `t0=` and `t1=`, in the unit of "
                "its times."
            )
    table = csv.reader(io.StringIO("\n".join(lines[skipped:])))
    try:
        header = [name.strip() for name in next(table, [])]
        _check_header(f"{path}, line {skipped + 1}", header, time_column)
        spikes = _spikes(path, table, header, skipped + 1, time_column, about, keep_duplicates)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {skipped + table.line_num}: {error}. Export the table as CSV again."
        ) from error
    trials = [([], []) for _ in range(_number(path, "trial", spikes, 0, about))]
    for trial, neuron, time in spikes:
        trials[trial][0].append(time)
        trials[trial][1].append(neuron)
    try:
        trains = SpikeTrains.from_lists(
            [(np.array(times, float), np.array(whose, int)) for times, whose in trials],
            t0=about["t0"],
            t1=about["t1"],
            num_neurons=_number(path, "neuron", spikes, 1, about),
            max_spikes=about.get("max_spikes"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error} (`trials[i]` is trial i.)") from error
    overflowed = np.zeros(len(trials), bool)
    overflowed[about.get("overflowed", [])] = True
    return with_overflow(trains, overflowed)


def _check_header(where: str, header: list[str], time_column: str) -> None:
    if time_column not in header:
        raise ValueError(
            f"{where}: there is no column {time_column!r} among {header}. Name the column of spike "
            "times with `time_column=`, or add a header."
        )
    for name in (time_column, "trial", "neuron"):
        if header.count(name) > 1:
            raise ValueError(f"{where}: there are two columns {name!r}. Rename or remove one.")
        # a column that was meant and is not read would put all spikes into trial or neuron 0
        for other in header:
            if other != name and other.casefold() == name:
                raise ValueError(
                    f"{where}: the column {other!r} is not read. Rename it to {name!r}, or to "
                    "something else if it means something else."
                )


def _about(path: Path | str, line: str) -> dict[str, Any]:
    kinds = {"t0": float, "t1": float, "num_trials": int, "num_neurons": int, "max_spikes": int}
    try:
        about = json.loads(line.removeprefix(_HEAD))
        about |= {name: kind(about[name]) for name, kind in kinds.items()}
        about["overflowed"] = [int(i) for i in about["overflowed"]]
        if not (about["num_trials"] >= 0 and about["num_neurons"] >= 1):
            raise ValueError("a number of trials or neurons is too small")
        if not all(0 <= i < about["num_trials"] for i in about["overflowed"]):
            raise ValueError("a trial of `overflowed` does not exist")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}, line 1: the description of the file is damaged ({error!r}): {line!r}. "
            "Remove the line and pass `t0=` and `t1=`, or write the file again."
        ) from error
    return about


def _spikes(path, table, header, line, time_column, about, keep_duplicates) -> list:
    """Rows as `(trial, neuron, time)`, each checked."""
    columns = {name: header.index(name) for name in ("trial", "neuron") if name in header}
    columns["time"] = header.index(time_column)
    spikes, last, seen = [], {}, set()
    for number, row in enumerate(table, start=line + 1):
        where = f"{path}, line {number}"
        if not row:
            raise ValueError(f"{where} is empty. Remove it.")
        if len(row) != len(header):
            raise ValueError(
                f"{where} has {len(row)} columns where the header has {len(header)}: {row}. "
                "Complete the row or remove it."
            )
        trial, neuron = (
            _whole(where, name, row[columns[name]], about.get(f"num_{name}s"))
            if name in columns
            else 0
            for name in ("trial", "neuron")
        )
        written = row[columns["time"]]
        try:
            time = math.nan if "_" in written else float(written)  # Python reads 1_0 as 10
        except ValueError:
            time = math.nan
        if math.isnan(time):
            raise ValueError(
                f"{where}: the time {written!r} is no number. Remove the row or correct it."
            )
        if not about["t0"] <= time <= about["t1"]:
            raise ValueError(
                f"{where}: the time {written} is outside the window [{about['t0']}, "
                f"{about['t1']}]. Widen the window with `t0=` and `t1=`, check the unit, or "
                "remove the row."
            )
        if time < last.get(trial, -math.inf):
            raise ValueError(
                f"{where}: the time {written} is earlier than {last[trial]} before it in trial "
                f"{trial}. Sort the rows by trial and time."
            )
        if (trial, neuron, time) in seen and not keep_duplicates:
            raise ValueError(
                f"{where}: neuron {neuron} has a second spike at {written} in trial {trial}. "
                "Remove the row, or pass `keep_duplicates=True` if both are meant."
            )
        last[trial] = time
        seen.add((trial, neuron, time))
        spikes.append((trial, neuron, time))
    return spikes


def _whole(where: str, name: str, written: str, number: int | None) -> int:
    try:
        value = -1 if "_" in written else int(written)
    except ValueError:
        value = -1
    if value < 0 or (number is not None and value >= number):
        limit = "0 or more" if number is None else f"among 0 to {number - 1}"
        raise ValueError(
            f"{where}: the {name} {written!r} is not a whole number {limit}. Correct it, or pass "
            f"`num_{name}s=`."
        )
    return value


def _number(path, name: str, spikes: list, column: int, about: dict) -> int:
    if f"num_{name}s" in about:
        return about[f"num_{name}s"]
    if not spikes:
        raise ValueError(f"{path} has no spikes; pass `num_{name}s=` to read it as silence.")
    return 1 + max(spike[column] for spike in spikes)
