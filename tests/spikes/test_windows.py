"""Times count from the start of the window, and the start is exact: wherever, in every dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roughsnn.spikes import SpikeTrains, cut_times, marcus_lift, psth, spike_rates
from roughsnn.spikes.windows import bit_patterns, difference, number_of

STARTS = (0.0, -2.5, 3600.1, 5e4, 1.69e9)
DTYPES = (jnp.float32, jnp.float64)
NEAR = np.array([0.1, 0.1005, 0.101, 0.5])


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e300, 1e300))
def test_numbers_come_back_from_their_bits(number, other):
    assert number_of(bit_patterns(np.float64(number))) == number
    pair = difference(bit_patterns(np.float64(number)), bit_patterns(np.float64(number)), "f8")
    assert float(pair[0]) == float(pair[1]) == 0
    inside = _inside_jit(bit_patterns(np.array([number, other])))
    np.testing.assert_array_equal(inside, [number, other])


_inside_jit = jax.jit(lambda bits: number_of(bits))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", DTYPES)
def test_intervals_do_not_depend_on_the_start(start, scale, dtype):
    b = start * scale
    trains = SpikeTrains.from_lists(
        [[b + scale * NEAR]], t0=b, t1=b + scale, dtype=dtype, max_spikes=4
    )
    assert (trains.t0, trains.t1) == (b, b + scale)
    # The recording itself has times rounded to float64, and the trains to their dtype.
    slack = 2 * np.spacing(abs(b) + scale) + float(jnp.finfo(dtype).eps) * scale
    np.testing.assert_allclose(trains.times[0], scale * NEAR, rtol=0, atol=slack)
    np.testing.assert_allclose(trains.to_lists()[0][0], b + scale * NEAR, rtol=0, atol=slack)
    np.testing.assert_allclose(trains.to_lists(relative=True)[0][0], trains.times[0], rtol=0)
    again = SpikeTrains.from_lists(trains.to_lists(), t0=b, t1=b + scale, dtype=dtype)
    np.testing.assert_allclose(
        again.times, trains.times, rtol=0, atol=2 * np.spacing(abs(b) + scale)
    )


def test_times_that_were_written_with_few_digits_come_back_with_them():
    recorded = np.array([0.1, 0.25, 0.3, 0.7])
    trains = SpikeTrains.from_lists([[3600 + recorded]], t0=3600, t1=3600.7, dtype=jnp.float32)
    np.testing.assert_array_equal(trains.to_lists()[0][0], 3600 + recorded)


@pytest.mark.parametrize("start", [0.0, 3600.1, 1.69e9])
def test_what_the_dtype_does_not_resolve_is_refused(start):
    times = start + np.array([9000.1, 9000.1005, 9000.101])
    with pytest.raises(ValueError, match=r"`trials\[1\]`: the spikes of neuron 1 .* Cut the rec"):
        SpikeTrains.from_lists(
            [[[], []], [[start], times]], t0=start, t1=start + 9500, dtype=jnp.float32
        )
    cut = cut_times([[start], times], [start + 9000], [start + 9001])
    trains = SpikeTrains.from_lists(cut, t0=start + 9000, t1=start + 9001, dtype=jnp.float32)
    np.testing.assert_allclose(np.diff(trains.times[0]), 5e-4, rtol=2e-3)
    # Spikes of two neurons may be as near as they like; equal spikes of one are as recorded.
    pair = ([9000.1, 9000.1, 9000.1000001], [1, 1, 0])
    kept = SpikeTrains.from_lists([pair], t0=0, t1=9500, num_neurons=2, dtype=jnp.float32)
    np.testing.assert_array_equal(kept.neurons, [[0, 1, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_ends_are_inside_whatever_the_rounding(dtype):
    third = 0.1 + 0.2  # 0.30000000000000004
    trains = SpikeTrains.from_lists([[[0.1, third]]], t0=0.1, t1=0.3, dtype=dtype)
    np.testing.assert_array_equal(trains.times[0], [0, trains.duration])
    np.testing.assert_array_equal(trains.window(0.1, 0.3).times, trains.times)
    assert int(trains.window(0.2, third).counts[0]) == 1
    single = SpikeTrains.from_lists([[np.float32([0.7])]], t0=0.0, t1=0.7, dtype=dtype)
    assert float(single.times[0, 0]) <= float(single.duration)


def test_trials_of_different_starts_and_lengths():
    starts, ends = np.array([0.5, 3600.0, 1.69e9]), np.array([1.0, 3602.0, 1.69e9 + 1.0])
    trials = [[[0.5, 0.75]], [[3601.5]], [[]]]
    trains = SpikeTrains.from_lists(trials, t0=starts, t1=ends)
    np.testing.assert_array_equal(trains.t0, starts)
    np.testing.assert_array_equal(trains.t1, ends)
    np.testing.assert_array_equal(trains.durations, [0.5, 2.0, 1.0])
    np.testing.assert_array_equal(trains.to_lists()[1][0], [3601.5])
    np.testing.assert_array_equal(spike_rates(trains)[:, 0], [4.0, 0.5, 0.0])
    np.testing.assert_array_equal(marcus_lift(trains)[:, -1, 0], [0.5, 2.0, 1.0])
    assert (trains[1].t0, float(trains[1].duration)) == (3600.0, 2.0)
    np.testing.assert_array_equal(trains[::-1].t1, ends[::-1])
    np.testing.assert_array_equal(trains.reshape(3, 1).t0, starts[:, None])
    for back in (
        SpikeTrains.stack(list(trains)),
        SpikeTrains.concatenate([trains[:1], trains[1:]]),
        jax.jit(lambda x: SpikeTrains.concatenate([x[:1], x[1:]]))(trains),
        jax.vmap(lambda x: x.first(2), (trains.vmap_axes,), trains.vmap_axes)(trains),
    ):
        np.testing.assert_array_equal(back.t1, ends)
        np.testing.assert_array_equal(back.durations, trains.durations)
    with pytest.raises(ValueError, match=r"needs trials of one length, and these are 0\.5 to 2"):
        psth(trains, 2)
    # Of one length, though not of one start; lengths are rounded differently at each start.
    same = SpikeTrains.from_lists(trials, t0=starts, t1=starts + 2.0)
    assert same.duration.shape == ()
    np.testing.assert_allclose(psth(same, 4), [[4 / 3, 0, 0, 2 / 3]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_cutting_around_events(dtype):
    rng = np.random.default_rng(0)
    start = 3600.1
    recording = [np.sort(start + rng.uniform(0, 20, 200)) for _ in range(2)]
    whole = SpikeTrains.from_lists([recording], t0=start, t1=start + 20, dtype=dtype)
    events = start + np.array([1.3, 4.7, 4.9, 19.0])
    trains = whole.cut(events - 0.5, events + 1.0)
    assert (trains.batch_shape, trains.times.dtype) == ((4,), dtype)
    assert trains.duration.shape == ()
    np.testing.assert_array_equal(trains.t0, events - 0.5)
    for event, trial in zip(events, trains.to_lists(), strict=True):
        for own, kept in zip(recording, trial, strict=True):
            inside = own[(own >= event - 0.5) & (own <= event + 1.0)]
            atol = 40 * float(jnp.finfo(dtype).eps)
            np.testing.assert_allclose(kept, inside, rtol=0, atol=atol)
    with pytest.raises(ValueError, match=r"Window 1, .* is not inside that of the train"):
        whole.cut([start, start + 19.5], [start + 1, start + 20.5])
    with pytest.raises(ValueError, match=r"window 0 .* must be finite and end after"):
        whole.cut([start + 1], [start])
    full = whole.with_spikes(whole.times, whole.neurons, [True])
    assert not full.cut([start], [start + 1]).overflowed.any()
    assert full.cut([start], [start + 20]).overflowed.all()


@pytest.mark.parametrize("start", STARTS)
def test_windows_are_exact_inside_jit(start):
    recorded = start + np.array([0.125, 0.25, 0.5, 0.75])
    trains = SpikeTrains.from_lists([[recorded]], t0=start, t1=start + 1, dtype=jnp.float32)
    cut = jax.jit(lambda x: x.window(start + 0.25, start + 0.5))
    for inner in (cut(trains), trains.window(start + 0.25, start + 0.5)):
        assert (inner.t0, inner.t1) == (start + 0.25, start + 0.5)
        atol = 4 * np.spacing(abs(start) + 1)
        np.testing.assert_allclose(inner.times[0, :2], [0, 0.25], rtol=0, atol=atol)
        np.testing.assert_array_equal(inner.counts, [2])
    later = SpikeTrains.from_lists([[recorded + 1]], t0=start + 1, t1=start + 2, dtype=jnp.float32)
    cut(trains)
    assert cut._cache_size() == 1  # another start is no other program
    with pytest.raises(Exception, match="not inside the present window"):
        jax.block_until_ready(cut(later))


@pytest.mark.parametrize("start", [-2.5, 3600.1, 1.69e9])
def test_windows_in_single_precision_throughout(start):
    with jax.enable_x64(False):
        trains = SpikeTrains.from_lists([[start + NEAR]], t0=start, t1=start + 1)
        assert trains.times.dtype == jnp.float32
        inner = jax.jit(lambda x: x.window(start + 0.0625, start + 0.5))(trains)
        assert (inner.t0, inner.t1) == (start + 0.0625, start + 0.5)
        expected = (start + NEAR) - (start + 0.0625)
        np.testing.assert_allclose(inner.times[0], expected, rtol=0, atol=2e-7)
        rounded = jax.jit(lambda x: x.t0)(trains)
        np.testing.assert_allclose(rounded, start, rtol=1e-7)
        # A start that is itself traced is as good as the number that comes in.
        made = jax.jit(lambda t: SpikeTrains(trains.times, trains.neurons, t, t + 1, num_neurons=1))
        assert made(jnp.float32(start)).t0 == float(np.float32(start))


def test_derivatives_go_to_the_times_and_the_length():
    neurons = jnp.zeros((1, 2), int)

    def last(times, t1):
        trains = SpikeTrains(times, neurons, 3.0, t1, num_neurons=1)
        return jnp.sum(marcus_lift(trains)[0, -2:, 0])

    slopes = jax.grad(last, argnums=(0, 1))(jnp.array([[0.25, 0.5]]), 5.0)
    np.testing.assert_array_equal(slopes[0], [[0, 1]])
    assert float(slopes[1]) == 1.0


@pytest.mark.parametrize(
    ("t0", "t1", "message"),
    [
        ([0.0, 0.0], 1.0, r"`t0` has shape \(2,\)"),
        (0.0, [[1.0]], r"`t1` has shape \(1, 1\)"),
        (0.0, [0.0], "must end after it starts"),
        (0.0, 1e-60, "float32 cannot hold"),
    ],
)
def test_windows_that_are_refused(t0, t1, message):
    with pytest.raises(ValueError, match=message):
        SpikeTrains.from_lists([[[0.0]]], t0=t0, t1=t1, dtype=jnp.float32)
    arrays = jnp.zeros((1, 1), jnp.float32), jnp.zeros((1, 1), int)
    with pytest.raises(ValueError, match=message):
        SpikeTrains(*arrays, np.array(t0), np.array(t1), num_neurons=1)
