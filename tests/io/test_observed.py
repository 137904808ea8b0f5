"""Observation intervals, trials of a table and cuts around events, of NWB and neo."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roughsnn import io
from roughsnn.io._observed import common_intervals, own_intervals, windows_within

pytestmark = pytest.mark.filterwarnings("ignore:.*(hdmf|pynwb|cached|timezone|Date|namespace)")


def write(path, units, trials=(), columns=()):
    """A file with these units, `(times, intervals)`, and a table of trials."""
    import h5py
    import pynwb

    session = pynwb.NWBFile("a", path.name, datetime.datetime.now(datetime.UTC))
    for times, intervals in units:
        more = {} if intervals is None else dict(obs_intervals=intervals)
        session.add_unit(spike_times=np.asarray(times, float), **more)
    for name in columns:
        session.add_trial_column(name, name)
    for row in trials:
        session.add_trial(**row)
    with h5py.File(path, "w") as file, pynwb.NWBHDF5IO(file=file, mode="w") as writer:
        writer.write(session)
    return path


TWO = [[0.0, 1.0], [100.0, 101.5]]


def test_each_observation_interval_is_a_trial(tmp_path):
    regular = [0.2, 0.45, 0.7, 0.95, 100.2, 100.45, 100.7, 100.95, 101.2]
    path = write(tmp_path / "a.nwb", [(regular, TWO), ([0.5], TWO)])
    trains = io.read_nwb(path)
    np.testing.assert_array_equal(trains.t0, [0.0, 100.0])
    np.testing.assert_array_equal(trains.t1, [1.0, 101.5])
    np.testing.assert_array_equal(trains.counts_by_neuron, [[4, 1], [5, 0]])
    np.testing.assert_array_equal(trains.to_lists()[1][0], regular[4:])
    # one window of it, and none across the gap
    np.testing.assert_array_equal(io.read_nwb(path, t0=100.3, t1=101).counts_by_neuron, [[3, 0]])
    with pytest.raises(ValueError, match=r"row 0: the trial \[0.0, 101.0\] is no window within"):
        io.read_nwb(path, t0=0, t1=101)


def test_spikes_outside_the_own_intervals_and_intervals_that_differ(tmp_path):
    path = write(tmp_path / "a.nwb", [([0.2, 50.0], TWO), ([0.5], TWO)])
    with pytest.raises(ValueError, match=r"a\.nwb, unit 0: the spike at 50.0 is outside its obs"):
        io.read_nwb(path)
    with pytest.warns(UserWarning, match="1 spikes outside the observation intervals of their"):
        trains = io.read_nwb(path, outside="leave out")
    np.testing.assert_array_equal(trains.counts_by_neuron, [[1, 1], [0, 0]])
    path = write(tmp_path / "b.nwb", [([0.2, 100.5], TWO), ([0.1, 0.5], [[0.0, 0.4], [0.45, 2.0]])])
    with pytest.raises(ValueError, match="units 0 and 1 were observed in different intervals"):
        io.read_nwb(path)
    with pytest.warns(UserWarning, match="2 intervals that all units have in common"):
        trains = io.read_nwb(path, intervals="common")
    np.testing.assert_allclose(trains.t1, [0.4, 1.0], rtol=1e-15)
    np.testing.assert_array_equal(trains.counts_by_neuron, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(io.read_nwb(path, units=[0]).counts_by_neuron, [[1], [1]])


def test_trials_of_the_table_and_around_events(tmp_path):
    times = np.arange(0.05, 10, 0.1)
    rows = [
        dict(start_time=1.0, stop_time=2.0, cue=1.5),
        dict(start_time=4.0, stop_time=4.5, cue=4.2),
        dict(start_time=9.5, stop_time=11.0, cue=np.nan),
    ]
    path = write(tmp_path / "a.nwb", [(times, [[0.0, 10.0]])], rows, ["cue"])
    with pytest.raises(ValueError, match=r"trials, row 2: the trial \[9.5, 11.0\] is no window"):
        io.read_nwb(path, trials="trials")
    with pytest.warns(UserWarning, match=r"trials \[2\] are not within what was observed"):
        trains = io.read_nwb(path, trials="trials", outside="leave out")
    np.testing.assert_array_equal(trains.counts_by_neuron, [[10], [5]])
    np.testing.assert_array_equal(trains.t1, [2.0, 4.5])
    around = dict(before=0.2, after=0.3)
    with pytest.warns(UserWarning, match=r"trials \[2\]"):
        trains = io.read_nwb(path, trials="trials", around="cue", outside="leave out", **around)
    # the event is 0.2 after the start of every trial
    np.testing.assert_allclose(trains.times, [[0.05, 0.15, 0.25, 0.35, 0.45]] * 2, atol=1e-12)
    again = io.read_nwb(path, around=[1.5, 4.2], **around)
    np.testing.assert_array_equal(again.times, trains.times)
    with pytest.raises(ValueError, match=r"has no column 'go' of times; it has \['cue', "):
        io.read_nwb(path, trials="trials", around="go", **around)
    with pytest.raises(ValueError, match="has no table 'stimuli' of intervals"):
        io.read_nwb(path, trials="stimuli")
    with pytest.raises(ValueError, match="`around` needs `before` and `after`"):
        io.read_nwb(path, around=[1.0])


def test_segments_of_neo_with_windows_of_their_own():
    import neo

    segments = []
    for start, stop in ((0.0, 1.0), (100.0, 103.0)):
        segment = neo.Segment()
        segment.spiketrains.append(
            neo.SpikeTrain([start + 0.25], t_start=start, t_stop=stop, units="s")
        )
        segments.append(segment)
    trains = io.from_neo(segments)
    np.testing.assert_array_equal(trains.t1, [1.0, 103.0])
    np.testing.assert_array_equal(trains.times, [[0.25], [0.25]])


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_common_intervals_are_where_all_were_observed(seed):
    rng = np.random.default_rng(seed)
    observed = [
        np.unique(rng.integers(0, 40, 2 * rng.integers(1, 5)))[:].astype(float) for _ in range(3)
    ]
    observed = [x[: x.size // 2 * 2].reshape(-1, 2) for x in observed]
    if not all(map(len, observed)):
        return
    at = np.arange(0.25, 40, 0.5)  # never on an end

    def inside(intervals):
        return ((at[:, None] > intervals[:, 0]) & (at[:, None] < intervals[:, 1])).any(1)

    expected = np.logical_and.reduce([inside(x) for x in observed])
    kept, own, left = own_intervals("f", [at] * 3, observed, "leave out")
    for unit in range(3):
        np.testing.assert_array_equal(kept[unit], at[inside(observed[unit])])
    assert (left is None) == all(len(x) == at.size for x in kept)
    if not expected.any():
        with pytest.raises(ValueError, match="nothing in common"):
            common_intervals("f", kept, own, "common")
        return
    spikes, common, _ = common_intervals("f", kept, own, "common")
    np.testing.assert_array_equal(inside(common), expected)
    for times in spikes:
        np.testing.assert_array_equal(times, at[expected])
    # windows lie within them just where every point of them does
    windows = np.sort(rng.integers(0, 40, (20, 2)), axis=1) + np.array([0.0, 1.0])
    points = np.linspace(windows[:, 0] + 0.25, windows[:, 1] - 0.25, 160)
    good = np.array([inside_all(common, column) for column in points.T])
    if good.any():
        found, _ = windows_within("f", windows, common, "leave out")
        np.testing.assert_array_equal(found, windows[good])


def inside_all(intervals, points):
    return bool(
        ((points[:, None] >= intervals[:, 0]) & (points[:, None] <= intervals[:, 1])).any(1).all()
    )
