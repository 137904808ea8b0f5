"""`simulate`: batches of spike trains."""

import diffrax as dfx
import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings

import roughsnn as rs

NEURON = rs.StochasticLIF(2, sigma=0.4)
ARGUMENTS = dict(key=jr.key(0), max_spikes=16, input_current=1.5)
LARGEST = 6


@pytest.fixture(scope="module")
def trains():
    return rs.simulate(NEURON, 0.0, 1.0, 0.05, num_samples=LARGEST, **ARGUMENTS)


@settings(max_examples=4)
@given(st.integers(0, LARGEST))
def test_a_sample_does_not_depend_on_the_size_of_the_batch(trains, n):
    # bits may differ: another size is another program
    fewer = rs.simulate(NEURON, 0.0, 1.0, 0.05, num_samples=n, **ARGUMENTS)
    assert fewer.times.shape == (n, 16)
    np.testing.assert_allclose(fewer.times, trains.times[:n], rtol=1e-11)
    np.testing.assert_array_equal(fewer.neurons, trains.neurons[:n])


def test_spikes_are_sorted_and_padded(trains):
    times, neurons = np.asarray(trains.times), np.asarray(trains.neurons)
    known = np.isfinite(times)
    assert np.all(np.sort(times, -1) == times)
    assert np.all((neurons >= 0) == known)
    assert np.all((times[known] > 0) & (times[known] <= 1))
    assert not np.any(trains.overflowed)
    assert (trains.t0, trains.t1, trains.num_neurons) == (0.0, 1.0, 2)
    assert len({tuple(row) for row in times}) == LARGEST


def test_trains_and_solution_agree(trains):
    out = rs.simulate_solution(
        NEURON, 0.0, 1.0, 0.05, num_samples=LARGEST, saveat=dfx.SaveAt(ts=[0.0, 0.5, 1.0]),
        save_event_states=True, **ARGUMENTS,
    )  # fmt: skip
    np.testing.assert_allclose(out.event_times, trains.times, rtol=1e-11)
    np.testing.assert_array_equal(out.event_indices, trains.neurons)
    np.testing.assert_array_equal(out.num_events, trains.counts)
    assert out.ys.v.shape == (LARGEST, 3, 2)
    assert out.event_ys_left.s.shape == (LARGEST, 16, 2)
    np.testing.assert_array_equal(out.ys.v[:, 0], 0.0)


def test_currents_in_any_form():
    t1 = 0.4
    expected = rs.simulate(NEURON, 0.0, t1, 0.05, num_samples=2, **ARGUMENTS)
    values = (jnp.full(2, 1.5), np.full(2, 1.5), lambda t: 1.5, eqx.Partial(_ramp, jnp.zeros(2)))
    for current in values:
        out = rs.simulate(
            NEURON, 0.0, t1, 0.05, num_samples=2, **(ARGUMENTS | {"input_current": current})
        )
        np.testing.assert_allclose(out.times, expected.times, rtol=1e-11)
    silent = rs.simulate(
        rs.StochasticLIF(2, sigma=None, v_th=20.0), 0.0, t1, 0.05, num_samples=2, key=jr.key(0),
        max_spikes=1,
    )  # fmt: skip
    assert np.all(silent.counts == 0)


def _ramp(slope, t):
    return 1.5 + slope * t


def test_too_little_room_is_an_error_that_names_the_sample():
    small = ARGUMENTS | {"max_spikes": 2}
    with pytest.raises(rs.EventSolveError, match=r"`max_spikes`.*samples, first in sample \d"):
        rs.simulate(NEURON, 0.0, 1.0, 0.05, num_samples=LARGEST, **small)
    flagged = rs.simulate(NEURON, 0.0, 1.0, 0.05, num_samples=LARGEST, throw=False, **small)
    assert np.all(flagged.overflowed)
    assert np.all(flagged.counts == 2)


def test_too_little_room_is_an_error_inside_jit():
    @jax.jit
    def f(key):
        return rs.simulate(
            NEURON, 0.0, 1.0, 0.05, key=key, num_samples=2, max_spikes=2, input_current=1.5
        ).times

    with pytest.raises(Exception, match="More events happened"):
        jax.block_until_ready(f(jr.key(0)))


