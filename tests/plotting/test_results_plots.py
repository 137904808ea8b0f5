"""Pictures of what came out: weights, orders, distances, and training as a moving picture."""

import re
import sys

import numpy as np
import pytest

from roughsnn.plotting import (
    COLUMN_WIDTH,
    plot_convergence,
    plot_distances,
    plot_weight_matrix,
    plot_weights,
    save_gif,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from PIL import Image  # noqa: E402

TRUE = np.array([[0.0, 1.0], [-2.0, 0.5]])
LEARNED = TRUE + np.array([[0.1, -0.1], [0.2, 0.0]])
DISTANCES = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
STEPS = 0.1 / 2.0 ** np.arange(4)

DRAWINGS = [
    lambda ax: plot_weights(TRUE, LEARNED, ax),
    lambda ax: plot_weight_matrix(TRUE, ax),
    lambda ax: plot_distances(DISTANCES, ax),
    lambda ax: plot_convergence(STEPS, STEPS, ax),
]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("draw", DRAWINGS)
def test_takes_and_returns_axes_and_draws_at_column_width(draw, tmp_path):
    _, mine = plt.subplots()
    assert draw(mine) is mine
    ax = draw(None)
    assert ax.figure.get_size_inches()[0] == COLUMN_WIDTH
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.savefig(tmp_path / "figure.png")


def curves(ax):
    return [line for line in ax.lines if line.get_gid()]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_weights_with_their_error():
    ax = plot_weights(TRUE, LEARNED)
    plot_weights(TRUE, TRUE, ax, connections=TRUE != 0, label="exact")
    first, second = curves(ax)
    np.testing.assert_array_equal(first.get_xdata(), TRUE.ravel())
    np.testing.assert_array_equal(first.get_ydata(), LEARNED.ravel())
    np.testing.assert_array_equal(second.get_xdata(), [1.0, -2.0, 0.5])
    assert legend(ax) == ["error 0.1", "exact, error 0"]
    # the diagonal once
    assert len(ax.lines) == 3
    plot_weights([], []).figure.canvas.draw()


def test_a_weight_matrix_leaves_out_what_is_no_synapse():
    ax = plot_weight_matrix(TRUE, connections=TRUE != 0)
    image = ax.images[0]
    np.testing.assert_array_equal(np.ma.getmaskarray(image.get_array()), TRUE == 0)
    np.testing.assert_array_equal(image.get_array().filled(0), TRUE)
    assert image.get_clim() == (-2, 2)
    assert plot_weight_matrix(TRUE, limit=5, colour_bar=False).images[0].get_clim() == (-5, 5)
    assert plot_weight_matrix(np.zeros((2, 3))).images[0].get_clim() == (-1, 1)


def test_distances_stay_in_their_order_unless_asked():
    ax = plot_distances(DISTANCES, sizes=[2, 1], names=["data", "model"], name="van Rossum")
    np.testing.assert_array_equal(ax.images[0].get_array(), DISTANCES)
    assert ax.figure.axes[1].get_ylabel() == "van Rossum"
    ax = plot_distances(DISTANCES, order=[3, 2, 1])
    np.testing.assert_array_equal(ax.images[0].get_array(), DISTANCES[::-1, ::-1])
    plot_distances(np.zeros((0, 0))).figure.canvas.draw()
    plot_weight_matrix(np.zeros((0, 0))).figure.canvas.draw()


def test_orders_are_slopes():
    ax = plot_convergence(STEPS, 3 * STEPS**1.5, orders=[1], label="SRA1")
    plot_convergence(STEPS, [0.1, np.nan, 0.0, 0.2], ax, label="Euler", fitted=False, time_unit="s")
    first, second = curves(ax)
    np.testing.assert_array_equal(first.get_ydata(), 3 * STEPS**1.5)
    np.testing.assert_array_equal(second.get_xdata(), STEPS[[0, 3]])
    assert legend(ax) == ["SRA1, order 1.50", "Euler"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == r"step $\Delta t$ (s)"
    reference = next(line for line in ax.lines if line.get_linestyle() == ":")
    slope = np.diff(np.log(reference.get_ydata())) / np.diff(np.log(reference.get_xdata()))
    np.testing.assert_allclose(slope, 1.0)
    plot_convergence([], [], orders=[1]).figure.canvas.draw()


def test_a_gif_has_every_frame_and_appears_whole(tmp_path):
    path, seen = tmp_path / "training.gif", []

    def draw(weights, ax):
        seen.append(weights)
        plot_weights(TRUE, weights, ax)

    frames = [TRUE * share for share in (0.0, 0.5, 1.0)]
    _, mine = plt.subplots(figsize=(2, 2), layout="constrained")
    assert save_gif(path, frames, draw, mine, frames_per_second=10, hold=1, dpi=40) is mine
    with Image.open(path) as picture:
        assert picture.n_frames == 3
        assert picture.size == (80, 80)
        durations = []
        for frame in range(3):
            picture.seek(frame)
            durations.append(picture.info["duration"])
    assert durations == [100, 100, 1100]
    np.testing.assert_array_equal(curves(mine)[0].get_ydata(), TRUE.ravel())

    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_gif(path, frames, draw, mine)
    with pytest.raises(RuntimeError, match="no picture"):
        save_gif(tmp_path / "other.gif", frames, lambda frame, ax: failing(), mine)
    assert [file.name for file in tmp_path.iterdir()] == ["training.gif"]

    _, both = plt.subplots(1, 2, figsize=(2, 1))
    save_gif(path, [1, 2], lambda x, axes: axes[x - 1].plot([x]), both, dpi=40, overwrite=True)
    assert [len(ax.lines) for ax in both] == [0, 1]


def failing():
    raise RuntimeError("no picture")


def test_errors(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=re.escape("`true` has shape (2, 2) and `learned` (2,)")):
        plot_weights(TRUE, TRUE[0])
    with pytest.raises(ValueError, match="`connections` is int64"):
        plot_weights(TRUE, TRUE, connections=np.ones((2, 2), int))
    with pytest.raises(ValueError, match=re.escape("must be (pre, post)")):
        plot_weight_matrix(TRUE[0])
    with pytest.raises(ValueError, match="`limit` is 0"):
        plot_weight_matrix(TRUE, limit=0)
    with pytest.raises(ValueError, match=re.escape("`distances` has shape (2, 3)")):
        plot_distances(DISTANCES[:2])
    with pytest.raises(ValueError, match=re.escape("`steps` has shape (4,) and `errors` (3,)")):
        plot_convergence(STEPS, STEPS[:3])
    with pytest.raises(ValueError, match="every step must be positive"):
        plot_convergence([0.0], [1.0])
    for path, frames, more, words in (
        ("x.png", [1], {}, "must end in .gif"),
        ("x.gif", [], {}, "`frames` is empty"),
        ("x.gif", [1], {"frames_per_second": 0}, "`frames_per_second` is 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            save_gif(tmp_path / path, frames, lambda frame, ax: None, **more)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in DRAWINGS:
        with pytest.raises(ImportError, match=re.escape("pip install roughsnn[experiments]")):
            draw(None)
