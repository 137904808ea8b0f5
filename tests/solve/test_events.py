"""Which events happen, when, and in which order."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from tests.solve.models import DOPRI8, HEUN, events, ramps, same_tree, solve

# Ramps are linear in time, so that every method finds their events up to a few roundings.
EXACT = dict(rtol=1e-13, atol=1e-14)


# --- a ball that bounces: nonlinear in time, exact under a second-order method


def _ball(gravity, restitution, t1=2.0, dt0=0.1, **kwargs):
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([y[1], -args[0]]),
        event_fn=lambda t, y, args: -y[:1],
        # off the ground by next to nothing, so that the event does not fire again at once
        transition_fn=lambda t, y, k, u, args: jnp.stack([jnp.full((), 1e-12), -args[1] * y[1]]),
    )
    return rs.eventsolve(
        sde, 0.0, t1, dt0, jnp.array([1.0, 0.0]), key=jax.random.key(0), max_events=6,
        args=(gravity, restitution), solver=HEUN, **kwargs,
    )  # fmt: skip


def _ball_times(gravity, restitution, n):
    fall = jnp.sqrt(2 / gravity)
    # the flight after the k-th bounce takes 2 e^k sqrt(2 / g)
    return fall * (1 + 2 * jnp.cumsum(restitution ** jnp.arange(1.0, n)))


def test_bouncing_ball_and_its_derivatives():
    parameters = jnp.asarray(9.81), jnp.asarray(0.7)

    def times(*parameters):
        out = _ball(*parameters)
        return out.event_times, out

    ours, out = eqx.filter_jit(jax.jacrev(times, argnums=(0, 1), has_aux=True))(*parameters)
    n = int(out.num_events)
    assert n == 4

    def closed_form(g, e):
        return jnp.concatenate([jnp.sqrt(2 / g)[None], _ball_times(g, e, n)])

    # the state is put back 1e-12 above the ground at each bounce, which moves the later times
    np.testing.assert_allclose(out.event_times[:n], closed_form(*parameters), atol=1e-11)
    assert np.all(out.event_indices[:n] == 0)
    theirs = jax.jacfwd(closed_form, argnums=(0, 1))(*parameters)
    same_tree([slope[:n] for slope in ours], list(theirs), atol=1e-10)


# --- several candidates


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_earliest_of_several_candidates_comes_first_in_any_order(order):
    # all cross in the one cell of the grid, component 2 first
    slopes = jnp.array([1.0, 1.5, 4.0])[jnp.array(order)]
    times, indices = events(solve(ramps(slopes, -9 * jnp.eye(3)), 0.0, 1.5, 1.5, -jnp.ones(3), 5))
    np.testing.assert_allclose(times, [0.25, 2 / 3, 1.0], **EXACT)
    assert [order[k] for k in indices] == [2, 1, 0]


def test_many_events_of_one_and_of_several_components_in_one_cell():
    sde = ramps([10.0, 4.0], -jnp.eye(2))
    for dt0 in (1.0, 0.3, 0.01):
        times, indices = events(solve(sde, 0.0, 1.0, dt0, jnp.array([-0.55, -0.7]), 20))
        fast, slow = (0.55 + np.arange(10)) / 10, (0.7 + np.arange(4)) / 4
        order = np.argsort(np.concatenate([fast, slow]))
        np.testing.assert_allclose(times, np.concatenate([fast, slow])[order], **EXACT)
        assert np.all(indices == np.repeat([0, 1], [10, 4])[order])


def test_simultaneous_events_happen_together_though_one_inhibits_the_other():
    shifts = jnp.array([[-2.0, -5.0, 0.0], [-5.0, -2.0, 0.0], [0.0, 0.0, -2.0]])
    out = solve(ramps([1.0, 1.0, 1.0], shifts), 0.0, 1.7, 0.25, jnp.array([-1.1, -1.1, -1.2]), 5)
    times, indices = events(out)
    np.testing.assert_allclose(times, [1.1, 1.1, 1.2], **EXACT)
    assert times[0] == times[1]
    assert list(indices) == [0, 1, 2]
    np.testing.assert_allclose(out.final_state, [-6.4, -6.4, -1.5], **EXACT)


def test_all_components_at_once():
    out = solve(ramps(jnp.ones(7), -2 * jnp.eye(7)), 0.0, 1.0, 0.3, -jnp.full(7, 0.4), 9)
    times, indices = events(out)
    np.testing.assert_allclose(times, 0.4, **EXACT)
    assert list(indices) == list(range(7))


def test_an_event_set_off_by_another_happens_at_the_same_time():
    # 0 lifts 1 above its level, which lifts 2; component 2 comes before neither in time
    shifts = jnp.array([[-2.0, 3.0, 0.0], [0.0, -9.0, 3.0], [0.0, 0.0, -9.0]])
    sde = ramps([1.0, 0.0, 0.0], shifts)

    def first_times(y0):
        out = solve(sde, 0.0, 1.0, 0.25, y0, 5)
        return out.event_times[:3], out

    jacobian = eqx.filter_jit(jax.jacrev(first_times, has_aux=True))
    slopes, out = jacobian(jnp.array([-0.6, -1.0, -1.0]))
    times, indices = events(out)
    assert list(indices) == [0, 1, 2]
    np.testing.assert_allclose(times, 0.6, **EXACT)
    assert times[0] == times[1] == times[2]
    # all three have the derivative of the one that set them off
    np.testing.assert_allclose(slopes, [[-1.0, 0.0, 0.0]] * 3, atol=1e-14)


# --- where the grid and the window end


@pytest.mark.parametrize("time", [0.25, 0.5, 1.0])
def test_simultaneous_events_at_a_grid_point_and_at_the_end(time):
    # times and slopes are exact in binary, so the event is exactly at the end of a cell
    out = solve(ramps([1.0, 1.0, 0.1], -2 * jnp.eye(3)), 0.0, 1.0, 0.25, -jnp.full(3, time), 5)
    times, indices = events(out)
    assert list(times) == [time, time]
    assert list(indices) == [0, 1]
    assert out.final_time == 1.0
    assert out.result == rs.RESULTS.successful


def test_an_event_set_off_at_the_end_of_the_window():
    shifts = jnp.array([[-2.0, 3.0], [0.0, -9.0]])
    times, indices = events(solve(ramps([1.0, 0.0], shifts), 0.0, 1.0, 0.25, -jnp.ones(2), 5))
    assert list(times) == [1.0, 1.0]
    assert list(indices) == [0, 1]


def test_nothing_happens_after_the_end():
    out = solve(ramps([1.0], [[-1.0]]), 0.0, 1.0, 0.25, jnp.array([-1.0 - 1e-9]), 3)
    assert out.num_events == 0
    np.testing.assert_allclose(out.final_state, [-1e-9], atol=1e-15)


def test_a_short_last_cell_and_a_cell_as_long_as_the_window():
    sde = ramps([1.0], [[-0.4]])
    for dt0 in (0.3, 0.47, 1.05):
        out = solve(sde, -0.5, 0.55, dt0, jnp.array([-0.35]), 5)
        # since the start of the window
        np.testing.assert_allclose(events(out)[0], [0.35, 0.75], **EXACT)
        assert out.final_time == 1.05
        np.testing.assert_allclose(out.final_state, [-0.1], atol=1e-14)
    with pytest.raises(ValueError, match="`dt0` must be at most the length of the window"):
        solve(sde, -0.5, 0.55, 5.0, jnp.array([-0.35]), 5)


# --- nonlinear event functions, and from which side


def _clock(event_fn, transition_fn=None):
    """The state is the time."""
    return rs.EventSDE(
        lambda t, y, args: jnp.ones(1),
        event_fn,
        transition_fn or (lambda t, y, k, u, args: y - 1e3),
    )


_EXPONENTIAL = _clock(lambda t, y, power: jnp.exp(y) ** power - jnp.exp(power * 0.345))


@pytest.mark.parametrize("power", [1, 3, 9])
@pytest.mark.parametrize("dt0", [0.01, 0.7])
def test_a_nonlinear_event_function_is_located_to_rounding(power, dt0):
    out = solve(_EXPONENTIAL, 0.0, 0.7, dt0, jnp.zeros(1), 2, args=jnp.asarray(float(power)))
    np.testing.assert_allclose(events(out)[0], [0.345], rtol=0, atol=4e-16)
    assert out.stats["location_residual"] < 1e-12
    # as the docstring states it
    tolerance = 4 * np.finfo(float).eps * dt0
    np.testing.assert_allclose(out.stats["location_tolerance"], tolerance, rtol=1e-12)


def test_thousands_of_events_in_one_solve():
    # two ramps that fall by one at each event of their own: every event time is known
    slopes, y0, t1 = np.array([1000.0, 700.0]), np.array([-0.5, -0.3]), 2.0

    def times(slopes):
        sde = ramps(slopes, -jnp.eye(2))
        return rs.eventsolve(
            sde,
            0.0,
            t1,
            0.25,
            jnp.asarray(y0),
            key=jax.random.key(0),
            max_events=3500,
            conditions="ignore",
        ).event_times

    last = [2000, 1400]
    exact = [(np.arange(float(n)) - y) / s for n, y, s in zip(last, y0, slopes, strict=True)]

    def latest(slopes):
        found = times(slopes)
        return found[sum(last) - 1], found

    (_, found), gradient = jax.jit(jax.value_and_grad(latest, has_aux=True))(jnp.asarray(slopes))
    # the state is rounded anew in each of the 3400 steps of size 1 at most: 3400 x 1e-16 / 700
    np.testing.assert_allclose(found[: sum(last)], np.sort(np.concatenate(exact)), atol=1e-12)
    assert not np.any(np.isfinite(found[sum(last) :]))
    # the last of all is one of the first ramp, or of the second, and d tau / d slope = -tau / slope
    ends = [e[-1] for e in exact]
    expected = np.where(np.arange(2) == np.argmax(ends), -np.asarray(ends) / slopes, 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


def test_hard_to_locate_events():
    """Newton's method alone leaves the bracket for the first two, crawls on the third."""
    functions = [
        lambda y: jnp.tanh(40 * (y - 0.123)),
        lambda y: jnp.sign(y - 0.3) * jnp.sqrt(jnp.abs(y - 0.3) + 1e-30),
        lambda y: (y - 0.6) ** 3,
    ]
    sde = _clock(lambda t, y, which: jax.lax.switch(which, functions, y))
    # near a triple zero the function is below rounding within 1e-5 of it
    for which, (time, tolerance) in enumerate([(0.123, 1e-15), (0.3, 1e-14), (0.6, 2e-5)]):
        out = solve(sde, 0.0, 1.0, 1.0, jnp.zeros(1), 2, args=jnp.asarray(which))
        np.testing.assert_allclose(events(out)[0], [time], atol=tolerance)


