import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from roughsnn.signatures.event_kernel import event_kernel_gram
from roughsnn.signatures.goursat import refined_paths, signature_kernel_gram
from roughsnn.signatures.static_kernels import RBF, Linear, Matern, RationalQuadratic
from roughsnn.spikes.marcus import marcus_lift
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative, finite_difference_gradient, random_direction
from .reference_kernel import kernel_of_paths
from .test_event_kernel import random_trains

KERNELS = {
    "linear": Linear(),
    "rbf": RBF(0.8),
    "rational quadratic": RationalQuadratic(0.8, 1.5),
    "matern 1/2": Matern(0.8, 0.5),
    "matern 3/2": Matern(0.8, 1.5),
    "matern 5/2": Matern(0.8, 2.5),
}


def random_paths(batch, points, channels, seed, size=0.3):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(batch, points, channels)) * size)


def static_kernel_of(name):
    """The static kernels once more, from their textbook formulas in the distance."""

    def value(x, y):
        r = np.linalg.norm(x - y) / 0.8
        return {
            "linear": x @ y,
            "rbf": np.exp(-(r**2) / 2),
            "rational quadratic": (1 + r**2 / 3) ** -1.5,
            "matern 1/2": np.exp(-r),
            "matern 3/2": (1 + 3**0.5 * r) * np.exp(-(3**0.5) * r),
            "matern 5/2": (1 + 5**0.5 * r + 5 * r**2 / 3) * np.exp(-(5**0.5) * r),
        }[name]

    return value


# ---- values


def test_published_values_at_each_dyadic_order():
    x = marcus_lift(SpikeTrains.from_lists([[[0.3]], [[0.6]]], t0=0.0, t1=1.0))
    published = [4.20959888, 4.25935614, 4.25909209, 4.25740298, 4.25678999, 4.25661398]
    computed = [signature_kernel_gram(x, dyadic_order=n)[0, 1] for n in range(6)]
    # The published numbers have eight decimals.
    np.testing.assert_allclose(computed, published, rtol=0, atol=6e-9)


@pytest.mark.parametrize("z", [-1.0, 0.1, 4.0])
def test_straight_lines_give_bessel_functions_to_second_order(z):
    x, y = jnp.asarray([[[0.0], [1.0]]]), jnp.asarray([[[0.0], [z]]])
    exact = special.i0(2 * z**0.5) if z > 0 else special.j0(2 * (-z) ** 0.5)
    errors = [abs(signature_kernel_gram(x, y, dyadic_order=n)[0, 0] - exact) for n in (5, 6, 7)]
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    # Second order: half the step, a quarter of the error; 3 % off at a step of 1/32.
    np.testing.assert_allclose(ratios, 4, rtol=0.05)


def test_a_dyadic_order_per_axis():
    x, y = random_paths(2, 5, 2, 0), random_paths(3, 8, 2, 1)
    exact = [[kernel_of_paths(np.asarray(a), np.asarray(b)) for b in y] for a in x]
    np.testing.assert_allclose(signature_kernel_gram(x, y, dyadic_order=(6, 6)), exact, rtol=1e-5)
    one_sided = signature_kernel_gram(x, y, dyadic_order=(2, 3))
    swapped = signature_kernel_gram(y, x, dyadic_order=(3, 2))
    # The scheme treats both axes alike.
    np.testing.assert_allclose(one_sided, swapped.T, rtol=1e-13)


@pytest.mark.parametrize("name", KERNELS)
def test_static_kernels_are_their_formulas(name):
    x, y = random_paths(1, 4, 3, 2, 0.6), random_paths(1, 5, 3, 3, 0.6)
    y = y.at[0, 0].set(x[0, 0])
    value = static_kernel_of(name)
    values = np.array([[value(np.asarray(a), np.asarray(b)) for b in y[0]] for a in x[0]])
    expected = np.diff(np.diff(values, axis=0), axis=1)
    computed = KERNELS[name].increments(x[0].T, y[0].T)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-14)


def test_many_channels_are_summed_in_groups():
    x, y = random_paths(1, 4, 19, 4), random_paths(1, 5, 19, 5)
    expected = np.diff(x[0], axis=0) @ np.diff(y[0], axis=0).T
    np.testing.assert_allclose(Linear().increments(x[0].T, y[0].T), expected, rtol=1e-12)


def test_refined_far_enough_it_is_the_event_kernel():
    x, y = random_trains(3, 2, 6, 0), random_trains(2, 2, 6, 1)
    exact = event_kernel_gram(x, y, neuron_scale=0.3, orders=(8, 10))
    lifts = [marcus_lift(t, scale=0.3) for t in (x, y)]
    # The error falls by four per order and is about 1e-2 at order 0.
    np.testing.assert_allclose(signature_kernel_gram(*lifts, dyadic_order=5), exact, rtol=1e-5)


