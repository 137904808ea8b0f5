"""What must not change the answer."""

import diffrax as dfx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import pytest
from hypothesis import given, settings

import roughsnn as rs
from tests.solve.models import same_tree, solve

K, CELLS, DT = 3, 20, 0.05
INCREMENTS = np.sqrt(DT) * np.random.default_rng(3).normal(size=(CELLS, K))
CURRENT = np.array([1.3, 1.6, 1.9])
LOG_U = np.log(np.array([0.3, 0.6, 0.9]))
WEIGHTS = np.random.default_rng(4).uniform(-0.5, 1.0, (K, K))


class _GivenMarks(rs.SpikingNetwork):
    """Marks that depend on the number of the event only: 0.5 at every spike."""

    def mark(self, key):
        return jnp.asarray(0.5)


@jax.jit
def _run(increments, current, log_u, weights, shift):
    neurons = rs.StochasticLIF(K, sigma=0.4, mu1=6.0)
    driver = rs.BrownianGrid(0.0, CELLS * DT, DT, increments=increments)
    y0 = rs.LIFState(jnp.zeros(K), jnp.zeros(K), log_u - 0.03 + 0 * shift)
    return rs.eventsolve(
        _GivenMarks(neurons, weights), 0.0, CELLS * DT, DT, y0, key=jr.key(0), max_events=30,
        args=current, driver=driver, throw=False,
    )  # fmt: skip


@given(st.permutations(range(K)))
def test_permuting_the_neurons_permutes_the_answer(order):
    order = np.array(order)
    plain = _run(INCREMENTS, CURRENT, LOG_U, WEIGHTS, 0.0)
    permuted = _run(
        INCREMENTS[:, order], CURRENT[order], LOG_U[order], WEIGHTS[np.ix_(order, order)], 0.0
    )
    n = int(plain.num_events)
    assert n == permuted.num_events > 5
    np.testing.assert_allclose(permuted.event_times[:n], plain.event_times[:n], rtol=1e-11)
    np.testing.assert_array_equal(order[permuted.event_indices[:n]], plain.event_indices[:n])
    np.testing.assert_allclose(permuted.final_state.v, plain.final_state.v[order], atol=1e-10)


@settings(max_examples=6)
@given(st.integers(-64, 64).map(lambda n: n / 4))
def test_shifting_time_shifts_the_events(shift):
    """Each shift is its own window, hence its own compilation: few of them."""
    neuron = rs.StochasticLIF(1, sigma=0.4)
    increments = jnp.asarray(INCREMENTS[:, :1])

    def run(t0):
        y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.full(1, -0.7))
        return solve(
            neuron, t0, t0 + 1.0, 0.0625, y0, 10, args=jnp.asarray(1.5),
            driver=rs.BrownianGrid(t0, t0 + 1.0, 0.0625, increments=increments[:16]),
        )  # fmt: skip

    plain, shifted = run(0.0), run(shift)
    # times count from the start of the window
    np.testing.assert_array_equal(shifted.event_times, plain.event_times)
    assert plain.num_events > 1


def _neuron_run(max_events, t1=1.0, dt0=0.05, key=0, **kwargs):
    neuron = rs.StochasticLIF(2, sigma=0.4)
    return solve(
        neuron, 0.0, t1, dt0, neuron.initial_state(jr.key(9)), max_events, key=jr.key(key),
        args=jnp.asarray(1.5), **kwargs,
    )  # fmt: skip


def test_more_room_keeps_the_first_events():
    all_of_them = _neuron_run(30)
    assert all_of_them.num_events > 6
    for cap in (1, 4):
        few = _neuron_run(cap, throw=False)
        np.testing.assert_array_equal(few.event_times, all_of_them.event_times[:cap])
        np.testing.assert_array_equal(few.event_indices, all_of_them.event_indices[:cap])


