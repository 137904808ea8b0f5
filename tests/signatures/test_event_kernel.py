import itertools
import math

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from roughsnn.signatures.event_kernel import (
    event_kernel,
    event_kernel_gram,
    suggested_neuron_scale,
)
from roughsnn.signatures.truncated import signature
from roughsnn.spikes.marcus import marcus_lift
from roughsnn.spikes.trains import SpikeTrains

from .reference_kernel import gram_of_trains, kernel_of_paths

# Orders at which no truncation is left in float64 for the trains of these tests.
EXACT = (10, 18)


def random_trains(batch, num_neurons, max_spikes, seed, dtype=jnp.float64, mean=None):
    random = np.random.default_rng(seed)
    times = np.full((batch, max_spikes), np.inf)
    neurons = np.full((batch, max_spikes), -1, np.int32)
    for b in range(batch):
        count = min(random.poisson(mean or 0.7 * max_spikes), max_spikes)
        times[b, :count] = np.sort(random.random(count))
        neurons[b, :count] = random.integers(0, num_neurons, count)
    return SpikeTrains(jnp.asarray(times, dtype), neurons, 0.0, 1.0, num_neurons=num_neurons)


def single(*times, t1=1.0):
    return SpikeTrains.from_lists([[[*times]]], t0=0.0, t1=t1)


def repeated(trains, batch, room, num_neurons):
    """The trains, over again up to a batch, with room to spare and neurons that never spike."""
    again = trains[np.arange(batch) % len(trains)].pad_to(room)
    return SpikeTrains(again.times, again.neurons, 0.0, 1.0, num_neurons=num_neurons)


def exact_gram(x, y, **settings):
    """Without truncation, for one scale. The shape is the same for all tests, so that the kernel,
    long at this order, is compiled once."""
    batches = (repeated(trains, 12, 20, 22) for trains in (x, y))
    return event_kernel_gram(*batches, orders=EXACT, **settings)[: len(x), : len(y)]


def exact_mixed_gram(x, y, mixing, **settings):
    """The same for a mixing matrix of up to three neurons."""
    batches = (repeated(trains, 3, 10, 3) for trains in (x, y))
    mixing = jnp.pad(mixing, (0, 3 - len(mixing)))
    gram = event_kernel_gram(*batches, neuron_scale=mixing, orders=EXACT, **settings)
    return gram[: len(x), : len(y)]


# ---- values


def test_published_values_of_single_spikes():
    # Four trains with room for two spikes, as in another test.
    x = SpikeTrains.from_lists([[[0.3]], [[0.6]], [[]], [[]]], t0=0.0, t1=1.0).pad_to(2)
    gram = event_kernel_gram(x, orders=EXACT)[:3, :3]
    aa, ab, bb, dd = 4.4502455529, 4.2565510960, 4.3599372523, 2.279585302336
    expected = np.array([[aa, ab, dd], [ab, bb, dd], [dd, dd, dd]])
    # The published numbers have ten decimals.
    np.testing.assert_allclose(gram, expected, rtol=0, atol=6e-11)


@pytest.mark.parametrize("length", [0.01, 1.0, 3.0])
def test_trains_without_spikes_are_straight_lines(length):
    silent = SpikeTrains.from_lists([[[]]], t0=0.0, t1=length)
    gram = event_kernel_gram(silent, orders=(18, 2))
    np.testing.assert_allclose(gram[0, 0], special.i0(2 * length), rtol=1e-14)


def test_a_negative_inner_product_gives_the_bessel_function_of_the_first_kind():
    x = SpikeTrains(jnp.zeros((1, 1)), jnp.zeros((1, 1), int), 0.0, 1.0, num_neurons=2)
    y = SpikeTrains(jnp.zeros((1, 1)), jnp.ones((1, 1), int), 0.0, 1.0, num_neurons=2)
    mixing = jnp.asarray([[1.0, -1.0], [-1.0, 1.0]])
    gram = exact_mixed_gram(x, y, mixing, time_scale=0.0)
    np.testing.assert_allclose(gram[0, 0], special.j0(2.0), rtol=1e-14)