# On the code that users get: another order of the sums rounds more.
@pytest.mark.optimised
@pytest.mark.parametrize("order", [0, 3, 5])
def test_single_precision_does_not_lose_digits_with_refinement(order):
    x = random_paths(6, 12, 3, 6, 0.4)
    double = signature_kernel_gram(x, dyadic_order=order)
    single = signature_kernel_gram(x.astype(jnp.float32), dyadic_order=order)
    # The rounding of the points and their differences, the same at every order; the stencil for
    # values would lose 1e-4 at order 5.
    np.testing.assert_allclose(single, double, rtol=3e-6)


@hypothesis.given(st.integers(0, 10**6))
def test_refined_gram_is_symmetric_and_positive_semidefinite(seed):
    x = random_paths(5, 6, 2, seed)
    gram = signature_kernel_gram(x, dyadic_order=3)
    np.testing.assert_allclose(gram, signature_kernel_gram(x, x, dyadic_order=3), rtol=1e-13)
    eigenvalues = np.linalg.eigvalsh(gram)
    # The scheme itself keeps positivity only up to its error, 1e-4 here.
    assert eigenvalues[0] >= -1e-4 * eigenvalues[-1]


def test_repeated_points_change_nothing():
    x = random_paths(2, 5, 2, 7)
    repeated = jnp.repeat(x, 2, axis=1)
    np.testing.assert_allclose(
        signature_kernel_gram(repeated), signature_kernel_gram(x), rtol=1e-13
    )


def test_many_blocks_give_what_one_gives():
    x, y = random_paths(40, 4, 2, 8), random_paths(30, 5, 2, 9)
    gram = signature_kernel_gram(x, y)
    np.testing.assert_allclose(gram[35:, 27:], signature_kernel_gram(x[35:], y[27:]), rtol=1e-13)


# ---- the two conventions of refinement


def solved_with(z, n):
    """The Goursat equation on the unit square with a given function z, on n x n squares."""
    middle = (np.arange(n) + 0.5) / n
    z = z(middle[:, None], middle[None, :]) / n**2
    k = np.ones((n + 1, n + 1))
    for i in range(n):
        for j in range(n):
            edges = k[i + 1, j] + k[i, j + 1]
            k[i + 1, j + 1] = edges * (1 + z[i, j] / 2 + z[i, j] ** 2 / 12) - k[i, j] * (
                1 - z[i, j] ** 2 / 12
            )
    return k[-1, -1]


def test_path_straight_or_its_features_straight():
    a, b, s = 1.3, -0.9, 0.8
    x, y = jnp.asarray([[[0.0], [a]]]), jnp.asarray([[[0.0], [b]]])

    def rbf(u, v):
        return np.exp(-((u - v) ** 2) / (2 * s**2))

    def density(u, v):
        """The mixed derivative of the kernel along the straight paths."""
        u, v = a * u, b * v
        return a * b * rbf(u, v) * (1 / s**2 - (u - v) ** 2 / s**4)

    straight_features = 1 - rbf(a, 0) - rbf(0, b) + rbf(a, b)
    limits = {
        "path": solved_with(density, 128),
        "features": solved_with(lambda u, v: straight_features + 0 * (u + v), 128),
    }
    assert abs(limits["path"] - limits["features"]) > 0.04
    for refine, limit in limits.items():
        gram = signature_kernel_gram(x, y, static_kernel=RBF(s), dyadic_order=6, refine=refine)
        # Second order on both sides, at steps of 1/64 and 1/128.
        np.testing.assert_allclose(gram, limit, rtol=3e-4)


def test_one_convention_from_the_other():
    x, y = random_paths(2, 4, 2, 20), random_paths(2, 3, 2, 21)
    path = signature_kernel_gram(x, y, static_kernel=RBF(0.8), dyadic_order=(2, 3), refine="path")

    def by_hand(p, order):
        at = np.arange(2**order * (p.shape[1] - 1) + 1) / 2**order
        columns = [[np.interp(at, np.arange(p.shape[1]), c) for c in q.T] for q in np.asarray(p)]
        return jnp.asarray(columns).swapaxes(1, 2)

    np.testing.assert_allclose(refined_paths(x, 2), by_hand(x, 2), rtol=0, atol=1e-15)
    features = signature_kernel_gram(by_hand(x, 2), by_hand(y, 3), static_kernel=RBF(0.8))
    np.testing.assert_allclose(path, features, rtol=1e-12)
    # With the linear kernel both are one.
    np.testing.assert_allclose(
        signature_kernel_gram(x, y, dyadic_order=2, refine="path"),
        signature_kernel_gram(x, y, dyadic_order=2),
        rtol=1e-13,
    )


