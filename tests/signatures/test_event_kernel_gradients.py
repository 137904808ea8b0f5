import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures.event_kernel import event_kernel_gram
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative, finite_difference_gradient, random_direction
from .test_event_kernel import random_trains

# High enough for the derivative of the truncated kernel, by differences, to be that of the exact
# one, by the rule, to 1e-8, at scales of about a half.
ORDERS = (6, 8)
# Where two programs for the same linear map are compared; few terms are compiled fast.
FEW = (3, 4)


def at(trains, times, t1=1.0):
    return SpikeTrains(times, trains.neurons, 0.0, t1, num_neurons=trains.num_neurons)


def weights(m, n):
    return jnp.asarray(np.random.default_rng(3).normal(size=(m, n)))


X, Y = random_trains(3, 2, 5, 0), random_trains(2, 2, 4, 1)
SCALES = {
    "one": jnp.asarray(0.5),
    "per neuron": jnp.asarray([0.4, 0.7]),
    "matrix": jnp.asarray([[0.5, 0.2], [0.2, 0.3]]),
    "matrix with zeros": jnp.asarray([[0.5, 0.0], [0.0, 0.3]]),
}


def objective(parameters):
    x = at(X, parameters["x"], parameters["t1"])
    y = at(Y, parameters["y"], parameters["t1"])
    gram = event_kernel_gram(
        x,
        y,
        time_scale=parameters["time_scale"],
        neuron_scale=parameters["neuron_scale"],
        orders=ORDERS,
        max_simultaneous=1,
    )
    return jnp.sum(weights(3, 2) * gram)


VALUE, GRADIENT = jax.jit(objective), jax.jit(jax.grad(objective))


@pytest.mark.parametrize("scale", SCALES)
def test_every_derivative_equals_central_differences(scale):
    point = {
        "x": X.times,
        "y": Y.times,
        "t1": jnp.asarray(1.1),
        "time_scale": jnp.asarray(0.6),
        "neuron_scale": SCALES[scale],
    }
    gradient = GRADIENT(point)
    # Infinite padding stays infinite under a step; its derivative is exactly zero.
    for side, trains in (("x", X), ("y", Y)):
        assert (gradient[side][~trains.mask] == 0).all()

    def finite(values):
        merged = {k: jnp.where(jnp.isfinite(point[k]), values[k], point[k]) for k in point}
        return VALUE(merged)

    start = {k: jnp.where(jnp.isfinite(v), v, 0.0) for k, v in point.items()}
    expected = finite_difference_gradient(finite, start, step=1e-5)
    for name in point:
        # 1e-7 of the largest entry: the error of central differences at this step.
        size = np.abs(expected[name]).max()
        np.testing.assert_allclose(gradient[name], expected[name], rtol=0, atol=1e-7 * size)


@pytest.mark.parametrize("scale", ["per neuron", "matrix"])
def test_forward_mode_equals_reverse_mode(scale):
    def f(times, neuron_scale):
        return event_kernel_gram(at(X, times), Y, neuron_scale=neuron_scale, orders=FEW)

    times = jnp.where(X.mask, X.times, 1.0)
    point = (times, SCALES[scale])
    direction = random_direction(point)
    cotangent = weights(3, 2)
    value, slope = jax.jit(lambda p, d: jax.jvp(f, p, d))(point, direction)
    pulled = jax.jit(lambda p: jax.vjp(f, *p)[1](cotangent))(point)
    forward = jnp.sum(cotangent * slope)
    reverse = sum(jnp.sum(a * b) for a, b in zip(pulled, direction, strict=True))
    # One linear map, evaluated in two orders.
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    np.testing.assert_allclose(value, f(*point), rtol=1e-13)


def test_symmetric_gram_has_the_derivative_of_the_full_one():
    def loss(times, symmetric):
        x = at(X, times)
        gram = event_kernel_gram(x, None if symmetric else x, orders=FEW)
        return jnp.sum(weights(3, 3) * gram)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    full = gradient(X.times, False)
    np.testing.assert_allclose(gradient(X.times, True), full, rtol=1e-12, atol=1e-12)


def awkward_trains():
    """Identical trains, empty ones, spikes at both ends of the window and several at one time."""
    return SpikeTrains.from_lists(
        [
            [[0.3, 0.6], [0.6]],
            [[0.3, 0.6], [0.6]],
            [[], []],
            [[0.0, 1.0], [0.0, 1.0]],
            [[0.3], []],
            [[], [0.3]],
        ],
        t0=0.0,
        t1=1.0,
    )


def test_derivatives_are_finite_where_spikes_coincide():
    x = awkward_trains()

    def loss(times, scale, time_scale):
        gram = event_kernel_gram(
            at(x, times),
            neuron_scale=scale,
            time_scale=time_scale,
            orders=FEW,
            max_simultaneous=2,
        )
        return jnp.mean(gram)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    for scale in (jnp.asarray(1.0), jnp.eye(2), jnp.zeros(())):
        assert all(np.isfinite(g).all() for g in gradient(x.times, scale, jnp.asarray(1.0)))