def test_stop_after_ends_each_trial(trains):
    out = rs.simulate(NEURON, 0.0, 1.0, 0.05, num_samples=LARGEST, stop_after=3, **ARGUMENTS)
    assert np.all(out.counts == np.minimum(trains.counts, 3))
    np.testing.assert_allclose(out.times[:, :3], trains.times[:, :3], rtol=1e-11)


def test_a_model_without_noise_and_a_solver_of_high_order():
    neuron = rs.StochasticLIF(1, sigma=None)
    coarse, fine = (
        rs.simulate(
            neuron, 0.0, 0.5, dt0, key=jr.key(0), num_samples=2, max_spikes=6, input_current=1.5,
            solver=dfx.Tsit5(),
        ).times
        for dt0 in (0.02, 0.01)
    )  # fmt: skip
    # fifth order
    np.testing.assert_allclose(coarse, fine, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(t1=0.0), "`t1` must be greater than `t0`"),
        (dict(dt0=0.0), "`dt0` must be positive"),
        (dict(dt0=-0.1), "`dt0` must be positive"),
        (dict(num_samples=-1), "`num_samples` must be an integer of at least 0"),
        (dict(max_spikes=-1), "`max_spikes` must be an integer"),
        (dict(stop_after=20), "`stop_after` must be at most `max_spikes`"),
        (dict(t0=True), "`t0` must be a number"),
        (dict(t1=np.ones(1)), "`t1` must be a number, got an array"),
        (dict(num_samples=np.array([2])), "`num_samples` must be an integer"),
        (dict(input_current=True), "`input_current` must be a number"),
        (dict(input_current=jnp.ones(3)), r"`input_current` must be a number or have shape \(2,\)"),
        (dict(input_current=lambda t: jnp.ones((2, 1))), "`input_current` must be a number"),
        (dict(input_current=[1.0, 2.0]), "`input_current` must be a number, an array"),
        (dict(input_current="strong"), "`input_current` must be a number, an array"),
        (dict(input_current=float("nan")), "`input_current` must be finite"),
        (dict(input_current=jnp.array([1.0, jnp.inf])), "`input_current` must be finite"),
        # in the words of run-time type checking, or in our own
        (dict(noise="quadratic"), "noise"),
    ],
)
def test_misuse_is_refused_by_name(changes, match):
    arguments = dict(t0=0.0, t1=1.0, dt0=0.05, num_samples=2) | ARGUMENTS | changes
    window = [arguments.pop(name) for name in ("t0", "t1", "dt0")]
    with pytest.raises((ValueError, TypeError), match=match):
        rs.simulate(NEURON, *window, **arguments)


def test_numbers_of_numpy_are_the_numbers_of_python():
    """Values from NumPy, pandas or HDF5 take the same compiled program and give the same spikes."""
    neuron = rs.LIF(1, mu1=20.0)
    arguments = dict(num_samples=2, max_spikes=30, stop_after=20, input_current=1.5)
    expected = rs.simulate(neuron, 0.0, 1.0, 0.01, key=jr.key(0), **arguments)
    for whole, real in ((np.int64, np.float64), (np.array, np.float32), (jnp.asarray, np.array)):
        given = {n: whole(x) for n, x in arguments.items() if n != "input_current"}
        trains = rs.simulate(
            neuron, whole(0), real(1.0), np.float64(0.01), key=jr.key(0), input_current=real(1.5),
            **given,
        )  # fmt: skip
        np.testing.assert_array_equal(trains.times, expected.times)


def test_only_neurons_can_be_simulated():
    sde = rs.EventSDE(lambda t, y, a: y, lambda t, y, a: y, lambda t, y, k, u, a: y)
    # without run-time type checking
    solve = getattr(rs.EventEngine.solve, "__wrapped__", rs.EventEngine.solve)
    protocol = rs.Protocol(0.0, 1.0, 0.1, max_spikes=1)
    with pytest.raises(TypeError, match="`model` must be a neuron model"):
        solve(rs.EventEngine(), sde, protocol, key=jr.key(0), num_samples=1)
