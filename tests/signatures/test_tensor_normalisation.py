import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from roughsnn.signatures import TensorNormalisation, event_signature, signature

from ..helpers import directional_derivative, random_direction
from .test_event_kernel import random_trains
from .test_event_signature import at

DEPTH = 4


def signatures(seed, size, n=6):
    random = np.random.default_rng(seed)
    return signature(jnp.asarray(size * random.normal(size=(n, 8, 2)).cumsum(1)), DEPTH)


def squared_norms(levels):
    return 1 + jnp.sum(levels**2, axis=-1)


@pytest.mark.parametrize("settings", [{}, {"bound": 2.0, "exponent": 0.5}])
def test_the_norm_is_psi_and_the_map_a_dilation(settings):
    normalise = TensorNormalisation(**settings)
    m, a = normalise.bound, normalise.exponent
    for size in (0.01, 0.3, 3.0):
        plain = signatures(0, size)
        result = normalise(plain, DEPTH)
        x = np.asarray(squared_norms(plain))
        expected = np.where(x <= m, x, m + m ** (1 + a) * (m**-a - x**-a) / a)
        np.testing.assert_allclose(squared_norms(result), expected, rtol=1e-12)
        assert (squared_norms(result) < m * (1 + 1 / a)).all()
        # The factor, by a root finder of another library.
        for row, factor, norm in zip(plain, normalise.factor(plain, DEPTH), expected, strict=True):
            squares = [float(s) for s in (jnp.sum(row[i:j] ** 2) for i, j in
                       ((0, 2), (2, 6), (6, 14), (14, 30)))]  # fmt: skip

            def excess(scale, squares=squares, norm=norm):
                return 1 + sum(q * scale ** (2 * k) for k, q in enumerate(squares, 1)) - norm

            root = 1.0 if excess(1.0) <= 1e-12 else optimize.brentq(excess, 0, 1, xtol=1e-15)
            np.testing.assert_allclose(factor, root, rtol=1e-12)


def test_it_is_the_signature_of_the_scaled_path():
    path = jnp.asarray(np.random.default_rng(1).normal(size=(1, 8, 2)).cumsum(1))
    normalise = TensorNormalisation()
    plain = signature(path, DEPTH)
    scaled = signature(path * normalise.factor(plain, DEPTH)[0], DEPTH)
    np.testing.assert_allclose(normalise(plain, DEPTH), scaled, rtol=1e-12, atol=1e-15)


def test_small_signatures_stay_and_large_ones_stay_apart():
    normalise = TensorNormalisation()
    small = signatures(2, 0.02)
    np.testing.assert_array_equal(normalise(small, DEPTH), small)
    # Norms rise strictly with norms: different multiples of a path keep different images.
    norms = [squared_norms(normalise(signatures(3, size, 1), DEPTH))[0] for size in (1, 3, 10, 30)]
    assert (np.diff(norms) > 0).all()


def test_derivatives_in_both_modes():
    trains = random_trains(4, 2, 6, 4)
    normalise = TensorNormalisation(bound=3.0)
    weights = jnp.asarray(np.random.default_rng(5).normal(size=(4, 39)))

    def f(times):
        return jnp.sum(weights * normalise(event_signature(at(trains, times), 3), 3))

    direction = jnp.where(trains.mask, random_direction(trains.times), 0.0)
    gradient = jax.jit(jax.grad(f))(trains.times)
    expected = directional_derivative(f, trains.times, direction, step=1e-5)
    # The bisection is exact to rounding, 1e-16 / 1e-5 in the difference.
    np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-6)
    slope = jax.jvp(f, (trains.times,), (direction,))[1]
    np.testing.assert_allclose(slope, jnp.sum(gradient * direction), rtol=1e-12)
    second = jax.jvp(jax.grad(f), (trains.times,), (direction,))[1]
    by_difference = directional_derivative(jax.grad(f), trains.times, direction, step=1e-5)
    np.testing.assert_allclose(second, by_difference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_zero_signatures_and_no_batch(dtype):
    normalise = TensorNormalisation()
    zero = jnp.zeros((2, 6), dtype)
    assert normalise(zero, 2).dtype == dtype
    np.testing.assert_array_equal(normalise(zero, 2), 0)
    gradient = jax.grad(lambda s: jnp.sum(normalise(s, 2)))(zero)
    np.testing.assert_array_equal(gradient, 1)
    assert normalise(jnp.zeros(6, dtype), 2).shape == (6,)
    assert normalise(jnp.zeros((0, 6), dtype), 2).shape == (0, 6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_signatures_of_any_size_are_brought_down(dtype, depth):
    normalise = TensorNormalisation()
    size = 2 ** (depth + 1) - 2
    # One level large and the others of any size, as well as all of them large.
    rows = [jnp.full(size, value, dtype) for value in (1.0, 1e6, 1e15)]
    rows += [jnp.zeros(size, dtype).at[where].set(1e15) for where in (0, -1)]
    huge = normalise(jnp.stack(rows), depth)
    assert np.isfinite(huge).all()
    # psi of these: x up to the bound, then 4 (1 + 1) less 16 / x.
    norms = [1 + float(np.sum(np.asarray(row, float) ** 2)) for row in rows]
    expected = [x if x <= 4 else 8 - 16 / x for x in norms]
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-12
    np.testing.assert_allclose(squared_norms(huge), expected, rtol=tolerance)


def test_errors():
    with pytest.raises(ValueError, match=r"`bound` is 1\.0"):
        TensorNormalisation(bound=1.0)
    with pytest.raises(ValueError, match=r"`exponent` is 0\.0"):
        TensorNormalisation(exponent=0.0)
    with pytest.raises(ValueError, match="`coordinates` is 7"):
        TensorNormalisation()(jnp.ones((2, 7)), 2)
    with pytest.raises(ValueError, match="Lower the scales"):
        TensorNormalisation()(jnp.full((1, 6), 1e30, jnp.float32), 2)
