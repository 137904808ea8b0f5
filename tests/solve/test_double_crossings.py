"""Event functions that rise through zero and fall again within one step, without noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from tests.solve.models import DOPRI8, HEUN, TSIT5, events, solve

GRAVITY = 9.81


def _drift(t, y, args):
    return y[1], jnp.full_like(y[1], -GRAVITY)


def _event(t, y, ceilings):
    return y[0] - ceilings


def _transition(t, y, k, u, args):
    return jnp.where(jnp.arange(y[0].shape[0], dtype=jnp.int32) == k, y[0] - 100.0, y[0]), y[1]


# balls thrown upwards under ceilings, one component each; at its ceiling a ball drops far down
THROWN = rs.EventSDE(_drift, _event, _transition)


def _throw(speeds, ceilings, dt0, t1=1.0, solver=TSIT5):
    speeds = jnp.asarray(speeds)
    y0 = (jnp.zeros_like(speeds), speeds)
    return solve(THROWN, 0.0, t1, dt0, y0, 9, args=jnp.asarray(ceilings), solver=solver)


def _reach(speed, ceiling):
    """When a ball thrown at this speed from height 0 reaches the ceiling."""
    return (speed - np.sqrt(speed**2 - 2 * GRAVITY * ceiling)) / GRAVITY


@pytest.mark.parametrize("solver", [TSIT5, HEUN])
def test_a_parabola_that_is_negative_at_both_ends_of_the_step(solver):
    # one step over the whole flight, or two: the parabola is what each of these methods gives
    for dt0 in (1.0, 0.7):
        times, indices = events(_throw([4.5], [0.9], dt0, solver=solver))
        np.testing.assert_array_equal(indices, [0])
        # a few roundings, over the slope at the crossing
        np.testing.assert_allclose(times, _reach(4.5, 0.9), rtol=1e-13)


def test_only_what_reaches_zero_fires():
    # from well under the peak of the flight to just above it
    speed = 4.5
    peak = speed**2 / (2 * GRAVITY)
    for gap in (0.5, 1e-2, 1e-6, 1e-10):
        assert int(_throw([speed], [peak * (1 + gap)], 1.0).num_events) == 0, gap
        ceiling = peak * (1 - gap)
        times, _ = events(_throw([speed], [ceiling], 1.0))
        # roundings over the slope at the crossing, which goes like the square root of the gap
        np.testing.assert_allclose(times, [_reach(speed, ceiling)], atol=1e-14 / np.sqrt(gap))


def test_the_earliest_of_several_peaks_and_crossings():
    # the first and the last component rise and fall within the step, the second is above its
    # ceiling at the end of it, the third never gets there
    speeds, ceilings = np.array([4.5, 9.0, 3.0, 5.5]), np.array([1.0, 3.0, 0.5, 0.9])
    times, indices = events(_throw(speeds, ceilings, 1.12, 1.12))
    expected = {k: _reach(speeds[k], ceilings[k]) for k in (0, 1, 3)}
    np.testing.assert_array_equal(indices, sorted(expected, key=expected.get))
    np.testing.assert_allclose(times, sorted(expected.values()), rtol=1e-12)


def test_a_sine_in_every_phase_of_the_grid_and_in_batches():
    # x = sin t: an event at the arcsine of the level, wherever the grid lies
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.cos(t)[None],
        event_fn=lambda t, y, args: y - args,
        transition_fn=lambda t, y, k, u, args: y - 10.0,
    )
    # from the beginning of the first cell to the peak within the second
    levels = jnp.array([0.1, 0.5, 0.9, 0.95, 0.97, 0.99, 0.999, 1.001])

    def first(level):
        y0 = jnp.zeros(1)
        return solve(sde, 0.0, 3.0, 1.3, y0, 1, solver=DOPRI8, args=level).event_times[0]

    # the error of the eighth-order method at a step of about 1, over the slope at the crossing
    expected = [*np.arcsin(levels[:-1]), np.inf]
    np.testing.assert_allclose(jax.vmap(first)(levels), expected, rtol=1e-6)


def test_the_derivative_is_that_of_the_first_crossing():
    def times(speeds, ceilings):
        return jax.vmap(lambda v, h: _throw(v[None], h[None], 1.0).event_times[0])(speeds, ceilings)

    speeds, ceilings = jnp.array([4.5, 4.0]), jnp.array([0.9, 0.7])
    by_speed, by_ceiling = jax.grad(lambda *a: times(*a).sum(), argnums=(0, 1))(speeds, ceilings)
    # tau = (v - r) / g with r = sqrt(v^2 - 2 g H): d tau/dv = (1 - v/r)/g, d tau/dH = 1/r
    r = np.sqrt(speeds**2 - 2 * GRAVITY * ceilings)
    np.testing.assert_allclose(by_speed, (1 - speeds / r) / GRAVITY, rtol=1e-11)
    np.testing.assert_allclose(by_ceiling, 1 / r, rtol=1e-11)


def test_single_precision():
    speeds, ceilings = jnp.full(1, 4.5, jnp.float32), jnp.full(1, 0.9, jnp.float32)
    solution = _throw(speeds, ceilings, 1.0)
    assert int(solution.num_events) == 1
    assert solution.event_times.dtype == jnp.float32
    # some ten roundings of the stages
    np.testing.assert_allclose(solution.event_times[0], _reach(4.5, 0.9), rtol=1e-5)
