import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.losses import FirstSpikeCrossEntropy, ReadoutCrossEntropy, SpikeCountCrossEntropy
from roughsnn.spikes import SpikeTrains
from tests.helpers import finite_difference_gradient

# Neurons 0 and 1 are hidden; the classes are neurons 4, 2, 3, in this order.
OUTPUTS = (4, 2, 3)
T0, T1 = 1.0, 6.0
TRAINS = [
    [[1.1], [], [3.0, 4.0], [2.5], [4.5, 5.0, 5.5]],
    [[], [1.5], [], [], [1.25]],
    [[1.7], [], [], [], []],  # no output fires
]
TIMES = np.array([[3.5, 2.0, 1.5], [0.25, 5.0, 5.0], [5.0, 5.0, 5.0]])  # silent: at the end
COUNTS = np.array([[3, 2, 1], [1, 0, 0], [0, 0, 0]])
LABELS = np.array([2, 0, 0])


def trains(dtype=jnp.float64) -> SpikeTrains:
    found = SpikeTrains.from_lists(TRAINS, t0=T0, t1=T1, max_spikes=9)
    if dtype == jnp.float64:
        return found
    return SpikeTrains(found.times.astype(dtype), found.neurons, T0, T1, num_neurons=5)


def cross_entropy(scores, labels) -> np.ndarray:
    """By NumPy, class by class: minus the logarithm of the probability of the label."""
    found = []
    for row, label in zip(np.asarray(scores, np.float64), labels, strict=True):
        found.append(-np.log(np.exp(row[label]) / sum(np.exp(z) for z in row)))
    return np.array(found)


def test_first_spikes_by_hand():
    loss = FirstSpikeCrossEntropy(0.5, outputs=OUTPUTS)
    np.testing.assert_allclose(loss.times(trains()), TIMES, rtol=1e-14)
    expected = cross_entropy(-TIMES / 0.5, LABELS)
    np.testing.assert_allclose(loss.of_samples(trains(), LABELS), expected, rtol=1e-11)
    np.testing.assert_allclose(eqx.filter_jit(loss)(trains(), LABELS), expected.mean(), rtol=1e-12)
    # The last one is undecided, and so wrong whatever its label.
    assert loss.decide(trains()).tolist() == [2, 0, -1]
    assert float(loss.accuracy(trains(), LABELS)) == pytest.approx(2 / 3)
    assert float(loss.accuracy(trains()[:1], LABELS[:1])) == 1
    assert float(loss(trains()[:1], LABELS[:1])) == pytest.approx(expected[0], rel=1e-12)


def test_silent_neurons_are_placed_where_it_is_said_and_early_spikes_are_asked_for():
    late = FirstSpikeCrossEntropy(
        0.5, outputs=np.array(OUTPUTS), silent_at=7, early_weight=0.03, early_time=2.0
    )
    times = np.where(TIMES == 5, 7.0, TIMES)
    early = 0.03 * (np.exp(times[[0, 1, 2], LABELS] / 2.0) - 1)
    expected = cross_entropy(-times / 0.5, LABELS) + early
    np.testing.assert_allclose(late.of_samples(trains(), LABELS), expected, rtol=1e-12)


