"""Tables of spikes: however one is written, it is read as what it means, or refused by name."""

import bz2
import gzip
import lzma
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roughsnn import io

PACK = {"none": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    sign=st.sampled_from(["\t", ";", ",", "|", " ", "   "]),
    decimal=st.sampled_from([".", ","]),
    order=st.permutations(["trial", "neuron", "time"]),
    by=st.sampled_from(["time", "neuron", "trial"]),
    names=st.sampled_from([None, ("trial", "unit", "time"), ("Trial", "cluster_id", "spike_time")]),
    packed=st.sampled_from(sorted(PACK)),
    newline=st.sampled_from(["\n", "\r\n"]),
    unit=st.sampled_from(["ns", "us", "ms", "s", "samples"]),
)
def test_a_table_is_read_however_it_is_written(
    tmp_path_factory, seed, sign, decimal, order, by, names, packed, newline, unit
):
    rng = np.random.default_rng(seed)
    ticks = [[np.unique(rng.integers(0, 10**4, 4)) for _ in range(2)] for _ in range(2)]
    rows = [
        {"trial": i, "neuron": k, "time": int(t)}
        for i, trial in enumerate(ticks)
        for k, own in enumerate(trial)
        for t in own
    ]
    rows.sort(key=lambda row: row["time"])
    rows.sort(key=lambda row: row[by])
    per_second = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1, "samples": 10**4}[unit]

    def cell(row, name):
        if name != "time":
            return str(row[name])
        text = str(row["time"]) if unit == "samples" else f"{row['time'] * per_second / 1e4:.9f}"
        # with a comma on both sides of it a number is in quotes
        text = text.replace(".", decimal)
        return f'"{text}"' if decimal == sign == "," else text

    lines = [sign.join(cell(row, name) for name in order) for row in rows]
    options = dict(decimal=decimal, num_trials=2, num_neurons=2)
    if names is None:
        options |= {f"{name}_column": order.index(name) for name in order}
        options |= dict(header=False)
    else:
        of = dict(zip(("trial", "neuron", "time"), names, strict=True))
        lines = [sign.join(of[name] for name in order), *lines]
    if decimal == sign == ",":
        options["delimiter"] = ","
    options |= dict(sampling_rate=1e4) if unit == "samples" else dict(time_unit=unit, unit="s")
    path = tmp_path_factory.mktemp("tables") / "spikes.txt"
    path.write_bytes(PACK[packed]((newline.join(lines) + newline).encode()))
    trains = io.read_csv(path, t0=0, t1=1, **options)
    for trial, expected in zip(trains.to_lists(), ticks, strict=True):
        for times, own in zip(trial, expected, strict=True):
            # nine decimals are written; the numbers of samples are exact
            np.testing.assert_allclose(times, own / 1e4, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,channel\n0.1,3\n0.2,4\n", r"Pass `neuron_column='channel'`, or `ignore="),
        ("time,id\n0.1,3\n0.2,4\n", r"the column 'id' may say of which neuron"),
        ("time,tetrode,unit\n0.1,1,1\n", r"\['tetrode', 'unit'\] may each say of which neuron"),
        ("time,sweep\n0.1,1\n", r"'sweep' may say of which trial"),
        ("time,neuron\n0,1,2\n", "3 columns where the header has 2.*decimal=','"),
        ("time;neuron\n0,1;2\n", "line 2: the time '0,1' is no number.*decimal=','"),
        ("0,1\n0,2\n", "no header, and 2 columns.*decimal=','"),
        (",time\n4,1\n7,3\n", "column 0 has no name.*decimal=','"),
        ("sample,unit\n1,0\n", "numbers of samples. Pass `sampling_rate="),
        ("time,unit\n0.1,ms\n0.2,ms\n", "holds units of time"),
        ("time,stamp_time,spike_times\n0.1,1,2\n", r"\['time', 'spike_times'\] may all be"),
        ("time,neuron\n0.1,-1\n", "the neuron '-1' is not a whole number 0 or more"),
        ("time,neuron\n0.1,0\n0.2,a\n", "line 3: the neuron 'a' is not a whole number"),
        ("time,neuron\n0.1,\n", "line 2: the neuron '' is missing"),
        ("time,neuron\n0.2,0\n0.3,1\n0.1,0\n", "line 4: the time 0.1 is earlier than 0.2"),
        ("time\n1_0\n", "'1_0' is no number"),
        ('time,neuron\n"0.1,0\n', "line 2: unexpected end of data"),
        ("# time neuron\n0.1 0\n0.2 0\n", "line 2: .*as there is no header"),
    ],
)
def test_what_could_be_misread_is_refused_with_its_remedy(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        io.read_csv(path, t0=0, t1=1)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options", "counts", "remark"),
    [
        ("time,cluster_id\n0.1,7\n0.2,12\n0.3,7\n", {}, [[2, 1]], "0 to 1 are those written 7, 12"),
        ("time,unit\n0.1,b\n0.2,a\n", {}, [[1, 1]], "0 to 1 are those written b, a"),
        ("time,unit,trial\n0.1,0,1\n0.2,0,3\n", {}, [[1], [0], [1]], "no spike is of trial 2"),
        ("time,unit\n0.1,0\n0.2,3\n", {"num_neurons": 5}, [[1, 0, 0, 1, 0]], None),
        ("time,shank,unit\n0.1,1,1\n0.2,2,1\n", {"neuron_column": ("shank", "unit")}, [[1, 1]], ""),
        ("time,channel\n0.1,3\n0.2,4\n", {"ignore": ("channel",)}, [[2]], None),
        ("time,depth\n0.1,3\n0.2,4\n", {}, [[2]], "the column ['depth'] is not read"),
        (",time\n0,0.1\n1,0.2\n", {}, [[2]], "the column [0] is not read"),
        ("# made by hand\ntime\n0.1\n\n\n", {}, [[1]], "line 1 begins with # and is not read"),
        ("seconds\n0.1\n", {}, [[1]], None),
    ],
)
def test_what_is_not_read_or_numbered_otherwise_is_named(tmp_path, text, options, counts, remark):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trains = io.read_csv(path, t0=0, t1=1, **options)
    np.testing.assert_array_equal(trains.counts_by_neuron, counts)
    assert len(said) == (remark is not None)
    assert remark is None or remark in str(said[0].message)


