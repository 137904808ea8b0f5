"""Every format gives back what it was given, and refuses what it cannot mean."""

import os
import warnings

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roughsnn as rs
from experiments.benchmarks import round_trips
from roughsnn import io

from ..runs.disks import no_space, read_only


def awkward() -> rs.SpikeTrains:
    """Random digits, ties, both ends of the window, silence, an overflow, spare room."""
    rng = np.random.default_rng(0)
    trials = [[np.sort(rng.uniform(-0.1, 0.7, n)) for n in (5, 0, 3)] for _ in range(4)]
    trials += [[[], [], []], [[-0.1, 0.2], [0.2], [0.7]]]
    trains = rs.SpikeTrains.from_lists(trials, t0=-0.1, t1=0.7, max_spikes=11)
    overflowed = np.arange(6) == 2
    return rs.SpikeTrains(trains.times, trains.neurons, -0.1, 0.7, overflowed, num_neurons=3)


def assert_same(a, b):
    assert a.num_neurons == b.num_neurons
    jax.tree.map(np.testing.assert_array_equal, a, b)


ROUND_TRIPS = {
    "csv": (io.write_csv, io.read_csv),
    "npz": (io.write_npz, io.read_npz),
    "nwb": (io.write_nwb, io.read_nwb),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_files_round_trip_and_never_replace_another(name, tmp_path):
    write, read = ROUND_TRIPS[name]
    path = tmp_path / f"spikes.{name}"
    write(path, awkward())
    assert_same(read(path), awkward())
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(path, awkward()[:2])
    assert path.read_bytes() == before
    write(path, awkward()[:2], overwrite=True)
    assert_same(read(path), awkward()[:2])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OSError, match="missing"):
        write(tmp_path / "missing" / "file", awkward())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_file_that_cannot_be_written_leaves_what_was_there(name, tmp_path, monkeypatch):
    write, _ = ROUND_TRIPS[name]
    path = tmp_path / f"spikes.{name}"
    write(path, awkward())
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        for target in (path, tmp_path / "new"):
            with pytest.raises(OSError, match=rf"No space left on device: .*{target.name}"):
                write(target, awkward()[:2], overwrite=True)
    with read_only(tmp_path), pytest.raises(PermissionError, match=path.name):
        write(path, awkward()[:2], overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: before}


@pytest.mark.filterwarnings("ignore")
def test_neo_round_trip():
    for unit in ("s", "ms"):
        assert_same(io.from_neo(io.to_neo(awkward(), unit=unit)), awkward())
    in_ms = io.from_neo(io.to_neo(awkward(), unit="s"), unit="ms")
    np.testing.assert_allclose(in_ms.times, 1000 * awkward().times, rtol=1e-15)


def test_a_foreign_table(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("spike_time_s,quality\n0.25,1\n0.5,2\n")
    with pytest.warns(UserWarning, match=r"other\.csv: the column \['quality'\] is not read"):
        trains = io.read_csv(path, t0=0, t1=1)
    np.testing.assert_array_equal(trains.times, [[0.25, 0.5]])
    with pytest.raises(ValueError, match="pass `t0=` and `t1=`"):
        io.read_csv(path)


HEADER = "trial,neuron,time"
GOOD = ["0,0,0.125", "0,1,0.25", "0,0,0.5", "1,0,0.375", "1,1,0.75"]
FAULTS = {
    "NaN": ("{trial},{neuron},nan", "'nan' is no number"),
    "words": ("{trial},{neuron},soon", "'soon' is no number"),
    "negative": ("{trial},{neuron},-{time}", "outside the window"),
    "late": ("{trial},{neuron},7", "outside the window"),
    "infinite": ("{trial},{neuron},inf", "'inf' is not finite"),
    "few columns": ("{trial},{time}", "has 2 columns where the header has 3"),
    "many columns": ("{trial},{neuron},{time},1", "has 4 columns"),
    "no trial": ("-1,{neuron},{time}", "the trial '-1'"),
    "half a neuron": ("{trial},0.5,{time}", "the neuron '0.5'"),
    "blank": ("", "is empty"),
}


@settings(max_examples=100)
@given(st.sampled_from(sorted(FAULTS)), st.integers(0, 3))
def test_a_faulty_row_is_named(tmp_path_factory, fault, row):
    trial, neuron, time = GOOD[row].split(",")
    written, message = FAULTS[fault]
    rows = [*GOOD]
    rows[row] = written.format(trial=trial, neuron=neuron, time=time)
    path = tmp_path_factory.mktemp("faulty") / "faulty.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    with pytest.raises(ValueError, match=r"faulty\.csv") as caught:
        io.read_csv(path, t0=0, t1=1)
    assert message in str(caught.value)
    assert f"{path}, line {row + 2}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: there is no column of times"),
        ("0.1,0.2\n0.2,0.3\n", "line 1: there is no column 'time', as there is no header"),
        ("time\n0.5\n0.25\n", "line 3: the time 0.25 is earlier than 0.5"),
        ("time\n0.5\n0.5\n", "line 3: neuron 0 has a second spike at 0.5"),
        ("time\n", "has no spikes"),
        ('# roughsnn {"t0": 0}\ntime\n', "line 1: the description of the file is damaged"),
    ],
)
def test_a_faulty_file_is_named(tmp_path, text, message):
    path = tmp_path / "faulty.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"faulty\.csv") as caught:
        io.read_csv(path, t0=0, t1=1)
    assert message in str(caught.value)


def test_a_faulty_archive_is_named(tmp_path):
    arrays = dict(times_since_start=[[0.1, 0.5, np.inf]], neurons=[[0, 1, -1]], t0=0.0, t1=1.0)
    arrays |= dict(overflowed=[False], num_neurons=2)
    for name, value, message in (
        ("times_since_start", [[0.5, 0.1, np.inf]], "spike 1: time 0.1 of neuron 1 is earlier"),
        ("times_since_start", [[0.1, np.nan, np.inf]], "spike 1: time nan of neuron 1 is NaN"),
        ("times_since_start", [[-0.1, 0.5, np.inf]], "spike 0: time -0.1 of neuron 0 is outside"),
        ("neurons", [[0, 2, -1]], "of neuron 2 is of a neuron not among 0 to 1"),
        ("times_since_start", [["a", "b", "c"]], "no spike trains that can be read"),
    ):
        path = tmp_path / "faulty.npz"
        np.savez(path, **(arrays | {name: value}))
        with pytest.raises(ValueError, match=r"faulty\.npz") as caught:
            io.read_npz(path)
        assert message in str(caught.value)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"faulty\.npz"):
        io.read_npz(path)


def test_a_spike_twice_is_refused_unless_it_is_meant(tmp_path):
    trains = rs.SpikeTrains.from_lists([[[0.25, 0.25], [0.5]]], t0=0.0, t1=1.0)
    for name, (write, read) in ROUND_TRIPS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(tmp_path / name, trains)
            with pytest.raises(ValueError, match="keep_duplicates=True"):
                read(tmp_path / name)
            assert_same(read(tmp_path / name, keep_duplicates=True), trains)


def test_the_study_of_faulty_files_holds():
    found = round_trips.study(batches=3, variants=2)
    assert found.holds, found.table


def test_one_batch_axis(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="a file holds one axis of trials"):
            io.write_csv(tmp_path / "file", awkward()[0])
