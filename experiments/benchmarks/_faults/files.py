"""Faults of one kind: files."""

import gzip
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

import roughsnn as rs
from roughsnn import io

from ...recorded_spike_trains.reading import read_recording
from . import Fault, refusal


def _file(text: str | bytes, read: Any, name: str = "spikes.csv") -> Any:
    """What `read` makes of a file with this content; its warnings are not shown."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path)


def _lists(path: Path, **options: Any) -> list:
    trains = io.read_csv(path, **({"t0": 0, "t1": 10} | options))
    return [[times.round(6).tolist() for times in trial] for trial in trains.to_lists()]


def _own_file_in_ms() -> tuple[str, bool]:
    random = np.random.default_rng(0)
    lists = [[np.sort(random.uniform(0, 1000, 30)) for _ in range(2)] for _ in range(10)]
    trains = rs.SpikeTrains.from_lists(lists, t0=0.0, t1=1000.0)
    right = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.csv", "a.npz"):
            path = Path(folder) / name
            if name == "a.csv":
                io.write_csv(path, trains, unit="ms")
                recording = read_recording([path])
            else:
                io.write_npz(path, trains)
                recording = read_recording([path], format=io.TableFormat(time_unit="ms"))
            right.append(
                len(recording.neurons) == 2
                and [(t.start, t.stop) for t in recording.trials] == [(0.0, 1.0)] * 10
                and all(
                    np.allclose(spikes, 1e-3 * times, atol=1e-7)
                    for trial, row in zip(recording.trials, lists, strict=True)
                    for spikes, times in zip(trial.spikes, row, strict=True)
                )
            )
    return f"2 neurons, 10 trials of 1 s, from CSV and NPZ: {right}", all(right)


def _decimal_commas() -> tuple[str, bool]:
    text = "".join(f"{t:.3f}\n".replace(".", ",") for t in 0.05 * np.arange(1, 101))
    found, refused = refusal(lambda: _file(text, lambda p: read_recording([p])), "decimal=','")
    read = _file(text, lambda p: read_recording([p], format=io.TableFormat(decimal=",")))
    spikes = read.trials[0].spikes[0]
    return found, refused and spikes.size == 100 and abs(spikes[-1] - 5.0) < 1e-9


def _units_are_told_apart() -> tuple[str, bool]:
    found = {
        name: _file(f"time,{name}\n0.5,4\n1.5,2\n2,4\n", _lists)
        for name in ("cluster_id", "unit", "cell", "Neuron", "unitID")
    }
    right = all(lists == [[[1.5], [0.5, 2.0]]] for lists in found.values())
    refused = [
        refusal(
            lambda name=name: _file(f"time,{name}\n0.5,4\n1.5,2\n", _lists), f"{name!r}", "ignore"
        )[1]
        for name in ("channel", "id", "tetrode", "electrode_id")
    ]
    return f"two neurons {right}, refused by name {refused}", right and all(refused)


def _options_of_a_table() -> tuple[str, bool]:
    expected = [[[0.25, 1.5], [0.5]]]
    rows = [("0.25", "0"), ("1.5", "0"), ("0.5", "1")]

    def written(sign=";", header="time;neuron", decimal="."):
        lines = ([header] if header else []) + [sign.join(row) for row in rows]
        return "\n".join(lines).replace(".", decimal) + "\n"

    by_position = dict(header=False, time_column=0, neuron_column=1)
    found = {
        "sorted by unit": _file(written(), _lists),
        "decimal commas": _file(written(decimal=","), lambda p: _lists(p, decimal=",")),
        "no header": _file(written("\t", ""), lambda p: _lists(p, **by_position)),
        "blanks": _file(written("   ", "time neuron"), _lists),
        "packed": _file(gzip.compress(written().encode()), _lists),
        "names": _file(
            written(header="when;what"),
            lambda p: _lists(p, time_column="when", neuron_column="what"),
        ),
        "samples": _file(
            "sample,unit\n250,0\n1500,0\n500,1\n", lambda p: _lists(p, sampling_rate=1000.0)
        ),
        "milliseconds": _file(
            "time_ms,unit\n250,0\n1500,0\n500,1\n", lambda p: _lists(p, unit="s")
        ),
    }
    wrong = [name for name, lists in found.items() if lists != expected]
    return f"{len(found) - len(wrong)} of {len(found)} ways to write it read alike", not wrong


def _nwb(path: Path, intervals: list, cues: tuple = ()) -> Path:
    """A file with a unit that fires at 4 Hz, regularly, in two intervals."""
    import datetime

    import h5py
    import pynwb

    session = pynwb.NWBFile("a", "a", datetime.datetime.now(datetime.UTC))
    times = np.concatenate([start + np.arange(0.1, 1.0, 0.25) for start in (0.0, 100.0)])
    session.add_unit(spike_times=times, obs_intervals=intervals)
    if cues:
        session.add_trial_column("cue", "cue")
    for cue in cues:
        session.add_trial(start_time=cue - 0.2, stop_time=cue + 0.4, cue=cue)
    with h5py.File(path, "w") as file, pynwb.NWBHDF5IO(file=file, mode="w") as writer:
        writer.write(session)
    return path


def _observation_intervals() -> tuple[str, bool]:
    two = [[0.0, 1.0], [100.0, 101.0]]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trains = io.read_nwb(_nwb(Path(folder) / "a.nwb", two))
        rates = np.asarray(rs.spike_rates(trains))[:, 0]
        cv = float(np.asarray(rs.cv(trains)).ravel()[0])
        path = _nwb(Path(folder) / "b.nwb", [[0.0, 1.0], [100.0, 100.5]])
        said, refused = refusal(lambda: io.read_nwb(path), "unit 0", "outside", "observation")
    right = np.allclose(rates, 4.0) and abs(cv) < 1e-3
    return f"{rates} Hz, CV {cv:.2g}; a spike outside: {said}", right and refused


def _cut_trials() -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _nwb(Path(folder) / "a.nwb", [[0.0, 1.0], [100.0, 101.0]], (0.35, 100.35))
        rows = io.read_nwb(path, trials="trials")
        cues = io.read_nwb(path, trials="trials", around="cue", before=0.3, after=0.3)
        times = io.read_nwb(path, around=[0.35, 100.35], before=0.3, after=0.3)
    counts = [np.asarray(x.counts).tolist() for x in (rows, cues, times)]
    # 0.35 is a spike, at 0.3 in every trial that begins 0.3 before it
    aligned = all(np.allclose(np.asarray(x.times)[:, 1], 0.3, atol=1e-5) for x in (cues, times))
    return f"spikes in trials {counts}, aligned {aligned}", (
        counts == [[2, 2], [3, 3], [3, 3]] and aligned
    )


def _model_of_a_run() -> tuple[str, bool]:
    from roughsnn.commands import simulate

    neuron = rs.ResettingStochasticLIF(2, mu1=20.0, reset_to=0.0)
    with tempfile.TemporaryDirectory() as folder:
        with rs.RunFolder.new(Path(folder) / "fit", simulate.Settings()) as run:
            run.write_model(
                "models/a.model", neuron, input_current=1.2, window=1.0, dt0=0.01, max_spikes=100,
                time_unit="s",
            )  # fmt: skip
        saved = io.read_model(run.path / "models/a.model")
        same = all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(saved.model), jax.tree.leaves(neuron), strict=True)
        )
        settings = simulate.Settings(
            from_=run.path, trials=4, x64=False, output=Path(folder) / "simulate"
        )
        trains = simulate.run(settings)[0][""]
        kept = io.read_npz(next((Path(folder) / "simulate").rglob("spikes.npz")))
    equal = np.array_equal(trains.times, kept.times)
    return f"model equal {same}, {int(trains.counts.sum())} spikes from it kept {equal}", (
        same and equal and int(trains.counts.sum()) > 0
    )


def _labels_count_from_0() -> tuple[str, bool]:
    rows = "".join(f"{0.1 * i + 0.05:.2f},{10 + i % 2}\n" for i in range(100))
    recording = _file("time,cluster_id\n" + rows, lambda p: read_recording([p]))
    return f"neurons {recording.names}", recording.names == ["0 (10)", "1 (11)"]


FAULTS: list[Fault] = [
    Fault(20, "a file of `write_csv` in roughsnn fit", _own_file_in_ms),
    Fault(20, "decimal commas without a header in roughsnn fit", _decimal_commas),
    Fault(21, "units pooled into one neuron", _units_are_told_apart),
    Fault(21, "delimiter, decimal sign, header, compression, names", _options_of_a_table),
    Fault(22, "observation intervals of NWB", _observation_intervals),
    Fault(22, "trials by a table and around events", _cut_trials),
    Fault(23, "a model file, and spikes simulated from a run", _model_of_a_run),
    Fault(23, "labels of neurons count from 0", _labels_count_from_0),
]
