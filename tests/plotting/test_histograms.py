"""What histograms draw is what NumPy counts, by hand from the spike times."""

import re

import numpy as np
import pytest

from roughsnn.plotting import COLUMN_WIDTH, plot_intervals, plot_psth
from roughsnn.spikes import SpikeTrains, psth

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

TRIALS = [[[0.1, 0.3, 0.35], [0.6]], [[0.9], [0.2, 0.5, 0.95]], [[], []]]
TRAINS = SpikeTrains.from_lists(TRIALS, t0=0.0, t1=1.0)
INTERVALS = np.concatenate([np.diff(times) for trial in TRIALS for times in trial])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def curves(ax):
    return [patch.get_data() for patch in ax.patches if patch.get_gid()]


def test_intervals_of_all_trials_and_neurons():
    edges = [0.0, 0.1, 0.25, 0.5]
    _, mine = plt.subplots()
    ax = plot_intervals(TRAINS, mine, bins=edges, density=False, time_unit="s")
    assert ax is mine
    values, drawn, _ = curves(ax)[0]
    np.testing.assert_array_equal(values, np.histogram(INTERVALS, edges)[0])
    np.testing.assert_array_equal(drawn, edges)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("interval (s)", "intervals")

    ax = plot_intervals(TRAINS, bins=4, exponential=True, label="all", time_unit="ms")
    assert ax.figure.get_size_inches()[0] == COLUMN_WIDTH
    values, drawn, _ = curves(ax)[0]
    np.testing.assert_allclose(values, np.histogram(INTERVALS, 4, density=True)[0], rtol=1e-12)
    np.testing.assert_allclose(drawn[[0, -1]], [INTERVALS.min(), INTERVALS.max()])
    law = ax.lines[0]
    mean = INTERVALS.mean()
    np.testing.assert_allclose(law.get_ydata(), np.exp(-law.get_xdata() / mean) / mean)
    assert ax.get_ylabel() == "density (1/ms)"
    # A second histogram has a colour of its own.
    plot_intervals(TRAINS.select(0), ax, bins=4, label="first")
    colours = [patch.get_edgecolor() for patch in ax.patches if patch.get_gid()]
    assert colours[0] != colours[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["all", "first"]


def test_logarithmic_intervals():
    ax = plot_intervals(TRAINS, bins=3, log=True, density=False)
    values, edges, _ = curves(ax)[0]
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(
        np.diff(np.log(edges)), np.log(INTERVALS.max() / INTERVALS.min()) / 3
    )
    np.testing.assert_array_equal(values, np.histogram(INTERVALS, edges)[0])


def test_psth_is_the_mean_over_trials_with_its_error():
    ax = plot_psth(TRAINS, num_bins=4, time_unit="s")
    for neuron, (values, edges, _) in enumerate(curves(ax)):
        counts = np.array([np.histogram(trial[neuron], 4, (0, 1))[0] for trial in TRIALS])
        np.testing.assert_allclose(values, counts.mean(axis=0) * 4)
        np.testing.assert_allclose(edges, np.linspace(0, 1, 5))
        band = ax.collections[neuron].get_paths()[0].vertices[:, 1]
        spread = counts.std(axis=0, ddof=1) / np.sqrt(3) * 4
        np.testing.assert_allclose(band.max(), (values + spread).max())
        np.testing.assert_allclose(values, psth(TRAINS, 4)[neuron])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "rate (spikes/s)")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["neuron 0", "neuron 1"]
    assert not plot_psth(TRAINS, num_bins=4, errors=False).collections


def test_nothing_is_drawn_as_zero():
    for few in (TRAINS[2], TRAINS[2:], TRAINS[:0]):
        for draw in (plot_intervals, plot_psth):
            ax = draw(few)
            ax.figure.canvas.draw()
            assert all(not np.any(values) for values, _, _ in curves(ax))
            assert curves(ax)
    # One interval, and intervals that are all alike, still make bins.
    assert curves(plot_intervals(TRAINS[1]))[0][0].sum() > 0
    plot_intervals(SpikeTrains.from_lists([[[0.5, 0.5]]], t0=0.0, t1=1.0))
    plot_intervals(SpikeTrains.from_lists([[[0.5, 0.5]]], t0=0.0, t1=1.0), log=True)


def test_errors():
    for bins in (0, [1.0], [0.2, 0.1], [[1, 2]]):
        with pytest.raises(ValueError, match=re.escape(f"`bins` is {bins!r}")):
            plot_intervals(TRAINS, bins=bins)
    with pytest.raises(ValueError, match="and positive"):
        plot_intervals(TRAINS, bins=[0, 1], log=True)
    with pytest.raises(ValueError, match="`num_bins` is 0"):
        plot_psth(TRAINS, num_bins=0)