@pytest.mark.parametrize("bridge", ["linear", "bridge"])
def test_a_longer_window_keeps_the_early_events(bridge):
    def run(t1):
        driver = rs.BrownianGrid(0.0, t1, 0.05, (2,), jr.key(3), bridge=bridge)
        return _neuron_run(30, t1=t1, driver=driver)

    short, long = run(1.0), run(2.0)
    n = int(short.num_events)
    assert n > 3
    np.testing.assert_allclose(short.event_times[:n], long.event_times[:n], rtol=1e-12)
    np.testing.assert_array_equal(short.event_indices[:n], long.event_indices[:n])


def test_a_batch_is_a_loop():
    """Bits may differ, as a batch is compiled to other instructions."""
    neuron = rs.StochasticLIF(2, sigma=0.4)

    def one(key):
        return rs.eventsolve(
            neuron, 0.0, 1.0, 0.05, neuron.initial_state(key), key=key, max_events=30,
            args=jnp.asarray(1.5), throw=False,
        )  # fmt: skip

    keys = jr.split(jr.key(2), 5)
    batch = jax.jit(jax.vmap(one))(keys)
    for i, key in enumerate(keys):
        single = jax.jit(one)(key)
        np.testing.assert_allclose(batch.event_times[i], single.event_times, rtol=1e-12)
        np.testing.assert_array_equal(batch.event_indices[i], single.event_indices)
        assert batch.stats["num_steps"][i] == single.stats["num_steps"]
    assert len(set(np.asarray(batch.stats["num_steps"]))) > 1


def test_no_jit_is_jit():
    def run():
        neuron = rs.StochasticLIF(1, sigma=None)
        y0 = rs.LIFState(jnp.zeros(1), jnp.zeros(1), jnp.full(1, -0.2))
        return rs.eventsolve(
            neuron, 0.0, 0.3, 0.05, y0, key=jr.key(0), max_events=2, args=jnp.asarray(1.5),
            throw=False,
        ).event_times  # fmt: skip

    compiled = run()
    with jax.disable_jit():
        np.testing.assert_allclose(run(), compiled, rtol=1e-13)
    assert np.isfinite(compiled[0])


def test_single_precision_is_close_to_double():
    def run():
        neuron = rs.StochasticLIF(2, sigma=None)
        y0 = rs.LIFState(jnp.zeros(2), jnp.zeros(2), jnp.array([-0.5, -0.9]))
        return rs.eventsolve(
            neuron, 0.0, 0.4, 0.01, y0, key=jr.key(0), max_events=9, args=jnp.asarray(1.5),
            stop_after=2,
        )  # fmt: skip

    double = run()
    with jax.enable_x64(False):
        single = run()
        assert single.event_times.dtype == jnp.float32
        assert single.final_state.v.dtype == jnp.float32
    # forty steps of rounding 6e-8 each
    np.testing.assert_allclose(single.event_times[:2], double.event_times[:2], rtol=1e-5)
    np.testing.assert_array_equal(single.event_indices, double.event_indices)


# --- forms of a state and of a diffusion


def _system(form):
    """Two noisy potentials and one clock, in several spellings."""
    matrix = jnp.array([[0.5, 0.1], [-0.2, 0.4]])
    operators = {
        "array": lambda t, y, args: matrix,
        "operator": lambda t, y, args: lx.MatrixLinearOperator(matrix),
        "structured": lambda t, y, args: rs.StructuredDiffusion(
            matrix, _product, y, jax.ShapeDtypeStruct((2,), jnp.float64)
        ),
    }
    return operators[form]


def _product(matrix, dx):
    return matrix @ dx


