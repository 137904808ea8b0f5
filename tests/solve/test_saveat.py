"""States at times asked for, and on both sides of events."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from tests.solve.models import HEUN, ramps, same_tree, solve

RAMP = ramps([1.0], [[-1.0]])
Y0 = jnp.array([-0.55])


def _ramp(saveat, t1=3.0, **kwargs):
    return solve(RAMP, 0.0, t1, 0.25, Y0, 5, saveat=saveat, **kwargs)


def _exact(t):
    # events at 0.55, 1.55 and 2.55; continuous from the right
    return t - 0.55 - np.floor(np.maximum(t + 0.45, 0))


def test_states_at_given_times():
    ts = np.array([0.0, 0.1, 0.25, 0.5, 0.6, 1.0, 1.54, 1.56, 2.0, 2.99, 3.0])
    out = _ramp(dfx.SaveAt(ts=ts))
    np.testing.assert_array_equal(out.ts, ts)
    np.testing.assert_allclose(out.ys[:, 0], _exact(ts), atol=1e-14)


def test_a_state_at_an_event_is_the_one_after_it():
    first = _ramp(None).event_times[0]
    out = _ramp(dfx.SaveAt(ts=jnp.stack([first - 1e-9, first, first + 1e-9])))
    np.testing.assert_allclose(out.ys[:, 0], [0.0, -1.0, -1.0], atol=2e-9)


def test_everything_at_once_is_concatenated_in_order():
    out = _ramp(dfx.SaveAt(t0=True, ts=[0.3, 0.7], t1=True, fn=lambda t, y, args: (2 * y, t)))
    np.testing.assert_allclose(out.ts, [0.0, 0.3, 0.7, 3.0])
    doubled, times = out.ys
    np.testing.assert_allclose(doubled[:, 0], 2 * _exact(np.asarray(out.ts)), atol=1e-14)
    np.testing.assert_array_equal(times, out.ts)


def test_nothing_asked_for():
    out = _ramp(None)
    assert out.ts is None
    assert out.ys is None
    assert out.event_ys_left is None
    assert _ramp(dfx.SaveAt(t1=True)).ys.shape == (1, 1)


def test_states_on_both_sides_of_events():
    out = _ramp(None, save_event_states=True)
    np.testing.assert_allclose(out.event_ys_left[:3, 0], 0.0, atol=1e-14)
    np.testing.assert_allclose(out.event_ys_right[:3, 0], -1.0, atol=1e-14)
    assert np.all(np.isnan(out.event_ys_left[3:]))
    assert np.all(np.isnan(out.event_ys_right[3:]))


def test_every_step():
    out = _ramp(dfx.SaveAt(steps=True))
    ts, ys = np.asarray(out.ts), np.asarray(out.ys)[:, 0]
    assert np.all(np.diff(ts) >= 0)
    assert ts[0] == 0.0
    assert ts[-1] == 3.0
    known = np.concatenate([np.arange(13) * 0.25, [0.55, 1.55, 2.55]])
    np.testing.assert_allclose(np.unique(ts.round(12)), np.unique(known), atol=1e-12)
    inside = ~np.isin(ts.round(12), [0.55, 1.55, 2.55])
    np.testing.assert_allclose(ys[inside], _exact(ts[inside]), atol=1e-12)
    # events are there with the state after them
    np.testing.assert_allclose(ys[~inside], -1.0, atol=1e-12)


def test_after_an_early_end_there_is_no_state():
    out = _ramp(dfx.SaveAt(ts=[0.5, 1.0, 2.0], t1=True), stop_after=2)
    np.testing.assert_allclose(out.ys[:, 0], [-0.05, -0.55, np.nan, -1.0], atol=1e-14)
    np.testing.assert_allclose(out.ts[-1], 1.55)


def test_states_at_tied_events_are_those_after_the_last():
    sde = ramps([1.0, 1.0], [[-1.0, -0.5], [-0.5, -1.0]])
    y0 = jnp.full(2, -0.6)
    time = solve(sde, 0.0, 1.0, 0.25, y0, 5).event_times[1]
    out = solve(
        sde, 0.0, 1.0, 0.25, y0, 5, saveat=dfx.SaveAt(ts=time[None]), save_event_states=True
    )
    np.testing.assert_allclose(out.ys, [[-1.5, -1.5]], atol=1e-14)
    np.testing.assert_allclose(out.event_ys_right[1], [-1.5, -1.5], atol=1e-14)


# --- with noise

NEURON = rs.StochasticLIF(2, sigma=jnp.array([[0.4, 0.1], [0.2, 0.3]]))
TREE = dfx.VirtualBrownianTree(0.0, 1.0, 1e-4, (2, 2), jr.key(5))
GRIDS = {
    bridge: rs.BrownianGrid(0.0, 1.0, 0.05, (2, 2), jr.key(5), bridge=bridge)
    for bridge in ("linear", "bridge")
}


def _noisy(driver, saveat, **kwargs):
    return solve(
        NEURON, 0.0, 1.0, 0.05, NEURON.initial_state(jr.key(1)), 20, args=jnp.full(2, 1.5),
        driver=driver, saveat=saveat, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("driver", "solver"),
    [(GRIDS["linear"], HEUN), (GRIDS["bridge"], HEUN), (TREE, None)],
    ids=["linear", "bridge", "tree"],
)
def test_what_is_saved_changes_nothing(driver, solver):
    ts = jnp.linspace(0.0, 1.0, 21)
    some = _noisy(driver, dfx.SaveAt(ts=ts), solver=solver)
    more = _noisy(driver, dfx.SaveAt(ts=jnp.linspace(0.0, 1.0, 81)), solver=solver)
    none = _noisy(driver, None, solver=solver)
    assert none.num_events > 2
    same_tree(some.ys, jax.tree.map(lambda y: y[::4], more.ys), rtol=1e-12, atol=1e-13)
    for out in (some, more):
        np.testing.assert_allclose(out.event_times, none.event_times, rtol=1e-13)
        same_tree(out.final_state, none.final_state, rtol=1e-12, atol=1e-13)
    same_tree(jax.tree.map(lambda y: y[-1], some.ys), none.final_state)


def test_states_at_grid_points_are_those_of_the_steps():
    ts = GRIDS["linear"].grid.points(jnp.float64)
    at = _noisy(GRIDS["linear"], dfx.SaveAt(ts=ts))
    steps = _noisy(GRIDS["linear"], dfx.SaveAt(steps=True))
    where = [int(np.nonzero(np.isclose(steps.ts, t, rtol=0, atol=1e-12))[0][-1]) for t in ts]
    same_tree(at.ys, jax.tree.map(lambda y: y[jnp.array(where)], steps.ys), atol=1e-12)


def test_jumps_between_both_sides_are_those_of_the_transition():
    out = _noisy(GRIDS["linear"], None, save_event_states=True)
    n = int(out.num_events)
    left, right = out.event_ys_left, out.event_ys_right
    fired = np.asarray(out.event_indices[:n])
    jump = np.asarray(right.v - left.v)[:n]
    np.testing.assert_allclose(jump, -1.4 * np.eye(2)[fired], atol=1e-13)
    np.testing.assert_array_equal(right.i[:n], left.i[:n])
    np.testing.assert_allclose(left.s[np.arange(n), fired], 0, atol=1e-13)
    assert np.all(np.asarray(right.s)[np.arange(n), fired] < -0.03)
