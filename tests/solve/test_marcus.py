"""Jumps of the driver act by the Marcus rule: closed forms, events inside a jump, derivatives."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.marcus_jumps import decay_times_jumps
from tests.solve.models import DOPRI8, HEUN, events, solve


def _run(times, sizes, *, level=1e6):
    """Up to three jumps, by the same compiled code."""
    unused = 3 - len(times)
    times = jnp.asarray([*times, *[jnp.inf] * unused], float)
    return _three_jumps(times, jnp.asarray([*sizes, *[0.0] * unused], float), jnp.asarray(level))


@eqx.filter_jit
def _three_jumps(times, sizes, level):
    return rs.eventsolve(
        decay_times_jumps(level), 0.0, 1.0, 0.1, jnp.ones(1), key=jr.key(0), max_events=5,
        driver=rs.JumpPath(times, sizes[:, None]), solver=DOPRI8, save_event_states=True,
    )  # fmt: skip


def test_a_field_that_depends_on_the_state_flows_through_the_jump():
    end = _run([0.33, 0.7, 1.0], [1.0, -0.4, 0.7]).final_state
    # Dormand and Prince's order 8 with steps of 0.1, four per jump: far below 1e-8
    np.testing.assert_allclose(end, np.exp(1.3 - 1), rtol=1e-10)


def test_a_field_on_two_directions_that_do_not_commute():
    # dz = (A a + B b) z du: the flow along a straight line is the matrix exponential of the sum
    a, b = jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [1.0, 0.3]])
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.zeros_like(y),
        event_fn=lambda t, y, args: y[:1] - 1e6,
        transition_fn=lambda t, y, k, u, args: y,
        diffusion_fn=lambda t, y, args: jnp.stack([a @ y, b @ y], axis=1),
        noise=(2,),
    )

    def end(times, sizes):
        driver = rs.JumpPath(jnp.array(times), jnp.array(sizes))
        y0 = jnp.array([1.0, -0.5])
        return solve(sde, 0.0, 1.0, 0.25, y0, 1, driver=driver).final_state

    expm = jax.scipy.linalg.expm
    y0 = jnp.array([1.0, -0.5])
    together = end([0.5, 0.5], [[0.8, 0.0], [0.0, -1.1]])
    np.testing.assert_allclose(together, expm(0.8 * a - 1.1 * b) @ y0, rtol=1e-9)
    # one after the other is something else
    apart = end([0.4, 0.5], [[0.8, 0.0], [0.0, -1.1]])
    np.testing.assert_allclose(apart, expm(-1.1 * b) @ expm(0.8 * a) @ y0, rtol=1e-9)
    assert not np.allclose(together, apart, rtol=1e-2)


def test_jumps_at_the_same_time_are_one_jump_in_sums_too():
    jump = rs.JumpPath(jnp.array([0.5]), jnp.array([[0.6]]))
    other = rs.JumpPath(jnp.array([0.5, 0.7]), jnp.array([[-0.2], [0.1]]))
    sde = decay_times_jumps()
    kwargs = dict(solver=DOPRI8)
    ends = [
        solve(sde, 0.0, 1.0, 0.1, jnp.ones(1), 1, driver=d, **kwargs)
        for d in (rs.SumPath(jump, other), rs.SumPath(other, jump))
    ]
    for end in ends:
        np.testing.assert_allclose(end.final_state, np.exp(0.5 - 1), rtol=1e-10)


def test_a_jump_that_triggers_an_event_goes_on_from_the_new_state():
    solution = _run([0.5], [4.0], level=10.0)
    times, _ = events(solution)
    assert times == [0.5]
    np.testing.assert_allclose(solution.event_ys_left[0], 10.0, rtol=1e-9)
    # the rest of the jump acts on what the transition left
    np.testing.assert_allclose(solution.final_state, 0.05 * np.exp(4 - 1), rtol=1e-9)


def test_several_events_in_one_jump():
    # up by a factor of 20 between events: exp(7) = 1097 holds two more after the first
    solution = _run([0.5], [9.0], level=10.0)
    times, _ = events(solution)
    np.testing.assert_array_equal(times, [0.5, 0.5, 0.5])
    np.testing.assert_allclose(solution.final_state, 0.05**3 * np.exp(9 - 1), rtol=1e-9)


def test_derivatives_in_sizes_and_times_are_central_differences():
    def outcome(x):
        times, sizes = x
        solution = _run_on(times, sizes)
        return jnp.append(solution.event_times[:2], solution.final_state)

    def _run_on(times, sizes):
        # state-dependent in one direction only, and the jump moves the clock that fires
        sde = rs.EventSDE(
            drift_fn=lambda t, y, args: jnp.stack([1.0 + y[1] ** 2, -0.5 * y[1]]),
            event_fn=lambda t, y, args: y[:1] - 1,
            transition_fn=lambda t, y, k, u, args: jnp.stack([y[0] - 1, y[1] + 0.1]),
            diffusion_fn=lambda t, y, args: jnp.stack([0.3 * y[1], jnp.cos(y[1])])[:, None],
            noise=(1,),
        )
        driver = rs.JumpPath(times, sizes[:, None])
        return rs.eventsolve(
            sde, 0.0, 2.0, 0.1, jnp.array([0.0, 0.4]), key=jr.key(0), max_events=8, driver=driver,
            solver=HEUN, conditions="ignore",
        )  # fmt: skip

    outcome = jax.jit(outcome)
    at = (jnp.array([0.33, 0.77, 1.41]), jnp.array([0.5, 0.9, -0.6]))
    for jacobian in (jax.jacfwd, jax.jacrev):
        d_times, d_sizes = jacobian(outcome)(at)
        h = 1e-6
        for place, got in ((0, d_times), (1, d_sizes)):
            for j in range(3):
                ends = []
                for sign in (1, -1):
                    moved = list(at)
                    moved[place] = at[place].at[j].add(sign * h)
                    ends.append(outcome(tuple(moved)))
                difference = (ends[0] - ends[1]) / (2 * h)
                # rounding 1e-16 / h, curvature h^2
                np.testing.assert_allclose(got[:, j], difference, rtol=1e-7, atol=1e-8)


def test_a_spike_train_drives_a_synaptic_current():
    # additive: i jumps by the weight at every input spike, exactly
    trains = rs.SpikeTrains.from_lists([[[0.2, 0.55], [0.4]]], t0=0.0, t1=1.0)
    weights = jnp.array([0.7, -0.3])
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: -2.0 * y,
        event_fn=lambda t, y, args: y - 1e6,
        transition_fn=lambda t, y, k, u, args: y,
        diffusion_fn=lambda t, y, args: weights[None, :],
        noise=(2,),
    )
    out = solve(
        sde, 0.0, 1.0, 0.05, jnp.zeros(1), 1, driver=rs.spike_path(trains[0]), solver=DOPRI8,
        saveat=dfx.SaveAt(ts=jnp.array([0.1, 0.2, 0.5, 1.0])),
    )  # fmt: skip
    t, jumps = np.array([0.1, 0.2, 0.5, 1.0]), [(0.2, 0.7), (0.4, -0.3), (0.55, 0.7)]
    exact = sum(np.where(t >= s, w * np.exp(-2 * (t - s)), 0) for s, w in jumps)
    np.testing.assert_allclose(out.ys[:, 0], exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bridge", ["linear", "bridge"])
def test_noise_and_input_spikes_add_up(bridge):
    # dv = -v dt + dB + dN on both sides: linear, so the solution is the sum of its parts
    def end(driver):
        sde = rs.EventSDE(
            drift_fn=lambda t, y, args: jnp.zeros_like(y),
            event_fn=lambda t, y, args: y - 1e6,
            transition_fn=lambda t, y, k, u, args: y,
            diffusion_fn=lambda t, y, args: jnp.eye(1),
            noise=(1,),
        )
        return solve(sde, 0.0, 1.0, 0.1, jnp.zeros(1), 1, driver=driver).final_state

    noise = rs.BrownianGrid(0.0, 1.0, 0.1, (1,), jr.key(1), bridge=bridge)
    spikes = rs.JumpPath(jnp.array([0.03, 0.5, 0.77]), jnp.array([[1.0], [2.0], [0.5]]))
    total = end(rs.SumPath(noise, spikes))
    # a bridge is cut at the jumps and its pieces still add up to its increment
    np.testing.assert_allclose(total, noise.increments.sum(0) + 3.5, rtol=1e-12)


def _both(strength, dx):
    noise, spikes = dx
    return noise + jnp.stack([jnp.zeros(()), strength * spikes[0]])


def test_drivers_side_by_side():
    noise = tuple(jax.ShapeDtypeStruct((n,), jnp.float64) for n in (2, 1))
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.zeros_like(y),
        event_fn=lambda t, y, args: y[:1] - 1e6,
        transition_fn=lambda t, y, k, u, args: y,
        diffusion_fn=lambda t, y, args: rs.StructuredDiffusion(jnp.array(3.0), _both, y, noise),
        noise=noise,
    )
    motion = rs.BrownianGrid(0.0, 1.0, 0.1, (2,), jr.key(1))
    spikes = rs.JumpPath(jnp.array([0.03, 0.5]), jnp.array([[1.0], [2.0]]))
    end = solve(sde, 0.0, 1.0, 0.1, jnp.zeros(2), 1, driver=rs.ProductPath(motion, spikes))
    exact = motion.increments.sum(0) + jnp.array([0.0, 9.0])
    np.testing.assert_allclose(end.final_state, exact, rtol=1e-12)


def test_jumps_outside_the_window_do_not_act():
    for times in ([-0.5, 0.0], [1.5, np.inf]):
        np.testing.assert_allclose(_run(times, [1.0, 1.0]).final_state, np.exp(-1), rtol=1e-9)
    # and no jumps at all
    empty = rs.JumpPath(jnp.zeros(0), jnp.zeros((0, 1)))
    end = solve(decay_times_jumps(), 0.0, 1.0, 0.1, jnp.ones(1), 1, driver=empty, solver=DOPRI8)
    np.testing.assert_allclose(end.final_state, np.exp(-1), rtol=1e-9)


def test_a_poisson_path_has_its_law_and_is_differentiable_in_its_rate():
    def counts(key):
        path = rs.poisson_path(0.0, 2.0, jnp.array([3.0, 0.0, 1.0]), key=key, max_jumps=30)
        return path.evaluate(0.0, 2.0), path.evaluate(0.0, 1.0)

    whole, half = jax.vmap(counts)(jr.split(jr.key(0), 4000))
    # 4 standard errors of a mean of 4000 Poisson numbers
    np.testing.assert_allclose(whole.mean(0), [6, 0, 2], atol=4 * np.sqrt(6 / 4000))
    np.testing.assert_allclose(whole.var(0), [6, 0, 2], atol=0.6)
    assert abs(np.cov(half[:, 0], whole[:, 0] - half[:, 0])[0, 1]) < 0.3

    def first(rate):
        return rs.poisson_path(0.0, 2.0, rate, key=jr.key(1), max_jumps=30).times[0]

    np.testing.assert_allclose(jax.grad(first)(3.0), -first(3.0) / 3.0, rtol=1e-12)
    with pytest.raises(Exception, match="max_jumps"):
        rs.poisson_path(0.0, 2.0, 50.0, key=jr.key(1), max_jumps=3)


def test_a_compound_poisson_path():
    path = rs.poisson_path(
        0.0, 3.0, 4.0, key=jr.key(1), max_jumps=40, jump_sizes=lambda k: 2 + jr.normal(k)
    )
    known = np.isfinite(path.times)
    assert 3 < known.sum() < 30
    np.testing.assert_allclose(path.evaluate(0.0, 3.0), path.sizes[known].sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rs.JumpPath(jnp.array([jnp.nan]), jnp.ones((1, 1))), "NaN"),
        (lambda: rs.JumpPath(jnp.zeros((2, 2)), jnp.ones((2, 1))), "`times`"),
        (lambda: rs.JumpPath(jnp.zeros(2), jnp.ones((3, 1))), "`sizes`"),
        (lambda: rs.poisson_path(0.0, 1.0, -1.0, key=jr.key(0), max_jumps=3), "`rate`"),
        (lambda: rs.poisson_path(1.0, 1.0, 1.0, key=jr.key(0), max_jumps=3), "`t1`"),
        (lambda: rs.poisson_path(0.0, 1.0, 1.0, key=jr.key(0), max_jumps=0), "`max_jumps`"),
        (lambda: rs.SumPath(), "at least one"),
    ],
)
def test_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
