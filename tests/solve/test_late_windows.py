"""Windows that begin late: the solver counts from the start of a cell, whatever the precision."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs

KEY = jax.random.key(0)
STARTS = (-7.0, 3600.0, 1.7e9)


def _network():
    neurons = rs.StochasticLIF(2, mu1=15.0, sigma=0.3, tau_s=0.05)
    return rs.SpikingNetwork(
        neurons, [[0.0, 1.0], [-0.5, 0.0]], axonal_delays=0.023, refractory=0.031
    )


def _solved(model, t0, **settings):
    return rs.eventsolve(
        model, t0, t0 + 0.5, 0.01, model.initial_state(KEY), key=KEY, max_events=60, **settings
    )


@pytest.mark.parametrize("double", [False, True])
def test_a_network_has_the_same_events_in_every_window(double):
    """To the bit: nothing in it asks for the time. (-7 is a start whose window is exact.)"""
    with jax.enable_x64(double):
        model, current = _network(), jnp.asarray(1.5)
        plain = _solved(model, 0.0, args=current)
        assert plain.num_events > 3
        for t0 in STARTS[:: 1 if double else 2]:
            late = _solved(model, t0, args=current)
            assert (late.t0, late.t1) == (t0, t0 + 0.5)
            np.testing.assert_array_equal(late.event_times, plain.event_times)
            np.testing.assert_array_equal(late.event_indices, plain.event_indices)


def test_simulations_of_shifted_windows_are_one_program():
    """The same program serves them all, so that the same spikes come out, to the bit."""
    with jax.enable_x64(False):
        neuron, found = rs.StochasticLIF(mu1=50.0, tau_s=0.05), []
        settings = dict(key=KEY, num_samples=3, max_spikes=30, input_current=1.5)
        for t0 in (0.0, *STARTS):
            solution = rs.simulate_solution(
                neuron, t0, t0 + 0.25, 1e-3, saveat=dfx.SaveAt(t1=True), **settings
            )
            np.testing.assert_array_equal(solution.ts, np.full((3, 1), 0.25, np.float32))
            found.append((solution.event_times, solution.ys.v))
        for times, v in found[1:]:
            np.testing.assert_array_equal(times, found[0][0])
            np.testing.assert_array_equal(v, found[0][1])
        # times that diffrax has rounded are refused, others count from the start
        with pytest.raises(ValueError, match=r"`saveat.ts` is kept in float32"):
            rs.simulate_solution(
                neuron, 1.7e9, 1.7e9 + 0.25, 1e-3, saveat=dfx.SaveAt(ts=[1.7e9]), **settings
            )


def test_a_current_on_a_grid_counts_from_the_start_of_the_window():
    """Steps of the current on the solver's own grid, in single precision: to the rounding of the
    recording's times in double precision, 2.4e-7 at 1.7e9."""
    with jax.enable_x64(False):
        values, found = 1 + np.arange(50) % 3, []
        for t0 in (0.0, 36_000.0, 1.7e9):
            current = rs.CurrentOnGrid(t0 + 0.01 * np.arange(50), values, "previous")
            found.append(_solved(rs.LIF(mu1=20.0), t0, args=current, solver=dfx.Heun()))
        assert found[0].num_events > 3
        for late in found[1:]:
            assert late.num_events == found[0].num_events
            np.testing.assert_allclose(late.event_times, found[0].event_times, atol=2e-6)


def test_steps_of_a_current_are_reached_whatever_rounds_its_times():
    """In double precision as well: late times of the recording are rounded by more than those of
    the solver, and a step of the solver that begins at one of them has to find it reached."""
    values = 0.8 + np.arange(50) % 3
    for unit in (1e-6, 1.0, 1e3):
        numbers = []
        for t0 in np.array([0.0, 10.0, 36_000.0, 1e6, 1.7e9]) * unit:
            times = t0 + unit * 0.02 * np.arange(50)
            current = rs.CurrentOnGrid(times, values, "previous").since(float(t0))
            assert current.start == 0.0
            with jax.enable_x64(True):
                at = jax.vmap(current)(unit * 0.01 * jnp.arange(100.0))
            numbers.append(np.asarray(at))
        for late in numbers:
            np.testing.assert_array_equal(late, np.repeat(values, 2))


