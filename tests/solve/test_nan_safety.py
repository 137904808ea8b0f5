"""Samples of a batch do not touch each other, in their derivatives either."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

NEURON = rs.StochasticLIF(2, sigma=0.4)


def _loss(c, key, stop_after, bridge):
    start, noise, marks = jr.split(key, 3)
    out = rs.eventsolve(
        NEURON, 0.0, 1.0, 0.05, NEURON.initial_state(start), key=marks, max_events=9, args=c,
        driver=rs.BrownianGrid(0.0, 1.0, 0.05, (2,), noise, bridge=bridge),
        stop_after=stop_after, throw=False,
    )  # fmt: skip
    times = jnp.where(jnp.isfinite(out.event_times), out.event_times, 0)
    return jnp.sum(times**2) + jnp.sum(out.final_state.v), out.final_time


@pytest.mark.parametrize("bridge", ["linear", "bridge"])
def test_gradient_of_a_batch_is_the_sum_though_samples_stop_early(bridge):
    keys = jr.split(jr.key(1), 6)
    loss = functools.partial(_loss, stop_after=3, bridge=bridge)
    c = jnp.array([1.3, 1.7])

    @jax.jit
    def of_batch(c):
        value, ends = jax.vmap(loss, in_axes=(None, 0))(c, keys)
        return jnp.sum(value), ends

    (_, ends), gradient = jax.value_and_grad(of_batch, has_aux=True)(c)
    assert np.unique(ends).size > 1
    single = jax.jit(lambda c, key: jax.grad(loss, has_aux=True)(c, key)[0])
    parts = np.stack([single(c, key) for key in keys])
    assert np.all(np.isfinite(parts))
    np.testing.assert_allclose(gradient, parts.sum(0), rtol=1e-9)


def test_padding_of_event_times_has_no_derivative():
    def f(c):
        return _times(c)

    def _times(c):
        return rs.eventsolve(
            NEURON, 0.0, 0.5, 0.05, NEURON.initial_state(jr.key(0)), key=jr.key(1), max_events=9,
            args=c, throw=False,
        ).event_times  # fmt: skip

    c = jnp.array([1.3, 1.7])
    known = np.isfinite(f(c))
    assert 0 < known.sum() < 9
    for jacobian in (jax.jacfwd, jax.jacrev):
        out = np.asarray(jacobian(f)(c))
        assert np.all(np.isfinite(out))
        assert np.all(out[~known] == 0)


@pytest.mark.parametrize("adjoint", [rs.ReverseMode(), rs.StochasticAdjoint(), rs.ForwardMode()])
def test_a_sample_that_explodes_leaves_the_gradient_of_others_alone(adjoint):
    # y' = c y^2 explodes in finite time from y0 = 3, and from y0 = 0.1 it does not
    sde = rs.EventSDE(
        drift_fn=lambda t, y, args: args * jnp.stack([y[0] ** 4, 1.0 + 0 * y[0]]),
        event_fn=lambda t, y, args: y[1:] - 0.5,
        transition_fn=lambda t, y, k, u, args: y - jnp.array([0.0, 1.0]),
    )

    def loss(c, starts):
        def one(start):
            y0 = jnp.stack([start, jnp.zeros(())])
            out = rs.eventsolve(
                sde, 0.0, 2.0, 0.05, y0, key=jr.key(0), max_events=4, args=c, throw=False,
                adjoint=adjoint,
            )  # fmt: skip
            ok = out.result == rs.RESULTS.successful
            good = jnp.where(jnp.isfinite(out.event_times), out.event_times, 0)
            return jnp.where(ok, jnp.sum(good), 0), out

        values, out = jax.vmap(one)(starts)
        return jnp.sum(values), out

    of = jax.jit(jax.grad(loss, has_aux=True))
    starts = jnp.array([0.1, 3.0, 0.2])
    gradient, out = of(jnp.asarray(1.0), starts)
    failed = np.asarray(out.result == rs.RESULTS.nonfinite_state)
    assert failed.tolist() == [False, True, False]
    # when and where it happened is said
    assert 0 < float(out.stats["failure_time"][1]) < 2
    parts = [of(jnp.asarray(1.0), starts[i : i + 1])[0] for i in (0, 2)]
    np.testing.assert_allclose(gradient, sum(parts), rtol=1e-12)
    assert np.isfinite(gradient)