@pytest.mark.parametrize(("num_neurons", "scale"), [(1, 1.0), (2, 1.0), (2, 0.3), (22, 1.0)])
def test_gram_equals_an_independent_solver(num_neurons, scale):
    x, y = random_trains(4, num_neurons, 20, 0), random_trains(3, num_neurons, 14, 1)
    gram = exact_gram(x, y, neuron_scale=scale)
    expected = gram_of_trains(x, y, neuron_scale=scale)
    # Sums of positive terms: only rounding is left, far below the 1e-12 asked for.
    np.testing.assert_allclose(gram, expected, rtol=1e-13)


def test_scale_per_neuron_and_mixing_matrix():
    x, y = random_trains(3, 3, 10, 2), random_trains(3, 3, 10, 3)
    scales = jnp.asarray([0.4, 0.9, 1.3])
    gram = event_kernel_gram(x, y, neuron_scale=scales, time_scale=0.7, orders=EXACT)
    expected = gram_of_trains(x, y, neuron_scale=np.asarray(scales), time_scale=0.7)
    np.testing.assert_allclose(gram, expected, rtol=1e-13)
    diagonal = exact_mixed_gram(x, y, jnp.diag(scales**2), time_scale=0.7)
    np.testing.assert_allclose(diagonal, expected, rtol=1e-13)


def test_mixing_matrix_is_the_kernel_of_mixed_paths():
    x, y = random_trains(2, 2, 6, 4), random_trains(2, 2, 6, 5)
    root = np.array([[0.8, 0.3], [0.1, 0.5]])

    def mixed(trains):
        path = np.array(marcus_lift(trains))
        return np.concatenate([path[..., :1], path[..., 1:] @ root], axis=-1)

    expected = [[kernel_of_paths(a, b) for b in mixed(y)] for a in mixed(x)]
    gram = exact_mixed_gram(x, y, jnp.asarray(root @ root.T))
    np.testing.assert_allclose(gram, expected, rtol=1e-13)


def test_simultaneous_spikes_are_one_diagonal_jump():
    x = SpikeTrains.from_lists([([0.2, 0.2, 0.5, 0.5, 0.5], [0, 1, 0, 0, 2])], t0=0.0, t1=1.0,
                               num_neurons=3)  # fmt: skip
    y = SpikeTrains.from_lists([([0.2, 0.7, 0.7, 0.9], [1, 0, 2, 2])], t0=0.0, t1=1.0,
                               num_neurons=3)  # fmt: skip
    # Scales at which fewer terms are exact too, as each pair is compiled by itself.
    scales = dict(time_scale=0.5, neuron_scale=0.5)
    for a, b in ((x, y), (x, x), (y, x)):
        gram = event_kernel_gram(a, b, **scales, orders=(8, 12))
        np.testing.assert_allclose(gram, gram_of_trains(a, b, **scales), rtol=1e-13)


def test_inner_products_of_signatures_at_depth_12():
    x, y = random_trains(2, 1, 4, 6), random_trains(2, 1, 4, 7)
    first, second = (signature(marcus_lift(t, scale=0.5), 12) for t in (x, y))
    gram = exact_gram(x, y, neuron_scale=0.5)
    # The levels above 12 of paths of length 3 weigh 3^26 / 13!^2 = 7e-8.
    np.testing.assert_allclose(gram, 1 + first @ second.T, rtol=1e-7)


def test_single_precision_keeps_six_digits():
    x, y = random_trains(8, 2, 20, 0), random_trains(8, 2, 20, 1)
    exact = exact_gram(x, y)
    x, y = random_trains(8, 2, 20, 0, jnp.float32), random_trains(8, 2, 20, 1, jnp.float32)
    single_precision = event_kernel_gram(x, y, tolerance=1e-7)
    assert single_precision.dtype == jnp.float32
    np.testing.assert_allclose(single_precision, exact, rtol=1e-6)


# ---- error control


@pytest.mark.parametrize(
    ("num_neurons", "tolerance"), [(1, 1e-6), (2, 1e-3), (2, 1e-6), (2, 1e-9), (22, 1e-12)]
)
def test_the_tolerance_is_kept_and_the_estimate_bounds_the_error(num_neurons, tolerance):
    x, y = random_trains(12, num_neurons, 20, 8), random_trains(12, num_neurons, 20, 9)
    exact = exact_gram(x, y)
    gram, estimate = event_kernel_gram(x, y, tolerance=tolerance, return_error=True)
    error = np.abs(gram / exact - 1)
    assert error.max() <= tolerance
    # 1e-14 for rounding.
    assert (error <= estimate + 1e-14).all()


