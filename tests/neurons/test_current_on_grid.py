"""Input currents given by values on a grid of times."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

TIMES = np.array([0.0, 0.2, 0.3, 0.7])
VALUES = np.array([1.0, 2.0, 0.5, 1.5])


def test_linear_is_numpys_interpolation():
    current = rs.CurrentOnGrid(TIMES, VALUES)
    at = np.array([-1.0, 0.0, 0.13, 0.2, 0.26, 0.3, 0.55, 0.7, 3.0])
    # a few roundings
    np.testing.assert_allclose(jax.vmap(current)(at), np.interp(at, TIMES, VALUES), rtol=1e-14)


def test_previous_holds_each_value_until_the_next():
    current = rs.CurrentOnGrid(TIMES, np.stack([VALUES, -VALUES], 1), "previous")
    at = jnp.array([-1.0, 0.0, 0.19, 0.2, 0.69, 0.7, 3.0])
    expected = np.array([1.0, 1.0, 1.0, 2.0, 0.5, 1.5, 1.5])
    np.testing.assert_array_equal(jax.vmap(current)(at), np.stack([expected, -expected], 1))


def _spike_times(values, adjoint=None):
    neuron = rs.StochasticLIF(2, sigma=0.2, mu2=0.0)
    return rs.eventsolve(
        neuron, 0.0, 0.8, 0.02, neuron.initial_state(jr.key(0)), key=jr.key(1), max_events=20,
        args=rs.CurrentOnGrid(TIMES, values), adjoint=adjoint,
    ).event_times  # fmt: skip


def test_spike_times_are_differentiable_in_the_values():
    values = jnp.stack([VALUES + 1, VALUES + 1.2], 1)
    times = jax.jit(_spike_times)(values)
    spikes = jnp.isfinite(times)
    assert 4 <= int(spikes.sum()) < 20

    def total(v, adjoint=None):
        return jnp.sum(jnp.where(spikes, jnp.sin(_spike_times(v, adjoint)), 0))

    gradient = jax.jit(jax.grad(total))(values)
    # rounding of two orders of sums
    for adjoint in (rs.EligibilityTraces("full"), rs.StochasticAdjoint()):
        other = jax.jit(jax.grad(lambda v, a=adjoint: total(v, a)))(values)
        np.testing.assert_allclose(other, gradient, rtol=1e-9, atol=1e-12)
    direction = jnp.cos(jnp.arange(8.0)).reshape(4, 2)
    h, total = 1e-6, jax.jit(total)
    difference = (total(values + h * direction) - total(values - h * direction)) / (2 * h)
    # curvature h^2 and rounding 1e-16 / h
    np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-7)


@pytest.mark.slow
def test_local_traces_differ_by_an_effect_of_the_grid_that_vanishes_with_it():
    """Two neurons that do not touch each other: the spike times of one have no derivative in the
    current of the other, and local traces give none. The scheme has one, and so have the engines
    that are the derivative of the scheme, since a spike of the one cuts a step of the other."""
    neuron, fine, keys = rs.StochasticLIF(2, sigma=0.2, mu2=0.0), 0.01 / 32, jr.split(jr.key(3), 8)
    values = jnp.stack([VALUES + 1, VALUES + 1.2], 1)

    def derivatives(factor, adjoint):
        def of_first_neuron(own, other, key):
            noise, start, marks = jr.split(key, 3)
            solution = rs.eventsolve(
                neuron, 0.0, 0.4, factor * fine, neuron.initial_state(start), key=marks,
                max_events=20, args=rs.CurrentOnGrid(TIMES, values + jnp.stack([own, other])[None]),
                adjoint=adjoint,
                driver=rs.BrownianGrid(0.0, 0.4, fine, (2,), noise).coarsen(factor),
            )  # fmt: skip
            times = jnp.where(solution.event_indices == 0, solution.event_times, 0)
            return jnp.sum(jnp.sin(times))

        both = jax.vmap(jax.jacfwd(of_first_neuron, (0, 1)), (None, None, 0))
        return jax.jit(both)(jnp.zeros(()), jnp.zeros(()), keys)

    differences = []
    for factor in (32, 2):
        own, other = derivatives(factor, rs.EligibilityTraces())
        np.testing.assert_array_equal(other, 0)
        assert np.all(own != 0)
        own_exact, other_exact = derivatives(factor, rs.ReverseMode())
        differences.append(np.abs(own - own_exact) + np.abs(other_exact))
    # on the same paths, 16 times finer: a factor of 4 for the noise, half an order
    coarse, finer = np.median(differences, 1)
    assert coarse > 2 * finer > 0, (coarse, finer)


def test_traces_know_whose_current_a_column_is():
    neuron, h = rs.StochasticLIF(2, sigma=0.2, mu2=0.0), jnp.array([2.0, 2.3])

    def last(current):
        times = rs.eventsolve(
            neuron, 0.0, 0.8, 0.02, neuron.initial_state(jr.key(0)), key=jr.key(1), max_events=20,
            args=current, adjoint=rs.EligibilityTraces(),
        ).event_times  # fmt: skip
        return jnp.sum(jnp.where(jnp.isfinite(times), times * jnp.arange(20.0), 0))

    # two times and two neurons, so that the axes cannot be told apart by their lengths
    on_grid = jax.jit(jax.grad(lambda v: last(rs.CurrentOnGrid([0.0, 0.8], v))))(jnp.stack([h, h]))
    constant = jax.jit(jax.grad(last))(h)
    # the same current, whichever way it is given
    np.testing.assert_allclose(on_grid.sum(0), constant, rtol=1e-9)
    assert np.all(constant != 0)


def test_a_constant_array_is_the_constant_current():
    def run(current):
        return rs.simulate(
            rs.StochasticLIF(), 0.0, 0.5, 0.02, key=jr.key(0), num_samples=3, max_spikes=10,
            input_current=current,
        ).times  # fmt: skip

    np.testing.assert_allclose(run(rs.CurrentOnGrid([0, 1], [2, 2])), run(2.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("times", "values", "interpolation", "text"),
    [
        ([0.0, 0.2, 0.1], [1.0, 1.0, 1.0], "linear", r"`times` must increase.*0\.2 followed by"),
        ([0.0, 0.2, 0.2], [1.0, 1.0, 1.0], "linear", "drop what is there twice"),
        (
            [0.0, np.nan, 0.2],
            [1.0, 1.0, 1.0],
            "linear",
            "`times` must be finite, got nan at place 1",
        ),
        ([0.0, 0.1], [1.0, np.inf], "linear", "`values` must be finite, got inf at place 1"),
        ([[0.0, 0.1]], [1.0, 1.0], "linear", "`times` must have shape"),
        ([0.0], [1.0], "linear", "n at least 2"),
        ([], [], "previous", "n at least 1"),
        ([0.0, 0.1], [1.0, 1.0, 1.0], "linear", r"`values` must have shape \(2,\)"),
        ([0.0, 0.1], np.ones((2, 1, 1)), "linear", "`values` must have shape"),
        ([0.0, 0.1], [1.0, 1.0], "cubic", "`interpolation`"),
    ],
)
def test_refused(times, values, interpolation, text):
    with pytest.raises(ValueError, match=text):
        rs.CurrentOnGrid(times, values, interpolation)


def test_numbers_are_asked_for():
    for bad in ("abc", [1j, 2j], [True, False]):
        with pytest.raises(TypeError, match="`values`"):
            rs.CurrentOnGrid([0.0, 1.0], bad)


def test_a_current_for_other_neurons_is_refused():
    current = rs.CurrentOnGrid([0.0, 1.0], np.ones((2, 3)))
    with pytest.raises(ValueError, match="`input_current` must be a number or have shape"):
        rs.simulate(
            rs.StochasticLIF(2), 0.0, 0.5, 0.1, key=jr.key(0), num_samples=1, max_spikes=3,
            input_current=current,
        )  # fmt: skip


def test_times_known_inside_jit_only_raise_at_run_time():
    with pytest.raises(Exception, match="`times` must be finite and increase"):
        jax.block_until_ready(
            jax.jit(lambda t: rs.CurrentOnGrid(t, jnp.ones(2))(jnp.asarray(0.5)))(
                jnp.array([1.0, 0.0])
            )
        )


def test_steps_of_a_current_on_the_grid_keep_the_order_of_a_scheme():
    """A step that ends where the current jumps sees the current before the jump: spike times of a
    scheme of fifth order as in closed form, cell by cell, to a few times the error that it
    has (1e-7; with the current after the jump it is 0.1)."""
    values = np.random.default_rng(1).uniform(0.8, 2.5, 10)
    current = rs.CurrentOnGrid(0.1 * np.arange(10), values, "previous")
    neuron = rs.LIF(1, mu1=10.0, mu2=5.0)
    settings = dict(key=jr.key(0), num_samples=1, max_spikes=30, input_current=current)
    exact = rs.simulate(neuron, 0.0, 1.0, 0.02, engine=rs.CellEngine(), **settings).times
    found = rs.simulate(neuron, 0.0, 1.0, 0.02, solver=dfx.Tsit5(), **settings).times
    assert np.isfinite(exact).sum() > 5
    np.testing.assert_allclose(found, exact, rtol=0, atol=5e-7)