def test_input_spikes_stay_apart_in_late_windows_of_single_precision():
    """Absolute times of 0.05 us apart near 1700 s are one number in single precision."""
    with jax.enable_x64(False):
        network = rs.SpikingNetwork(
            rs.LIF(mu1=1e6, mu2=1e4, v_th=1e6), [[0.0]], input_weights=[[1.0]]
        )
        found = []
        for t0 in (0.0, 1700.0):
            times = t0 + 1e-6 * np.arange(1, 20) * 0.05
            inputs = rs.SpikeTrains.from_lists([[times]], t0=t0, t1=t0 + 1e-6)[0]
            ys = rs.simulate_solution(
                network, t0, t0 + 1e-6, 1e-8, key=KEY, num_samples=1, max_spikes=1,
                input_spikes=inputs, saveat=dfx.SaveAt(steps=True),
            ).ys  # fmt: skip
            found.append(np.asarray(ys.i)[0, :, 0])
        # of 19 jumps by 1, of which the last is at the end
        for current in found:
            steps = np.diff(current[np.isfinite(current)])
            assert np.sum(np.abs(steps - 1) < 0.01) >= 18
            assert np.nanmax(steps) < 1.5
        with pytest.raises(ValueError, match="`trains` begin at 1700"):
            rs.spike_path(inputs)


def test_a_function_of_time_is_given_absolute_time_or_is_refused():
    def current(t):
        return 1.5 + jnp.sin(t)

    with jax.enable_x64(False):
        neuron = rs.LIF(mu1=20.0)
        late = _solved(neuron, 50.0, args=current)
        moved = _solved(neuron, 0.0, args=lambda t: current(t + 50.0))
        # a rounding of times near 50, and what the potential makes of it
        np.testing.assert_allclose(late.event_times, moved.event_times, atol=1e-4)
        with pytest.raises(ValueError, match=r"depends on time.*double precision"):
            _solved(neuron, 1.7e9, args=current)
        path = dfx.LinearInterpolation(jnp.array([1.7e9, 1.8e9]), jnp.array([0.0, 1.0]))
        with pytest.raises(ValueError, match=r"`driver` is a LinearInterpolation.*double"):
            _solved(rs.LIF(sigma=0.1), 1.7e9, driver=path)
        with pytest.raises(ValueError, match=r"has 100000000 steps.*shorter windows"):
            rs.eventsolve(neuron, 0.0, 1e4, 1e-4, neuron.initial_state(KEY), key=KEY, max_events=1)


def test_input_spikes_on_the_grid_act_at_once():
    """In single precision too, a spike at a multiple of the step is there from that time on."""
    with jax.enable_x64(False):
        network = rs.SpikingNetwork(
            rs.LIF(mu1=1.0, mu2=1.0, v_th=1e6), [[0.0]], input_weights=[[1.0]]
        )
        numbers = np.arange(1, 200, 9)
        times = numbers * 1e-4
        inputs = rs.SpikeTrains.from_lists([[[t]] for t in times], t0=0.0, t1=0.02)
        ys = rs.simulate_solution(
            network, 0.0, 0.02, 1e-4, key=KEY, num_samples=len(times), max_spikes=1,
            input_spikes=inputs, saveat=dfx.SaveAt(ts=times + 0.5e-4),
        ).ys  # fmt: skip
        own = np.asarray(ys.i)[np.arange(len(times)), np.arange(len(times)), 0]
    # half a step of decay at the rate of one
    np.testing.assert_allclose(own, 1 - 0.5e-4, rtol=1e-5)


def test_a_step_longer_than_a_time_constant_is_refused():
    neuron = rs.StochasticLIF(mu1=15.0)
    settings = dict(key=KEY, num_samples=1, max_spikes=20)
    with pytest.raises(rs.EventSolveError, match="longer than the shortest time constant"):
        rs.simulate(neuron, 0.0, 1.0, 0.1, **settings)
    # inside jit too, where the rate is not known before
    trains = jax.jit(
        lambda rate: (
            rs.simulate(
                rs.StochasticLIF(mu1=rate), 0.0, 1.0, 0.05, throw=False, **settings
            ).overflowed
        )
    )
    assert list(trains(jnp.asarray(30.0))) == [True]
    assert list(trains(jnp.asarray(15.0))) == [False]