def test_derivatives_of_first_spike_times():
    loss = FirstSpikeCrossEntropy(0.7, outputs=OUTPUTS, early_weight=0.1, early_time=3.0)
    x = trains()

    @jax.jit
    def of(times):
        return loss(eqx.tree_at(lambda t: t.times, x, jnp.where(x.mask, times, jnp.inf)), LABELS)

    found = jax.grad(of)(x.times)
    assert np.all(np.isfinite(found))
    # softmax minus one at the label, over minus the temperature, at the first spikes alone
    first = {(0, 4): 0, (0, 2): 1, (0, 3): 2, (1, 4): 0}
    weights = np.exp(-TIMES / 0.7)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.zeros(x.times.shape)
    seen = set()
    for b in range(3):
        for j in range(int(x.counts[b])):
            neuron = int(x.neurons[b, j])
            if (b, neuron) in first and (b, neuron) not in seen:
                seen.add((b, neuron))
                c = first[b, neuron]
                right = LABELS[b] == c
                expected[b, j] = -(weights[b, c] - right) / 0.7 / 3
                expected[b, j] += right * 0.1 / 3.0 * np.exp(TIMES[b, c] / 3.0) / 3
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_counts_by_hand():
    loss = SpikeCountCrossEntropy(outputs=OUTPUTS, temperature=2.0)
    expected = cross_entropy(COUNTS / 2.0, LABELS)
    np.testing.assert_allclose(loss.of_samples(trains(), LABELS), expected, rtol=1e-11)
    np.testing.assert_allclose(loss(trains(), LABELS), expected.mean(), rtol=1e-12)
    assert loss.decide(trains()).tolist() == [0, 0, -1]
    assert float(loss.accuracy(trains(), LABELS)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("over", ["max", "mean"])
def test_readouts_by_hand(over):
    values = np.random.default_rng(0).normal(size=(4, 6, 5))
    loss = ReadoutCrossEntropy(over, outputs=OUTPUTS, temperature=0.3)
    scores = getattr(np, over)(values[..., list(OUTPUTS)], axis=1)
    labels = np.array([0, 2, 1, 1])
    expected = cross_entropy(scores / 0.3, labels)
    np.testing.assert_allclose(loss(jnp.asarray(values), labels), expected.mean(), rtol=1e-12)
    np.testing.assert_array_equal(loss.decide(jnp.asarray(values)), scores.argmax(axis=1))
    share = np.mean(scores.argmax(axis=1) == labels)
    assert float(loss.accuracy(jnp.asarray(values), labels)) == share
    # what is generated may hold the potentials, and all neurons may be outputs
    inside = ReadoutCrossEntropy(over, readout=lambda generated: generated["v"])
    all_scores = getattr(np, over)(values, axis=1)
    np.testing.assert_allclose(
        inside({"v": jnp.asarray(values)}, labels), cross_entropy(all_scores, labels).mean()
    )

    def of(values):
        return loss(values.reshape(4, 6, 5), labels)

    gradient = jax.grad(of)(jnp.asarray(values.ravel()))
    differences = finite_difference_gradient(of, jnp.asarray(values.ravel()))
    np.testing.assert_allclose(gradient, differences, atol=1e-7)


@pytest.mark.parametrize("loss", [FirstSpikeCrossEntropy(0.5), SpikeCountCrossEntropy()])
def test_what_a_single_train_changes(loss):
    """`changes` against the loss of samples in which one train is replaced."""
    sample, labels = trains(), np.array([2, 0, 4])
    alternatives = SpikeTrains.stack([sample[np.array([1, 0])]] * 3)
    changes = loss.changes(sample, labels, alternatives)
    for b in range(3):
        for a in range(2):
            rest = [sample[i : i + 1] for i in range(3)]
            rest[b] = alternatives[b, a : a + 1]
            changed = loss(SpikeTrains.concatenate(rest), labels) - loss(sample, labels)
            np.testing.assert_allclose(changes[b, a], changed, atol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [FirstSpikeCrossEntropy(0.5, outputs=OUTPUTS), SpikeCountCrossEntropy(outputs=OUTPUTS)],
)
def test_single_precision(loss):
    single = trains(jnp.float32)
    assert loss(single, LABELS).dtype == jnp.float32
    np.testing.assert_allclose(loss(single, LABELS), loss(trains(), LABELS), rtol=1e-5)
    np.testing.assert_array_equal(loss.decide(single), loss.decide(trains()))


def test_extreme_times_stay_finite():
    sharp = FirstSpikeCrossEntropy(1e-6, outputs=OUTPUTS)
    assert np.isfinite(sharp(trains(), np.array([0, 1, 0])))


def test_a_label_that_is_no_class():
    loss = SpikeCountCrossEntropy(outputs=OUTPUTS)
    with pytest.raises(ValueError, match="`labels` has the value 3; with 3 output neurons"):
        loss(trains(), np.array([0, 3, 0]))
    with pytest.raises(ValueError, match="`labels` has the value -1"):
        loss.accuracy(trains(), np.array([0, -1, 0]))
    # traced labels cannot be refused, and training stops at what is not finite
    for wrong in (3, -1):
        assert np.isnan(eqx.filter_jit(loss)(trains(), jnp.array([0, wrong, 0])))
    # inside jit, where the labels are not known
    assert jnp.isnan(jax.jit(loss.accuracy)(trains(), np.array([0, 9, 0])))
    # a score that is NaN speaks for no class
    scores = jnp.array([[0.0, 1.0], [jnp.nan, 0.0]])
    decided = ReadoutCrossEntropy(over=None).decide(scores)
    np.testing.assert_array_equal(decided, [1, -1])


def test_bad_settings_and_samples():
    for outputs, said in [
        (3, "`outputs` is 3; it must be the numbers of the neurons"),
        ([1], "`outputs` is (1,); it must name two or more neurons"),
        ([1, 1], "`outputs` is (1, 1); it must name two or more neurons, each once"),
        ([0, -1], "`outputs` must be an integer of at least 0, got -1"),
    ]:
        with pytest.raises((ValueError, TypeError), match=re.escape(said)):
            SpikeCountCrossEntropy(outputs=outputs)
    with pytest.raises(ValueError, match="`temperature` must be positive, got 0"):
        FirstSpikeCrossEntropy(0.0)
    with pytest.raises(ValueError, match=r"`early_time` is None and `early_weight` 0\.1"):
        FirstSpikeCrossEntropy(1.0, early_weight=0.1)
    with pytest.raises(ValueError, match="`over` is 'sum'; it must be 'max' or 'mean'"):
        ReadoutCrossEntropy("sum")
    beyond = FirstSpikeCrossEntropy(1.0, outputs=(3, 5))
    with pytest.raises(ValueError, match=re.escape("`outputs` is (3, 5) and there are 5 neurons")):
        beyond(trains(), LABELS)
    with pytest.raises(ValueError, match=re.escape("`labels` has shape (2,) and dtype int")):
        SpikeCountCrossEntropy()(trains(), LABELS[:2])
    with pytest.raises(ValueError, match=r"dtype float64; it must hold one whole number from 0"):
        SpikeCountCrossEntropy()(trains(), LABELS.astype(float))
    with pytest.raises(ValueError, match="batch shape \\(\\); a loss compares"):
        SpikeCountCrossEntropy()(trains()[0], LABELS[:1])
    with pytest.raises(ValueError, match=re.escape("the potentials are shape (3, 5)")):
        ReadoutCrossEntropy()(jnp.zeros((3, 5)), LABELS)
