"""Surrogate derivatives by their formulas, and against the functions that they are derivatives
of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs

X = np.linspace(-2.0, 2.0, 41)
SIGMA = 1 / (1 + np.exp(-3.0 * X))
FALLS = 1 / (1 + np.exp(3.0 * X))
# by name: the surrogate, its formula in NumPy, height at zero and area
SHAPES = {
    "SuperSpike": (rs.SuperSpike(3.0), 1 / (1 + 3 * abs(X)) ** 2, 1.0, 2 / 3),
    "asymptotic": (rs.AsymptoticSuperSpike(3.0), 3 / (1 + 3 * abs(X)) ** 2, 3.0, 2.0),
    "fast sigmoid": (rs.FastSigmoid(3.0), 1.5 / (1 + 3 * abs(X)) ** 2, 1.5, 1.0),
    "sigmoid": (rs.SigmoidDerivative(3.0), 3 * SIGMA * FALLS, 0.75, 1.0),
    "Esser": (rs.EsserTriangle(3.0), np.maximum(0, 1 - 3 * abs(X)), 1.0, 1 / 3),
    "arctangent": (rs.Arctangent(3.0), 1.5 / (1 + (1.5 * np.pi * X) ** 2), 1.5, 1.0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    surrogate, expected, height, area = SHAPES[name]
    x = jnp.asarray(X)
    np.testing.assert_array_equal(surrogate(x), X >= 0)
    slope = jax.vmap(jax.grad(surrogate))(x)
    np.testing.assert_allclose(slope, expected, rtol=1e-14)
    assert slope[20] == pytest.approx(height, rel=1e-14)
    # the tails of algebraic ones fall like 1 / x: 2 / (3 * 1e6) of them are missing
    far = jnp.asarray(1e6)
    risen = surrogate.primitive(far) - surrogate.primitive(-far)
    assert risen == pytest.approx(area, abs=1e-5)
    # away from the kinks of the derivative
    smooth = x[(np.abs(X) > 0.05) & (np.abs(np.abs(X) - 1 / 3) > 0.05)]
    by_primitive = jax.vmap(jax.grad(surrogate.primitive))(smooth)
    np.testing.assert_allclose(by_primitive, surrogate.derivative(smooth), rtol=1e-12, atol=1e-14)
    forward = jax.jvp(surrogate, (x,), (jnp.full_like(x, 2.0),))[1]
    np.testing.assert_allclose(forward, 2 * expected, rtol=1e-14)
    relaxed = rs.Relaxed(surrogate)
    np.testing.assert_array_equal(relaxed(x), surrogate.primitive(x))


def test_the_sigmoid_has_both_tails():
    """In float32, where 1 - sigma(20) is zero; an exponential of 20 errs by 20 roundings."""
    found = rs.SigmoidDerivative(1.0).derivative(jnp.asarray([-20.0, 20.0], jnp.float32))
    np.testing.assert_allclose(found, np.exp(-20.0), rtol=2e-6)


def test_one_of_your_own_and_a_width_for_each_neuron():
    class Rectangle(rs.AbstractSurrogate):
        """One within a distance of the threshold."""

        def derivative(self, x):
            beta, scaled = self.scaled(x)
            return jnp.where(jnp.abs(scaled) < 1, beta, 0)

    surrogate = Rectangle(jnp.array([1.0, 4.0]))
    slope = jax.grad(lambda x: jnp.sum(surrogate(x)))(jnp.array([0.5, 0.5]))
    np.testing.assert_array_equal(slope, [1.0, 0.0])
    with pytest.raises(NotImplementedError, match="`primitive`"):
        rs.Relaxed(surrogate)(jnp.zeros(2))


def test_a_schedule_of_the_width():
    surrogate = rs.FastSigmoid(lambda step: 2.0 + step)
    with pytest.raises(ValueError, match="is a schedule"):
        jax.grad(surrogate)(jnp.zeros(()))
    # forward there is nothing to know
    assert surrogate(jnp.asarray(0.5)) == 1
    for step in (0, jnp.asarray(3)):
        found = jax.jit(lambda n: jax.grad(surrogate.at(n))(jnp.zeros(())))(step)
        assert found == pytest.approx(0.5 * (2 + int(step)))
    engine = rs.ClockEngine(surrogate=surrogate).at_step(4)
    assert engine.surrogate.beta == 6


@pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf])
def test_misuse_is_refused(beta):
    with pytest.raises(ValueError, match="`beta` must be finite and not negative"):
        rs.SuperSpike(beta)
    with pytest.raises(TypeError, match=r"`surrogate`|surrogate"):
        rs.ClockEngine(surrogate=beta)


def test_a_triangle_without_end_is_a_line():
    np.testing.assert_allclose(rs.EsserTriangle(0.0).primitive(jnp.asarray(X)), 0.5 + X)
