"""Differentiating a model that breaks an assumption raises a report."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.solve._guard import check_policy
from tests.solve.models import ball_under_a_ceiling


def _hard_threshold(drift, t0=0.0, **kwargs):
    """Noise in the potential and a threshold on it: event times jump with the parameters."""
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: args - y,
        event_fn=lambda t, y, args: y - 1,
        transition_fn=lambda t, y, k, u, args: y - 1,
        diffusion_fn=lambda t, y, args: 0.3 * jnp.ones((1, 1)),
        noise=(1,),
    )
    return rs.eventsolve(
        sde, t0, 3.0, 0.05, jnp.zeros(1), key=jr.key(0), max_events=60, args=drift, **kwargs
    ).event_times[0]


@pytest.mark.parametrize("transform", [jax.grad, jax.jacfwd])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_the_report_is_raised(transform, wrap):
    with pytest.raises(Exception, match="noise tangent to the event surface") as caught:
        jax.block_until_ready(wrap(transform(_hard_threshold))(jnp.asarray(2.0)))
    text = str(caught.value)
    # which, by how much, where, what to do, and how to override
    for part in (
        "VIOLATED",
        "component 0 at t = ",
        "roughsnn.StochasticLIF",
        'conditions="ignore"',
    ):
        assert part in text


def test_nothing_is_raised_without_derivatives_or_with_the_override():
    assert np.isfinite(_hard_threshold(jnp.asarray(2.0)))
    gradient = jax.grad(lambda c: _hard_threshold(c, conditions="ignore"))(jnp.asarray(2.0))
    assert np.isfinite(gradient)


def test_one_sample_of_a_batch_is_enough():
    # only the second one has an event
    f = jax.grad(
        lambda c: jnp.sum(jnp.where(jnp.isfinite(g := jax.vmap(_hard_threshold)(c)), g, 0))
    )
    with pytest.raises(Exception, match="component 0"):
        jax.block_until_ready(f(jnp.array([-20.0, 2.0])))


def test_every_engine_is_guarded():
    for adjoint in (rs.StochasticAdjoint(), rs.ForwardMode()):
        with pytest.raises(Exception, match="noise tangent"):
            jax.block_until_ready(
                jax.grad(lambda c, a=adjoint: _hard_threshold(c, adjoint=a))(jnp.asarray(2.0))
            )


def test_a_hard_threshold_that_only_input_jumps_drive_is_covered():
    # v' = 4 (i + c - v), and i jumps at Poisson times: no noise moves the potential itself
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([4 * (y[1] + args - y[0]), -2 * y[1]]),
        event_fn=lambda t, y, args: y[:1] - 1,
        transition_fn=lambda t, y, k, u, args: y.at[0].add(-1),
        diffusion_fn=lambda t, y, args: jnp.array([[0.0], [0.7]]),
        noise=(1,),
    )
    driver = rs.poisson_path(0.0, 3.0, jnp.array([6.0]), key=jr.key(2), max_jumps=60)

    def times(c):
        return rs.eventsolve(
            sde, 0.0, 3.0, 0.02, jnp.zeros(2), key=jr.key(0), max_events=60, args=c,
            driver=driver,
        ).event_times[:3]  # fmt: skip

    c, h, times = jnp.asarray(0.4), 1e-6, jax.jit(times)
    difference = (times(c + h) - times(c - h)) / (2 * h)
    assert np.all(np.isfinite(difference))
    # no report is raised, and the path between the jumps is smooth: curvature h^2, rounding
    # 1e-16 / h
    np.testing.assert_allclose(jax.jacfwd(times)(c), difference, rtol=1e-7)


def _touch(w0, **kwargs):
    """When the ball touches the ceiling, among later events of the ramp."""
    y0 = jnp.array([0.0, 0.0, -0.75]).at[1].set(w0)
    solution = rs.eventsolve(
        ball_under_a_ceiling(), 0.0, 3.0, 0.25, y0, key=jr.key(0),
        max_events=4, solver=dfx.Heun(), **kwargs,
    )  # fmt: skip
    return jnp.sum(jnp.where(solution.event_indices == 0, solution.event_times, 0))


def test_an_event_function_that_only_touches_zero():
    time, slope = jax.jit(_touch), jax.jit(jax.grad(_touch))
    # exactly, and within rounding; the ramp fires at 1.75 and 2.75, so the touch is not the latest
    for w0 in (1.0, 1 + 1e-13):
        assert abs(time(w0) - 2) < 1e-6
        with pytest.raises(Exception, match=r"VIOLATED *transversality") as caught:
            jax.block_until_ready(slope(w0))
        assert "component 0 at t = 2" in str(caught.value)
        assert "grazes zero" in str(caught.value)
    # without the report the derivative is what it is, infinite, and not some number
    assert not np.isfinite(jax.grad(lambda w0: _touch(w0, conditions="ignore"))(1.0))
    # nothing is lost below the ceiling, where there is no event
    assert time(0.875) == 0
    assert slope(0.875) == 0
    # beyond it tau = 2 (w0 - sqrt(w0^2 - 1)), whose derivative grows without bound towards the
    # touch and is right all the way: 1e-16 of height is 1e-16 / sqrt(2e-6) of time
    for excess in (1e-2, 1e-4, 1e-6):
        w0 = 1 + excess
        root = np.sqrt(w0**2 - 1)
        np.testing.assert_allclose(time(w0), 2 * (w0 - root), rtol=1e-10)
        np.testing.assert_allclose(slope(w0), 2 * (1 - w0 / root), rtol=1e-8)


# the first ball touches the ceiling, the last one stays below; times are 2 (w0 - sqrt(w0^2 - 1))
_SPEEDS = jnp.array([1.0, 1.01, 1.001, 0.875])
_SLOPES = [0, 2 * (1 - 1.01 / np.sqrt(1.01**2 - 1)), 2 * (1 - 1.001 / np.sqrt(1.001**2 - 1)), 0]


def _touches(speeds, weights, conditions, adjoint):
    def one(w0):
        y0 = jnp.array([0.0, 0.0, -0.75]).at[1].set(w0)
        return rs.eventsolve(
            ball_under_a_ceiling(), 0.0, 3.0, 0.25, y0, key=jr.key(0), max_events=4,
            solver=dfx.Heun(), conditions=conditions, adjoint=adjoint,
        )  # fmt: skip

    solution = jax.vmap(one)(speeds)
    times = jnp.sum(jnp.where(solution.event_indices == 0, solution.event_times, 0), axis=-1)
    return jnp.sum(weights * times), solution.grazing


@pytest.mark.parametrize(
    "adjoint", [rs.ReverseMode(), rs.StochasticAdjoint(), rs.ForwardMode()], ids=type
)
def test_a_sample_that_grazes_is_left_out_and_no_other(adjoint):
    gradient = jax.grad(lambda s: _touches(s, jnp.ones(4), "leave-out", adjoint), has_aux=True)
    slopes, grazing = jax.jit(gradient)(_SPEEDS)
    # exact for a parabola by Heun's method, but for the root of a difference of 2e-3
    np.testing.assert_allclose(slopes, _SLOPES, rtol=1e-8)
    assert grazing.tolist() == [1, 0, 0, 0]


def test_who_asks_for_no_derivative_of_a_sample_that_grazes_is_not_refused():
    adjoint = rs.ReverseMode()
    gradient = jax.jit(jax.grad(lambda s, w: _touches(s, w, "refuse", adjoint), has_aux=True))
    slopes, grazing = gradient(_SPEEDS, jnp.ones(4).at[0].set(0))
    np.testing.assert_allclose(slopes, _SLOPES, rtol=1e-8)
    assert grazing.tolist() == [1, 0, 0, 0]
    with pytest.raises(Exception, match=r"1 of 4 samples(.|\n)*transversality") as caught:
        jax.block_until_ready(gradient(_SPEEDS, jnp.ones(4)))
    # a figure of one event has no median: nothing is divided by next to nothing
    assert "relative): 0\n" in str(caught.value)
    # nothing is differentiated, nothing is judged
    assert _touches(_SPEEDS, jnp.ones(4), "refuse", adjoint)[1].tolist() == [0, 0, 0, 0]


def test_clipped_derivatives_are_bounded_and_counted():
    gradient = jax.grad(lambda s: _touches(s, jnp.ones(4), "clip", rs.ReverseMode()), has_aux=True)
    slopes, grazing = jax.jit(gradient)(_SPEEDS)
    # z'' = -1/2, and after the event z = -1/2: it would rest with speed sqrt(1/2); a tenth of that
    # is the least that counts, against w0 d(time) / ... of the parabola, -(1/2) tau / speed
    assert grazing.tolist() == [1, 0, 2, 0]
    np.testing.assert_allclose(slopes[1], _SLOPES[1], rtol=1e-8)
    assert abs(_SLOPES[2]) > abs(slopes[2]) > 0
    assert slopes[0] == slopes[3] == 0


def test_bad_policies_are_refused_by_name():
    # (tests check the types of arguments before the function itself does)
    with pytest.raises(ValueError, match=r'`conditions` must be one of "refuse", (.*) got .check.'):
        check_policy("check")


@pytest.mark.parametrize("conditions", ["leave-out", "clip"])
def test_what_is_a_property_of_the_model_is_refused_by_every_policy(conditions):
    with pytest.raises(Exception, match="noise tangent"):
        jax.grad(lambda c: _hard_threshold(c, conditions=conditions))(jnp.asarray(2.0))


def _reset_to_a_value(c, number, **kwargs):
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([args - y[0], jnp.exp(y[0])]),
        event_fn=lambda t, y, args: y[1:] - 0.5,
        transition_fn=lambda t, y, k, u, args: jnp.zeros(2),
        diffusion_fn=lambda t, y, args: jnp.array([[0.3], [0.0]]),
        noise=(1,),
    )
    return rs.eventsolve(
        sde, 0.0, 2.0, 0.05, jnp.zeros(2), key=jr.key(0), max_events=60, args=c, **kwargs
    ).event_times[number]


@pytest.mark.parametrize("settings", [{}, {"stop_after": 2}], ids=["to the end", "to the second"])
def test_reset_to_a_value_with_noise(settings):
    with pytest.raises(Exception, match="noise commutes with the transition"):
        jax.block_until_ready(jax.grad(_reset_to_a_value)(jnp.asarray(1.0), 1, **settings))


def test_what_the_last_transition_does_is_not_used():
    """The path ends there: a reset to a value is no reason to refuse the time of the event."""
    time = jax.jit(lambda c: _reset_to_a_value(c, 0, stop_after=1))
    c, h = jnp.asarray(1.0), 1e-5
    # curvature h^2, rounding 1e-16 / h
    np.testing.assert_allclose(
        jax.jit(jax.grad(time))(c), (time(c + h) - time(c - h)) / (2 * h), rtol=1e-8
    )


@pytest.mark.parametrize("x64", [False, True])
def test_models_that_are_covered_pass(x64):
    with jax.enable_x64(x64):
        neuron = rs.StochasticLIF(20, sigma=jnp.linspace(0.1, 0.9, 20))

        def loss(c):
            times = rs.eventsolve(
                neuron, 0.0, 0.5, 0.01, neuron.initial_state(jr.key(0)), key=jr.key(1),
                max_events=99, args=c,
            ).event_times  # fmt: skip
            return jnp.sum(jnp.where(jnp.isfinite(times), times, 0))

        gradient = jax.jit(jax.grad(loss))(jnp.full(20, 1.4))
        assert gradient.dtype == (jnp.float64 if x64 else jnp.float32)
        assert np.all(np.isfinite(gradient))
