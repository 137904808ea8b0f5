"""Reading and cutting of recordings."""

import jax
import numpy as np
import pytest

import roughsnn as rs
from experiments.recorded_spike_trains import Settings
from experiments.recorded_spike_trains.reading import RecordingError, read_recording
from experiments.recorded_spike_trains.splitting import split
from roughsnn import io


def _write(path, times, header="spike_time_s"):
    path.write_text("\n".join([header, *(f"{t:.6f}" for t in times)]) + "\n")
    return path


def test_an_unsorted_file_in_milliseconds(tmp_path):
    in_ms = io.TableFormat(time_unit="ms")
    times = np.cumsum(np.random.default_rng(0).gamma(2.0, 20.0, 300))
    shuffled = np.random.default_rng(1).permutation(times)
    recording = read_recording([_write(tmp_path / "a.csv", shuffled, "time")], format=in_ms)
    np.testing.assert_allclose(recording.trials[0].spikes[0], times / 1000, atol=1e-9)
    assert "not sorted" in recording.remarks[0]
    assert recording.conditions == ["a"]


def test_columns_of_an_npz(tmp_path):
    random = np.random.default_rng(0)
    times = random.uniform(0, 10, 800)
    neuron, light = random.integers(0, 2, 800), random.choice(["on", "off"], 800)
    np.savez(tmp_path / "a.npz", time=times, unit=neuron, light=light)
    recording = read_recording([tmp_path / "a.npz"], condition_column="light", stop=10.0)
    assert recording.neurons == ["0", "1"]
    for c, name in enumerate(recording.conditions):
        for n in range(2):
            expected = np.sort(times[(neuron == n) & (light == name)])
            np.testing.assert_array_equal(recording.of(c)[0].spikes[n], expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("time\n1.0\nx\n", "line 3: the time 'x' is no number"),
        ("time\n1.0\nnan\n", "line 3: the time 'nan' is no number"),
        ("a,b\n1,2\n", "`time_column=`"),
        ("time,trial\n1\n", "line 2 has 1 columns"),
        ("0,512\n0,734\n", "decimal=','"),
        ("time\n0,512\n", "decimal=','"),
        ("time,channel\n1,0\n2,0\n", "Pass `neuron_column='channel'`"),
        ("time_ms,unit\n1,0\n", "has 1 spikes"),
        ("time\n1.0\n2.0\n", "has 2 spikes"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(RecordingError, match=message):
        read_recording([tmp_path / "a.csv"])


def test_own_files_are_read_as_they_were_written(tmp_path):
    """Two neurons, three trials of which one is silent, in milliseconds, from -100 to 900."""
    random = np.random.default_rng(0)
    lists = [[np.sort(random.uniform(-100, 900, 60)) for _ in range(2)] for _ in range(3)]
    lists[1] = [np.zeros(0), np.zeros(0)]
    trains = rs.SpikeTrains.from_lists(lists, t0=-100.0, t1=900.0)
    io.write_csv(tmp_path / "a.csv", trains, unit="ms")
    io.write_npz(tmp_path / "a.npz", trains)
    with jax.enable_x64(False):  # what is read does not depend on JAX's precision
        read = [
            read_recording([tmp_path / "a.csv"]),
            read_recording([tmp_path / "a.npz"], format=io.TableFormat(time_unit="ms")),
        ]
    for recording in read:
        assert recording.neurons == ["0", "1"]
        assert [(t.start, t.stop) for t in recording.trials] == [(-0.1, 0.9)] * 3
        for trial, row in zip(recording.trials, lists, strict=True):
            for spikes, times in zip(trial.spikes, row, strict=True):
                # the written digits give the same number again, and one division rounds it
                np.testing.assert_allclose(spikes, times / 1000, rtol=1e-15)
    with pytest.raises(RecordingError, match="line 1 says that times are in 'ms'"):
        read_recording([tmp_path / "a.csv"], format=io.TableFormat(time_unit="s"))


def test_what_is_not_read_and_what_is_a_guess_is_named(tmp_path):
    rows = "".join(f"{0.1 * i + 0.05},{10 + i % 2},3\n" for i in range(100))
    (tmp_path / "a.csv").write_text("time,cluster_id,quality\n" + rows)
    recording = read_recording([tmp_path / "a.csv"])
    assert recording.neurons == ["10", "11"]
    assert recording.remarks[:2] == [
        "a.csv: the column ['quality'] is not read.",
        "a.csv: nothing says the unit of the times; they are taken for seconds.",
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        read_recording([tmp_path / "none.csv"])


def test_every_interval_is_trained_on_or_held_out(tmp_path):
    times = np.cumsum(np.random.default_rng(0).exponential(0.1, 600))
    recording = read_recording([_write(tmp_path / "a.csv", times)])
    part = split(recording, 10.0)[0][0]
    assert part.train.size + part.held.size == 599
    np.testing.assert_allclose(part.train.sum() + part.held.sum(), times[-1] - times[0], atol=1e-3)
    assert part.train_spikes + part.held_spikes == 600
    # a third of the blocks, up to one
    assert 0.25 < part.held_seconds / (part.held_seconds + part.train_seconds) < 0.4
    assert all(np.all((w >= 0) & (w < part.window)) for w in part.windows)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gradient_steps", -1), ("steps", 0), ("paths", 0), ("generated_windows", 19)],
)
def test_sizes_that_are_too_small_are_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}` is {value}; it must be at least {value + 1}"):
        Settings(spikes=(tmp_path / "a.csv",), **{name: value})


@pytest.mark.parametrize("prior", [0.0, -1.0, float("nan")])
def test_a_prior_that_is_no_width_is_refused(tmp_path, prior):
    with pytest.raises(ValueError, match=r"`prior` is .*; it must be above 0"):
        Settings(spikes=(tmp_path / "a.csv",), prior=prior)