def test_bandwidths_of_other_packages():
    x = jnp.asarray([[0.3], [0.7]])
    r2 = 0.4**2
    for kernel, value in (
        (RBF(0.5), np.exp(-r2 / (2 * 0.5**2))),
        (RBF.from_sigma(0.5), np.exp(-r2 / 0.5)),
        (RBF.from_gamma(0.5), np.exp(-0.5 * r2)),
    ):
        (increment,) = kernel.increments(x.T, x.T).ravel()
        np.testing.assert_allclose(increment, 2 - 2 * value, rtol=1e-13)
    np.testing.assert_allclose(RBF.from_sigma(0.3).sigma, 0.3)
    np.testing.assert_allclose(RBF.from_gamma(0.3).gamma, 0.3)


# ---- derivatives


@pytest.mark.parametrize("name", KERNELS)
def test_gradient_equals_central_differences(name):
    x, y = random_paths(2, 4, 2, 10), random_paths(2, 3, 2, 11)

    @jax.jit
    def f(points):
        gram = signature_kernel_gram(*points, static_kernel=KERNELS[name], dyadic_order=1)
        return jnp.sum(gram * jnp.asarray([[1.0, -2.0], [0.5, 1.5]]))

    gradient = jax.jit(jax.grad(f))((x, y))
    expected = finite_difference_gradient(f, (x, y), step=1e-5)
    for computed, difference in zip(gradient, expected, strict=True):
        # The error of central differences at this step.
        np.testing.assert_allclose(computed, difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", KERNELS)
def test_derivatives_are_finite_at_coincident_points(name):
    x = random_paths(3, 4, 2, 12).at[:, 0].set(0.0)
    x = x.at[1].set(x[0]).at[2, 3].set(x[2, 2])

    def f(points):
        return signature_kernel_gram(points, static_kernel=KERNELS[name]).mean()

    first, second = jax.jit(lambda x: jax.jvp(jax.grad(f), (x,), (jnp.ones_like(x),)))(x)
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()


def test_forward_mode_reverse_mode_and_second_derivatives_agree():
    x, y = random_paths(2, 4, 2, 13), random_paths(2, 4, 2, 14)

    def f(points):
        return signature_kernel_gram(points, y, static_kernel=RBF(0.9)).sum()

    direction = random_direction(x)
    gradient = jax.jit(jax.grad(f))
    slope = jax.jit(lambda x: jax.jvp(f, (x,), (direction,))[1])(x)
    np.testing.assert_allclose(slope, jnp.sum(gradient(x) * direction), rtol=1e-12)
    second = jax.jit(lambda x: jax.jvp(jax.grad(f), (x,), (direction,))[1])(x)
    expected = directional_derivative(gradient, x, direction, step=1e-5)
    # The error of central differences at this step.
    np.testing.assert_allclose(second, expected, rtol=1e-6, atol=1e-9)


def test_bandwidth_can_be_learned():
    x = random_paths(3, 4, 2, 15)

    def f(bandwidth):
        return signature_kernel_gram(x, static_kernel=RBF(bandwidth)).sum()

    expected = directional_derivative(f, jnp.asarray(0.7), jnp.asarray(1.0), step=1e-5)
    # The error of central differences at this step.
    np.testing.assert_allclose(jax.grad(f)(jnp.asarray(0.7)), expected, rtol=1e-7)


def test_derivatives_computed_anew_block_by_block(monkeypatch):
    x, y = random_paths(20, 4, 2, 18), random_paths(30, 3, 2, 19)

    def f(points):
        return jnp.mean(signature_kernel_gram(*points, dyadic_order=1))

    def second(points):
        return jax.jvp(jax.grad(f), (points,), (jax.tree.map(jnp.ones_like, points),))[1]

    kept, twice = jax.jit(jax.grad(f))((x, y)), jax.jit(second)((x, y))
    monkeypatch.setattr("roughsnn.signatures.goursat._RESIDUALS", 0)
    jax.clear_caches()
    again, anew = jax.jit(jax.grad(f))((x, y)), jax.jit(second)((x, y))
    jax.clear_caches()
    for a, b in zip((*kept, *twice), (*again, *anew), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


# ---- bad input


def test_bad_input_is_refused():
    x = random_paths(2, 4, 2, 16)
    # A ValueError for users; the type checks of the tests are there first.
    with pytest.raises(Exception, match="channels"):
        signature_kernel_gram(x, random_paths(2, 4, 3, 17))
    with pytest.raises(ValueError, match="dyadic_order"):
        signature_kernel_gram(x, dyadic_order=-1)
    with pytest.raises(ValueError, match="`refine` is 'lift'"):
        signature_kernel_gram(x, refine="lift")
    with pytest.raises(ValueError, match="dyadic_order"):
        refined_paths(x, -1)
    with pytest.raises(ValueError, match="dtype"):
        signature_kernel_gram(x, x.astype(jnp.float32))
    with pytest.raises(ValueError, match="smoothness"):
        Matern(1.0, 2.0)
    with pytest.raises(ValueError, match="too large for float32"):
        signature_kernel_gram(1e3 * x.astype(jnp.float32))
