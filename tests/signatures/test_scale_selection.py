"""The choice of the jump size: distances of counting paths, their median, and test power."""

import re

import jax.random as jr
import numpy as np
import pytest

from roughsnn.signatures import (
    SignatureKernel,
    count_distances,
    median_neuron_scale,
    neuron_scale_by_power,
    two_sample_test,
)
from roughsnn.signatures.event_kernel import suggested_neuron_scale
from roughsnn.spikes import SpikeTrains


def poisson(seed: int, n: int, rate: float, t1: float = 1.0) -> SpikeTrains:
    random = np.random.default_rng(seed)
    trials = [
        [np.sort(t1 * random.random(random.poisson(rate))) for _ in range(2)] for _ in range(n)
    ]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=t1, max_spikes=40)


def test_distances_by_hand():
    """Counts that differ by 1 from 0.3 to 0.6, and by 1 in either neuron from 0.3 on."""
    trials = [[[0.3], []], [[0.6], []], [[], []], [[], [0.3]]]
    trains = SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, max_spikes=3)
    squares = np.square(count_distances(trains))
    np.testing.assert_allclose(squares[0], [0.0, 0.3, 0.7, 1.4], atol=1e-12)
    np.testing.assert_allclose(squares, squares.T, atol=1e-12)


def test_distances_are_integrals_of_counts():
    trains = poisson(0, 4, 3.0, t1=2.0)
    grid = (np.arange(20000) + 0.5) / 10000
    paths = np.array(
        [
            [np.searchsorted(times, grid, side="right") for times in trial]
            for trial in trains.to_lists()
        ]
    )
    exact = np.sqrt(np.square(paths[:, None] - paths[None]).sum(2).mean(-1))
    np.testing.assert_allclose(count_distances(trains), exact, atol=2e-3)


def test_the_median_of_poisson_trains_agrees_with_the_suggestion():
    trains = poisson(1, 120, 10.0)
    ratio = float(median_neuron_scale(trains)) / float(suggested_neuron_scale(trains))
    assert 0.9 < ratio < 1.2
    # Neither depends on the unit of time, nor on the room.
    slow = SpikeTrains(1000.0 * trains.times, trains.neurons, 0.0, 1000.0, num_neurons=2)
    for same in (slow, trains.pad_to(60)):
        np.testing.assert_allclose(median_neuron_scale(same), median_neuron_scale(trains))


def test_power_chooses_the_scale_that_tells_samples_apart():
    x, y = poisson(2, 24, 2.0), poisson(3, 24, 3.5)
    kernel = SignatureKernel(normalise=True, tolerance=1e-4)
    chosen = neuron_scale_by_power(
        x, y, kernel, key=jr.key(0), neuron_scales=[0.01, 0.4], fraction=0.5
    )
    assert chosen.criteria.shape == chosen.neuron_scales.shape == (2,)
    best = int(np.argmax(chosen.criteria))
    assert chosen.kernel.neuron_scale == chosen.neuron_scales[best]
    assert chosen.kernel.is_fixed
    assert chosen.kernel.path_size[1] >= 0.999999 * chosen.kernel.neuron_scale
    assert chosen.kernel.orders is None
    assert chosen.kernel.normalise
    # What is left over holds trains of the samples, none twice.
    for rest, sample in ((chosen.x_rest, x), (chosen.y_rest, y)):
        assert len(rest) == 12
        rows = {row.tobytes() for row in np.asarray(rest.times)}
        assert len(rows) == 12
        assert rows <= {row.tobytes() for row in np.asarray(sample.times)}
    result = two_sample_test(chosen.x_rest, chosen.y_rest, chosen.kernel, key=jr.key(1))
    assert 0 < result.p_value <= 1


def test_errors():
    x = poisson(0, 4, 2.0)
    with pytest.raises(ValueError, match=re.escape("`trains` has batch shape (2, 2)")):
        count_distances(x.reshape(2, 2))
    with pytest.raises(ValueError, match="`trains` has 1 trains; a distance needs two"):
        median_neuron_scale(x[:1])
    with pytest.raises(ValueError, match="More than half of all pairs of trains are identical"):
        median_neuron_scale(SpikeTrains.concatenate([x[:1]] * 4))
    with pytest.raises(ValueError, match="`fraction` is 1"):
        neuron_scale_by_power(x, x, key=jr.key(0), fraction=1.0)
    with pytest.raises(ValueError, match="`y` has 3 trains, of which 2 would choose the scale"):
        neuron_scale_by_power(x, x[:3], key=jr.key(0))
    with pytest.raises(ValueError, match=r"`neuron_scales` is .*; give positive numbers"):
        neuron_scale_by_power(x, x, key=jr.key(0), neuron_scales=[0.5, -1.0])
