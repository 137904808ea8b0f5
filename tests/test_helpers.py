"""The differences that certify gradients are themselves certified on a known function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import directional_derivative, finite_difference_gradient, random_direction


def _point():
    return {"a": jnp.array([0.3, -1.2]), "b": jnp.asarray(0.7)}


def _function(x):
    return jnp.sum(jnp.sin(x["a"])) * jnp.exp(x["b"])


def test_gradient_equals_automatic_differentiation():
    ours = finite_difference_gradient(_function, _point(), step=1e-5)
    theirs = jax.grad(_function)(_point())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), ours, theirs)


def test_directional_derivative_equals_jvp_and_ignores_padding():
    x = _point()
    v = random_direction(x)

    def f(x):
        return jnp.append(x["a"] * x["b"] ** 2, jnp.inf)

    ours = directional_derivative(f, x, v, step=1e-5)
    theirs = jax.jvp(f, (x,), (v,))[1]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_single_precision_is_refused():
    with pytest.raises(TypeError, match="float64"):
        finite_difference_gradient(_function, jax.tree.map(jnp.float32, _point()))


def test_vector_output_is_refused():
    with pytest.raises(ValueError, match="scalar"):
        finite_difference_gradient(lambda x: x["a"], _point())
