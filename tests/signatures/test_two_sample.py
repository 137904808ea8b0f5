"""The permutation test: its statistics one by one, its level, and what it reports."""

import re

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roughsnn.signatures import (
    KernelEnsemble,
    SignatureKernel,
    aggregated_statistics,
    mmd2_from_grams,
    permutation_test,
    two_sample_test,
    witness_function,
)
from roughsnn.signatures.kernel_ensemble import flattened
from roughsnn.signatures.permutations import permuted_labels, statistics_of_labels
from roughsnn.spikes import SpikeTrains


def gaussian(x, y=None, width=1.0):
    y = x if y is None else y
    return jnp.exp(-jnp.square((x[:, None] - y[None, :]) / width) / 2)


def draws(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def trains(seed: int, n: int, rate: float) -> SpikeTrains:
    random = np.random.default_rng(seed)
    trials = [[np.sort(random.random(random.poisson(rate)))] for _ in range(n)]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, max_spikes=12)


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_every_permutation_has_the_statistic_of_its_grams(estimator):
    gram = gaussian(draws(0, 9))
    labels = permuted_labels(9, 4, 20, key=jr.key(0), dtype=gram.dtype)
    assert labels.shape == (21, 9)
    np.testing.assert_array_equal(labels[0], [1, 1, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(labels.sum(1), 4)
    values = statistics_of_labels(gram, labels, 4, estimator)
    for label, value in zip(np.asarray(labels), values, strict=True):
        x, y = np.flatnonzero(label), np.flatnonzero(1 - label)
        exact = mmd2_from_grams(
            gram[np.ix_(x, x)], gram[np.ix_(y, y)], gram[np.ix_(x, y)], estimator
        )
        np.testing.assert_allclose(value, exact, atol=1e-14)


@pytest.mark.parametrize("num_kernels", [1, 2])
def test_p_values_of_equal_laws_are_uniform(num_kernels):
    samples = draws(1, 2000, 16)

    @jax.jit
    @jax.vmap
    def p_value(sample, key):
        gram = gaussian(sample)
        if num_kernels == 2:
            gram = jnp.stack([gram, gaussian(sample, width=0.1)])
        return permutation_test(gram, 7, key=key, num_permutations=99).p_value

    p = np.asarray(p_value(samples, jr.split(jr.key(2), 2000)))
    # Multiples of 1/100, spread over their cells to be compared with a uniform law.
    spread = p - np.random.default_rng(0).random(p.shape) / 100
    assert stats.kstest(spread, "uniform").pvalue > 0.01
    assert abs(np.mean(p <= 0.05 + 1e-9) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_counts_and_threshold():
    gram = gaussian(jnp.concatenate([draws(3, 6), draws(4, 6) + 1]))
    result = permutation_test(gram, 6, key=jr.key(5), num_permutations=99, level=0.1)
    reached = np.sum(np.asarray(result.null) >= float(result.statistic) - 1e-12)
    np.testing.assert_allclose(result.p_value, (1 + reached) / 100)
    assert bool(result.rejected) == (float(result.p_value) <= 0.1)
    assert np.sum(np.asarray(result.null) >= float(result.threshold)) == 10
    # With 9 permutations the smallest p-value is 0.1: at 5 % nothing can be rejected.
    few = permutation_test(gram, 6, key=jr.key(5), num_permutations=9)
    assert few.threshold == jnp.inf
    assert not few.rejected
    assert few.power == 0


def test_identical_points_are_ties_and_never_rejected():
    result = permutation_test(jnp.ones((8, 8)), 4, key=jr.key(0), num_permutations=99)
    assert result.p_value == 1
    assert not result.rejected
    several = permutation_test(jnp.ones((2, 8, 8)), 4, key=jr.key(0), num_permutations=99)
    assert several.p_value == 1


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 2), min_size=8, max_size=8),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.sampled_from([0, 1000]),
    st.sampled_from([np.float32, np.float64]),
)
def test_ties_count_as_reached_in_any_unit_and_precision(points, unit, offset, dtype):
    """Points of three kinds, whose statistics can be counted in whole numbers: the p-value is that
    of exact arithmetic, however small the differences of the kernel are beside its size."""
    table = np.array([[4, 1, 0], [1, 3, 2], [0, 2, 5]])
    exact = table[np.ix_(points, points)]
    rounding = 1 + np.random.default_rng(0).uniform(-2, 2, (8, 8)) * np.finfo(dtype).eps
    gram = jnp.asarray((exact + offset) * rounding * unit, dtype)
    result = permutation_test(gram, 4, key=jr.key(0), num_permutations=99)
    labels = np.asarray(permuted_labels(8, 4, 99, key=jr.key(0), dtype=dtype)).astype(int)
    off = exact - np.diag(np.diag(exact))
    within = np.einsum("bi,ij,bj->b", labels, off, labels)
    within = within + np.einsum("bi,ij,bj->b", 1 - labels, off, 1 - labels)
    # 48 times the statistic
    statistics = 4 * within - 6 * np.einsum("bi,ij,bj->b", labels, exact, 1 - labels)
    reached = np.sum(statistics[1:] >= statistics[0])
    np.testing.assert_allclose(result.p_value, (1 + reached) / 100, rtol=1e-6)
    if len(set(points)) == 1:
        several = permutation_test(
            jnp.stack([gram, gram]), 4, key=jr.key(0), num_permutations=99, weights=(1.0, 0.5)
        )
        assert several.p_value == result.p_value == 1
        assert not several.rejected
        assert several.power == result.power == 0


