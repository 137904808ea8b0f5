"""Tables of values in time."""

import numpy as np
import pytest

from roughsnn import io


def test_a_table_with_trials_units_and_two_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("trial;time_ms;sound;light\na;0;0,5;1\na;2;0,25;2\nb;-1;0;3\nb;4;1;4\n")
    series = io.read_series(path, io.TableFormat(decimal=","))
    assert (series.names, series.unit) == (["sound", "light"], "ms")
    np.testing.assert_array_equal(series.times, [0, 2, -1, 4])
    np.testing.assert_array_equal(series.values, [[0.5, 1], [0.25, 2], [0, 3], [1, 4]])
    assert series.trials is not None
    assert series.trials.tolist() == ["a", "a", "b", "b"]
    one = io.read_series(path, io.TableFormat(decimal=","), columns=("light",))
    np.testing.assert_array_equal(one.values[:, 0], [1, 2, 3, 4])
    assert one.remarks == ("the columns ['sound'] are not read",)


def test_values_without_times_and_numbers_of_samples(tmp_path):
    (tmp_path / "a.csv").write_text("amplitude,trial\n1,x\n2,x\n5,y\n6,y\n")
    series = io.read_series(tmp_path / "a.csv", rate=1000)
    np.testing.assert_array_equal(series.times, [0, 0.001, 0, 0.001])
    assert series.names == ["amplitude"]
    np.savez(tmp_path / "b.npz", sample=np.array([0, 10]), value=np.array([1.0, 2.0]))
    series = io.read_series(tmp_path / "b.npz", io.TableFormat(sampling_rate=100.0))
    np.testing.assert_array_equal(series.times, [0, 0.1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a\n0,1\n1,x\n", "line 3: the value 'x' of 'a' is no number"),
        ("time,a\n0,1\n1,inf\n", "line 3: the value 'inf' of 'a' is not finite"),
        ("time,a\n0,1\n0,2\n", "line 3: the time 0 does not come after 0"),
        ("time,a\n0,1\n1\n", "line 3 has 1 columns"),
        ("time\n0\n1\n", "no column of values"),
        ("time,a\n", "no row of values"),
        ("a,b\n0,1\n", "there is no column 'time'"),
        ("time,sweep,a\n0,1,2\n", "Pass `trial_column='sweep'`"),
    ],
)
def test_faulty_tables_are_refused_by_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        io.read_series(tmp_path / "a.csv")
