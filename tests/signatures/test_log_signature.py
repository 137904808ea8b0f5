import jax
import jax.numpy as jnp
import numpy as np
import pytest
import signax

from roughsnn.signatures import (
    event_log_signature,
    event_signature,
    log_signature,
    logarithm,
    lyndon_words,
    num_log_coordinates,
)
from roughsnn.spikes import SpikeTrains, marcus_lift

from ..helpers import directional_derivative, random_direction
from .test_event_kernel import random_trains
from .test_event_signature import at, tied_trains


def paths(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(("channels", "depth"), [(2, 1), (2, 5), (3, 4), (5, 3)])
def test_it_is_the_log_signature_of_signax(channels, depth):
    x = paths(0, 3, 7, channels)
    with jax.numpy_dtype_promotion("standard"):
        words = signax.utils.lyndon_words(depth, channels)
        expected = signax.logsignature(x, depth)
    assert [tuple(w.tolist()) for level in words for w in level] == list(
        lyndon_words(channels, depth)
    )
    # Rounding of sums of products of the increments.
    np.testing.assert_allclose(log_signature(x, depth), expected, rtol=1e-11, atol=1e-11)


def test_one_channel_has_its_increment_alone():
    x = paths(0, 3, 7, 1)
    np.testing.assert_allclose(log_signature(x, 3), x[:, -1] - x[:, 0], rtol=1e-12)


def test_increment_and_areas():
    x = paths(1, 6, 2)
    log = log_signature(x, 2)
    assert lyndon_words(2, 2) == ((0,), (1,), (0, 1))
    np.testing.assert_allclose(log[:2], x[-1] - x[0], rtol=1e-13)
    middle, step = (x[1:] + x[:-1]) / 2 - x[:1], jnp.diff(x, axis=0)
    area = jnp.sum(middle[:, 0] * step[:, 1] - middle[:, 1] * step[:, 0]) / 2
    np.testing.assert_allclose(log[2], area, rtol=1e-12)


def test_two_pieces_give_the_series_of_baker_campbell_hausdorff():
    a, b = jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0])
    x = jnp.stack([jnp.zeros(2), 0.3 * a, 0.3 * a + 0.7 * b])
    log = log_signature(x, 4)
    # log(e^sa e^tb) has [a,b] st/2, [a,[a,b]] s^2 t/12 and [[a,b],b] s t^2 /12, and at level 4
    # -[b,[a,[a,b]]] s^2 t^2 / 24, whose coefficient of the word aabb is +1/24.
    s, t = 0.3, 0.7
    expected = {
        (0,): s, (1,): t, (0, 1): s * t / 2, (0, 0, 1): s**2 * t / 12, (0, 1, 1): s * t**2 / 12,
        (0, 0, 0, 1): 0.0, (0, 0, 1, 1): s**2 * t**2 / 24, (0, 1, 1, 1): 0.0,
    }  # fmt: skip
    for word, value in zip(lyndon_words(2, 4), log, strict=True):
        np.testing.assert_allclose(value, expected[word], atol=1e-15)


def test_counts_of_words():
    # Witt's formula; d letters have d (d - 1) / 2 words of length 2 and (d^3 - d) / 3 of length 3.
    assert num_log_coordinates(2, 6) == 2 + 1 + 2 + 3 + 6 + 9
    assert num_log_coordinates(23, 3) == 23 + 23 * 22 // 2 + (23**3 - 23) // 3
    assert num_log_coordinates(1, 4) == 1


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_of_spike_trains(depth):
    for trains in (random_trains(3, 2, 6, 0), tied_trains()):
        log = event_log_signature(trains, depth, time_scale=0.7, neuron_scale=0.5)
        expected = log_signature(marcus_lift(trains, time_scale=0.7, scale=0.5), depth)
        np.testing.assert_allclose(log, expected, rtol=1e-12, atol=1e-13)


def test_gradient_shapes_and_precision():
    trains = random_trains(3, 2, 4, 1)
    weights = paths(2, 3, num_log_coordinates(3, 3))

    @jax.jit
    def f(times):
        return jnp.sum(weights * event_log_signature(at(trains, times), 3))

    direction = jnp.where(trains.mask, random_direction(trains.times), 0.0)
    gradient = jax.jit(jax.grad(f))(trains.times)
    expected = directional_derivative(f, trains.times, direction, step=1e-5)
    # 1e-8 is the error of the central difference.
    np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(jax.jvp(f, (trains.times,), (direction,))[1], expected, rtol=1e-7)
    single = SpikeTrains(trains.times.astype(jnp.float32), trains.neurons, 0.0, 1.0, num_neurons=2)
    log = event_log_signature(single, 3)
    assert log.dtype == jnp.float32
    np.testing.assert_allclose(log, event_log_signature(trains, 3), rtol=1e-4, atol=1e-5)
    assert event_log_signature(trains[:0], 3).shape == (0, 14)
    assert event_log_signature(trains[0], 3).shape == (14,)


def test_errors():
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1, got 0"):
        logarithm(jnp.ones((2, 3)), 0)
    with pytest.raises(ValueError, match="`coordinates` is 7"):
        logarithm(jnp.ones((2, 7)), 2)
    with pytest.raises(ValueError, match="`channels` is 0"):
        lyndon_words(0, 2)


def test_level_weights():
    trains = random_trains(2, 1, 4, 3)
    plain = event_signature(trains, 3, neuron_scale=0.5)
    weighted = event_signature(trains, 3, neuron_scale=0.5, level_weights=(1.0, 0.5, 0.0))
    factors = np.repeat([1.0, 0.5, 0.0], [2, 4, 8])
    np.testing.assert_allclose(weighted, plain * factors[None], rtol=1e-15)
    for wrong in ((1.0, 2.0), (1.0, 2.0, np.inf)):
        with pytest.raises(ValueError, match="`level_weights` is"):
            event_signature(trains, 3, level_weights=wrong)
