"""Second derivatives of a solve are refused, as they would be wrong."""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import roughsnn as rs


@pytest.mark.parametrize("second", [jax.hessian, lambda f: jax.grad(lambda x: jax.grad(f)(x))])
def test_a_second_derivative_is_refused(second):
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: args * jnp.ones_like(y),
        event_fn=lambda t, y, args: y,
        transition_fn=lambda t, y, k, u, args: y - 1.0,
    )

    def first_event(speed):
        return rs.eventsolve(
            sde, 0.0, 1.0, 0.5, jnp.array([-0.5]), key=jr.key(0), max_events=3, args=speed
        ).event_times[0]

    # tau = 0.5 / speed
    assert jnp.allclose(jax.grad(first_event)(1.25), -0.5 / 1.25**2)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        second(first_event)(1.25)
