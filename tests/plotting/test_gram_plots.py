import re

import numpy as np
import pytest

from roughsnn.plotting import COLUMN_WIDTH, plot_gram, plot_witness

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

GRAM = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 3.0]])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_takes_and_returns_axes_and_draws_at_column_width(tmp_path):
    for draw in (lambda ax: plot_gram(GRAM, ax), lambda ax: plot_witness([1, 2], [0.1, -0.2], ax)):
        _, mine = plt.subplots()
        assert draw(mine) is mine
        ax = draw(None)
        assert ax.figure.get_size_inches()[0] == COLUMN_WIDTH
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        ax.figure.savefig(tmp_path / "figure.png")


def test_a_gram_is_sorted_inside_each_sample():
    ax = plot_gram(GRAM, sizes=[2, 1], names=["data", "model"])
    # Means of the rows are 5/3, 3.5/3 and 3.5/3: the first two trains change places.
    order = [1, 0, 2]
    np.testing.assert_array_equal(ax.images[0].get_array(), GRAM[np.ix_(order, order)])
    assert len(ax.lines) == 2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["data", "model"]
    ax = plot_gram(GRAM, order=[3, 2, 1], colour_bar=False)
    np.testing.assert_array_equal(ax.images[0].get_array(), GRAM[::-1, ::-1])
    assert len(ax.figure.axes) == 1


def test_witnesses_share_axes_with_one_line_at_zero():
    ax = plot_witness([1, 2], [0.1, -0.2], label="data")
    plot_witness([3], [0.3], ax, label="model")
    curves = [line for line in ax.lines if line.get_gid()]
    assert [line.get_ydata().tolist() for line in curves] == [[0.1, -0.2], [0.3]]
    assert curves[0].get_color() != curves[1].get_color()
    assert len(ax.lines) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["data", "model"]


def test_errors():
    with pytest.raises(ValueError, match=re.escape("`gram` has shape (2, 3); it must be (n, n)")):
        plot_gram(GRAM[:2])
    with pytest.raises(ValueError, match=re.escape("`sizes` is [2, 2]; they must add up to the 3")):
        plot_gram(GRAM, sizes=[2, 2])
    with pytest.raises(ValueError, match="`names` has 1 entries for 2 samples"):
        plot_gram(GRAM, sizes=[2, 1], names=["data"])
    with pytest.raises(ValueError, match=re.escape("`order` has shape (2,)")):
        plot_gram(GRAM, order=[1, 2])
    with pytest.raises(ValueError, match=re.escape("`values` has shape (2,) and `witness` (1,)")):
        plot_witness([1, 2], [0.1])
