"""Descent of fractional order."""

import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs


def _path(order, eps, gradients, rate=0.1):
    optimiser = rs.fractional_descent(rate, order, eps=eps)
    w = {"a": jnp.array([0.3, -1.0])}
    state, found = optimiser.init(w), [np.asarray(w["a"])]
    for g in gradients:
        updates, state = optimiser.update({"a": jnp.asarray(g)}, state, w)
        w = optax.apply_updates(w, updates)
        found.append(np.asarray(w["a"]))
    return np.array(found)


def test_the_rule_is_its_formula():
    gradients = np.random.default_rng(0).normal(size=(6, 2))
    found = _path(1.6, 1e-2, gradients)
    w = [np.array([0.3, -1.0])] * 2
    for g in gradients:
        size = (np.abs(w[-1] - w[-2]) + 1e-2) ** (1 - 1.6)
        w.append(w[-1] - 0.1 / math.gamma(0.4) * g * size)
    np.testing.assert_allclose(found, w[1:], rtol=1e-12)
    # order one is gradient descent
    plain = 0.1 * np.cumsum(gradients, axis=0)
    np.testing.assert_allclose(_path(1.0, 1e-2, gradients)[1:], found[0] - plain, rtol=1e-12)


def test_steps_for_a_constant_gradient():
    """The fixed point of d -> c g d^(1 - order), approached by the factor 1 - order."""
    for order in (0.5, 1.5):
        d = np.abs(np.diff(_path(order, 1e-14, np.full((60, 2), 0.02), rate=0.01)[:, 0]))
        limit = (0.01 * 0.02 / math.gamma(2 - order)) ** (1 / order)
        # (the steps are differences of numbers of size 0.3, good to 1e-16)
        np.testing.assert_allclose(d[-1], limit, rtol=1e-2)
    off = np.log(d / limit)
    np.testing.assert_allclose(off[5:9] / off[4:8], 1 - 1.5, rtol=1e-3)


def test_fit_takes_it_and_steps_follow_each_other():
    data = rs.LabelledData(np.linspace(-1, 1, 8)[:, None], np.linspace(-2, 2, 8)[:, None])

    def train(steps):
        return rs.fit(
            jnp.zeros((1, 1)), data, simulate=lambda w, x, key: x @ w,
            loss=lambda y, target: jnp.mean((y - target) ** 2),
            optimiser=rs.fractional_descent(0.02, 1.5), num_steps=steps, key=jr.key(0),
            progress=False,
        ).model  # fmt: skip

    optimiser, w = rs.fractional_descent(0.02, 1.5), jnp.zeros((1, 1))
    state = optimiser.init(w)
    slope = jax.grad(lambda w: jnp.mean((data.inputs @ w - data.targets) ** 2))
    for _ in range(40):
        updates, state = optimiser.update(slope(w), state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(train(40), w, rtol=1e-12)
    assert abs(w[0, 0] - 2) < 0.2


def test_what_is_refused():
    for order in (0.0, 2.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="`order`"):
            rs.fractional_descent(0.1, order)
    with pytest.raises(ValueError, match="`eps`"):
        rs.fractional_descent(0.1, 1.5, eps=0.0)
    optimiser = rs.fractional_descent(0.1, 1.5)
    w = jnp.ones(2)
    with pytest.raises(ValueError, match="`parameters` are missing"):
        optimiser.update(w, optimiser.init(w))
