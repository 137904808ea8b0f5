import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from roughsnn.spikes import SpikeTrains, first_spike_times
from tests.strategies import MAX_SPIKES, NUM_NEURONS, given_trains


def equal(a: SpikeTrains, b: SpikeTrains) -> bool:
    same = jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)
    return a.num_neurons == b.num_neurons and all(jax.tree.leaves(same))


@pytest.fixture
def trains() -> SpikeTrains:
    """Two neurons, three trials: ordinary, silent, and one with a tie."""
    trials = [[[0.2, 0.7], [0.5]], [[], []], [[0.1, 0.4], [0.4]]]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0)


def test_layout(trains):
    inf = np.inf
    np.testing.assert_array_equal(trains.times, [[0.2, 0.5, 0.7], [inf, inf, inf], [0.1, 0.4, 0.4]])
    np.testing.assert_array_equal(trains.neurons, [[0, 1, 0], [-1, -1, -1], [0, 0, 1]])
    assert trains.neurons.dtype == jnp.int32
    assert trains.max_spikes == 3
    assert trains.batch_shape == (3,)
    assert len(trains) == 3
    np.testing.assert_array_equal(trains.counts, [3, 0, 3])
    np.testing.assert_array_equal(trains.counts_by_neuron, [[2, 1], [0, 0], [2, 1]])
    np.testing.assert_array_equal(trains.mask, np.isfinite(trains.times))
    assert not trains.overflowed.any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_follows_the_times(dtype):
    trains = SpikeTrains.from_lists([[[0.5]]], t0=0, t1=1, dtype=dtype)
    assert trains.times.dtype == trains.duration.dtype == dtype
    assert (trains.t0, trains.t1) == (0.0, 1.0)


@given_trains()
def test_lists_round_trip(trains):
    again = SpikeTrains.from_lists(trains.to_lists(), t0=0.0, t1=1.0, max_spikes=MAX_SPIKES)
    assert equal(again, trains)


@given_trains()
def test_counts_are_consistent(trains):
    np.testing.assert_array_equal(trains.counts_by_neuron.sum(axis=-1), trains.counts)


@given_trains(st.permutations(range(NUM_NEURONS)))
def test_select_of_all_neurons_is_a_renumbering(trains, order):
    renumbered = trains.select(order)
    np.testing.assert_array_equal(
        renumbered.counts_by_neuron, trains.counts_by_neuron[:, np.array(order)]
    )
    back = np.argsort(order).tolist()
    assert equal(renumbered.select(back), trains)


@given_trains()
def test_select_keeps_the_times_of_the_neuron(trains):
    for trial, chosen in zip(trains.to_lists(), trains.select([2, 0]).to_lists(), strict=True):
        np.testing.assert_array_equal(chosen[0], trial[2])
        np.testing.assert_array_equal(chosen[1], trial[0])


@given_trains()
def test_window_keeps_exactly_what_is_inside(trains):
    inner = trains.window(0.25, 0.75)
    assert (float(inner.t0), float(inner.t1)) == (0.25, 0.75)
    for trial, cut in zip(trains.to_lists(), inner.to_lists(), strict=True):
        for times, kept in zip(trial, cut, strict=True):
            np.testing.assert_array_equal(kept, times[(times >= 0.25) & (times <= 0.75)])
    assert equal(trains.window(0.0, 1.0), trains)


@given_trains(st.integers(0, MAX_SPIKES + 2))
def test_first_keeps_the_first(trains, n):
    first = trains.first(n)
    assert first.max_spikes == n
    np.testing.assert_array_equal(first.counts, np.minimum(trains.counts, n))
    room = min(n, MAX_SPIKES)
    np.testing.assert_array_equal(first.times[:, :room], trains.times[:, :room])
    assert not first.overflowed.any()


@given_trains()
def test_padding_round_trip(trains):
    assert equal(trains.pad_to(MAX_SPIKES + 3).pad_to(MAX_SPIKES), trains)


@given_trains()
def test_a_train_does_not_depend_on_its_batch(trains):
    for operation in (
        lambda x: x.select([1]),
        lambda x: x.window(0.25, 0.75),
        lambda x: x.first(2),
    ):
        assert equal(operation(trains)[1], operation(trains[1]))


def test_overflow_marks():
    times = jnp.array([[0.2, 0.4], [0.2, 0.4]])
    full = SpikeTrains(times, jnp.zeros((2, 2), int), 0.0, 1.0, [True, False], num_neurons=1)
    # The first two spikes are known; a third one is not, nor what follows the second.
    np.testing.assert_array_equal(full.first(2).overflowed, [False, False])
    np.testing.assert_array_equal(full.first(3).overflowed, [True, False])
    np.testing.assert_array_equal(full.window(0.0, 0.3).overflowed, [False, False])
    np.testing.assert_array_equal(full.window(0.0, 0.5).overflowed, [True, False])
    np.testing.assert_array_equal(full.select([0]).overflowed, [True, False])


