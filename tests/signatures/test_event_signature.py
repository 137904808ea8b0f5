import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn._native import VARIABLE
from roughsnn.signatures import _signature_terms
from roughsnn.signatures.event_signature import event_signature, mean_event_signature
from roughsnn.signatures.truncated import signature
from roughsnn.spikes.marcus import marcus_lift
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative, finite_difference_gradient, random_direction
from .test_event_kernel import random_trains

SCALES = jnp.asarray([0.5, 1.0, 1.3])


def at(trains, times, t1=1.0):
    return SpikeTrains(times, trains.neurons, 0.0, t1, num_neurons=trains.num_neurons)


def tied_trains():
    return SpikeTrains.from_lists(
        [
            ([0.2, 0.2, 0.5, 0.7, 0.7, 0.7], [0, 2, 1, 0, 0, 1]),
            ([0.0, 0.0, 1.0], [0, 1, 2]),
            ([], []),
        ],
        t0=0.0,
        t1=1.0,
        num_neurons=3,
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_it_is_the_signature_of_the_marcus_lift(depth, ties):
    trains = tied_trains() if ties else random_trains(3, 3, 8, 0)
    computed = event_signature(trains, depth, time_scale=0.7, neuron_scale=SCALES)
    expected = signature(marcus_lift(trains, time_scale=0.7, scale=SCALES), depth)
    # Rounding of sums of terms up to about 10.
    np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-13)


def test_published_coordinates():
    trains = SpikeTrains.from_lists([[[0.3]]], t0=0.0, t1=1.0)
    third = [1 / 6, 0.045, 0.21, 0.15, 0.245, 0.0, 0.35, 1 / 6]
    expected = [1, 1, 0.5, 0.3, 0.7, 0.5, *third]
    np.testing.assert_allclose(event_signature(trains, 3)[0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_gradient_equals_central_differences(depth):
    trains = random_trains(2, 3, 5, 1)
    size = event_signature(trains, depth).shape
    weights = jnp.asarray(np.random.default_rng(2).normal(size=size))

    @jax.jit
    def f(point):
        times = jnp.where(trains.mask, point["times"], jnp.inf)
        moved = at(trains, times, point["t1"])
        value = event_signature(
            moved, depth, time_scale=point["time_scale"], neuron_scale=point["neuron_scale"]
        )
        return jnp.sum(weights * value)

    point = {
        "times": jnp.where(trains.mask, trains.times, 0.5),
        "t1": jnp.asarray(1.1),
        "time_scale": jnp.asarray(0.9),
        "neuron_scale": SCALES,
    }
    gradient = jax.grad(f)(point)
    expected = finite_difference_gradient(f, point, step=1e-5)
    for name in point:
        # The error of central differences at this step.
        np.testing.assert_allclose(gradient[name], expected[name], rtol=1e-7, atol=1e-8)


def test_gradient_at_ties_is_that_of_the_marcus_lift():
    trains = tied_trains()

    def ours(times):
        return jnp.sum(event_signature(at(trains, times), 4) ** 2)

    def through_the_lift(times):
        return jnp.sum(signature(marcus_lift(at(trains, times)), 4) ** 2)

    gradient = jax.grad(ours)(trains.times)
    assert np.isfinite(gradient).all()
    expected = jax.grad(through_the_lift)(trains.times)
    # Two ways through the same sums.
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-11)


def test_forward_reverse_and_second_derivatives_agree():
    trains = random_trains(2, 2, 4, 3)
    times = jnp.where(trains.mask, trains.times, 0.5)

    def f(times):
        times = jnp.where(trains.mask, times, jnp.inf)
        return jnp.sum(event_signature(at(trains, times), 3) ** 2)

    direction = random_direction(times)
    slope = jax.jvp(f, (times,), (direction,))[1]
    np.testing.assert_allclose(slope, jnp.sum(jax.grad(f)(times) * direction), rtol=1e-12)
    second = jax.jvp(jax.grad(f), (times,), (direction,))[1]
    expected = directional_derivative(jax.grad(f), times, direction, step=1e-5)
    # The error of central differences at this step.
    np.testing.assert_allclose(second, expected, rtol=1e-7, atol=1e-7)


@hypothesis.given(st.integers(0, 10**6))
def test_padding_and_batch_change_nothing(seed):
    trains = random_trains(3, 2, 6, seed)
    whole = event_signature(trains, 3)
    padded = event_signature(trains.pad_to(9), 3)
    # The same terms, summed in another order.
    np.testing.assert_allclose(padded, whole, rtol=1e-13, atol=1e-15)
    alone = SpikeTrains(trains.times[1], trains.neurons[1], 0.0, 1.0, num_neurons=2)
    np.testing.assert_allclose(event_signature(alone, 3), whole[1], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("summed", [False, True])
def test_trains_in_parts_give_what_all_together_give(summed, monkeypatch):
    """In JAX, where the states of some trains have no room beside those of others."""
    trains = SpikeTrains.concatenate([random_trains(2, 3, 6, 5), tied_trains()])
    weights = jnp.asarray(np.random.default_rng(2).normal(size=4 + 16 + 64))

    def f(times):
        moved = at(trains, times)
        if summed:
            return weights @ mean_event_signature(moved, 3, time_scale=0.7, neuron_scale=SCALES)
        signatures = event_signature(moved, 3, time_scale=0.7, neuron_scale=SCALES)
        return jnp.mean(signatures, axis=0) @ weights

    expected = jax.jit(jax.value_and_grad(f))(trains.times)
    monkeypatch.setenv(VARIABLE, "jax")
    # Two trains at a time.
    monkeypatch.setattr(_signature_terms, "_STATES", 4 * 13 * 5 * 8 * 2)
    found = jax.jit(jax.value_and_grad(lambda times: f(times)))(trains.times)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


def test_no_spikes_and_no_room():
    silent = SpikeTrains(jnp.zeros((2, 0)), jnp.zeros((2, 0), int), 0.0, 2.0, num_neurons=1)
    expected = [2, 0, 2, 0, 0, 0, 4 / 3, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(event_signature(silent, 3), [expected] * 2, rtol=1e-14)
    none = SpikeTrains(jnp.zeros((0, 3)), jnp.zeros((0, 3), int), 0.0, 2.0, num_neurons=1)
    assert event_signature(none, 2).shape == (0, 6)


def test_bad_settings_are_refused():
    trains = random_trains(2, 3, 4, 5)
    with pytest.raises(ValueError, match="depth"):
        event_signature(trains, 0)
    with pytest.raises(ValueError, match="neuron_scale"):
        event_signature(trains, 2, neuron_scale=jnp.ones(2))
    with pytest.raises(ValueError, match="time_scale"):
        event_signature(trains, 2, time_scale=jnp.ones(2))
