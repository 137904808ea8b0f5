"""Recordings in files of all kinds: NWB, neo, folders of sorters."""

import numpy as np
import pytest

from experiments.recorded_spike_trains import Settings
from experiments.recorded_spike_trains.reading import RecordingError, read_recording
from experiments.recorded_spike_trains.sources import Cutting
from roughsnn import io

from ..io.test_observed import write

pytestmark = pytest.mark.filterwarnings("ignore:.*(hdmf|pynwb|cached|timezone|Date|namespace)")

TIMES = np.sort(np.random.default_rng(0).uniform(0.0, 10.0, 200))
OTHER = np.sort(np.random.default_rng(1).uniform(0.0, 10.0, 150))


def test_nwb_with_and_without_observation_intervals(tmp_path):
    observed = write(tmp_path / "a.nwb", [(TIMES, [[0.0, 10.0]]), (OTHER, [[0.0, 10.0]])])
    recording = read_recording([observed], neurons=("1",))
    assert recording.names == ["0 (1)"]
    np.testing.assert_array_equal(recording.trials[0].spikes[0], OTHER)
    plain = write(tmp_path / "b.nwb", [(TIMES, None), (OTHER, None)])
    recording = read_recording([plain], stop=9.0)
    np.testing.assert_array_equal(recording.trials[0].spikes[0], TIMES[TIMES <= 9.0])
    assert "does not say what was observed" in recording.remarks[0]
    with pytest.raises(RecordingError, match="`neurons` holds '7'"):
        read_recording([plain], neurons=("7",))


def test_trials_of_different_lengths_of_the_table_of_an_nwb_file(tmp_path):
    rows = [dict(start_time=0.5, stop_time=4.5), dict(start_time=5.0, stop_time=9.75)]
    path = write(tmp_path / "a.nwb", [(TIMES, [[0.0, 10.0]])], rows)
    recording = read_recording([path], cutting=Cutting(trials="trials"))
    assert [(t.start, t.stop) for t in recording.trials] == [(0.5, 4.5), (5.0, 9.75)]
    for trial in recording.trials:
        first, last = np.searchsorted(TIMES, [trial.start, trial.stop])
        inside = TIMES[first:last]
        np.testing.assert_allclose(trial.spikes[0], inside, atol=1e-12)
    settings = Settings(spikes=(path,), around=("3", "6.5"), before=1.0, after=2.0)
    recording = read_recording([path], cutting=settings.cutting())
    assert [(t.start, t.stop) for t in recording.trials] == [(2.0, 5.0), (5.5, 8.5)]


def test_a_file_of_neo(tmp_path):
    neo = pytest.importorskip("neo")
    quantities = pytest.importorskip("quantities")
    block = neo.Block()
    block.segments.append(neo.Segment())
    train = neo.SpikeTrain(TIMES * 1000 * quantities.ms, t_start=0.0, t_stop=10_000.0)
    block.segments[0].spiketrains.append(train)
    neo.io.NeoMatlabIO(str(tmp_path / "a.mat")).write_block(block)
    recording = read_recording([tmp_path / "a.mat"])
    np.testing.assert_allclose(recording.trials[0].spikes[0], TIMES, rtol=1e-12)
    assert (recording.trials[0].start, recording.trials[0].stop) == (0.0, 10.0)
    (tmp_path / "b.mat").write_bytes(b"no file of MATLAB")
    with pytest.raises(RecordingError, match=r"b\.mat is damaged, or not what its ending says"):
        read_recording([tmp_path / "b.mat"])
    (tmp_path / "c.pkl").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"c\.pkl is a pickle"):
        read_recording([tmp_path / "c.pkl"])


def test_a_folder_of_a_sorter(tmp_path):
    folder = tmp_path / "sorted"
    folder.mkdir()
    samples = np.r_[TIMES, OTHER] * 30000
    np.save(folder / "spike_times.npy", samples.astype(np.uint64))
    np.save(folder / "spike_clusters.npy", np.repeat([3, 8], [200, 150]))
    format = io.TableFormat(sampling_rate=30000)
    recording = read_recording([folder], format=format, stop=10.0)
    assert recording.neurons == ["3", "8"]
    np.testing.assert_allclose(recording.trials[0].spikes[1], OTHER, atol=1 / 30000)
    with pytest.raises(RecordingError, match="`sampling_rate=`, samples per second"):
        read_recording([folder])


def test_what_has_no_meaning_for_a_file_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time", *map(str, TIMES)]))
    with pytest.raises(RecordingError, match="is no NWB file, and `cut_by`"):
        read_recording([path], cutting=Cutting(trials="trials"))
    with pytest.raises(RecordingError, match="is no folder of a spike sorter"):
        read_recording([path], cutting=Cutting(groups=("good",)))
    nwb = write(tmp_path / "a.nwb", [(TIMES, [[0.0, 10.0]])])
    with pytest.raises(RecordingError, match="says itself what its times"):
        read_recording([nwb], format=io.TableFormat(time_unit="ms"))
    with pytest.raises(ValueError, match="`around` is"):
        Settings(spikes=(nwb,), around=("cue", "reward")).cutting()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RecordingError, match="folder"):
        read_recording([tmp_path / "folder"])