@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("max_spikes", [0, 1])
def test_small_sizes(batch, max_spikes):
    trials = [[[], []]] * batch
    trains = SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, num_neurons=2, max_spikes=max_spikes)
    assert trains.batch_shape == (batch,)
    assert trains.max_spikes == max_spikes
    assert trains.counts_by_neuron.shape == (batch, 2)
    assert trains.select([1]).window(0.0, 0.5).first(3).pad_to(4).times.shape == (batch, 4)
    assert trains.reshape(batch, 1).batch_shape == (batch, 1)
    assert len(trains.to_lists()) == batch
    assert first_spike_times(trains, 2).shape == (batch, 2, 2)


def test_batch_operations(trains):
    assert equal(SpikeTrains.concatenate([trains[:1], trains[1:]]), trains)
    assert equal(SpikeTrains.stack([trains[i] for i in range(3)]), trains)
    assert equal(SpikeTrains.stack([trains, trains], axis=-1)[:, 0], trains)
    assert equal(SpikeTrains.concatenate([trains, trains.pad_to(5)])[3:], trains.pad_to(5))
    assert equal(trains.reshape(3, 1).reshape(-1), trains)
    assert trains.reshape(1, 3)[0, -1].batch_shape == ()
    assert equal(trains.reshape(1, 3)[..., 1], trains.reshape(1, 3)[:, 1])
    assert equal(trains[jnp.array([2, 0])], SpikeTrains.stack([trains[2], trains[0]]))
    assert equal(trains[np.array([True, False, True])], trains[jnp.array([0, 2])])
    assert trains[None].batch_shape == (1, 3)
    assert [x.batch_shape for x in trains] == [()] * 3
    assert trains[0].to_lists()[0].tolist() == [0.2, 0.7]


def test_survives_transformations(trains):
    jitted = jax.jit(lambda x: x.window(0.0, 0.6).select([1, 0]).first(2))(trains)
    assert equal(jitted, trains.window(0.0, 0.6).select([1, 0]).first(2))
    axes = trains.vmap_axes
    counts = jax.vmap(lambda x: x.counts, in_axes=(axes,))(trains)
    np.testing.assert_array_equal(counts, trains.counts)
    mapped = jax.vmap(lambda x: x.first(1), in_axes=(axes,), out_axes=axes)(trains)
    assert equal(mapped, trains.first(1))
    assert equal(
        eqx.filter_vmap(lambda x: x.first(1), in_axes=(axes,), out_axes=axes)(trains), mapped
    )
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert equal(jax.device_put(trains, sharding), trains)


def test_gradient_goes_to_the_spikes_kept(trains):
    def total(times):
        moved = eqx.tree_at(lambda x: x.times, trains, times).select([1])
        return jnp.sum(jnp.where(moved.mask, moved.times, 0.0))

    gradient = jax.grad(total)(trains.times)
    np.testing.assert_array_equal(gradient, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_first_spike_times_by_neuron(trains):
    inf = np.inf
    np.testing.assert_array_equal(
        first_spike_times(trains, 2),
        [[[0.2, 0.7], [0.5, inf]], [[inf, inf], [inf, inf]], [[0.1, 0.4], [0.4, inf]]],
    )


@given_trains()
def test_first_spike_times_agree_with_the_lists(trains):
    first = np.asarray(first_spike_times(trains, 2))
    for trial, expected in zip(first, trains.to_lists(), strict=True):
        for times, all_times in zip(trial, expected, strict=True):
            np.testing.assert_array_equal(times[np.isfinite(times)], all_times[:2])


# --- errors: each message names the argument, its value and what to do


@pytest.mark.parametrize(
    ("trials", "settings", "message"),
    [
        ([[[0.1, np.nan]]], {}, "`trials[0][0]` has a NaN at position 1"),
        ([[[0.1, 1.5]]], {}, "`trials[0][0]` has a spike at 1.5, outside the window"),
        ([[[-0.1]]], {}, "outside the window [t0, t1] = [0, 1]"),
        ([[[np.inf]]], {}, "outside the window"),
        ([[[0.5, 0.1]]], {}, "`trials[0][0]` is not sorted: 0.5 at position 0"),
        ([([0.5, 0.1], [0, 0])], {"num_neurons": 1}, "`trials[0]` is not sorted"),
        ([([0.5], [2])], {"num_neurons": 2}, "a spike of neuron 2; neuron numbers must lie"),
        ([([0.5], [-1])], {"num_neurons": 2}, "a spike of neuron -1"),
        ([([0.5, 0.6], [1])], {"num_neurons": 2}, "one neuron number per spike"),
        ([([0.5],)], {}, "a tuple must be a pair"),
        ([([0.5], [0])], {}, "`num_neurons` is missing"),
        ([], {}, "`num_neurons` is missing"),
        ([[[0.1], []], [[0.1]]], {}, "trials with [1, 2] neurons"),
        ([[[0.1], []]], {"num_neurons": 3}, "`num_neurons` is 3, but the trials list 2"),
        ([[]], {}, "`num_neurons` is 0; it must be 1 or more"),
        ([[[0.1, 0.2]]], {"max_spikes": 1}, "trial 0 has 2 spikes. Pass `max_spikes=2` or more"),
        ([[[0.1]]], {"max_spikes": -1}, "`max_spikes` is -1"),
        ([[[[0.1]]]], {}, "`trials[0][0]` has shape (1, 1)"),
        ([[[0.1]]], {"t1": 0.0}, "`t1` is 0 and `t0` is 0; the window must end after it starts"),
        ([[[0.1]]], {"t1": np.inf}, "`t1` is inf; it must be finite"),
        ([[[0.1]]], {"t0": np.nan}, "`t0` is nan; it must be finite"),
    ],
)
def test_from_lists_refuses(trials, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SpikeTrains.from_lists(trials, **{"t0": 0.0, "t1": 1.0, **settings})


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([([0.1], [0.2])], "`trials[0][1]` has dtype float64"),
        ([[["a"]]], "`trials[0][0]` cannot be read as an array of spike times"),
        ([np.array([0.1])], "`trials[0]` is a ndarray; a trial must be a list"),
        ("abc", "`trials` is a str"),
    ],
)
def test_from_lists_refuses_types(trials, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, num_neurons=2)


