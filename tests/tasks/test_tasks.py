"""Tasks: labelled data that are generated, shipped or read."""

import sys

import h5py
import jax
import numpy as np
import pytest

import roughsnn as rs
from roughsnn import tasks


def _same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_values_as_latencies():
    values = np.array([[0.5, 0.0, 1.0], [np.nan, 0.25, 0.25]])
    trains = tasks.latency_spikes(values, first=1.0, last=3.0, t1=4.0)
    lists = trains.to_lists()
    assert [[x.tolist() for x in trial] for trial in lists] == [
        [[2.0], [1.0], [3.0]],
        [[], [1.5], [1.5]],
    ]
    assert trains.max_spikes == 3
    assert tasks.latency_spikes(np.full((2, 3), np.nan), last=1.0, t1=1.0).max_spikes == 1
    for bad, said in (
        (dict(values=values + 1), "holds 1.5"),
        (dict(values=values[0]), r"\(samples, inputs\)"),
        (dict(values=values, last=1.0), "first < last"),
        (dict(values=values, t1=2.0), "first < last <= t1"),
    ):
        with pytest.raises(ValueError, match=said):
            tasks.latency_spikes(**(dict(first=1.0, last=3.0, t1=4.0) | bad))


def test_yin_yang_is_the_published_generator():
    """Geometry written apart from the generator: the two large dots, and what lies above the line
    but for the circle on the right, is yang."""
    data = tasks.yin_yang(1000, seed=40)
    x, y, x_too, y_too = np.asarray(data.inputs).T
    np.testing.assert_allclose(x + x_too, 1, atol=1e-12)
    np.testing.assert_allclose(y + y_too, 1, atol=1e-12)
    to_right = (x - 0.75) ** 2 + (y - 0.5) ** 2
    to_left = (x - 0.25) ** 2 + (y - 0.5) ** 2
    dot = (to_right < 0.01) | (to_left < 0.01)
    yang = ((y > 0.5) & (to_right > 0.0625)) | (to_left <= 0.0625)
    assert ((x - 0.5) ** 2 + (y - 0.5) ** 2).max() <= 0.25
    np.testing.assert_array_equal(data.targets, np.where(dot, 2, np.where(yang, 1, 0)))
    assert np.bincount(data.targets).min() > 290
    # the first draws of the generator of NumPy that the published data come from
    rng = np.random.RandomState(40)
    goal = rng.randint(3)
    drawn = np.array([rng.rand(2) for _ in range(40)])
    first = np.flatnonzero((drawn == np.asarray(data.inputs)[0, :2]).all(axis=1))
    assert first.size == 1
    assert int(data.targets[0]) == goal
    assert _same(tasks.yin_yang(5, seed=40), data[:5])
    with pytest.raises(ValueError, match="`samples`"):
        tasks.yin_yang(0)


def test_randman_is_its_formula():
    given = dict(classes=2, inputs=3, dimensions=2, smoothness=1.5, frequencies=7, seed=5)
    data = tasks.randman(4, **given)
    assert data.targets.tolist() == [0] * 4 + [1] * 4
    rng = np.random.default_rng([5, 1])
    a, b, phase = rng.uniform(size=(3, 3, 2, 7))
    x = rng.uniform(size=(4, 2))
    expected = np.ones((4, 3))
    for n in range(4):
        for i in range(3):
            for j in range(2):
                expected[n, i] *= sum(
                    a[i, j, k - 1] / k**1.5
                    * np.sin(2 * np.pi * (k * x[n, j] * b[i, j, k - 1] + phase[i, j, k - 1]))
                    for k in range(1, 8)
                )  # fmt: skip
    expected = (expected - expected.min(0)) / (expected.max(0) - expected.min(0))
    np.testing.assert_allclose(data.inputs[4:], expected, atol=1e-9)
    assert _same(data, tasks.randman(4, **given))
    assert not _same(data, tasks.randman(4, **given | {"seed": 6}))
    with pytest.raises(ValueError, match="`smoothness`"):
        tasks.randman(4, smoothness=-1)
    with pytest.raises(ValueError, match="`samples` must be an integer of at least 2"):
        tasks.randman(1)


def test_exclusive_or():
    data = tasks.latency_xor()
    np.testing.assert_array_equal(data.inputs[:, 2:], [[0, 1]] * 4)
    assert data.targets.tolist() == [0, 1, 1, 0]
    assert _same(tasks.latency_xor(), data)


