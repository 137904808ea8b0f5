"""The stimulus of each trial, from files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roughsnn import io

from ..reading import Recording, RecordingError, Trial
from .stimulus import Stimulus


def read_stimuli(
    files: Sequence[Path],
    recording: Recording,
    *,
    format: io.TableFormat,
    columns: Sequence[str] = (),
    rate: float | None = None,
    time_unit: str | None = None,
    cut: bool = True,
) -> tuple[Recording, list[Stimulus], list[str], list[str]]:
    """The stimulus of each trial.

    One file is for all conditions, or there is one for each. With a column of trials each trial has
    the rows of its name; without, all trials of a condition have the same stimulus. Its times are
    those of the spikes.

    Args:
        files: the files.
        recording: the spikes.
        format: how the files are written.
        columns: of values; all by default.
        rate: rows per second of files without times.
        time_unit: of the times, where the file does not say it; seconds by default.
        cut: whether trials are cut to what of the stimulus is known; else it must be all.

    Returns:
        the recording, the stimulus of each trial, the names of its columns, and remarks.

    Raises:
        RecordingError: a file that cannot be read, trials that it does not have, columns that
            differ between files, or a stimulus that does not last.
    """
    conditions = len(recording.conditions)
    if len(files) not in (1, conditions):
        raise RecordingError(
            f"`stimulus` names {len(files)} files and there are {conditions} conditions "
            f"({', '.join(recording.conditions[:6])}). Give one for all, or one for each."
        )
    read, remarks = [], []
    for path in files:
        try:
            series = io.read_series(path, format, columns=columns or None, rate=rate)
        except FileNotFoundError:
            raise RecordingError(
                f"{path}: there is no such file. Give a table of the stimulus."
            ) from None
        except ValueError as error:
            raise RecordingError(str(error)) from error
        unit = series.unit if time_unit is None or series.unit is not None else time_unit
        if unit is None:
            unit = "s"
            remarks.append(
                f"{Path(path).name}: nothing says the unit of the times; they are taken for "
                "seconds."
            )
        remarks += [f"{Path(path).name}: {remark}." for remark in series.remarks]
        read.append(dataclasses.replace(series, times=io.convert_times(series.times, unit, "s")))
    names = read[0].names
    for series in read[1:]:
        if series.names != names:
            raise RecordingError(
                f"{series.path} has the columns {series.names} and {read[0].path} {names}. Name "
                "those that both have with `stimulus_columns`."
            )
    trials, stimuli, shortened = [], [], 0
    for trial in recording.trials:
        series = read[trial.condition if len(read) > 1 else 0]
        stimulus = _of_trial(series, trial)
        trial, was = _covered(series, stimulus, trial, cut)
        shortened += was
        trials.append(trial)
        stimuli.append(stimulus)
    if shortened:
        remarks.append(f"{shortened} trials are cut to where the stimulus is known.")
    return dataclasses.replace(recording, trials=trials), stimuli, names, remarks


def _of_trial(series: io.Series, trial: Trial) -> Stimulus:
    rows = np.arange(series.times.size)
    if series.trials is not None:
        rows = np.flatnonzero(series.trials == trial.name)
        if rows.size == 0:
            have = ", ".join(
                dict.fromkeys(series.trials.tolist()[:1] + series.trials.tolist()[-1:])
            )
            raise RecordingError(
                f"{series.path} has no rows of trial {trial.name!r} (it has {have}, ...). Add "
                "them, or leave the column of trials out with `stimulus_ignore`."
            )
    if rows.size < 2:
        raise RecordingError(
            f"{series.path} has one row for trial {trial.name!r}; a stimulus needs two or more."
        )
    return Stimulus(series.times[rows], series.values[rows])


def _covered(series: io.Series, stimulus: Stimulus, trial: Trial, cut: bool) -> tuple[Trial, bool]:
    """The trial, cut to where the stimulus is known."""
    first = float(stimulus.times[0])
    last = float(stimulus.times[-1]) + stimulus.step
    slack = 1e-6 * stimulus.step
    if trial.start >= first - slack and trial.stop <= last + slack:
        return trial, False
    start, stop = max(trial.start, first), min(trial.stop, last)
    if not cut or stop - start < 10 * stimulus.step:
        raise RecordingError(
            f"{series.path} knows the stimulus from {first:g} to {last:g} s, and trial "
            f"{trial.name!r} of the spikes lasts from {trial.start:g} to {trial.stop:g} s. Set "
            "`start` and `stop`, or check the units of both."
        )
    spikes = [times[(times >= start) & (times <= stop)] for times in trial.spikes]
    return dataclasses.replace(trial, start=start, stop=stop, spikes=spikes), True
