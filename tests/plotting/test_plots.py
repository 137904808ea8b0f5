import re
import sys

import numpy as np
import pytest

from roughsnn.plotting import (
    COLUMN_WIDTH,
    plot_learning_curve,
    plot_parameter,
    plot_potential,
    plot_raster,
)
from roughsnn.spikes import SpikeTrains

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def trains():
    trials = [[[0.2, 0.7], [0.5]], [[], []], [[0.1], [0.4]]]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0)


DRAWINGS = [
    lambda ax: plot_raster(SpikeTrains.from_lists([[[0.5]]], t0=0.0, t1=1.0), ax),
    lambda ax: plot_potential([0.0, 1.0], [0.0, 1.0], ax=ax),
    lambda ax: plot_learning_curve({"loss": [2.0, 1.0]}, ax),
    lambda ax: plot_parameter([2.0, 1.0], ax),
]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_takes_and_returns_axes_and_draws_at_column_width(draw, tmp_path):
    _, mine = plt.subplots()
    assert draw(mine) is mine
    ax = draw(None)
    assert ax is not mine
    assert ax.figure.get_size_inches()[0] == COLUMN_WIDTH
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("draw", DRAWINGS)
def test_missing_matplotlib_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=re.escape("pip install roughsnn[experiments]")):
        draw(None)


def test_raster_draws_every_spike(trains):
    ax = plot_raster(trains)
    (drawn,) = ax.collections
    # A block of trials per neuron: times and rows.
    middle = [(float(s[0, 0]), round(float(s[:, 1].mean()))) for s in drawn.get_segments()]
    assert middle == [(0.2, 0), (0.7, 0), (0.1, 2), (0.5, 3), (0.4, 5)]
    assert ax.get_xlim() == (0.0, 1.0)
    assert ax.get_ylabel() == "neuron (3 trials each)"
    one = plot_raster(trains[0], time_unit="ms")
    assert one.get_xlabel() == "time (ms)"
    assert one.get_ylabel() == "neuron"
    few = plot_raster(trains.select(0), max_trials=2)
    assert few.get_ylabel() == "trial\n(first 2 of 3)"


def test_raster_of_nothing(trains):
    for few in (trains[:0], trains[1]):
        ax = plot_raster(few)
        ax.figure.canvas.draw()
        assert ax.get_xlabel().startswith("time")


def test_potential_leaves_padding_out():
    ts, vs = [0.0, 0.5, np.inf], np.array([[0.0, 1.0], [0.5, 2.0], [np.inf, np.inf]])
    ax = plot_potential(ts, vs, threshold=1, spike_times=[0.25, np.inf])
    curves = [line for line in ax.lines if line.get_gid()]
    assert [line.get_xdata().tolist() for line in curves] == [[0.0, 0.5], [0.0, 0.5]]
    assert curves[0].get_color() != curves[1].get_color()
    assert ax.lines[-1].get_xdata().tolist() == [0.25]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["neuron 0", "neuron 1"]


def test_curves():
    history = {"loss": [4.0, 2.0, 3.0, 1.0], "gradient_norm": [1.0]}
    ax = plot_learning_curve(history, label="n = 16", smooth=2)
    plot_learning_curve(history, ax, label="n = 32")
    curves = [line for line in ax.lines if line.get_gid()]
    assert curves[0].get_ydata().tolist() == [3.0, 2.5, 2.0]
    assert curves[0].get_xdata().tolist() == [1, 2, 3]
    assert curves[0].get_color() != curves[1].get_color()
    assert ax.get_yscale() == "log"
    assert plot_learning_curve(history, name="gradient_norm").get_ylabel() == "gradient norm"
    assert plot_parameter([1.0, 2.0], true=1.5, name="$c$").get_ylabel() == "$c$"


def test_curves_of_several_seeds():
    values = [[4.0, 2.0, 3.0, 1.0], [2.0, 2.0, 5.0, 1.0]]
    ax = plot_parameter(values, smooth=2, steps=[0, 10, 20, 30], color="black", linestyle="--")
    (mean,) = [line for line in ax.lines if line.get_gid()]
    assert mean.get_xdata().tolist() == [10, 20, 30]
    assert mean.get_ydata().tolist() == [2.5, 3.0, 2.5]
    assert (mean.get_color(), mean.get_linestyle()) == ("black", "--")
    (band,) = ax.collections
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == (2.0, 3.5)
    assert not plot_parameter(values, band=False).collections
    # one seed is drawn as no band
    assert not plot_learning_curve({"loss": values[:1]}).collections


def test_errors(trains):
    with pytest.raises(ValueError, match=r"`trains` has batch shape \(1, 3\)"):
        plot_raster(trains.reshape(1, 3))
    with pytest.raises(ValueError, match="`max_trials` is 0"):
        plot_raster(trains, max_trials=0)
    with pytest.raises(ValueError, match=r"`ts` has shape \(2,\) and `vs` \(3,\)"):
        plot_potential([0.0, 1.0], [0.0, 1.0, 2.0])
    with pytest.raises(KeyError, match=re.escape("`history` has no 'x'; it has ['loss']")):
        plot_learning_curve({"loss": [1.0]}, name="x")
    with pytest.raises(ValueError, match="`smooth` is 0"):
        plot_parameter([1.0], smooth=0)
    with pytest.raises(ValueError, match=r"The values have shape \(1, 1, 1\)"):
        plot_parameter([[[1.0]]])
    with pytest.raises(ValueError, match=r"`steps` has shape \(3,\)"):
        plot_parameter([1.0, 2.0], steps=[0, 1, 2])
