import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from roughsnn.losses import ExpectedSignatureLoss, PairedTruncatedSignatureLoss
from roughsnn.signatures import signature
from roughsnn.spikes import SpikeTrains, marcus_lift
from tests.helpers import finite_difference_gradient
from tests.strategies import MAX_SPIKES, NUM_NEURONS, given_trains

LOSSES = [
    ExpectedSignatureLoss(),
    ExpectedSignatureLoss(
        depth=2,
        level_weights=(1.0, 0.5),
        channel_scale=(0.5, 0.3, 0.2),
        time_scale=2.0,
        normalisation="none",
    ),
    PairedTruncatedSignatureLoss(),
]
call = eqx.filter_jit(lambda loss, generated, observed: loss(generated, observed))


@eqx.filter_jit
def gradient(loss, generated, observed):
    def of_times(times):
        return loss(eqx.tree_at(lambda x: x.times, generated, times), observed)

    return jax.grad(of_times)(generated.times)


@pytest.fixture(scope="module")
def observed() -> SpikeTrains:
    """Three neurons with no times in common with the dyadic times of random trains."""
    trials = [[[0.21, 0.71], [0.55], []], [[], [], []], [[0.13], [0.37], [0.37, 0.91]]]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, max_spikes=MAX_SPIKES)


def two_spikes() -> SpikeTrains:
    return SpikeTrains.from_lists([[[0.3]], [[0.6]]], t0=0.0, t1=1.0)


@pytest.mark.parametrize("weights", [None, (2.0, 0.0, 0.5)])
def test_equals_the_biased_mmd_of_the_truncated_kernel(observed, weights):
    # The samples have different sizes, so every term is weighted differently.
    generated = observed[:2]
    levels = np.repeat(weights or (1.0, 1.0, 1.0), [4, 16, 64])

    @jax.jit
    def kernel(a, b):
        first, second = signature(marcus_lift(a), 3), signature(marcus_lift(b), 3)
        return jnp.mean(1.0 + (first * levels[None]) @ second.T)

    mmd = (
        kernel(generated, generated) - 2 * kernel(generated, observed) + kernel(observed, observed)
    )
    loss = ExpectedSignatureLoss(level_weights=weights)
    np.testing.assert_allclose(call(loss, generated, observed), mmd / 84, rtol=1e-11)
    plain = ExpectedSignatureLoss(level_weights=weights, normalisation="none")
    np.testing.assert_allclose(call(plain, generated, observed), mmd, rtol=1e-11)