def test_earliest_of_two_nonlinear_components_whose_secants_say_otherwise():
    # on [0, 1] the secants cross at 0.30 and 0.42, the functions at 0.5 and 0.4
    def event(t, y, args):
        return jnp.concatenate([jnp.expm1(4 * (y - 0.5)) * 0.3, jnp.tanh(2 * (y - 0.4))])

    times, indices = events(solve(_clock(event), 0.0, 1.0, 1.0, jnp.zeros(1), 4))
    np.testing.assert_allclose(times, [0.4], atol=1e-15)
    assert list(indices) == [1]


def test_only_crossings_from_below_fire():
    # sin(t - 1) is negative at 0, rises through 0 at 1, falls at 1 + pi, rises at 1 + 2 pi
    sde = _clock(lambda t, y, args: jnp.sin(t - 1)[None], lambda t, y, k, u, args: y)
    out = solve(sde, 0.0, 0.9, 0.1, jnp.zeros(1), 3)
    assert out.num_events == 0
    falling = _clock(lambda t, y, args: 1 - y, lambda t, y, k, u, args: y)
    out = solve(falling, 1.5, 3.0, 0.1, jnp.full(1, 1.5), 3)
    assert out.num_events == 0


def test_event_function_and_transition_may_depend_on_time_and_args():
    sde = rs.EventSDE(
        lambda t, y, args: jnp.zeros(1),
        lambda t, y, args: (t - args["period"])[None] + y,
        lambda t, y, k, u, args: -t * jnp.ones(1),
    )
    args = {"period": jnp.asarray(0.3)}

    def first_times(args):
        out = solve(sde, 0.0, 1.0, 0.25, jnp.zeros(1), 5, args=args)
        return out.event_times[:3], out

    slopes, out = eqx.filter_jit(jax.jacrev(first_times, has_aux=True))(args)
    np.testing.assert_allclose(events(out)[0], [0.3, 0.6, 0.9], **EXACT)
    np.testing.assert_allclose(slopes["period"], [1.0, 2.0, 3.0], rtol=1e-12)


