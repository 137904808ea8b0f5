"""Folders of Kilosort and phy."""

import numpy as np
import pytest

from roughsnn import io


def folder(path, *, params="sample_rate = 30000.\n", labels=True):
    """Three clusters with numbers 2, 5 and 9, of which 9 is noise."""
    path.mkdir()
    np.save(path / "spike_times.npy", np.array([[300], [600], [900], [1500], [3000]], np.uint64))
    np.save(path / "spike_clusters.npy", np.array([2, 5, 9, 2, 5], np.int32))
    if params is not None:
        (path / "params.py").write_text("dat_path = 'raw.bin'\n" + params)
    if labels:
        (path / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tgood\n5\tmua\n9\tnoise\n")
    return path


def test_spikes_of_clusters_that_are_no_noise(tmp_path):
    table = io.read_phy(folder(tmp_path / "a"))
    np.testing.assert_array_equal(table.times, np.array([300, 600, 1500, 3000]) / 30000)
    assert table.neurons is not None
    assert table.neurons.tolist() == ["2", "5", "2", "5"]
    assert (table.unit, table.remarks) == ("s", ("1 clusters are not read: 1 noise",))
    good = io.read_phy(tmp_path / "a", groups=("good",))
    np.testing.assert_array_equal(good.times, [0.01, 0.05])


def test_a_folder_without_labels_or_clusters(tmp_path):
    path = folder(tmp_path / "a", params=None, labels=False)
    (path / "spike_clusters.npy").rename(path / "spike_templates.npy")
    table = io.read_phy(path, sampling_rate=20000)
    np.testing.assert_array_equal(table.times, np.array([300, 600, 900, 1500, 3000]) / 20000)
    with pytest.raises(ValueError, match=r"no params\.py.*`sampling_rate=`"):
        io.read_phy(path)
    with pytest.raises(ValueError, match="holds no labels of clusters"):
        io.read_phy(path, sampling_rate=20000, groups=("good",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("spike_times.npy", np.array([0.01, 0.02, 0.03, 0.05, 0.1]), r"row 0: 0\.01 is no number"),
        ("spike_times.npy", np.array([3, 6, 9, 15, -1]), "row 4: -1 is no number of a sample"),
        ("spike_times.npy", np.arange(4), "has 4 spikes and spike_clusters.npy 5"),
        ("spike_times.npy", np.zeros((5, 2)), r"has shape \(5, 2\)"),
        ("spike_clusters.npy", b"no array", "damaged or no NumPy array"),
        ("params.py", b"sample_rate = fast\n", "Correct the line `sample_rate"),
        ("params.py", b"offset = 0\n", "no line `sample_rate"),
        ("params.py", b"sample_rate = 0\n", "`sample_rate` must be positive"),
        ("cluster_group.tsv", b"cluster_id\tgroup\nx\tgood\n", "line 2: there is no number"),
        ("cluster_group.tsv", b"cluster_id\tgroup\n2\tnoise\n5\tnoise\n9\tnoise\n", "none is read"),
    ],
)
def test_faulty_folders_are_refused_by_file_and_place(tmp_path, name, content, message):
    path = folder(tmp_path / "a")
    if isinstance(content, bytes):
        (path / name).write_bytes(content)
    else:
        np.save(path / name, content)
    with pytest.raises(ValueError, match=message):
        io.read_phy(path)


def test_sampling_rates_that_disagree(tmp_path):
    with pytest.raises(ValueError, match="30000 samples per second, and `sampling_rate` 25000"):
        io.read_phy(folder(tmp_path / "a"), sampling_rate=25000)
