import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures import event_kernel_gram, joint_lift, signature, signature_kernel_gram
from roughsnn.spikes import SpikeTrains, marcus_lift

from ..helpers import directional_derivative, random_direction
from .reference_kernel import kernel_of_paths
from .test_event_kernel import random_trains
from .test_event_signature import at

GRID = jnp.linspace(0.0, 1.0, 5)


def samples(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def test_points_by_hand():
    trains = SpikeTrains.from_lists([([0.3, 0.6], [0, 1])], t0=0.0, t1=1.0, num_neurons=2,
                                    max_spikes=3)  # fmt: skip
    grid, values = jnp.asarray([0.0, 0.5, 1.0]), jnp.asarray([[[0.0], [1.0], [3.0]]])
    path = joint_lift(trains, grid, values, scale=2.0, time_scale=10.0, value_scale=0.5)
    assert path.shape == (1, 11, 4)
    expected = [
        [0, 0, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0.3], [3, 2, 0, 0.3], [5, 2, 0, 0.5],
        [6, 2, 0, 0.7], [6, 2, 2, 0.7], [10, 2, 2, 1.5],
    ]  # fmt: skip
    np.testing.assert_allclose(path[0, :8], expected, atol=1e-14)
    # What is left repeats the end.
    np.testing.assert_allclose(path[0, 8:], [expected[-1]] * 3, atol=1e-14)


def test_signals_that_jump_with_the_spikes():
    trains = SpikeTrains.from_lists([([0.3, 0.6, 0.6], [0, 0, 1])], t0=0.0, t1=1.0, num_neurons=2,
                                    max_spikes=4)  # fmt: skip
    grid, values = jnp.asarray([0.0, 1.0]), jnp.asarray([[[0.0], [1.0]]])
    before = jnp.asarray([[[5.0], [6.0], [7.0], [jnp.nan]]])
    after = jnp.asarray([[[-5.0], [-6.0], [-7.0], [jnp.nan]]])
    path = joint_lift(trains, grid, values, at_spikes=(before, after))[0]
    # At the tie both neurons and the signal go along one diagonal.
    expected = [
        [0, 0, 0, 0], [0, 0, 0, 0], [0.3, 0, 0, 5], [0.3, 1, 0, -5], [0.6, 1, 0, 6],
        [0.6, 2, 1, -7], [0.6, 2, 1, -7], [0.6, 2, 1, -7], [1, 2, 1, 1],
    ]  # fmt: skip
    np.testing.assert_allclose(path[:9], expected, atol=1e-14)


def test_constant_signals_leave_the_spikes_as_they_are():
    x, y = random_trains(3, 2, 6, 0), random_trains(2, 2, 6, 1)
    paths = [joint_lift(t, GRID, jnp.ones((len(t), 5, 2)), scale=0.5) for t in (x, y)]
    for trains, path in zip((x, y), paths, strict=True):
        expected = signature(marcus_lift(trains, scale=0.5), 3)
        kept = signature(path[..., :3], 3)
        np.testing.assert_allclose(kept, expected, rtol=1e-12, atol=1e-14)
    gram = signature_kernel_gram(*paths, dyadic_order=4)
    # Finite differences of order four of a kernel with jumps of one half: their error is 1e-4.
    np.testing.assert_allclose(gram, event_kernel_gram(x, y, neuron_scale=0.5), rtol=1e-3)


def test_its_kernel_beside_an_independent_solver():
    x = random_trains(2, 1, 4, 2)
    paths = joint_lift(x, GRID, samples(3, 2, 5, 1), scale=0.3, value_scale=0.3)
    expected = [[kernel_of_paths(np.asarray(a), np.asarray(b)) for a in paths] for b in paths]
    np.testing.assert_allclose(signature_kernel_gram(paths, dyadic_order=5), expected, rtol=1e-4)
    truncated = signature(paths, 10)
    np.testing.assert_allclose(1 + truncated @ truncated.T, expected, rtol=1e-6)


def test_derivatives_and_transformations():
    trains = random_trains(3, 2, 4, 4)
    values, weights = samples(5, 3, 5, 2), samples(6, 3, 30)

    def f(point):
        path = joint_lift(at(trains, point[0]), GRID, point[1], scale=0.7)
        return jnp.sum(weights * signature(path, 2))

    point = (trains.times, values)
    direction = random_direction(point)
    direction = (jnp.where(trains.mask, direction[0], 0.0), direction[1])
    gradient = jax.jit(jax.grad(f))(point)
    pulled = sum(jnp.sum(a * b) for a, b in zip(gradient, direction, strict=True))
    expected = directional_derivative(f, point, direction, step=1e-6)
    # No spike comes within 1e-6 of a sample; 1e-8 is the error of the difference.
    np.testing.assert_allclose(pulled, expected, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(f, (point,), (direction,))[1], pulled, rtol=1e-10)
    single = joint_lift(trains[0], GRID, values[0])
    np.testing.assert_allclose(single, joint_lift(trains, GRID, values)[0], rtol=1e-14)
    assert joint_lift(trains[:0], GRID, values[:0]).shape == (0, 15, 5)


def test_errors():
    trains = random_trains(2, 1, 3, 7)
    values = jnp.zeros((2, 5, 1))
    cases = [
        ((GRID[:1], values[:, :1]), {}, "`grid` has shape"),
        ((GRID, values[:1]), {}, "`values` has shape"),
        ((GRID.astype(jnp.float32), values), {}, "dtype float32"),
        ((GRID, values), {"value_scale": jnp.ones(2)}, "`value_scale` has shape"),
        ((GRID, values), {"at_spikes": (values, values)}, "`at_spikes` has shape"),
        ((GRID[::-1], values), {}, "`grid` is not sorted"),
        ((GRID + 1, values), {}, "outside the window"),
        ((GRID, values / 0), {}, "not finite"),
    ]
    for arguments, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            joint_lift(trains, *arguments, **settings)
    with pytest.raises(Exception, match="outside the window"):
        jax.jit(joint_lift)(trains, GRID + 1, values).block_until_ready()