def test_refining_the_grid_does_not_move_the_events_of_an_accurate_method():
    def f(dt0):
        sde = _clock(
            lambda t, y, args: jnp.sin(5 * y) - 0.5, lambda t, y, k, u, args: y + jnp.pi / 5
        )
        return events(solve(sde, -0.1, 2.0, dt0, jnp.full(1, -0.1), 20, solver=DOPRI8))[0]

    coarse, fine = f(0.2), f(0.03)
    assert len(coarse) > 2
    np.testing.assert_allclose(coarse, fine, atol=1e-13)


def test_marks_belong_to_component_and_number():
    """Not to the order of events, nor to the grid."""
    marked = rs.EventSDE(
        lambda t, y, args: {"x": jnp.ones(2), "marks": jnp.zeros((2, 3))},
        lambda t, y, args: y["x"],
        lambda t, y, k, u, args: {
            "x": y["x"].at[k].set(-1.0),
            "marks": y["marks"].at[k].set(jnp.roll(y["marks"][k], 1).at[0].set(u)),
        },
    )

    def marks(first, second, dt0=0.3):
        y0 = {"x": -jnp.array([first, second]), "marks": jnp.zeros((2, 3))}
        return solve(marked, 0.0, 3.5, dt0, y0, 9).final_state["marks"]

    np.testing.assert_array_equal(marks(0.8, 0.9), marks(0.9, 0.8))
    np.testing.assert_array_equal(marks(0.8, 0.9), marks(0.8, 0.9, 0.07))
    assert np.unique(marks(0.8, 0.9)).size == 6
