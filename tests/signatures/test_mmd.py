"""Estimators of the squared MMD: by hand, as identities, and unbiased over many draws."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures import (
    SignatureKernel,
    mean_within,
    mmd2,
    mmd2_from_grams,
    mmd2_standard_error,
)
from roughsnn.signatures.event_kernel import event_kernel, event_kernel_gram
from roughsnn.spikes import SpikeTrains


def gaussian(x, y=None):
    y = x if y is None else y
    return jnp.exp(-jnp.square(x[:, None] - y[None, :]) / 2)


def draws(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def trains(seed: int, n: int) -> SpikeTrains:
    random = np.random.default_rng(seed)
    trials = [[np.sort(random.random(random.integers(0, 3))) for _ in range(2)] for _ in range(n)]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, max_spikes=4)


XX = jnp.asarray([[2.0, 1.0, 0.5], [1.0, 3.0, 0.0], [0.5, 0.0, 1.0]])
YY = jnp.asarray([[4.0, 0.5], [0.5, 2.0]])
XY = jnp.asarray([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])


def test_values_by_hand():
    # 2 (1 + 0.5 + 0) / 6 + 0.5 - 2 (3 / 6), and with the diagonals 9 / 9 + 7 / 4 - 1.
    np.testing.assert_allclose(mmd2_from_grams(XX, YY, XY), 0.5 + 0.5 - 1.0, atol=1e-15)
    np.testing.assert_allclose(mmd2_from_grams(XX, YY, XY, "biased"), 1.0 + 1.75 - 1.0)


def test_biased_is_unbiased_and_the_diagonals():
    extra = [(jnp.mean(jnp.diagonal(g)) - mean_within(g)) / len(g) for g in (XX, YY)]
    np.testing.assert_allclose(
        mmd2_from_grams(XX, YY, XY, "biased"),
        mmd2_from_grams(XX, YY, XY) + extra[0] + extra[1],
        rtol=1e-14,
    )


def test_biased_is_the_squared_distance_of_mean_features():
    features = draws(0, 9, 4)
    x, y = features[:5], features[5:]
    value = mmd2_from_grams(x @ x.T, y @ y.T, x @ y.T, "biased")
    np.testing.assert_allclose(value, jnp.sum(jnp.square(x.mean(0) - y.mean(0))), rtol=1e-12)


def test_a_constant_in_the_kernel_changes_nothing_even_in_single_precision():
    big = [jnp.asarray(g, jnp.float32) + jnp.float32(4096) for g in (XX, YY, XY)]
    for estimator in ("unbiased", "biased"):
        exact = mmd2_from_grams(XX, YY, XY, estimator)
        np.testing.assert_allclose(mmd2_from_grams(*big, estimator), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "blocks"), [("unbiased", None), ("block", None), ("block", 2), ("linear", None)]
)
def test_unbiased_for_equal_laws(estimator, blocks):
    x, y = draws(1, 4000, 8), draws(2, 4000, 8)
    one = jax.jit(
        jax.vmap(lambda a, b: mmd2(a, b, gaussian, estimator=estimator, num_blocks=blocks))
    )
    values = np.asarray(one(x, y))
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert (values < 0).mean() > 0.3


def test_unbiased_for_different_laws():
    """Gaussians a distance 1 apart: E k = exp(-d^2 / 6) / sqrt(3) for the bandwidth 1."""
    x, y = draws(3, 4000, 6), draws(4, 4000, 5) + 1
    values = np.asarray(jax.jit(jax.vmap(lambda a, b: mmd2(a, b, gaussian)))(x, y))
    exact = 2 * (1 - np.exp(-1 / 6)) / np.sqrt(3)
    assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(len(values))


def test_one_block_is_the_full_estimator_and_several_are_their_mean():
    x, y = draws(5, 9), draws(6, 7)
    full = mmd2(x, y, gaussian)
    one = mmd2(x, y, gaussian, estimator="block", num_blocks=1)
    np.testing.assert_allclose(one, full, rtol=1e-14)
    two = mmd2(x, y, gaussian, estimator="block", num_blocks=2)
    parts = [mmd2(x[4 * i : 4 * i + 4], y[3 * i : 3 * i + 3], gaussian) for i in range(2)]
    np.testing.assert_allclose(two, (parts[0] + parts[1]) / 2, rtol=1e-14)


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("tile", [1, 3, 100])
def test_tiles_change_neither_value_nor_gradient(estimator, tile):
    x, y = draws(7, 7), draws(8, 5)

    def tiled(x, y):
        return mmd2(x, y, gaussian, estimator=estimator, tile=tile)

    def whole(x, y):
        return mmd2_from_grams(gaussian(x), gaussian(y), gaussian(x, y), estimator)

    np.testing.assert_allclose(tiled(x, y), whole(x, y), rtol=1e-12, atol=1e-15)
    for a, b in zip(jax.grad(tiled, (0, 1))(x, y), jax.grad(whole, (0, 1))(x, y), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)


def test_of_spike_trains_uses_one_kernel_for_all_grams():
    x, y = trains(0, 4), trains(1, 4)
    kernel = SignatureKernel()
    fixed = kernel.fixed_for(x, y)
    assert fixed.is_fixed
    assert not kernel.is_fixed
    both = fixed(SpikeTrains.concatenate([x, y]))
    grams = both[:4, :4], both[4:, 4:], both[:4, 4:]
    np.testing.assert_allclose(mmd2(x, y, kernel), mmd2_from_grams(*grams), rtol=1e-9)
    linear = mmd2(x, y, kernel, estimator="linear")
    terms = both[0, 1] + both[4, 5] - both[0, 5] - both[1, 4]
    terms += both[2, 3] + both[6, 7] - both[2, 7] - both[3, 6]
    np.testing.assert_allclose(linear, terms / 2, rtol=1e-9)


def test_normalised_kernel():
    x, y = trains(0, 4), trains(1, 4)
    kernel = SignatureKernel(1.0, 0.7, normalise=True)
    raw = event_kernel_gram(x, y, time_scale=1.0, neuron_scale=0.7)
    norms = [jnp.sqrt(event_kernel(z, z, time_scale=1.0, neuron_scale=0.7)) for z in (x, y)]
    np.testing.assert_allclose(kernel(x, y), raw / jnp.outer(*norms), rtol=1e-12)
    np.testing.assert_allclose(jnp.diagonal(kernel(x)), 1.0, rtol=1e-14)
    np.testing.assert_allclose(kernel.pairs(x, y), jnp.diagonal(kernel(x, y)), rtol=1e-12)
    np.testing.assert_allclose(kernel(x, y, norms=tuple(norms)), kernel(x, y), rtol=1e-12)
    assert float(jnp.max(kernel(x, y))) <= 1 + 1e-12


def test_the_default_time_scale_takes_the_unit_of_time_away():
    x = trains(0, 4)
    slow = SpikeTrains(x.times * 1000.0, x.neurons, 0.0, 1000.0, num_neurons=2)
    np.testing.assert_allclose(SignatureKernel()(slow), SignatureKernel()(x), rtol=1e-9)


def test_standard_error_is_that_of_the_estimates():
    x, y = draws(9, 2000, 40), 1.5 * draws(10, 2000, 30) + 1
    grams = jax.jit(jax.vmap(lambda a, b: (gaussian(a), gaussian(b), gaussian(a, b))))(x, y)
    values = np.asarray(jax.vmap(mmd2_from_grams)(*grams))
    errors = np.asarray(jax.vmap(mmd2_standard_error)(*grams))
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), values.std(), rtol=0.1)


def test_errors():
    x, y = draws(0, 4), draws(1, 3)
    with pytest.raises(ValueError, match="`estimator` is 'plain'; it must be one of 'unbiased'"):
        mmd2(x, y, gaussian, estimator="plain")
    with pytest.raises(ValueError, match="A sample has 1 points; the unbiased estimator needs 2"):
        mmd2(x, y[:1], gaussian)
    with pytest.raises(ValueError, match="A sample has 0 points; the biased estimator needs 1"):
        mmd2(x, y[:0], gaussian, estimator="biased")
    with pytest.raises(ValueError, match="`num_blocks` is for `estimator='block'`"):
        mmd2(x, y, gaussian, num_blocks=2)
    with pytest.raises(ValueError, match="`num_blocks` is 2: blocks of 2 and 1 points"):
        mmd2(x, y, gaussian, estimator="block", num_blocks=2)
    with pytest.raises(ValueError, match="`num_blocks` must be"):
        mmd2(x, y, gaussian, estimator="block", num_blocks=0)
    with pytest.raises(ValueError, match="`x` has 4 points and `y` 3; the linear-time estimator"):
        mmd2(x, y, gaussian, estimator="linear")
    with pytest.raises(ValueError, match="`tile` must be"):
        mmd2(x, y, gaussian, tile=0)
    with pytest.raises(TypeError, match="kernel"):
        mmd2(gaussian, x, y)
    with pytest.raises(ValueError, match=re.escape("they must be (3, 3) and (2, 2)")):
        mmd2_from_grams(YY, YY, XY)
    with pytest.raises(ValueError, match="the unbiased estimator needs 2"):
        mean_within(jnp.ones((1, 1)))
    with pytest.raises(ValueError, match=r"`tolerance` is 0\.0; it must be positive"):
        SignatureKernel(tolerance=0.0)
    with pytest.raises(ValueError, match="`max_simultaneous` is 0"):
        SignatureKernel(max_simultaneous=0)
    with pytest.raises(ValueError, match="Give one sample of trains or more"):
        SignatureKernel().fixed_for()
    with pytest.raises(ValueError, match="windows of different lengths"):
        SignatureKernel(1.0, 1.0)(trains(0, 2), trains(0, 2).window(0.0, 0.5))
