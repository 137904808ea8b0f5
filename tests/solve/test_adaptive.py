"""Adaptive steps, for equations without noise."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from tests.solve.models import DOPRI8, TSIT5

# a ball that bounces and keeps the share args of its speed: closed forms for every bounce
BALL = rs.EventSDE(
    drift_fn=lambda t, y, args: jnp.array([y[1], -9.81]),
    event_fn=lambda t, y, args: -y[:1],
    transition_fn=lambda t, y, k, u, args: jnp.array([1e-12, -args * y[1]]),
)
FALL = np.sqrt(2 / 9.81)


def _bounces(share, controller=None, **kwargs):
    controller = controller or dfx.PIDController(rtol=1e-9, atol=1e-9)
    return rs.eventsolve(
        BALL, 0.0, 2.0, 0.1, jnp.array([1.0, 0.0]), key=jr.key(0), max_events=9, args=share,
        solver=TSIT5, stepsize_controller=controller, **kwargs,
    )  # fmt: skip


def test_events_and_their_derivatives_are_the_closed_form():
    solution = _bounces(jnp.asarray(0.8))
    exact = FALL * (1 + 2 * np.cumsum([0, 0.8, 0.8**2]))
    np.testing.assert_allclose(solution.event_times[:3], exact, rtol=1e-8)
    slopes = jax.jacfwd(lambda s: _bounces(s).event_times[:3])(jnp.asarray(0.8))
    np.testing.assert_allclose(slopes, FALL * np.array([0, 2, 2 + 4 * 0.8]), rtol=1e-7)


def test_the_error_follows_the_tolerance_and_the_steps_the_difficulty():
    # y' = -k(t) y with a fast episode: many steps there, few elsewhere
    def rate(t):
        return 1 + 200 * jnp.exp(-((t - 1) ** 2) / 1e-3)

    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.stack([-rate(t) * y[0], rate(t)]),
        event_fn=lambda t, y, args: y[1:] - 5.0,
        transition_fn=lambda t, y, k, u, args: y - jnp.array([0.0, 10.0]),
    )

    def run(tolerance, **kwargs):
        return rs.eventsolve(
            sde, 0.0, 2.0, 0.01, jnp.array([1.0, 0.0]), key=jr.key(0), max_events=3,
            solver=DOPRI8, saveat=dfx.SaveAt(ts=jnp.array([0.5, 1.5])),
            stepsize_controller=dfx.PIDController(rtol=tolerance, atol=tolerance), **kwargs,
        )  # fmt: skip

    total = 2 + 200 * np.sqrt(np.pi * 1e-3)
    compiled = eqx.filter_jit(run)  # one program for both, as the tolerance is an array
    for tolerance in (1e-5, 1e-9):
        solution = compiled(jnp.asarray(tolerance))
        np.testing.assert_allclose(
            solution.final_state[1] + 10, total, rtol=0, atol=2000 * tolerance
        )
        np.testing.assert_allclose(solution.ys[0, 0], np.exp(-0.5), rtol=100 * tolerance)
    assert int(solution.stats["num_steps"]) < 300
    failed = run(1e-9, max_steps=5, throw=False)
    assert failed.result == rs.RESULTS.micro_steps_reached


def _noisy(noise):
    return rs.EventSDE(
        drift_fn=lambda t, y, args: -y,
        event_fn=lambda t, y, args: y - 1.5,
        transition_fn=lambda t, y, k, u, args: y - 1.0,
        diffusion_fn=lambda t, y, args: jnp.eye(1),
        noise=noise,
    )


def test_brownian_noise_is_refused():
    with pytest.raises(ValueError, match="stepsize_controller"):
        rs.eventsolve(
            _noisy((1,)), 0.0, 1.0, 0.1, jnp.ones(1), key=jr.key(0), max_events=3, solver=TSIT5,
            stepsize_controller=dfx.PIDController(rtol=1e-9, atol=1e-9),
        )  # fmt: skip


def test_a_jump_is_met_exactly():
    # y falls, is lifted over the level by a jump at 0.4, fires there and goes on from y - 1
    driver = rs.JumpPath(jnp.array([0.4]), jnp.array([[1.2]]))
    solution = rs.eventsolve(
        _noisy((1,)), 0.0, 1.0, 0.1, jnp.ones(1), key=jr.key(0), max_events=3, solver=TSIT5,
        driver=driver, stepsize_controller=dfx.PIDController(rtol=1e-9, atol=1e-9),
    )  # fmt: skip
    assert solution.event_times[0] == 0.4
    exact = (np.exp(-0.4) + 1.2 - 1.0) * np.exp(-0.6)
    np.testing.assert_allclose(solution.final_state, exact, rtol=1e-8)


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        (dict(solver=dfx.Euler()), ValueError, "error"),
        (
            dict(stepsize_controller=dfx.StepTo(ts=jnp.array([0.0, 1.0]))),
            TypeError,
            "PIDController",
        ),
        (dict(adjoint=rs.StochasticAdjoint()), ValueError, "StochasticAdjoint"),
    ],
)
def test_refused(kwargs, error, text):
    controller = dfx.PIDController(rtol=1e-6, atol=1e-6)
    kwargs = dict(solver=TSIT5, stepsize_controller=controller) | kwargs
    with pytest.raises(error, match=text):
        rs.eventsolve(
            BALL, 0.0, 1.0, 0.1, jnp.array([1.0, 0.0]), key=jr.key(0), max_events=3, **kwargs
        )


def test_a_batch_adapts_sample_by_sample():
    shares = jnp.array([0.7, 0.8])
    both = jax.vmap(_bounces)(shares)
    for i in range(2):
        alone = _bounces(shares[i])
        np.testing.assert_allclose(both.event_times[i, :2], alone.event_times[:2], rtol=1e-12)