@pytest.mark.parametrize("form", ["operator", "structured"])
def test_the_form_of_the_diffusion_does_not_matter(form):
    def run(form):
        sde = rs.EventSDE(
            drift_fn=lambda t, y, args: 1.0 - 0.3 * y,
            event_fn=lambda t, y, args: y - 0.8,
            transition_fn=lambda t, y, k, u, args: y.at[k].add(-3.0 - u),
            diffusion_fn=_system(form),
            noise=(2,),
        )
        return solve(sde, 0.0, 2.0, 0.05, jnp.zeros(2), 9, key=jr.key(2))

    plain, other = run("array"), run(form)
    assert plain.num_events > 1
    np.testing.assert_allclose(other.event_times, plain.event_times, rtol=1e-13)
    np.testing.assert_allclose(other.final_state, plain.final_state, rtol=1e-12)


def test_a_state_of_any_structure():
    """A tree of states driven by a tree of Brownian motions is the stacked system."""
    names = {"a": 0, "b": 1}
    shape = {name: jax.ShapeDtypeStruct((1,), jnp.float64) for name in names}
    tree = rs.EventSDE(
        drift_fn=lambda t, y, args: jax.tree.map(lambda x: 1.0 - 0.3 * x, y),
        event_fn=lambda t, y, args: jnp.concatenate([y["a"], y["b"]]) - 0.8,
        transition_fn=lambda t, y, k, u, args: {
            n: y[n] - jnp.where(k == j, 3.0 + u, 0.0) for n, j in names.items()
        },
        diffusion_fn=lambda t, y, args: {"a": jnp.eye(1), "b": 0.5 * jnp.eye(1)},
        noise=shape,
    )
    stacked = rs.EventSDE(
        drift_fn=lambda t, y, args: 1.0 - 0.3 * y,
        event_fn=lambda t, y, args: y - 0.8,
        transition_fn=lambda t, y, k, u, args: y.at[k].add(-3.0 - u),
        diffusion_fn=lambda t, y, args: jnp.diag(jnp.array([1.0, 0.5])),
        noise=(2,),
    )
    driver = rs.BrownianGrid(0.0, 6.0, 0.05, shape, jr.key(1))
    both = jnp.concatenate([driver.increments["a"], driver.increments["b"]], -1)
    first = solve(tree, 0.0, 6.0, 0.05, {"a": jnp.zeros(1), "b": jnp.zeros(1)}, 9, driver=driver)
    second = solve(
        stacked, 0.0, 6.0, 0.05, jnp.zeros(2), 9,
        driver=rs.BrownianGrid(0.0, 6.0, 0.05, increments=both),
    )  # fmt: skip
    assert second.num_events > 1
    np.testing.assert_allclose(first.event_times, second.event_times, rtol=1e-13)
    np.testing.assert_array_equal(first.event_indices, second.event_indices)
    final = jnp.concatenate([first.final_state["a"], first.final_state["b"]])
    np.testing.assert_allclose(final, second.final_state, rtol=1e-12)


def test_a_fine_line_may_drive_a_coarse_solve():
    """A grid other than the solver's is an ordinary path: Euler sees its increments."""
    fine = rs.BrownianGrid(0.0, 1.0, 0.0125, (2,), jr.key(3))
    coarse = fine.coarsen(4)
    a, b = _neuron_run(30, driver=fine), _neuron_run(30, driver=coarse)
    # until the first event both make the same steps; within its cell the paths differ
    first = int(np.floor(min(a.event_times[0], b.event_times[0]) / 0.05)) * 0.05
    ts = jnp.linspace(0.0, first, 5)
    path = [_neuron_run(30, driver=d, saveat=dfx.SaveAt(ts=ts[-1:])).ys.v for d in (fine, coarse)]
    np.testing.assert_allclose(path[0], path[1], rtol=1e-12)


def test_integer_states_become_floating_point():
    sde = rs.EventSDE(
        lambda t, y, args: jnp.ones(1), lambda t, y, args: y - 2.5, lambda t, y, k, u, args: y - 9
    )
    out = solve(sde, 0.0, 3.0, 1.0, jnp.zeros(1, int), 2)
    np.testing.assert_allclose(out.event_times, [2.5, np.inf])
    same_tree(out.final_state, jnp.array([-6.0]))