def test_constructor_refuses():
    def build(times=(0.1,), neurons=(0,), t0=0.0, t1=1.0, overflowed=None, num_neurons=1):
        return SpikeTrains(
            np.array(times), np.array(neurons), t0, t1, overflowed, num_neurons=num_neurons
        )

    with pytest.raises(TypeError, match="`times` has dtype int64"):
        build(times=(1,))
    with pytest.raises(TypeError, match="`neurons` has dtype float64"):
        build(neurons=(0.0,))
    with pytest.raises(ValueError, match=r"`times` has shape \(1,\) and `neurons` \(2,\)"):
        build(neurons=(0, 1))
    with pytest.raises(ValueError, match=r"`overflowed` has shape \(2,\)"):
        build(overflowed=[True, False])
    with pytest.raises(ValueError, match="`num_neurons` is 0"):
        build(num_neurons=0)
    with pytest.raises(ValueError, match="`t1` is -1 and `t0` is 0"):
        build(t1=-1.0)
    with pytest.raises(ValueError, match=r"`t0` has shape \(1,\); it must be a single number"):
        build(t0=np.zeros(1))


def test_parts_refuse(trains):
    with pytest.raises(ValueError, match="asks for neuron 2; there are 2 neurons"):
        trains.select([0, 2])
    with pytest.raises(ValueError, match="asks for neuron -1"):
        trains.select(-1)
    with pytest.raises(ValueError, match="each neuron may appear only once"):
        trains.select([0, 0])
    with pytest.raises(ValueError, match="non-empty list"):
        trains.select([])
    with pytest.raises(ValueError, match=re.escape("[0.5, 2] asked for is not inside")):
        trains.window(0.5, 2.0)
    with pytest.raises(ValueError, match=r"`t1` is 0\.2 and `t0` is 0\.5"):
        trains.window(0.5, 0.2)
    with pytest.raises(ValueError, match="`n` is -1"):
        trains.first(-1)
    with pytest.raises(ValueError, match="`max_spikes` is 2, fewer than some train has"):
        trains.pad_to(2)
    with pytest.raises(ValueError, match="`max_spikes` is -1"):
        trains.pad_to(-1)
    with pytest.raises(ValueError, match="`n` is 0"):
        first_spike_times(trains, 0)


def test_losing_a_spike_under_jit_is_an_error(trains):
    with pytest.raises(jax.errors.JaxRuntimeError, match="fewer than some train has spikes"):
        eqx.filter_jit(lambda x: x.pad_to(2))(trains)


def test_batch_refuses(trains):
    with pytest.raises(IndexError):
        trains[3]
    with pytest.raises(IndexError):
        trains[0, 0]
    with pytest.raises(TypeError, match="has no length"):
        len(trains[0])
    with pytest.raises(ValueError, match="`trains` is empty"):
        SpikeTrains.concatenate([])
    with pytest.raises(ValueError, match=r"`trains\[1\]` has 1 neurons and `trains\[0\]` 2"):
        SpikeTrains.concatenate([trains, trains.select(0)])
    with pytest.raises(ValueError, match="`axis` is 1; it must name one of the 1 batch axes"):
        SpikeTrains.concatenate([trains, trains], axis=1)
