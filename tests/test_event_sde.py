"""The event SDE as a description, before anything is solved."""

import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import numpy as np
import pytest

import roughsnn as rs


def _functions():
    return dict(
        drift_fn=lambda t, y, args: -y,
        event_fn=lambda t, y, args: y - 1,
        transition_fn=lambda t, y, k, u, args: y - u,
    )


def test_functions_are_called_as_they_are_given():
    sde = rs.EventSDE(
        **_functions(), diffusion_fn=lambda t, y, args: args * jnp.eye(2), noise=(2,),
        mark_fn=lambda key: jr.normal(key, (3,)),
    )  # fmt: skip
    t, y = jnp.asarray(0.0), jnp.array([0.5, 2.0])
    np.testing.assert_array_equal(sde.drift(t, y, None), -y)
    np.testing.assert_array_equal(sde.event(t, y, None), y - 1)
    np.testing.assert_array_equal(sde.transition(t, y, jnp.asarray(0), 0.25, None), y - 0.25)
    np.testing.assert_array_equal(sde.diffusion(t, y, 2.0), 2 * jnp.eye(2))
    assert sde.noise_shape == (2,)
    assert sde.mark(jr.key(0)).shape == (3,)


def test_defaults():
    sde = rs.EventSDE(**_functions())
    assert sde.noise_shape is None
    assert 0 < sde.mark(jr.key(0)) < 1
    with pytest.raises(ValueError, match="has no diffusion, but a driver was given"):
        sde.diffusion(jnp.asarray(0.0), jnp.ones(1), None)


@pytest.mark.parametrize("name", ["drift_fn", "event_fn", "transition_fn"])
def test_functions_must_be_functions(name):
    # run-time type checking says the same in its own words
    with pytest.raises(TypeError):
        rs.EventSDE(**(_functions() | {name: 3.0}))


def test_diffusion_and_noise_go_together():
    with pytest.raises(ValueError, match="`diffusion_fn` and `noise` go together"):
        rs.EventSDE(**_functions(), noise=(2,))
    with pytest.raises(ValueError, match="`diffusion_fn` and `noise` go together"):
        rs.EventSDE(**_functions(), diffusion_fn=lambda t, y, args: jnp.eye(2))


def test_a_structured_diffusion_is_a_linear_operator():
    matrix = jnp.arange(6.0).reshape(3, 2)
    operator = rs.StructuredDiffusion(
        matrix, lambda m, x: m @ x, jnp.zeros(3), jax.ShapeDtypeStruct((2,), jnp.float64)
    )
    x, z = jnp.array([0.5, -1.0]), jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(operator.mv(x), matrix @ x)
    np.testing.assert_array_equal(operator.as_matrix(), matrix)
    np.testing.assert_allclose(operator.transpose().mv(z), matrix.T @ z)
    assert operator.in_structure().shape == (2,)
    assert operator.out_structure().shape == (3,)
    assert not lx.is_diagonal(operator)
    np.testing.assert_array_equal(lx.materialise(operator).as_matrix(), matrix)
    # sums of operators, which sums of drivers need
    np.testing.assert_allclose((operator + operator).mv(x), 2 * matrix @ x)


def test_a_structured_diffusion_of_a_tree():
    y = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    operator = rs.StructuredDiffusion(
        jnp.asarray(2.0),
        lambda s, x: {"a": s * x, "b": jnp.sum(x)},
        y,
        jax.ShapeDtypeStruct((2,), jnp.float64),
    )
    out = operator.mv(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(out["a"], [2.0, 4.0])
    assert out["b"] == 3.0
    assert jax.tree.structure(operator.out_structure()) == jax.tree.structure(y)
