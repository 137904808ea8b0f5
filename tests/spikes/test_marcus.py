import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from roughsnn.signatures import signature
from roughsnn.spikes import SpikeTrains, marcus_lift
from tests.helpers import finite_difference_gradient
from tests.strategies import MAX_SPIKES, NUM_NEURONS, given_trains

DEPTH = 3


lift = eqx.filter_jit(marcus_lift)


@jax.jit
def lifted_signature(trains):
    return signature(marcus_lift(trains), DEPTH)


def one_trial(*per_neuron, max_spikes=None):
    return SpikeTrains.from_lists([list(per_neuron)], t0=0.0, t1=1.0, max_spikes=max_spikes)[0]


def test_points_are_those_of_the_definition():
    path = lift(one_trial([0.2, 0.7], [0.5], max_spikes=4))
    expected = [
        [0.0, 0, 0],
        [0.2, 0, 0],
        [0.2, 1, 0],
        [0.5, 1, 0],
        [0.5, 1, 1],
        [0.7, 1, 1],
        [0.7, 2, 1],
        [1.0, 2, 1],
        [1.0, 2, 1],
        [1.0, 2, 1],
    ]
    np.testing.assert_array_equal(path, expected)


def test_last_jump_is_kept_when_the_padding_is_full():
    path = lift(one_trial([0.2, 0.7]))
    np.testing.assert_array_equal(path[-2:], [[0.7, 2], [1.0, 2]])


@given_trains()
def test_runs_from_the_start_to_the_end(trains):
    path = np.asarray(lift(trains))
    assert path.shape == (len(trains), 2 * MAX_SPIKES + 2, 1 + NUM_NEURONS)
    np.testing.assert_array_equal(path[:, 0], 0.0)
    np.testing.assert_array_equal(path[:, -1, 0], 1.0)
    np.testing.assert_array_equal(path[:, -1, 1:], trains.counts_by_neuron)
    assert np.all(np.diff(path, axis=1) >= 0)


@given_trains()
def test_signature_is_that_of_the_path_written_by_hand(trains):
    """One point at a time in NumPy, with a single diagonal jump for simultaneous spikes."""
    for trial, got in zip(trains.to_lists(), lifted_signature(trains), strict=True):
        points = [np.zeros(1 + NUM_NEURONS)]
        for time in np.unique(np.concatenate(trial)):
            points.append(np.concatenate([[time], points[-1][1:]]))
            jump = [np.sum(times == time) for times in trial]
            points.append(points[-1] + np.concatenate([[0.0], jump]))
        points.append(np.concatenate([[1.0], points[-1][1:]]))
        points += [points[-1]] * (2 * MAX_SPIKES + 2 - len(points))
        expected = jitted_signature(jnp.array(points))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@jax.jit
def jitted_signature(path):
    return signature(path, DEPTH)


def test_simultaneous_spikes_jump_along_the_diagonal():
    together = jitted_signature(lift(one_trial([0.4], [0.4])))
    diagonal = jnp.array([[0.0, 0, 0], [0.4, 0, 0], [0.4, 1, 1], [1.0, 1, 1]])
    in_turn = jnp.array([[0.0, 0, 0], [0.4, 0, 0], [0.4, 1, 0], [0.4, 1, 1], [1.0, 1, 1]])
    np.testing.assert_allclose(together, jitted_signature(diagonal), rtol=1e-13)
    assert np.max(np.abs(together - jitted_signature(in_turn))) > 0.1


@given_trains()
def test_padding_changes_nothing(trains):
    padded = lifted_signature(trains.pad_to(MAX_SPIKES + 2))
    np.testing.assert_allclose(padded, lifted_signature(trains), rtol=1e-13, atol=1e-14)


@given_trains(st.permutations(range(NUM_NEURONS)))
def test_renumbering_the_neurons_permutes_the_channels(trains, order):
    permuted = lift(trains.select(order))
    channels = np.concatenate([[0], 1 + np.array(order)])
    np.testing.assert_array_equal(permuted, lift(trains)[..., channels])


@given_trains()
def test_a_later_start_changes_nothing(trains):
    shifted = SpikeTrains(trains.times, trains.neurons, 2.0, 3.0, num_neurons=trains.num_neurons)
    np.testing.assert_array_equal(lift(shifted), lift(trains))


def test_scales():
    trains = one_trial([0.2], [0.5])
    path = lift(trains)
    np.testing.assert_allclose(
        lift(trains, scale=(2.0, 3.0), time_scale=0.5), path * np.array([[0.5, 2.0, 3.0]])
    )
    np.testing.assert_allclose(lift(trains, scale=0.5)[:, 1:], 0.5 * path[:, 1:])
    with pytest.raises(ValueError, match=r"`scale` has shape \(3,\); it must be a single number"):
        marcus_lift(trains, scale=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("batch_shape", [(), (0,), (1,), (2, 3)])
@pytest.mark.parametrize("max_spikes", [0, 1])
def test_small_and_large_batches(batch_shape, max_spikes):
    shape = (*batch_shape, max_spikes)
    trains = SpikeTrains(jnp.full(shape, jnp.inf), jnp.full(shape, -1), 0.0, 1.0, num_neurons=2)
    path = lift(trains)
    assert path.shape == (*batch_shape, 2 * max_spikes + 2, 3)
    np.testing.assert_array_equal(path[..., 1:, 0], 1.0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_follows_the_times(dtype):
    trains = SpikeTrains.from_lists([[[0.5]]], t0=0.0, t1=1.0, dtype=dtype)
    assert lift(trains, scale=jnp.ones(1)).dtype == dtype
    assert signature(lift(trains), 2).dtype == dtype


def functional(trains, times):
    """A smooth scalar of the lift that depends on every spike."""
    moved = eqx.tree_at(lambda x: x.times, trains, times)
    coordinates = signature(marcus_lift(moved), DEPTH)
    weights = jnp.sin(jnp.arange(coordinates.size, dtype=times.dtype) + 1.0)
    return jnp.sum(coordinates * weights.reshape(coordinates.shape))


@jax.jit
def gradient(trains):
    return jax.grad(lambda times: functional(trains, times))(trains.times)


def test_gradient_equals_central_differences():
    # Polynomial of degree 3 in the times, so the error of a step of 1e-5 is rounding: 1e-10.
    trains = SpikeTrains.from_lists([[[0.2, 0.7], [0.5, 0.9]]], t0=0.0, t1=1.0)

    @jax.jit
    def f(times):
        return functional(trains, times)

    np.testing.assert_allclose(
        gradient(trains), finite_difference_gradient(f, trains.times), atol=1e-8
    )


@given_trains()
def test_gradient_is_finite_and_zero_in_the_padding(trains):
    got = np.asarray(gradient(trains))
    assert np.all(np.isfinite(got))
    np.testing.assert_array_equal(got[~np.asarray(trains.mask)], 0.0)


def test_tied_spikes_share_their_gradient():
    trains = SpikeTrains.from_lists([[[0.2, 0.4], [0.4], [0.4, 0.8]]], t0=0.0, t1=1.0)
    got = gradient(trains)[0]
    np.testing.assert_allclose(got[1:4], jnp.full(3, got[1]), rtol=1e-12)

    # Moved together they stay tied, and there the lift is smooth. Step as above.
    @jax.jit
    def together(shift):
        tied = jnp.where(trains.times == 0.4, 1.0, 0.0)
        return functional(trains, trains.times + shift * tied)

    difference = finite_difference_gradient(together, jnp.zeros(()))
    np.testing.assert_allclose(jnp.sum(got[1:4]), difference, atol=1e-8)