@settings(max_examples=6)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=0, max_size=4).map(sorted),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.sampled_from([jnp.float32, jnp.float64]),
)
def test_equal_samples_are_never_told_apart(times, unit, dtype):
    """By the default kernels, one of which weighs all directions alike: also the rounding."""
    trials = [[unit * np.array(times)]] * 12
    x = SpikeTrains.from_lists(trials, t0=0.0, t1=unit, max_spikes=4, dtype=dtype)
    result = two_sample_test(x[:6], x[6:], key=jr.key(0), num_permutations=99)
    assert result.p_value == 1
    assert not result.rejected


def test_power_is_near_the_share_of_rejections():
    x, y = draws(6, 400, 30), draws(7, 400, 30) + 0.9

    @jax.jit
    @jax.vmap
    def outcome(x, y, key):
        result = permutation_test(gaussian(jnp.concatenate([x, y])), 30, key=key)
        return result.rejected, result.power

    rejected, power = outcome(x, y, jr.split(jr.key(8), 400))
    share = float(jnp.mean(rejected, dtype=jnp.float64))
    assert 0.5 < share < 0.99
    # The estimate is noisy, which draws its mean towards 1/2.
    assert 0.5 < float(jnp.mean(power)) < share + 0.05
    assert abs(float(jnp.mean(power)) - share) < 0.15


def test_several_kernels_take_the_largest_in_units_of_its_spread():
    x = jnp.concatenate([draws(9, 6), 3 * draws(10, 6)])
    grams = jnp.stack([gaussian(x), gaussian(x, width=0.2)])
    labels = permuted_labels(12, 6, 50, key=jr.key(1), dtype=x.dtype)
    values = np.stack([statistics_of_labels(g, labels, 6) for g in grams])
    spread = values.std(axis=1)
    value, winner, width = aggregated_statistics(grams, labels, 6)
    np.testing.assert_allclose(value, (values / spread[:, None]).max(axis=0), rtol=1e-10)
    assert winner == np.argmax(values[:, 0] / spread)
    np.testing.assert_allclose(width, spread[winner], rtol=1e-10)
    # The scale of a kernel does not matter.
    scaled = aggregated_statistics(grams * jnp.asarray([5.0, 0.1])[:, None, None], labels, 6)[0]
    np.testing.assert_allclose(scaled, value, rtol=1e-10)
    weighted = aggregated_statistics(grams, labels, 6, weights=(1.0, 0.5))[0]
    expected = (values / spread[:, None] * np.array([[1.0], [0.5]])).max(axis=0)
    np.testing.assert_allclose(weighted, expected, rtol=1e-10)


def test_directions_of_a_flattened_kernel_weigh_alike():
    points = draws(11, 12, 3) * jnp.asarray([[100.0, 1.0, 1e-6]])
    gram = flattened(points @ points.T, 1e-8)
    np.testing.assert_allclose(gram.sum(0), 0, atol=1e-6)
    eigenvalues = np.linalg.eigvalsh(gram)
    centred = np.asarray(points) - np.asarray(points).mean(0)
    variances = np.linalg.eigvalsh(centred @ centred.T)
    expected = variances / (variances + 1e-8 * variances.sum())
    # The condition of the solve, 1e8, times the precision.
    np.testing.assert_allclose(eigenvalues, expected, atol=1e-7)
    np.testing.assert_allclose(eigenvalues[-3:], [0, 1, 1], atol=1e-3)
    assert np.isfinite(flattened(jnp.ones((5, 5)), 0.1)).all()


