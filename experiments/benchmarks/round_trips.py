"""Spike trains through CSV, NPZ, NWB and neo and back, bit for bit; files that make no sense.

Random batches in double precision, with silent neurons, silent trials, no spike at all, ties,
spikes on both ends of the window, marks of overflow and spare room. Then files with one fault each,
at a random place: all must be refused by an error that names the file, the place and what to do,
and nothing may be written, by the readers or by `roughsnn plot`.
"""

import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import roughsnn as rs
from roughsnn import io

from ._faulty_spike_files import Case, faulty_files
from ._study import Study, format_table

_WAYS: dict[str, Callable] = {
    "CSV": lambda path, trains: (io.write_csv(path, trains), io.read_csv(path))[1],
    "NPZ": lambda path, trains: (io.write_npz(path, trains), io.read_npz(path))[1],
    "NWB": lambda path, trains: (io.write_nwb(path, trains), io.read_nwb(path))[1],
    "neo": lambda path, trains: io.from_neo(io.to_neo(trains)),
}


def study(batches: int = 30, variants: int = 12, seed: int = 0) -> Study:
    """Write, read and compare.

    Args:
        batches: random batches that go through each format.
        variants: faulty files of each kind, each with its fault at another place.
        seed: of the random trains and places.
    """
    rng = np.random.default_rng(seed)
    figures, bounds, rows = {}, {}, []
    with (
        jax.enable_x64(True),
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")  # pynwb's, of dates and of versions
        drawn = [random_trains(rng, number) for number in range(batches)]
        spikes = sum(int(np.sum(np.asarray(trains.counts))) for trains in drawn)
        for name, way in _WAYS.items():
            different = 0
            for number, trains in enumerate(drawn):
                again = way(Path(folder) / f"{number}.{name.lower()}", trains)
                different += not identical(trains, again)
            figures[f"{name.lower()}_different"] = different
            bounds[f"{name.lower()}_different"] = "<= 0"
            rows.append([name, batches, spikes, different])
        table = format_table(["format", "batches", "spikes in them", "came back different"], rows)
        found = defaultdict(list)
        for case in faulty_files(rng, variants):
            found[case.format, case.fault].append(_judge(case, Path(folder)))
    cases = [outcome for outcomes in found.values() for outcome in outcomes]
    for name in ("refused", "names_file", "names_place", "says_what_to_do", "wrote_nothing"):
        figures[f"faulty_not_{name}"] = sum(not getattr(outcome, name) for outcome in cases)
        bounds[f"faulty_not_{name}"] = "<= 0"
    figures["faulty_files"], bounds["faulty_files"] = len(cases), ">= 100"
    rows = [[*key, len(outcomes), outcomes[0].message] for key, outcomes in found.items()]
    table += "\n\n" + format_table(
        ["format", "fault", "files", "what the first one was told"], rows
    )
    return Study(figures, bounds, table)


def random_trains(rng: np.random.Generator, number: int) -> rs.SpikeTrains:
    """A batch of trains; the first ones have no spike, one neuron, one trial."""
    trials, neurons = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    if number == 1:
        trials, neurons = 1, 1
    t0 = float(rng.choice([0.0, -1.5, 1e3, rng.normal()]))
    t1 = t0 + float(rng.choice([1.0, 1e-3, 1e4, rng.exponential()]))
    most = 0 if number == 0 else 8

    def one():
        count = int(rng.integers(0, most + 1)) if rng.uniform() < 0.8 else 0
        times = rng.uniform(t0, t1, count)
        if count and rng.uniform() < 0.5:
            times[: count // 2] = (
                t0 + np.round(4 * (times[: count // 2] - t0) / (t1 - t0)) * (t1 - t0) / 4
            )
            times[0] = rng.choice([t0, t1])
        return np.unique(np.clip(times, t0, t1))

    lists = [[one() for _ in range(neurons)] for _ in range(trials)]
    longest = max(sum(map(len, trial)) for trial in lists)
    trains = rs.SpikeTrains.from_lists(
        lists, t0=t0, t1=t1, max_spikes=longest + int(rng.integers(0, 3))
    )
    return rs.SpikeTrains(
        trains.times, trains.neurons, t0, t1, rng.uniform(size=trials) < 0.3, num_neurons=neurons
    )


def identical(one: rs.SpikeTrains, other: rs.SpikeTrains) -> bool:
    """Whether every array has the same shape, type and bits."""
    names = ("times", "neurons", "t0", "t1", "overflowed")
    pairs = [[np.asarray(getattr(trains, name)) for trains in (one, other)] for name in names]
    return one.num_neurons == other.num_neurons and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs
    )


class _Outcome:
    """What happened to a faulty file."""

    def __init__(self, case: Case, message: str | None, wrote_nothing: bool):
        text = message or ""
        self.message = text.replace(f"{case.path.parent}/", "")
        self.refused = message is not None
        self.names_file = case.path.suffix == ".neo" or case.path.name in text
        self.names_place = all(place in text for place in case.places)
        self.says_what_to_do = any(word in text for word in _ADVICE)
        self.wrote_nothing = wrote_nothing


_ADVICE = (
    "Remove", "remove", "Correct", "Complete", "Sort", "sort", "Widen", "Write", "Export", "export",
    "Rename", "Name the column", "pass `", "Pass ", "Number trials", "bring all",
    "must list the same number", "Build", "Leave",
)  # fmt: skip


def _judge(case: Case, folder: Path) -> _Outcome:
    before = _contents(folder)
    message = None
    try:
        case.read()
    except ValueError as error:
        message = str(error)
    wrote_nothing = _contents(folder) == before
    if case.format == "NPZ" and message is not None:
        # the command that reads such files draws nothing, and says the same
        from roughsnn.commands import plot

        try:
            plot.run(plot.Settings(path=case.path, output=folder / "figures"))
        except ValueError:
            wrote_nothing = wrote_nothing and _contents(folder) == before
        else:
            # the same spike twice can be drawn
            wrote_nothing = wrote_nothing and case.fault == "duplicate"
            _remove(folder / "figures")
    return _Outcome(case, message, wrote_nothing)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
