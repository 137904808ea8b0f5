"""What of a recording was observed, and the trials that are cut from it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np


def own_intervals(
    where: str,
    spikes: Sequence[np.ndarray],
    observed: Sequence[np.ndarray],
    outside: Literal["refuse", "leave out"],
) -> tuple[list[np.ndarray], list[np.ndarray], str | None]:
    """Spikes within the intervals in which their unit was observed, and these intervals, sorted.

    Args:
        where: the file, for errors.
        spikes: of each unit.
        observed: intervals of each unit, of shape `(n, 2)`.
        outside: what becomes of a spike that is outside them.

    Returns:
        the spikes, the intervals, and in words what was left out.

    Raises:
        ValueError: an interval that is none, or a spike outside.
    """
    kept, sorted_intervals, left = [], [], 0
    for unit, (times, intervals) in enumerate(zip(spikes, observed, strict=True)):
        intervals = np.asarray(intervals, np.float64).reshape(-1, 2)
        intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
        wrong = ~(np.isfinite(intervals).all(1) & (intervals[:, 0] < intervals[:, 1]))
        wrong[1:] |= intervals[1:, 0] < intervals[:-1, 1]
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"{where}, unit {unit}: the observation interval {intervals[at].tolist()} does not "
                "end after it starts, or overlaps the one before it. Correct it."
            )
        inside = _inside(times, intervals)
        if not inside.all() and outside == "refuse":
            at = int(np.argmax(~inside))
            raise ValueError(
                f"{where}, unit {unit}: the spike at {times[at]} is outside its observation "
                f"intervals {intervals[:4].tolist()}. Correct the intervals, or pass "
                "`outside='leave out'` to leave such spikes out."
            )
        left += int(np.sum(~inside))
        kept.append(times[inside])
        sorted_intervals.append(intervals)
    remark = f"{left} spikes outside the observation intervals of their unit are left out"
    return kept, sorted_intervals, remark if left else None


def common_intervals(
    where: str,
    spikes: Sequence[np.ndarray],
    observed: Sequence[np.ndarray],
    intervals: Literal["same", "common"],
) -> tuple[list[np.ndarray], np.ndarray, str | None]:
    """Spikes in intervals in which all units were observed, and these.

    Args:
        where: the file, for errors.
        spikes: of each unit.
        observed: its intervals, sorted.
        intervals: whether they must be the same, or what they have in common is read.

    Raises:
        ValueError: they differ, or have nothing in common.
    """
    other = next((u for u, x in enumerate(observed) if not np.array_equal(x, observed[0])), None)
    if other is None:
        return list(spikes), observed[0], None
    if intervals == "same":
        raise ValueError(
            f"{where}: units 0 and {other} were observed in different intervals, "
            f"{observed[0][:4].tolist()} and {observed[other][:4].tolist()}, and a neuron that is "
            "not observed is not a silent one. Pass `intervals='common'` to read what all units "
            "have in common, or read the units that go together by `units=`."
        )
    common = observed[0]
    for own in observed[1:]:
        starts = np.maximum(common[:, None, 0], own[None, :, 0]).ravel()
        ends = np.minimum(common[:, None, 1], own[None, :, 1]).ravel()
        common = np.stack([starts, ends], axis=1)[starts < ends]
    if not common.size:
        raise ValueError(
            f"{where}: the observation intervals of the units have nothing in common. Read the "
            "units that go together by `units=`."
        )
    common = common[np.argsort(common[:, 0])]
    kept = [times[_inside(times, common)] for times in spikes]
    left = sum(map(len, spikes)) - sum(map(len, kept))
    remark = f"the {len(common)} intervals that all units have in common are read"
    return kept, common, remark + (f"; {left} spikes outside them are left out" if left else "")


def windows_within(
    where: str,
    windows: np.ndarray,
    observed: np.ndarray | None,
    outside: Literal["refuse", "leave out"],
) -> tuple[np.ndarray, str | None]:
    """The windows that lie within what was observed.

    Args:
        where: the file and the table, for errors.
        windows: start and end of each trial, of shape `(n, 2)`.
        observed: intervals that do not overlap, sorted; `None` where nothing is known.
        outside: what becomes of a trial that is not within them.

    Raises:
        ValueError: a window that is none, or not within what was observed.
    """
    good = np.isfinite(windows).all(1) & (windows[:, 0] < windows[:, 1])
    if observed is not None:
        slack = 4 * np.finfo(float).eps * np.abs(observed).max()
        touching = observed[1:, 0] <= observed[:-1, 1] + slack
        starts = observed[np.append(True, ~touching), 0]
        ends = observed[np.append(~touching, True), 1]
        at = np.searchsorted(starts - slack, windows[:, 0], side="right") - 1
        good &= (at >= 0) & (windows[:, 1] <= ends[at] + slack)
    if not good.all() and outside == "refuse":
        at = int(np.argmax(~good))
        raise ValueError(
            f"{where}, row {at}: the trial {windows[at].tolist()} is no window within what was "
            "observed. Correct it, or pass `outside='leave out'` to leave such trials out."
        )
    left = int(np.sum(~good))
    if left == len(good):
        raise ValueError(f"{where} has no trial within what was observed. Check its columns.")
    remark = f"trials {np.flatnonzero(~good).tolist()[:8]} are not within what was observed"
    return windows[good], f"{remark} and are left out" if left else None


def _inside(times: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Which times lie in intervals that are sorted and do not overlap, their ends included."""
    at = np.searchsorted(intervals[:, 0], times, side="right") - 1
    inside = np.zeros(times.shape, bool)
    known = at >= 0
    inside[known] = times[known] <= intervals[at[known], 1]
    return inside
