"""How solves end, and that none fails in silence."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from tests.solve.models import ramps, solve

KEY = jax.random.key(0)


def _one_ramp(y0=-0.6, shift=-1.0, t1=3.0, max_events=5, **kwargs):
    return solve(ramps([1.0], [[shift]]), 0.0, t1, 0.25, jnp.array([y0]), max_events, **kwargs)


def test_max_events_exactly_filled_is_fine():
    out = _one_ramp(max_events=3)
    assert out.num_events == 3
    assert out.result == rs.RESULTS.successful
    assert out.final_time == 3.0
    assert not out.stopped


def test_one_event_too_many_is_an_error_or_a_flag():
    with pytest.raises(Exception, match="Increase it, or pass `throw=False`"):
        _one_ramp(max_events=2)
    out = _one_ramp(max_events=2, throw=False)
    assert out.result == rs.RESULTS.max_events_reached
    assert out.num_events == 2
    assert out.stopped
    np.testing.assert_allclose(out.event_times, [0.6, 1.6])


def test_outside_jit_the_error_is_a_plain_sentence():
    with pytest.raises(rs.EventSolveError, match=r"^More events happened than `max_events`"):
        rs.eventsolve(
            ramps([1.0], [[-1.0]]), 0.0, 3.0, 0.25, jnp.array([-0.5]), key=KEY, max_events=2
        )


def test_under_vmap_the_error_is_raised_too():
    sde = ramps([1.0], [[-1.0]])

    def f(y0):
        return rs.eventsolve(sde, 0.0, 3.3, 0.25, y0, key=KEY, max_events=3).event_times

    assert jax.vmap(f)(jnp.array([[-0.5], [-0.6]])).shape == (2, 3)
    with pytest.raises(Exception, match="More events happened"):
        jax.block_until_ready(jax.vmap(f)(jnp.array([[-0.5], [-0.2]])))


def test_no_room_for_events():
    out = _one_ramp(t1=0.4, max_events=0)
    assert out.result == rs.RESULTS.successful
    assert out.event_times.shape == (0,)
    assert _one_ramp(max_events=0, throw=False).result == rs.RESULTS.max_events_reached


def test_stop_after_ends_at_the_event():
    out = _one_ramp(max_events=4, stop_after=2)
    assert out.result == rs.RESULTS.successful
    assert out.num_events == 2
    np.testing.assert_allclose(out.final_time, 1.6)
    np.testing.assert_allclose(out.final_state, [-1.0])
    assert out.stopped
    np.testing.assert_array_equal(out.event_times[2:], np.inf)
    np.testing.assert_array_equal(out.event_indices, [0, 0, -1, -1])


def test_stop_after_more_events_than_happen():
    out = _one_ramp(max_events=4, stop_after=4)
    assert out.num_events == 3
    assert not out.stopped
    assert out.result == rs.RESULTS.successful


def test_too_few_steps():
    assert _one_ramp(max_steps=15).result == rs.RESULTS.successful
    out = _one_ramp(max_steps=14, throw=False)
    assert out.result == rs.RESULTS.micro_steps_reached
    assert out.stats["num_steps"] == 14
    with pytest.raises(Exception, match="used up `max_steps`"):
        _one_ramp(max_steps=14)
    # without a limit there are always enough: 12 cells, 5 events and one event too many
    assert _one_ramp(shift=-0.3, throw=False).result == rs.RESULTS.max_events_reached


def test_refiring_at_once_is_refused():
    out = _one_ramp(shift=0.0, throw=False)
    assert out.result == rs.RESULTS.immediate_event
    np.testing.assert_allclose(out.stats["failure_time"], 0.6)
    assert out.stats["failure_component"] == 0
    assert out.num_events == 1
    with pytest.raises(Exception, match="right after its own transition"):
        _one_ramp(shift=0.5)


def test_refiring_names_the_component():
    sde = ramps([1.0, 2.0, 0.1], [[-1.0, 0, 0], [0, 0.0, 0], [0, 0, -1.0]])
    out = solve(sde, 0.0, 3.0, 0.25, jnp.array([-0.1, -0.6, -1.0]), 9, throw=False)
    assert out.result == rs.RESULTS.immediate_event
    assert out.stats["failure_component"] == 1
    np.testing.assert_allclose(out.stats["failure_time"], 0.3)


@pytest.mark.parametrize("value", [0.0, 1e-300, 2.0, jnp.inf])
def test_positive_at_the_start_is_refused(value):
    sde = ramps([1.0, 1.0], -jnp.eye(2))
    out = solve(sde, 0.0, 3.0, 0.25, jnp.array([-0.5, value]), 5, throw=False)
    assert out.result == rs.RESULTS.event_at_start
    assert out.stats["failure_component"] == 1
    assert out.stats["failure_time"] == 0.0
    assert out.num_events == 0
    with pytest.raises(Exception, match="not negative at `t0`"):
        solve(sde, 0.0, 3.0, 0.25, jnp.array([-0.5, value]), 5)


def _explodes():
    """Component 1 becomes infinite where t reaches 1."""
    return rs.EventSDE(
        lambda t, y, args: jnp.stack([jnp.zeros(()), jnp.where(t > 0.9, args, 0.0)]),
        lambda t, y, args: y - 1,
        lambda t, y, k, u, args: y,
    )


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_state_that_is_not_finite_is_reported_with_time_and_component(bad):
    out = solve(_explodes(), 0.0, 2.0, 0.25, jnp.zeros(2), 5, args=jnp.asarray(bad), throw=False)
    assert out.result == rs.RESULTS.nonfinite_state
    # the last time at which all was well
    assert out.stats["failure_time"] == 1.0
    assert out.stats["failure_component"] == 1
    assert out.final_time == 1.0
    assert np.all(np.isfinite(out.final_state))
    with pytest.raises(Exception, match="infinite or NaN"):
        solve(_explodes(), 0.0, 2.0, 0.25, jnp.zeros(2), 5, args=jnp.asarray(bad))


def test_the_error_names_time_and_component():
    args = (_explodes(), 0.0, 2.0, 0.25)
    settings = dict(key=KEY, max_events=5, args=jnp.asarray(jnp.nan))
    with pytest.raises(rs.EventSolveError, match=r"failed at t = 1, in component \(neuron\) 1\.$"):
        rs.eventsolve(*args, jnp.zeros(2), **settings)
    current = rs.CurrentOnGrid([0.0, 0.3], np.ones(2))
    with pytest.raises(
        rs.EventSolveError, match=r"component \(neuron\) 0\. This happened in 2 of 2"
    ):
        rs.simulate(
            rs.StochasticLIF(sigma=None), 0.0, 0.5, 0.05, key=KEY, num_samples=2, max_spikes=5,
            input_current=lambda t: jnp.where(t > 0.2, jnp.nan, current(t)),
        )  # fmt: skip


def test_inside_jit_the_error_names_them_too():
    def last(args):
        sde = _explodes()
        return rs.eventsolve(
            sde, 0.0, 2.0, 0.25, jnp.zeros(2), key=KEY, max_events=5, args=args
        ).final_time

    batch = jax.jit(jax.vmap(last))
    assert np.all(batch(jnp.zeros(3)) == 2)
    with pytest.raises(Exception, match="The state became infinite or NaN") as caught:
        jax.block_until_ready(batch(jnp.array([0.0, jnp.nan, jnp.nan])))
    text = "failed at t = 1, in component (neuron) 1. This happened in 2 of 3 samples, first in"
    assert f"{text} sample 1." in str(caught.value)
    with pytest.raises(Exception, match=r"failed at t = 1, in component \(neuron\) 1\."):
        jax.grad(last)(jnp.asarray(jnp.nan))


def test_nan_at_the_start_does_not_fire():
    out = solve(
        ramps([1.0, 1.0], -jnp.eye(2)), 0.0, 1.0, 0.25, jnp.array([-0.5, jnp.nan]), 5, throw=False
    )
    assert out.result == rs.RESULTS.nonfinite_state
    assert out.num_events == 0
    assert out.stats["failure_component"] == 1


def test_a_transition_to_nan_is_reported():
    out = solve(ramps([1.0], [[jnp.nan]]), 0.0, 1.0, 0.25, -jnp.full(1, 0.6), 5, throw=False)
    assert out.result == rs.RESULTS.nonfinite_state


def test_one_failing_sample_leaves_the_others_alone():
    y0 = jnp.array([[-0.5], [jnp.nan], [-0.6], [0.0]])
    sde = ramps([1.0], [[-1.0]])
    out = eqx.filter_vmap(lambda y: solve(sde, 0.0, 3.0, 0.25, y, 5, throw=False))(y0)
    single = [solve(sde, 0.0, 3.0, 0.25, y, 5, throw=False) for y in y0]
    np.testing.assert_array_equal(out.event_times, [s.event_times for s in single])
    ok = np.asarray(out.result == rs.RESULTS.successful)
    assert list(ok) == [True, False, True, False]


def test_every_result_says_what_to_do():
    from roughsnn.solve._solution import _FAILURES

    for member in _FAILURES:
        assert len(rs.RESULTS[member]) > 40


# --- misuse


def _call(function=rs.eventsolve, **changes):
    arguments = dict(
        sde=ramps([1.0], [[-1.0]]), t0=0.0, t1=1.0, dt0=0.25, y0=jnp.array([-0.5]), key=KEY,
        max_events=3,
    ) | changes  # fmt: skip
    first = [arguments.pop(name) for name in ("sde", "t0", "t1", "dt0", "y0")]
    return function(*first, **arguments)


def _sde(event=lambda t, y, args: y, drift=lambda t, y, args: y):
    return rs.EventSDE(drift, event, lambda t, y, k, u, args: y)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(t1=0.0), "`t1` must be greater than `t0`"),
        (dict(t1=-1.0), "`t1` must be greater than `t0`"),
        (dict(t1=float("inf")), "`t1` must be finite"),
        (dict(t0=float("nan")), "`t0` must be finite"),
        (dict(dt0=0.0), "`dt0` must be positive"),
        (dict(dt0=-0.1), "`dt0` must be positive"),
        (dict(dt0=float("nan")), "`dt0` must be finite"),
        (dict(max_events=-1), "`max_events` must be an integer"),
        (dict(stop_after=0), "`stop_after` must be an integer"),
        (dict(stop_after=4), "`stop_after` must be at most `max_events`"),
        (dict(max_steps=0), "`max_steps` must be an integer"),
        (dict(sde=_sde(event=lambda t, y, args: y[0])), "`event` must return one floating-point"),
        (dict(sde=_sde(event=lambda t, y, args: y > 0)), "`event` must return one floating-point"),
        (dict(sde=_sde(event=lambda t, y, args: (y, y))), "`event` must return one floating-point"),
        (dict(sde=_sde(event=lambda t, y, args: y[:0])), "at least one value"),
        (dict(sde=_sde(drift=lambda t, y, args: y[0])), "`drift` must return the structure"),
        (dict(sde=_sde(drift=lambda t, y, args: (y,))), "`drift` must return the structure"),
        (dict(saveat=dfx.SaveAt(dense=True)), "dense output"),
        (dict(saveat=dfx.SaveAt(t1=True, solver_state=True)), "solver_state"),
        (dict(saveat=dfx.SaveAt(ts=[0.5, 1.2])), r"must lie in the window \[0.0, 1.0\]"),
        (dict(saveat=dfx.SaveAt(ts=[-0.1])), "must lie in the window"),
        (dict(saveat=dfx.SaveAt(steps=2)), "`saveat.steps` must be True or False"),
        (dict(saveat=dfx.SaveAt(subs=[dfx.SubSaveAt(t1=True)])), "without nested `subs`"),
        (dict(driver=rs.BrownianGrid(0.0, 1.0, 0.25, (1,), KEY)), "no diffusion"),
        (dict(driver=dfx.UnsafeBrownianPath((1,), KEY)), "the same path however"),
        (dict(driver=dfx.VirtualBrownianTree(0.0, 0.9, 0.1, (1,), KEY)), "must cover the window"),
        (dict(driver=rs.BrownianGrid(0.1, 1.0, 0.25, (1,), KEY)), "must cover the window"),
    ],
)
def test_misuse_is_refused_by_name(changes, match):
    with pytest.raises(ValueError, match=match):
        _call(**changes)


# What run-time type checking would refuse first is called as a user without it would.
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(sde=lambda t, y: y), "`sde` must be an event SDE"),
        (dict(solver="euler"), "`solver` must be a diffrax solver"),
        (dict(driver="brownian"), "`driver` must be a diffrax path"),
        (dict(max_events=2.0), "`max_events` must be an integer"),
        (dict(max_events=True), "`max_events` must be an integer"),
        (dict(saveat=[0.1, 0.2]), "`saveat` must be a diffrax.SaveAt"),
    ],
)
def test_wrong_types_are_refused_by_name(changes, match):
    unchecked = getattr(rs.eventsolve, "__wrapped__", rs.eventsolve)
    with pytest.raises((ValueError, TypeError), match=match):
        _call(unchecked, **changes)