def test_value_by_hand():
    """One spike at 0.3 against one at 0.6, depth 2: only two words of level 2 differ, by 0.3."""
    trains = two_spikes()
    loss = ExpectedSignatureLoss(depth=2)
    np.testing.assert_allclose(call(loss, trains[:1], trains[1:]), 2 * 0.3**2 / 6, rtol=1e-13)
    # Scaling the counts by 2 doubles the words tN and Nt, so it quadruples the loss.
    scaled = ExpectedSignatureLoss(depth=2, channel_scale=2.0)
    np.testing.assert_allclose(call(scaled, trains[:1], trains[1:]), 8 * 0.3**2 / 6, rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_for_identical_samples_with_finite_gradient(loss, observed):
    # The two signatures are computed apart and differ by rounding at most.
    assert call(loss, observed, observed) < 1e-28
    np.testing.assert_allclose(gradient(loss, observed, observed), 0.0, atol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_finite_everywhere(loss, observed):
    """Empty trains, ties, spikes at both ends, full padding."""

    @given_trains()
    def check(trains):
        assert np.isfinite(call(loss, trains, observed))
        got = np.asarray(gradient(loss, trains, observed))
        assert np.all(np.isfinite(got))
        np.testing.assert_array_equal(got[~np.asarray(trains.mask)], 0.0)

    check()


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_central_differences(loss, observed):
    # A polynomial in the times: at a step of 1e-5 the error is rounding, about 1e-10. No tie
    # among the generated spikes, where the loss would jump.
    generated = SpikeTrains.from_lists(
        [[[0.2, 0.8], [0.5], [0.1]], [[0.4], [], [0.6]], [[0.3], [0.7], []]], t0=0.0, t1=1.0
    )
    infinite = jnp.isinf(generated.times)

    @jax.jit
    def f(times):
        times = jnp.where(infinite, jnp.inf, times)
        return loss(eqx.tree_at(lambda x: x.times, generated, times), observed)

    times = jnp.where(infinite, 0.0, generated.times)
    np.testing.assert_allclose(
        gradient(loss, generated, observed), finite_difference_gradient(f, times), atol=1e-8
    )


@given_trains(st.permutations(range(NUM_NEURONS)), st.permutations(range(3)))
def test_order_of_neurons_and_of_trials_does_not_matter(trains, neurons, trials):
    other = trains[jnp.array([1, 1, 0])]
    loss = ExpectedSignatureLoss()
    expected = call(loss, trains, other)
    shuffled = trains[jnp.array(trials)].select(neurons)
    np.testing.assert_allclose(
        call(loss, shuffled, other.select(neurons)), expected, rtol=1e-10, atol=1e-12
    )
    padded = call(loss, trains.pad_to(MAX_SPIKES + 2), other)
    np.testing.assert_allclose(padded, expected, rtol=1e-10, atol=1e-12)


def test_sample_of_repeated_trains_counts_the_same(observed):
    loss = ExpectedSignatureLoss()
    twice = SpikeTrains.concatenate([observed, observed])
    np.testing.assert_allclose(
        call(loss, twice, observed[:1]), call(loss, observed, observed[:1]), rtol=1e-12
    )


@pytest.mark.parametrize("loss", LOSSES[:2])
def test_target_stands_for_the_data(loss, observed):
    generated = observed.first(2)
    target = loss.target(observed)
    np.testing.assert_allclose(
        call(loss, generated, target), call(loss, generated, observed), rtol=1e-13
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_and_a_single_train(loss, dtype):
    trains = SpikeTrains.from_lists(
        [[[0.25], [0.5], []], [[], [0.75], []]], t0=0.0, t1=1.0, dtype=dtype
    )
    value = call(loss, trains[:1], trains[1:])
    assert value.dtype == dtype
    assert value.shape == ()
    assert np.isfinite(value)


# --- the paired loss is what its docstring says, for better and for worse


def test_paired_loss_cuts_to_the_smaller_count():
    generated = SpikeTrains.from_lists([[[0.2, 0.5, 0.8], []]], t0=0.0, t1=1.0)
    observed = SpikeTrains.from_lists([[[0.3], [0.6]]], t0=0.0, t1=1.0)
    cut = SpikeTrains.from_lists([[[0.2], []]], t0=0.0, t1=1.0)
    data = SpikeTrains.from_lists([[[0.3], []]], t0=0.0, t1=1.0)
    np.testing.assert_allclose(
        call(PairedTruncatedSignatureLoss(), generated, observed),
        call(ExpectedSignatureLoss(), cut, data),
        rtol=1e-12,
    )


def test_paired_loss_depends_on_the_pairing():
    loss = PairedTruncatedSignatureLoss()
    generated = SpikeTrains.from_lists([[[0.2, 0.8]], [[0.4]]], t0=0.0, t1=1.0)
    observed = SpikeTrains.from_lists([[[0.3, 0.7]], [[]]], t0=0.0, t1=1.0)
    straight, crossed = call(loss, generated, observed), call(loss, generated, observed[::-1])
    assert abs(straight - crossed) > 0.3 * straight


def test_paired_loss_equals_the_mmd_when_counts_agree():
    trains = two_spikes()
    np.testing.assert_allclose(
        call(PairedTruncatedSignatureLoss(), trains[:1], trains[1:]),
        call(ExpectedSignatureLoss(), trains[:1], trains[1:]),
        rtol=1e-12,
    )


def test_paired_loss_is_blind_against_silent_trains():
    spikes = SpikeTrains.from_lists([[[0.2, 0.8]]], t0=0.0, t1=1.0)
    silent = SpikeTrains.from_lists([[[]]], t0=0.0, t1=1.0)
    assert call(PairedTruncatedSignatureLoss(), spikes, silent) == 0.0
    assert call(ExpectedSignatureLoss(), spikes, silent) > 0.1


# --- errors


@pytest.mark.parametrize("kind", [ExpectedSignatureLoss, PairedTruncatedSignatureLoss])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "`depth` is 0; it must be 1 or more"),
        ({"normalisation": "x"}, "`normalisation` is 'x'; it must be 'coordinates' or 'none'"),
        ({"level_weights": (1.0,)}, "`level_weights` has 1 entries for `depth=3`"),
        ({"level_weights": (1.0, -1.0, 1.0)}, "weights must be finite and 0 or more"),
        ({"level_weights": (1.0, np.nan, 1.0)}, "weights must be finite and 0 or more"),
    ],
)
def test_bad_settings(kind, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kind(**settings)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_samples(loss, observed):
    with pytest.raises(ValueError, match="`generated` has 2 neurons and `observed` 3"):
        loss(observed.select([0, 1]), observed)
    with pytest.raises(ValueError, match=r"windows of different lengths: 1 and 0\.5"):
        loss(observed, observed.window(0.0, 0.5))
    # JAX says it as a ValueError from the second call of a program on
    inside_jit = (jax.errors.JaxRuntimeError, ValueError)
    with pytest.raises(inside_jit, match="windows of different lengths"):
        call(loss, observed, observed.window(0.0, 0.5))
    with pytest.raises(ValueError, match="`generated` holds no train"):
        loss(observed[:0], observed)
    with pytest.raises(ValueError, match="`observed` holds no train"):
        loss(observed, observed[:0])
    with pytest.raises(ValueError, match=r"`generated` has batch shape \(\)"):
        loss(observed[0], observed)
    with pytest.raises(ValueError, match=r"`observed` has batch shape \(1, 3\)"):
        loss(observed, observed.reshape(1, 3))
    lower = SpikeTrains.from_lists(observed.to_lists(), t0=0.0, t1=1.0, dtype=jnp.float32)
    with pytest.raises(ValueError, match="times of dtype float64 and `observed` of float32"):
        loss(observed, lower)


def test_bad_scale(observed):
    with pytest.raises(ValueError, match=r"`channel_scale` has shape \(2,\)"):
        ExpectedSignatureLoss(channel_scale=(1.0, 1.0))(observed, observed)


def test_target_of_another_loss(observed):
    target = ExpectedSignatureLoss(depth=2).target(observed)
    with pytest.raises(ValueError, match=r"`observed` is a target of shape \(20,\)"):
        ExpectedSignatureLoss(depth=3)(observed, target)


def test_paired_loss_needs_equal_sizes(observed):
    with pytest.raises(ValueError, match="`generated` has 2 trains and `observed` 3"):
        PairedTruncatedSignatureLoss()(observed[:2], observed)
