"""Names of neurons and trials in a table, as numbers from 0."""

import math
from typing import Literal

import numpy as np

from ._table import SpikeTable
from ._table_columns import UNITS
from ._table_text import looks_like_a_number, to_number


def number_labels(
    table: SpikeTable, role: Literal["neuron", "trial"], count: int | None = None
) -> tuple[np.ndarray, list[str], str | None]:
    """Which neuron or trial each spike is of, numbered from 0.

    With `count` labels are numbers below it. Without, neurons are numbered in the order of the
    numbers that they are, or else as they appear; between the first and the last number of a
    trial there are silent ones.

    Returns:
        the numbers, the labels in their order, and a remark where a number is not the label.

    Raises:
        ValueError: a label is no whole number from 0 on where others are, or is too large.
    """
    labels = table.neurons if role == "neuron" else table.trials
    if labels is None:
        return np.zeros(table.times.size, int), ["0"], None
    if labels.size and set(labels.tolist()) <= set(UNITS):
        raise ValueError(
            f"{table.path}: the column that says which {role} a spike is of holds units of time, "
            f"{labels[0]!s}. Name another `{role}_column=`, or leave it out with `ignore=`, and "
            "pass `time_unit=`."
        )
    values = [_whole(text) for text in labels.tolist()]
    whole = count is not None or any(map(looks_like_a_number, labels.tolist()))
    if whole:
        for at, value in enumerate(values):
            if value is None or (count is not None and value >= count):
                limit = "0 or more" if count is None else f"among 0 to {count - 1}"
                where = f"{table.path}, {table.rows[at]}"
                raise ValueError(
                    f"{where}: the {role} {str(labels[at])!r} is not a whole number {limit}. "
                    f"Correct it, or pass `num_{role}s=`."
                )
        numbers = np.array(values, int)
        if count is not None:
            return numbers, [str(i) for i in range(count)], None
        distinct = np.unique(numbers)
        if role == "trial" and distinct.size:
            distinct = np.arange(distinct[0], distinct[-1] + 1)
        names = [str(i) for i in distinct]
        numbers = np.searchsorted(distinct, numbers)
    else:
        names = list(dict.fromkeys(labels.tolist()))
        index = {name: i for i, name in enumerate(names)}
        numbers = np.array([index[name] for name in labels.tolist()], int)
    if names == [str(i) for i in range(len(names))]:
        return numbers, names, _silent(role, numbers, names)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    remark = f"{role}s 0 to {len(names) - 1} are those written {shown}"
    if whole:
        remark += f", unless `num_{role}s=` says how many there are"
    silent = _silent(role, numbers, names)
    return numbers, names, remark if silent is None else f"{remark}; {silent}"


def _silent(role: str, numbers: np.ndarray, names: list[str]) -> str | None:
    silent = [name for i, name in enumerate(names) if i not in set(numbers.tolist())]
    if not silent:
        return None
    return f"no spike is of {role} {', '.join(silent[:8])}{', ...' * (len(silent) > 8)}"


def _whole(text: str) -> int | None:
    """The whole number from 0 on that a label is, if it is one."""
    value = to_number(text)
    return int(value) if value >= 0 and value == math.floor(value) < 2**31 else None