def test_digits_and_their_extra(monkeypatch):
    data = tasks.digits()
    assert data.inputs.shape == (1797, 64)
    assert np.min(data.inputs) == 0
    assert np.max(data.inputs) == 1
    assert np.bincount(data.targets).min() > 170
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"scikit-learn.*roughsnn\[tasks\]"):
        tasks.digits()


def test_a_split_is_a_permutation():
    data = rs.LabelledData(np.arange(10.0)[:, None], np.arange(10))
    train, test = tasks.split(data, 3, seed=1)
    assert (len(train), len(test)) == (7, 3)
    assert sorted([*train.targets.tolist(), *test.targets.tolist()]) == list(range(10))
    np.testing.assert_array_equal(test.inputs[:, 0], test.targets)
    assert _same(tasks.split(data, 3, seed=1), (train, test))
    assert test.targets.tolist() != tasks.split(data, 3, seed=2)[1].targets.tolist()
    with pytest.raises(ValueError, match="`test` must be an integer from 1 to 9"):
        tasks.split(data, 10)
    with pytest.raises(TypeError, match="LabelledData"):
        tasks.split(data.inputs, 3)


def test_braille_letters_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    arrays = dict(
        taxels=rng.integers(0, 256, (6, 5, 2)).astype(np.uint8),
        length=np.array([5, 4, 5, 5, 4, 5], np.uint8), letter=np.arange(6, dtype=np.uint8),
    )  # fmt: skip
    with pytest.raises(FileNotFoundError, match=r"`folder`.*braille_taxels"):
        tasks.read_braille(tmp_path)
    file = tmp_path / "braille_taxels.npz"
    np.savez(file, **arrays)
    plain = tasks.read_braille(tmp_path, standardised=False)
    np.testing.assert_allclose(plain.inputs, 1 - arrays["taxels"][:, :4] / 255, atol=1e-7)
    assert plain.targets.tolist() == list(range(6))
    data = np.asarray(tasks.read_braille(tmp_path).inputs)
    np.testing.assert_allclose(data.mean((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(data.std((0, 1)), 1, rtol=1e-6)
    for wrong, said in (
        ({"length": np.full(6, 9)}, "recordings have 1 to 5 steps"),
        ({"letter": np.arange(5)}, "'letter' has shape"),
    ):
        np.savez(file, **(arrays | wrong))
        with pytest.raises(ValueError, match=said):
            tasks.read_braille(tmp_path)
    np.savez(file, taxels=arrays["taxels"])
    with pytest.raises(ValueError, match="no array 'length'"):
        tasks.read_braille(tmp_path)


def _write(path, times, units, labels):
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        for name, values, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            stored = spikes.create_dataset(name, (len(values),), h5py.vlen_dtype(np.dtype(kind)))
            for n, value in enumerate(values):
                stored[n] = np.asarray(value, kind)
        file["labels"] = np.asarray(labels, np.uint16)


def test_recordings_of_an_artificial_cochlea(tmp_path, monkeypatch):
    path = tmp_path / "shd_train.h5"
    # not in order, and two spikes of one channel that are one in half precision
    _write(path, [[0.5, 0.25, 0.5], [], [0.75, 1.0]], [[7, 699, 7], [], [0, 3]], [4, 19, 0])
    data = tasks.read_heidelberg(path)
    assert data.targets.tolist() == [4, 19, 0]
    trains = data.inputs
    assert (trains.num_neurons, float(trains.t1), trains.max_spikes) == (700, 1.0, 2)
    np.testing.assert_array_equal(trains.neurons, [[699, 7], [-1, -1], [0, 3]])
    np.testing.assert_array_equal(trains.times[0], [0.25, 0.5])
    assert _same(tasks.read_heidelberg(path), data)
    part = tasks.read_heidelberg(path, t1=0.8, samples=slice(2, 3))
    assert part.targets.tolist() == [0]
    assert part.inputs.neurons.tolist() == [[0]]
    for times, units, said in (
        ([[0.5]], [[700]], "recording 0 has channels 700"),
        ([[-0.5]], [[1]], "negative"),
        ([[0.5, 1.0]], [[1]], "2 times and 1 channels"),
    ):
        _write(path, times, units, [0])
        with pytest.raises(ValueError, match=said):
            tasks.read_heidelberg(path)
    with pytest.raises(ValueError, match="`samples`"):
        tasks.read_heidelberg(path, samples=slice(5, 6))
    path.write_text("no HDF5")
    with pytest.raises(ValueError, match="unpacked"):
        tasks.read_heidelberg(path)
    with pytest.raises(FileNotFoundError, match="`path`"):
        tasks.read_heidelberg(tmp_path / "other.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"h5py.*roughsnn\[tasks\]"):
        tasks.read_heidelberg(path)