def test_units_that_disagree_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time_ms\n100\n")
    with pytest.raises(ValueError, match="is in ms, and `time_unit` is 's'"):
        io.read_csv(path, t0=0, t1=1, time_unit="s")
    with pytest.raises(ValueError, match="is in ms, and `sampling_rate`"):
        io.read_csv(path, t0=0, t1=1, sampling_rate=1.0)
    with pytest.raises(ValueError, match=r"`unit` is 'mV'; it must be one of ns, us"):
        io.read_csv(path, t0=0, t1=1, unit="mV")
    path.write_text("time\n100\n")
    with pytest.raises(ValueError, match=r"its own is not known\. Pass `time_unit=`"):
        io.read_csv(path, t0=0, t1=1, unit="s")
    with pytest.raises(ValueError, match="Give one of the two"):
        io.read_csv(path, t0=0, t1=1, time_unit="s", sampling_rate=1.0)
    # 100 / 3 s, to the last digit
    assert io.read_table(path, io.TableFormat(sampling_rate=3.0)).times[0] == 100 / 3


def test_an_archive_with_an_array_for_each_column(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, spike_times=[0.1, 0.2], units=[3, 4], rate=np.asarray(1.0))
    table = io.read_table(path)
    np.testing.assert_array_equal(table.times, [0.1, 0.2])
    assert list(table.neurons) == ["3", "4"]
    assert table.remarks == ("the array ['rate'] is not read",)
    np.savez(path, spike_times=[0.1, 0.2], units=[3, 4, 5])
    with pytest.raises(ValueError, match=r"arrays of the shapes .*units': \(3,\)"):
        io.read_table(path)


def test_options_of_numpy_and_lines_of_spreadsheets(tmp_path):
    path = tmp_path / "spikes.csv"
    path.write_text("sep=;\ntime;a;b\n1,5;x y;z\n2,5;x;y z\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="neurons 0 to 1 are those"):
        trains = io.read_csv(
            path, t0=np.float32(0), t1=np.int64(3), decimal=",", time_column=np.int64(0),
            neuron_column=(np.int64(1), 2),
        )  # fmt: skip
    # ("x y", "z") and ("x", "y z") are two neurons
    assert [times.tolist() for times in trains.to_lists()[0]] == [[1.5], [2.5]]
    for options, message in [
        (dict(delimiter=","), "`delimiter` is ','"),
        (dict(time_column="time", neuron_column="time"), "the column 'time' is named twice"),
        (dict(time_column=True), "`time_column` is True"),
        (dict(sampling_rate=np.float64("nan")), "`sampling_rate` must be finite"),
        (dict(num_neurons=0), "`num_neurons` must be an integer of at least 1"),
        (dict(num_trials=-1), "`num_trials` must be an integer of at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            io.read_csv(path, **(dict(t0=0, t1=3, decimal=",", ignore=("a", "b")) | options))
