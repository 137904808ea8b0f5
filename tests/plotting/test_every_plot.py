"""Every picture holds when it is drawn twice on one axes, and at 1, 20 and 500 neurons."""

import numpy as np
import pytest

from roughsnn import plotting
from roughsnn.plotting.style import numbered
from roughsnn.spikes import SpikeTrains

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

TS = np.linspace(0.0, 1.0, 5)


def trains(k, trials=2, top=0.9, overflowed=None):
    spikes = [[[(j + i) / (k + trials) * top] for j in range(k)] for i in range(trials)]
    made = SpikeTrains.from_lists(spikes, t0=0.0, t1=1.0)
    if overflowed is None:
        return made
    return SpikeTrains(made.times, made.neurons, 0.0, 1.0, np.array(overflowed), num_neurons=k)


def curves(k, high=1.0):
    return high * np.sin(TS[:, None] + np.arange(k))


DRAWN = {
    "raster": lambda k, high, ax: plotting.plot_raster(trains(k), ax),
    "psth": lambda k, high, ax: plotting.plot_psth(
        trains(k, trials=int(2 * high)), ax, num_bins=4, label="x"
    ),
    "intervals": lambda k, high, ax: plotting.plot_intervals(trains(k, 2), ax),
    "potential": lambda k, high, ax: plotting.plot_potential(
        TS, curves(k, high), threshold=1.0, spike_times=[0.5], ax=ax
    ),
    "readout": lambda k, high, ax: plotting.plot_readout(
        TS, curves(k, high), curves(k, 1.1 * high), ax
    ),
    "balance": lambda k, high, ax: plotting.plot_balance(TS, TS, high * TS, ax),
    "learning_curve": lambda k, high, ax: plotting.plot_learning_curve(
        {"loss": high * (0.1 + np.abs(curves(k))).T}, ax, label="x"
    ),
    "parameter": lambda k, high, ax: plotting.plot_parameter(high * curves(k).T, ax, true=1.0),
    "weights": lambda k, high, ax: plotting.plot_weights(TS, high * TS, ax),
    "weight_matrix": lambda k, high, ax: plotting.plot_weight_matrix(
        np.outer(np.arange(k), np.arange(k)), ax
    ),
    "gram": lambda k, high, ax: plotting.plot_gram(np.eye(k + 1), ax, sizes=[k, 1]),
    "distances": lambda k, high, ax: plotting.plot_distances(np.eye(k + 1), ax, sizes=[k, 1]),
    "witness": lambda k, high, ax: plotting.plot_witness(TS, high * TS, ax, label="x"),
    "convergence": lambda k, high, ax: plotting.plot_convergence(
        [0.1, 0.01], [high, 0.1 * high], ax, orders=[1]
    ),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_every_public_picture_is_tried():
    public = {name.removeprefix("plot_") for name in plotting.__all__ if name.startswith("plot_")}
    assert set(DRAWN) == public


@pytest.mark.parametrize("k", [1, 20, 500])
@pytest.mark.parametrize("name", DRAWN)
def test_drawn_twice_nothing_is_lost(name, k):
    ax = DRAWN[name](k, 1.0, None)
    DRAWN[name](k, 3.0, ax)
    figure = ax.figure
    figure.canvas.draw()
    assert len(figure.axes) <= 2  # one scale of colours at most
    low, high = sorted(ax.get_ylim())
    left, right = sorted(ax.get_xlim())
    # what is drawn is inside the limits, up to what rounding does to them
    for line in ax.lines:
        if line.get_gid() == plotting.style.CURVE:
            x, y = line.get_data()
            assert np.all((np.asarray(x) >= left - 1e-9) & (np.asarray(x) <= right + 1e-9))
            assert np.all((np.asarray(y) >= low - 1e-9) & (np.asarray(y) <= high + 1e-9))
    for patch in ax.patches:
        if patch.get_gid() == plotting.style.CURVE:
            assert np.max(patch.get_data()[0]) <= high + 1e-9
    legend = ax.get_legend()
    if legend is not None:
        entries = [text.get_text() for text in legend.get_texts()]
        assert len(entries) <= 10
        assert legend.get_window_extent().height < figure.bbox.height
    ticks = ax.get_yticklabels()
    assert len(ticks) <= 25


def test_rows_of_a_second_call_are_below():
    ax = plotting.plot_raster(trains(3))
    plotting.plot_raster(trains(1), ax)
    first, second = (c for c in ax.collections if c.get_gid())
    rows = [[s[:, 1].mean() for s in c.get_segments()] for c in (first, second)]
    assert max(rows[0]) < min(rows[1])
    assert sorted(ax.get_ylim()) == [-0.5, 7.5]


def test_a_second_window_widens_the_first():
    short = SpikeTrains.from_lists([[[0.1]]], t0=0.0, t1=0.5)
    for draw in (plotting.plot_psth, plotting.plot_raster):
        ax = draw(trains(1))
        draw(short, ax)
        assert ax.get_xlim() == (0.0, 1.0)
        ax = draw(short)
        draw(trains(1), ax)
        assert ax.get_xlim() == (0.0, 1.0)


def test_limits_that_somebody_set_stay():
    _, ax = plt.subplots()
    ax.set_ylim(-1.0, 7.0)
    plotting.plot_psth(trains(2), ax)
    assert ax.get_ylim() == (-1.0, 7.0)


def test_trains_that_overflowed_are_marked():
    ax = plotting.plot_raster(trains(2, trials=3, overflowed=[False, True, False]))
    shaded = [c for c in ax.collections if not c.get_gid()]
    assert len(shaded) == 2  # the rows of both neurons
    spans = [c.get_paths()[0].get_extents() for c in shaded]
    last = max(float(t[0]) for t in trains(2, trials=3).to_lists()[1])
    for span, row in zip(spans, (1, 4), strict=True):
        assert (span.x0, span.x1) == pytest.approx((last, 1.0))
        assert (span.y0, span.y1) == (row - 0.5, row + 0.5)
    assert "1 of 3 trials" in ax.get_title(loc="right")
    assert not plotting.plot_raster(trains(2)).get_title(loc="right")


def test_targets_can_be_told_apart():
    ax = plotting.plot_readout(TS, curves(2), curves(2))
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["target 0", "readout 0", "target 1", "readout 1"]


def test_ticks_are_sensible():
    assert numbered(1) == [0]
    assert numbered(10) == list(range(10))
    assert numbered(22) == [0, 5, 10, 15, 20]
    assert numbered(200) == list(range(0, 200, 20))
    assert numbered(500) == list(range(0, 500, 50))
    assert all(len(numbered(n)) <= 10 for n in range(1, 3000, 7))
    assert numbered(0) == []