def test_truncation_only_lowers_the_kernel():
    x = random_trains(4, 2, 12, 10)
    grams = [event_kernel_gram(x, orders=(n, n + 2)) for n in (2, 3, 4, 6)]
    for lower, higher in itertools.pairwise(grams):
        assert (lower < higher).all()


# ---- properties


# The seed and the mean count of a batch, which is built outside the strategy: run-time type
# checking draws random numbers, which a strategy must not.
BATCHES = st.tuples(st.integers(0, 10**6), st.floats(0.5, 8.0))


def batch_of(drawn):
    # One shape, so that every example runs the same compiled code.
    seed, mean = drawn
    return random_trains(5, 3, 8, seed, mean=mean)


@hypothesis.given(BATCHES)
def test_gram_is_symmetric_and_positive_semidefinite(drawn):
    x = batch_of(drawn)
    gram = event_kernel_gram(x, orders=(6, 8), neuron_scale=0.5)
    full = event_kernel_gram(x, x, orders=(6, 8), neuron_scale=0.5)
    # The same sums in another order.
    np.testing.assert_allclose(gram, full, rtol=1e-14)
    np.testing.assert_array_equal(gram, gram.T)
    eigenvalues = np.linalg.eigvalsh(gram)
    assert eigenvalues[0] >= -1e-10 * eigenvalues[-1]


@hypothesis.given(BATCHES, st.randoms(use_true_random=False))
def test_gram_does_not_depend_on_names_or_origin(drawn, random):
    x = batch_of(drawn)
    gram = event_kernel_gram(x, orders=(6, 8))
    order = list(range(x.num_neurons))
    random.shuffle(order)
    renamed = event_kernel_gram(x.select(order), orders=(6, 8))
    np.testing.assert_allclose(renamed, gram, rtol=1e-13)
    shifted = SpikeTrains(x.times, x.neurons, 5.0, 6.0, num_neurons=x.num_neurons)
    np.testing.assert_array_equal(event_kernel_gram(shifted, orders=(6, 8)), gram)


@hypothesis.given(BATCHES)
def test_padding_changes_nothing(drawn):
    x = batch_of(drawn)
    gram = event_kernel_gram(x, orders=(6, 8))
    padded = event_kernel_gram(x.pad_to(13), orders=(6, 8))
    np.testing.assert_array_equal(padded, gram)


def test_spikes_of_neurons_that_only_one_train_fires_change_nothing():
    x = SpikeTrains.from_lists([[[0.2, 0.6], [0.5], [0.1]]], t0=0.0, t1=1.0)
    y = SpikeTrains.from_lists([[[0.3], [], []]], t0=0.0, t1=1.0)
    without = SpikeTrains.from_lists([[[0.2, 0.6], [], []]], t0=0.0, t1=1.0)
    np.testing.assert_allclose(exact_gram(x, y), exact_gram(without, y), rtol=1e-14)


def test_many_blocks_give_what_one_gives():
    x, y = random_trains(70, 3, 6, 11), random_trains(61, 3, 6, 12)
    gram = event_kernel_gram(x, y, orders=(4, 6))
    part = event_kernel_gram(
        SpikeTrains(x.times[40:50], x.neurons[40:50], 0.0, 1.0, num_neurons=3),
        SpikeTrains(y.times[:9], y.neurons[:9], 0.0, 1.0, num_neurons=3),
        orders=(4, 6),
    )
    np.testing.assert_allclose(gram[40:50, :9], part, rtol=1e-13)
    upper = event_kernel_gram(x, orders=(4, 6))
    np.testing.assert_allclose(upper, event_kernel_gram(x, x, orders=(4, 6)), rtol=1e-13)


def test_kernel_of_paired_trains_is_the_diagonal_of_the_gram():
    x, y = random_trains(6, 2, 8, 13), random_trains(6, 2, 8, 14)
    kernel = event_kernel(x, y)
    np.testing.assert_allclose(kernel, jnp.diagonal(event_kernel_gram(x, y)), rtol=1e-14)
    alone = eqx.filter_vmap(event_kernel, in_axes=(x.vmap_axes, y.vmap_axes))(x, y)
    np.testing.assert_allclose(alone, kernel, rtol=1e-14)


