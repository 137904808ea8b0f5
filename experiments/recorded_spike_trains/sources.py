"""Where recorded spikes come from: one file or folder of any kind, as spikes in seconds."""

import dataclasses
import warnings
from pathlib import Path

import jax
import numpy as np

import roughsnn as rs
from roughsnn import io

_HDF5 = b"\x89HDF\r\n\x1a\n"
_OF_NEO = {
    ".nix", ".mat", ".plx", ".pl2", ".nev", ".nex", ".smr", ".smrx", ".kwik", ".nse", ".ntt",
    ".abf", ".axgd", ".edf", ".ibw", ".pkl", ".pickle", ".spikes", ".gdf",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cutting:
    """What is read of a file that holds more than a table of spikes.

    Attributes:
        trials: name of the table of an NWB file by which trials are cut.
        around: column of that table, or times in seconds, to cut around.
        before: seconds before it.
        after: seconds after it.
        intervals: whether the observation intervals of units must be the same.
        outside: what becomes of spikes outside them, and of trials not observed as a whole.
        groups: labels of the clusters of a sorter's folder that are read.
    """

    trials: str | None = None
    around: str | tuple[float, ...] | None = None
    before: float | None = None
    after: float | None = None
    intervals: str = "same"
    outside: str = "refuse"
    groups: tuple[str, ...] = ()

    @property
    def cuts(self) -> bool:
        """Whether trials are cut."""
        return self.trials is not None or self.around is not None


@dataclasses.dataclass(frozen=True)
class File:
    """Spikes of a file in seconds.

    Attributes:
        name: of the file, without its ending.
        times: of the spikes, in the order of the file.
        trials: number of the trial of each spike.
        neurons: number of its neuron.
        conditions: name of its condition.
        num_trials: how many trials there are, silent ones included.
        names: of the neurons.
        windows: when each trial began and ended, where the file says it.
        trial_names: of the trials, as the file has them.
    """

    name: str
    times: np.ndarray
    trials: np.ndarray
    neurons: np.ndarray
    conditions: np.ndarray
    num_trials: int
    names: list[str]
    windows: list[tuple[float, float]] | None = None
    trial_names: list[str] = dataclasses.field(default_factory=list)


def kind_of(path: Path) -> str:
    """`sorted`, `nwb`, `neo`, `trains` or `table`.

    Raises:
        OSError: the file cannot be read.
    """
    if path.is_dir():
        return "sorted" if io.holds_sorted(path) else "neo"
    if path.suffix.lower() in _OF_NEO:
        return "neo"
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            return "nwb"
    return "trains" if io.holds_trains(path) else "table"


def read_file(
    path: Path, name: str, format: io.TableFormat, condition_column: str | None, cutting: Cutting
) -> tuple[File, str, list[str]]:
    """A file, its unit of time, and what was done to it.

    Raises:
        ImportError: a package that this format needs is not installed.
        OSError: it cannot be read.
        ValueError: it is damaged, or what it means is not certain.
    """
    kind = kind_of(path)
    _refuse_unused(path, kind, format, condition_column, cutting)
    if kind == "sorted":
        groups = cutting.groups or None
        table = io.read_phy(path, sampling_rate=format.sampling_rate, groups=groups)
        return _of_table(table, name, format, None)
    if kind == "nwb":
        table = None if cutting.cuts else io.read_nwb_units(path)
        if table is not None:
            remark = "the file does not say what was observed"
            part, unit, remarks = _of_table(table, name, format, None)
            return part, unit, [remark, *remarks]
    if kind in ("nwb", "neo"):
        with jax.enable_x64(True), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if kind == "neo":
                trains = io.read_neo(path, keep_duplicates=True)
            else:
                trains = io.read_nwb(
                    path, trials=cutting.trials, around=cutting.around, before=cutting.before,
                    after=cutting.after, intervals=cutting.intervals,  # pyright: ignore
                    outside=cutting.outside, keep_duplicates=True,  # pyright: ignore
                )  # fmt: skip
            said = [str(w.message).removeprefix(f"{path}: ").rstrip(".") for w in caught
                    if str(w.message).startswith(f"{path}: ")]  # fmt: skip
            return _of_trains(path, name, trains, "s", said)
    if kind == "trains":
        unit, remarks = _unit(path, None, format)
        with jax.enable_x64(True):
            trains = io.read_npz(path, keep_duplicates=True)
            return _of_trains(path, name, trains, unit, remarks)
    others = () if condition_column is None else (condition_column,)
    table = io.read_table(path, format, others=others)
    if table.about and condition_column is None:
        unit, remarks = _unit(path, table.unit, format)
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the remarks say the same
            trains = io.read_csv(path, keep_duplicates=True, **dataclasses.asdict(format))
            return _of_trains(path, name, trains, unit, [*table.remarks, *remarks])
    return _of_table(table, name, format, condition_column)


def _refuse_unused(path, kind, format: io.TableFormat, condition_column, cutting: Cutting) -> None:
    """Refuse what is given and has no meaning for this kind of file."""
    if condition_column is not None and kind != "table":
        raise ValueError(
            f"{path} has no column of conditions. Leave `condition_column` out, and give a file "
            "for each condition."
        )
    if cutting.cuts and kind != "nwb":
        raise ValueError(
            f"{path} is no NWB file, and `cut_by` and `around` cut by the tables of one. Leave "
            "them out, or name the column of trials of a table."
        )
    if cutting.groups and kind != "sorted":
        raise ValueError(
            f"{path} is no folder of a spike sorter, and `groups` are labels of its clusters. "
            "Leave it out."
        )
    plain = dataclasses.replace(format, sampling_rate=None)
    if kind == "sorted" and plain != io.TableFormat():
        raise ValueError(
            f"{path} is a folder of a spike sorter, of which only `sampling_rate` can be said. "
            "Leave the settings of tables out."
        )
    if kind in ("nwb", "neo") and format != io.TableFormat():
        raise ValueError(
            f"{path} says itself what its times and neurons are. Leave the settings of tables out."
        )


def _of_table(
    table: io.SpikeTable, name: str, format: io.TableFormat, condition_column: str | None
) -> tuple[File, str, list[str]]:
    """A table with a row for each spike."""
    unit, remarks = _unit(table.path, table.unit, format)
    remarks = [*table.remarks, *remarks]
    if table.times.size == 0:
        raise ValueError(f"{table.path}: there is no spike in it. Give a file with spikes.")
    times = io.convert_times(table.times, unit, "s")
    trials, labels, about_trials = io.number_labels(table, "trial")
    neurons, names, about_neurons = io.number_labels(table, "neuron")
    remarks += [x for x in (about_trials, about_neurons) if x is not None]
    both = trials * len(names) + neurons
    order = np.argsort(both, kind="stable")
    if np.any((np.diff(times[order]) < 0) & (np.diff(both[order]) == 0)):
        remarks.append("the times were not sorted; they are now")
    conditions = np.full(times.size, name)
    if condition_column is not None:
        conditions = table.others[condition_column]
    part = File(
        name, times, trials, neurons, conditions, len(labels), names, trial_names=labels
    )  # fmt: skip
    return part, unit, remarks


def _unit(path: Path, own: str | None, format: io.TableFormat) -> tuple[str, list[str]]:
    """The unit of the times of a file, and a remark where it is a guess."""
    unit = format.time_unit if own is None or own not in io.UNITS else own
    if unit is not None:
        return unit, []
    if own is not None:
        raise ValueError(
            f"{path} is in {own!r}. Say what that is with `time_unit`: {', '.join(io.UNITS)}."
        )
    return "s", ["nothing says the unit of the times; they are taken for seconds"]


def _of_trains(
    path: Path, name: str, trains: rs.SpikeTrains, unit: str, remarks: list[str]
) -> tuple[File, str, list[str]]:
    """Spike trains that say what their windows are."""
    trains = trains.reshape(-1)
    n = len(trains)
    ends = [
        io.convert_times(np.broadcast_to(np.asarray(x, float), (n,)), unit, "s")
        for x in (trains.t0, trains.t1)
    ]
    windows = [(float(start), float(stop)) for start, stop in zip(*ends, strict=True)]
    lists = trains.to_lists()
    overflowed = np.asarray(trains.overflowed)
    for trial in np.flatnonzero(overflowed):
        last = max((float(times[-1]) for times in lists[trial] if times.size), default=None)
        if last is None or not io.convert_times(last, unit, "s") > windows[trial][0]:
            raise ValueError(
                f"{path}: trial {trial} had no room for its spikes, so that nothing of it is "
                "known. Simulate it again with a larger `max_spikes`."
            )
        windows[trial] = (windows[trial][0], float(io.convert_times(last, unit, "s")))
    if overflowed.any():
        remarks = [
            *remarks,
            f"{overflowed.sum()} trials had no room for all of their spikes and are read up to "
            "their last one",
        ]
    counts = [[times.size for times in row] for row in lists]
    trials = np.repeat(np.arange(n), [sum(row) for row in counts])
    neurons = np.repeat(np.tile(np.arange(trains.num_neurons), n), np.ravel(counts).astype(int))
    times = np.concatenate([np.zeros(0), *(x for row in lists for x in row)])
    times = io.convert_times(times, unit, "s")
    conditions = np.full(times.size, name)
    names = [str(k) for k in range(trains.num_neurons)]
    part = File(
        name, times, trials, neurons, conditions, n, names, windows, [str(k) for k in range(n)]
    )  # fmt: skip
    return part, unit, remarks
