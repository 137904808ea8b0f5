import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures import (
    TensorNormalisation,
    expected_signature,
    log_signature,
    mmd2,
    num_channels,
    num_coordinates,
    signature,
    signature_kernel_gram,
    signature_levels,
)
from roughsnn.signatures.static_kernels import RBF
from roughsnn.spikes import SpikeTrains, marcus_lift
from tests import oracles


@pytest.fixture(scope="module")
def lifts():
    """The lifts A, B, D of the oracles."""
    trains = SpikeTrains.from_lists([[[0.3]], [[0.6]], [[]]], t0=0.0, t1=1.0)
    return marcus_lift(trains)


def test_coordinates_of_one_spike(lifts):
    for level, expected in zip(
        signature_levels(lifts[0], 3), oracles.SIGNATURE_SPIKE_AT_0_3, strict=True
    ):
        np.testing.assert_allclose(jnp.ravel(level), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("depth", "kernel"),
    [(3, oracles.KERNEL_UP_TO_LEVEL_3), (8, oracles.KERNEL_UP_TO_LEVEL_8)],
)
def test_inner_products(lifts, depth, kernel):
    levels = signature(lifts, depth)
    gram = 1.0 + levels @ levels.T
    for name, expected in kernel.items():
        row, column = ("ABD".index(letter) for letter in name)
        # The oracles are rounded to ten decimals.
        np.testing.assert_allclose(gram[row, column], expected, atol=1e-10)


def test_levels_and_flat_agree(lifts):
    flat = signature(lifts, 3)
    levels = signature_levels(lifts, 3)
    assert [level.shape for level in levels] == [(3, 2), (3, 2, 2), (3, 2, 2, 2)]
    np.testing.assert_array_equal(
        flat, jnp.concatenate([level.reshape(3, -1) for level in levels], axis=1)
    )


def test_straight_line():
    """Level m of a straight line with increment x is x^(tensor m) / m!."""
    x = jnp.array([0.5, -2.0])
    first, second, third = signature_levels(jnp.stack([jnp.zeros(2), x]), 3)
    np.testing.assert_allclose(first, x)
    np.testing.assert_allclose(second, jnp.outer(x, x) / 2)
    np.testing.assert_allclose(third, jnp.einsum("i,j,k->ijk", x, x, x) / 6)


def test_batch_axes_and_batch_size():
    paths = jax.random.normal(jax.random.key(0), (2, 3, 5, 2))
    got = signature(paths, 2)
    assert got.shape == (2, 3, 6)
    np.testing.assert_allclose(got[1, 2], signature(paths[1, 2], 2), rtol=1e-13)
    assert signature(paths[:, :0], 2).shape == (2, 0, 6)


def test_a_path_of_one_point_has_no_signature():
    np.testing.assert_array_equal(signature(jnp.ones((1, 2)), 2), jnp.zeros(6))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(dtype):
    paths = jax.random.normal(jax.random.key(0), (2, 5, 2)).astype(dtype)
    got = signature(paths, 3)
    assert got.dtype == dtype
    expected = signature(paths.astype(jnp.float64), 3)
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(got.astype(jnp.float64), expected, rtol=tolerance, atol=tolerance)


def test_expected_signature_is_the_mean(lifts):
    np.testing.assert_allclose(
        expected_signature(lifts, 2), jnp.mean(signature(lifts, 2), axis=0), rtol=1e-14
    )


def test_counting_coordinates():
    assert [num_coordinates(2, 3), num_coordinates(23, 3), num_coordinates(1, 4)] == [14, 12719, 4]
    assert [num_channels(14, 3), num_channels(12719, 3), num_channels(4, 4)] == [2, 23, 1]
    with pytest.raises(ValueError, match="`coordinates` is 13; no path has that many"):
        num_channels(13, 3)


def test_bad_arguments(lifts):
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1, got 0"):
        signature(lifts, 0)
    with pytest.raises(ValueError, match=r"`paths` has shape \(3, 0, 2\)"):
        signature(jnp.zeros((3, 0, 2)), 2)
    with pytest.raises(ValueError, match=r"`paths` has shape \(3, 4, 0\)"):
        signature(jnp.zeros((3, 4, 0)), 2)
    with pytest.raises(ValueError, match="`paths` holds no sample"):
        expected_signature(lifts[:0], 2)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16])
def test_numbers_of_any_kind_are_real_numbers(dtype):
    """The values of the same paths in floating point, in the default precision: an integer has no
    room for a signature, and unsigned differences would wrap around."""
    paths = np.array([[[0, 1], [1, 0], [1, 1]], [[1, 1], [0, 1], [1, 0]]], dtype)
    exact = paths.astype(float)
    for function in (
        lambda p: signature(p, 2),
        lambda p: expected_signature(p, 2),
        lambda p: log_signature(p, 2),
        lambda p: signature_kernel_gram(p, static_kernel=RBF(1.0)),
        lambda p: signature_kernel_gram(p, jnp.asarray(p), dyadic_order=np.int64(1)),
        lambda p: TensorNormalisation()(signature(p, 2), 2),
        lambda p: RBF(0.7).increments(p, p),
        lambda p: mmd2(p, p[:1], lambda x, y=None: x[:, 0] @ (x if y is None else y)[:, 0].T,
                       estimator="biased"),
    ):  # fmt: skip
        got = function(paths)
        assert got.dtype == jnp.result_type(float)
        np.testing.assert_allclose(got, function(exact), rtol=1e-12)
    with pytest.raises(TypeError, match="`paths` must be real numbers"):
        signature(paths.astype(complex), 2)