def test_edges_of_the_window_and_empty_batches():
    x = SpikeTrains.from_lists([[[0.0, 1.0]], [[0.0]], [[1.0]], [[]]], t0=0.0, t1=1.0)
    gram = event_kernel_gram(x, orders=EXACT)
    np.testing.assert_allclose(gram, gram_of_trains(x, x), rtol=1e-13)
    none = SpikeTrains(jnp.zeros((0, 3)), jnp.zeros((0, 3), int), 0.0, 1.0, num_neurons=1)
    assert event_kernel_gram(none, x).shape == (0, 4)
    no_room = SpikeTrains(jnp.zeros((2, 0)), jnp.zeros((2, 0), int), 0.0, 1.0, num_neurons=1)
    np.testing.assert_allclose(event_kernel_gram(no_room), np.full((2, 2), special.i0(2)), 1e-6)


# ---- bad input


def test_overflow_is_reported_with_the_scale_to_use():
    times = jnp.linspace(0, 1, 120, dtype=jnp.float32)[None]
    x = SpikeTrains(times, jnp.zeros((1, 120), int), 0.0, 1.0, num_neurons=1)
    with pytest.raises(ValueError, match=r"too large for float32.*Multiply neuron_scale by 0\.36"):
        event_kernel_gram(x)
    with pytest.raises(Exception, match=r"Multiply neuron_scale by 0\.2 or less"):
        jax.jit(event_kernel_gram)(x).block_until_ready()
    assert np.isfinite(event_kernel_gram(x, neuron_scale=0.36)).all()


def bad(times, neurons=None, t1=1.0, num_neurons=1):
    times = jnp.asarray([times])
    neurons = jnp.zeros(times.shape, int) if neurons is None else jnp.asarray([neurons])
    return SpikeTrains(times, neurons, 0.0, t1, num_neurons=num_neurons)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (bad([0.5, np.nan]), "NaN"),
        (bad([0.5, 0.2]), "not sorted"),
        (bad([0.5, 1.2]), "outside the window"),
        (bad([0.5], t1=2.0), "windows of different lengths"),
        (bad([0.5], num_neurons=2), "2 neurons and `y` 1"),
    ],
)
def test_bad_trains_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        event_kernel_gram(x, single(0.5))
    with pytest.raises(Exception, match=message):
        jax.jit(event_kernel_gram)(x, single(0.5)).block_until_ready()


def test_orders_that_are_too_low_inside_jit_are_refused():
    """Scales that are not known are taken as 1; a jump of 4 is then wrong by 2 %."""
    x = SpikeTrains.from_lists([[[0.2, 0.5, 0.7]]], t0=0.0, t1=1.0)
    gram = jax.jit(lambda scale: event_kernel_gram(x, neuron_scale=scale, return_error=True))
    exact = event_kernel_gram(x, neuron_scale=2.0, orders=(12, 24))
    np.testing.assert_allclose(gram(2.0)[0], exact, rtol=1e-5)
    with pytest.raises(Exception, match="less exact than `tolerance` asks"):
        jax.block_until_ready(gram(4.0))
    assert np.isfinite(event_kernel_gram(x, neuron_scale=4.0)).all()


def test_ties_inside_jit_need_room():
    x = SpikeTrains.from_lists([[[0.5], [0.5]]], t0=0.0, t1=1.0)
    with pytest.raises(Exception, match="max_simultaneous"):
        jax.jit(event_kernel_gram)(x).block_until_ready()
    with pytest.raises(ValueError, match="max_simultaneous"):
        event_kernel_gram(x, max_simultaneous=1)
    traced = jax.jit(lambda x: event_kernel_gram(x, max_simultaneous=2))(x)
    np.testing.assert_allclose(traced, event_kernel_gram(x), rtol=1e-14)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neuron_scale": jnp.ones(3)}, "neuron_scale"),
        ({"time_scale": jnp.ones(2)}, "time_scale"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"orders": (1, 4)}, "orders"),
        ({"max_simultaneous": 0}, "max_simultaneous"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        event_kernel_gram(single(0.5), **settings)


def test_suggested_scale():
    x = SpikeTrains.from_lists([[[0.1, 0.2, 0.3, 0.4]], [[0.1, 0.2, 0.3, 0.4]]], t0=0.0, t1=1.0)
    assert suggested_neuron_scale(x) == pytest.approx(1 / math.sqrt(4))