def test_tied_spikes_share_the_derivative_of_moving_together():
    x = SpikeTrains.from_lists([[[0.3], [0.3, 0.8]]], t0=0.0, t1=1.0)
    y = SpikeTrains.from_lists([[[0.2, 0.7], [0.5]]], t0=0.0, t1=1.0)

    def f(times):
        trains, scales = at(x, times), dict(time_scale=0.5, neuron_scale=0.5)
        return event_kernel_gram(trains, y, **scales, orders=ORDERS, max_simultaneous=2)[0, 0]

    together = jnp.asarray([[1.0, 1.0, 0.0]])
    gradient = jax.jit(jax.grad(f))(x.times)
    expected = directional_derivative(jax.jit(f), x.times, together, step=1e-5)
    # 1e-8 is the error of the central difference.
    np.testing.assert_allclose(gradient[0, 0] + gradient[0, 1], expected, rtol=1e-8)
    np.testing.assert_allclose(gradient[0, 0], gradient[0, 1], rtol=1e-12)


def test_second_derivatives_in_both_modes():
    x = random_trains(1, 2, 3, 4, mean=20)

    # Scales at which few terms suffice.
    def f(times):
        trains, scales = at(x, times), dict(time_scale=0.25, neuron_scale=0.25)
        return event_kernel_gram(trains, Y, **scales, orders=FEW, max_simultaneous=1)[0, 0]

    gradient = jax.jit(jax.grad(f))
    forward = jax.jit(jax.jacfwd(jax.grad(f)))(x.times)[0, :, 0]
    reverse = jax.jit(jax.jacrev(jax.grad(f)))(x.times)[0, :, 0]
    # The gradient is that of the exact kernel, so the order of differentiation matters as much as
    # the truncation error, here 1e-8 of the largest entry.
    np.testing.assert_allclose(forward, reverse, rtol=0, atol=1e-8 * np.abs(forward).max())
    for i in range(3):
        direction = jnp.zeros((1, 3)).at[0, i].set(1.0)
        expected = directional_derivative(gradient, x.times, direction, step=1e-5)
        # 1e-7 of the largest entry: the error of central differences at this step.
        np.testing.assert_allclose(
            forward[:, i], expected[0], rtol=0, atol=1e-7 * np.abs(expected).max()
        )


@pytest.mark.parametrize("scale", ["per neuron", "matrix"])
def test_derivatives_computed_anew_block_by_block_and_row_by_row(scale, monkeypatch):
    monkeypatch.setenv("ROUGHSNN_COMPILED", "jax")
    # Ten pieces make four segments of three rows; of the silent trains, none has a jump.
    x, silent = random_trains(3, 2, 9, 5, mean=7), jnp.full((3, 9), -1)

    def loss(times, neurons, scale):
        trains = SpikeTrains(times, neurons, 0.0, 1.0, num_neurons=2)
        gram = event_kernel_gram(trains, Y, neuron_scale=scale, orders=FEW, max_simultaneous=1)
        return jnp.sum(weights(3, 2) * gram)

    gradient = jax.grad(loss, argnums=(0, 2))
    samples = [(x.times, x.neurons), (jnp.full((3, 9), jnp.inf), silent)]
    kept = [jax.jit(gradient)(*sample, SCALES[scale]) for sample in samples]
    monkeypatch.setattr("roughsnn.signatures._event_blocks._RESIDUALS", 0)
    monkeypatch.setattr("roughsnn.signatures._event_blocks._STORE", 1)
    jax.clear_caches()
    again = [jax.jit(gradient)(*sample, SCALES[scale]) for sample in samples]
    jax.clear_caches()
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(kept), strict=True):
        # Rounding of sums of terms of up to 100, in two programs.
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_gradient_stores_no_grid():
    x, y = random_trains(64, 2, 40, 6), random_trains(64, 2, 40, 7)

    def loss(times):
        return jnp.mean(event_kernel_gram(at(x, times), y, neuron_scale=0.2))

    compiled = jax.jit(jax.grad(loss)).lower(x.times).compile()
    # 40 MiB of edges for one group of pairs, and the derivatives of all pairs; the edges of
    # the whole grid would be 4096 * 41 * 41 * 8 * 20 = 1.1 GB.
    analysis = compiled.memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < 150e6


def test_gradient_inside_vmap():
    x = random_trains(4, 2, 4, 8)

    def f(times, neurons):
        train = SpikeTrains(times[None], neurons[None], 0.0, 1.0, num_neurons=2)
        return event_kernel_gram(train, Y, orders=FEW)[0].sum()

    mapped = jax.jit(jax.vmap(jax.grad(f)))(x.times, x.neurons)
    whole = jax.grad(lambda t: event_kernel_gram(at(x, t), Y, orders=FEW).sum())
    whole = jax.jit(whole)(x.times)
    np.testing.assert_allclose(mapped, whole, rtol=1e-11, atol=1e-12)