def test_the_default_kernels_see_counts_and_times():
    """Against differences that a test of counts, or of times, alone would miss."""
    random = np.random.default_rng(3)

    def sample(jitter, rate):
        times = [np.arange(1, 8) / 8 + jitter * random.normal(size=7) for _ in range(25)]
        kept = [np.sort(t[random.random(7) < rate]) for t in times]
        return SpikeTrains.from_lists(
            [[np.clip(t, 0, 1)] for t in kept], t0=0.0, t1=1.0, max_spikes=7
        )

    base = sample(0.01, 0.9)
    for other, differs in (
        (sample(0.01, 0.6), True),
        (sample(0.06, 0.9), True),
        (sample(0.01, 0.9), False),
    ):
        result = two_sample_test(base, other, key=jr.key(0), num_permutations=199)
        assert result.rejected == differs
    inside = jax.jit(lambda x, y: two_sample_test(x, y, key=jr.key(0), num_permutations=199))
    assert inside(base, sample(0.06, 0.9)).rejected
    # float32 and many spikes: the scale is lowered so that nothing overflows.
    times = jnp.asarray(np.sort(random.random((4, 400)), axis=1), jnp.float32)
    many = SpikeTrains(times, jnp.zeros((4, 400), int), 0.0, 1.0, num_neurons=1)
    assert np.isfinite(KernelEnsemble.for_trains(many).grams(many)).all()


def test_of_spike_trains():
    x, y = trains(0, 12, 2.0), trains(1, 12, 6.0)
    kernel = SignatureKernel(normalise=True).fixed_for(x, y)
    result = two_sample_test(x, y, kernel, key=jr.key(0), num_permutations=199)
    assert result.rejected
    assert result.p_value == 1 / 200
    assert result.power > 0.9
    gram = kernel(SpikeTrains.concatenate([x, y]))
    again = permutation_test(gram, 12, key=jr.key(0), num_permutations=199)
    np.testing.assert_allclose(result.statistic, again.statistic, rtol=1e-9)
    several = two_sample_test(
        x, y, [kernel, SignatureKernel()], key=jr.key(0), num_permutations=199
    )
    assert several.rejected


def test_witness_by_hand():
    points, x, y = jnp.asarray([0.0, 2.0]), jnp.asarray([0.0, 1.0]), jnp.asarray([3.0])

    def linear(a, b):
        return a[:, None] * b[None, :]

    np.testing.assert_allclose(witness_function(x, y, linear, points), [0.0, 1.0 - 6.0])


def test_mmd_is_the_difference_of_the_mean_witness():
    x, y = trains(2, 5, 2.0), trains(3, 4, 4.0)
    kernel = SignatureKernel().fixed_for(x, y)
    at_x, at_y = (witness_function(x, y, SignatureKernel(), z) for z in (x, y))
    biased = mmd2_from_grams(kernel(x), kernel(y), kernel(x, y), "biased")
    np.testing.assert_allclose(at_x.mean() - at_y.mean(), biased, rtol=1e-9)


def test_errors():
    gram = jnp.eye(6)
    with pytest.raises(ValueError, match="`num_x` is 1 of 6 points"):
        permutation_test(gram, 1, key=jr.key(0))
    with pytest.raises(ValueError, match="`num_x` is 5 of 6 points"):
        permutation_test(gram, 5, key=jr.key(0))
    with pytest.raises(ValueError, match="`num_permutations` must be"):
        permutation_test(gram, 3, key=jr.key(0), num_permutations=0)
    with pytest.raises(ValueError, match="`level` must be"):
        permutation_test(gram, 3, key=jr.key(0), level=1.0)
    with pytest.raises(ValueError, match="`estimator` is 'linear'"):
        permutation_test(gram, 3, key=jr.key(0), estimator="linear")
    with pytest.raises(ValueError, match=re.escape("`gram` has shape (1, 1, 6, 6)")):
        permutation_test(gram[None, None], 3, key=jr.key(0))
    x = trains(0, 4, 2.0)
    with pytest.raises(ValueError, match=re.escape("`y` has batch shape (2, 2)")):
        two_sample_test(x, x.reshape(2, 2), key=jr.key(0))
    with pytest.raises(ValueError, match="`kernel` is empty"):
        two_sample_test(x, x, [], key=jr.key(0))
    with pytest.raises(ValueError, match=r"`weights` is \(1\.0, 0\.0\)"):
        KernelEnsemble((SignatureKernel(),) * 2, weights=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"`regularisation` is \(0\.1,\)"):
        KernelEnsemble((SignatureKernel(),) * 2, (0.1,))
    with pytest.raises(ValueError, match=r"`weights` is \(1\.0,\)"):
        permutation_test(jnp.stack([gram, gram]), 3, key=jr.key(0), weights=(1.0,))
    with pytest.raises(ValueError, match="window"):
        two_sample_test(x, x.window(0.0, 0.5), key=jr.key(0))
    with pytest.raises(ValueError, match="`x` has 4 points and `y` 0"):
        witness_function(x, x[:0], SignatureKernel(), x)
