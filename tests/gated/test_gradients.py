import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from roughsnn.gated import BoxGate, adjoint_gradient, solve_gated
from tests.helpers import directional_derivative, finite_difference_gradient, random_direction

from .networks import NEURONS, running_cost, small_network, wave

V0 = jnp.linspace(0, 0.45, 4)


def _cost(network, x, target, dt0, checkpoint_every=None):
    solution = solve_gated(network, x, dt0, v0=V0, checkpoint_every=checkpoint_every)
    over_batch_and_time = jax.vmap(jax.vmap(running_cost))
    costs = over_batch_and_time(solution.readout, solution.traces, target)
    return jnp.sum(costs) * dt0 / x.shape[0]


@pytest.mark.parametrize("kind", NEURONS)
def test_autodiff_is_the_derivative_of_the_discretised_network(kind):
    x, target = wave(0.5, 60.0, batch=2)
    network = small_network(kind)

    @jax.jit
    def cost(network):
        return _cost(network, x, target, 0.5)

    gradient = jax.jit(jax.grad(cost))(network)
    # The cost is continuous with kinks where a spike passes the end of a step; a step of 1e-6
    # meets none here. Rounding is 1e-10 at a cost of order 100.
    differences = finite_difference_gradient(cost, network, step=1e-6)
    found, exact = ravel_pytree(gradient)[0], ravel_pytree(differences)[0]
    assert float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)) < 1e-6

    direction = random_direction(network)
    forward = jax.jvp(cost, (network,), (direction,))[1]
    np.testing.assert_allclose(forward, jnp.vdot(found, ravel_pytree(direction)[0]), rtol=1e-9)


def test_spike_times_have_derivatives():
    network = small_network("lif")
    x, _ = wave(0.1, 30.0)

    @jax.jit
    def times(network):
        return solve_gated(network, x[0], 0.1, v0=V0).spike_trains(20).times

    direction = random_direction(network)
    derivative = jax.jvp(times, (network,), (direction,))[1]
    exact = directional_derivative(times, network, direction, step=1e-7)
    assert jnp.sum(jnp.isfinite(times(network))) >= 10
    np.testing.assert_allclose(derivative, exact, atol=1e-5)


@pytest.mark.parametrize("kind", NEURONS)
def test_the_adjoint_meets_central_differences_as_the_step_falls(kind):
    errors = []
    for dt0 in (0.05, 0.0125):
        x, target = wave(dt0, 60.0)
        network = small_network(kind)

        @jax.jit
        def cost(network, x=x, target=target, dt0=dt0):
            return _cost(network, x, target, dt0)

        value, gradient = eqx.filter_jit(adjoint_gradient)(
            network, x, dt0, running_cost, target, v0=V0
        )
        np.testing.assert_allclose(value, cost(network), rtol=1e-12)
        differences = finite_difference_gradient(cost, network, step=1e-6)
        found, exact = ravel_pytree(gradient)[0], ravel_pytree(differences)[0]
        errors.append(float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)))
    # A quarter of the step, a quarter of the error; without the factor at a reset the leaky
    # neuron's error would stay.
    assert errors[1] < 0.03
    assert 3 < errors[0] / errors[1] < 5


def test_the_gradient_of_the_readout_is_exact():
    dt0 = 0.1
    x, target = wave(dt0, 60.0, batch=3)
    network = small_network("theta")
    _, gradient = eqx.filter_jit(adjoint_gradient)(network, x, dt0, running_cost, target, v0=V0)
    automatic = jax.jit(jax.grad(lambda net: _cost(net, x, target, dt0)))(network)
    np.testing.assert_allclose(gradient.readout, automatic.readout, rtol=1e-10)


@pytest.mark.parametrize("every", [7, 1000])
def test_checkpoints_change_nothing(every):
    network = small_network("theta", gate=BoxGate(0.5))
    x, target = wave(0.5, 60.0, batch=2)
    plain = jax.jit(jax.value_and_grad(lambda n: _cost(n, x, target, 0.5)))(network)
    kept = jax.jit(jax.value_and_grad(lambda n: _cost(n, x, target, 0.5, every)))(network)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(kept), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_checkpoints_save_memory():
    network = small_network("theta", num_neurons=40)
    x = jnp.zeros((32, 2500, 2))

    def planned(every):
        def final(network):
            return jnp.sum(solve_gated(network, x, 0.1, checkpoint_every=every).readout[:, -1])

        compiled = jax.jit(jax.grad(final)).lower(network).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes

    assert planned(50) < 0.7 * planned(None)


def test_a_trial_whose_gradient_stands_out_is_scaled_down():
    network = small_network("theta")
    x, target = wave(0.5, 60.0, batch=5)
    weight = jnp.asarray([1.0, 1.0, 1e6, 1.0, 1.0])

    @eqx.filter_jit
    def gradient(network, weight, clip_trials):
        def cost(network):
            solution = solve_gated(network, x, 0.5, v0=V0, clip_trials=clip_trials)
            errors = jnp.sum((solution.readout - target) ** 2, axis=(1, 2))
            return jnp.vdot(weight, errors)

        slopes = jax.grad(cost)(network)
        return ravel_pytree((slopes.weights, slopes.input_weights, slopes.bias))[0]

    exact = gradient(network, weight, None)
    np.testing.assert_allclose(gradient(network, weight, 1e9), exact, rtol=1e-9, atol=1e-6)

    # Limited to the median are it and two of the four others; each keeps its direction.
    alone = [gradient(network, jnp.where(jnp.arange(5) == i, weight, 0.0), None) for i in range(5)]
    clipped = gradient(network, weight, 1.0)
    factors, *_ = jnp.linalg.lstsq(jnp.stack(alone, axis=1), clipped)
    np.testing.assert_allclose(jnp.stack(alone, axis=1) @ factors, clipped, rtol=1e-6, atol=1e-6)
    assert factors[2] < 1e-4
    others = np.sort(np.asarray(factors)[[0, 1, 3, 4]])
    np.testing.assert_allclose(others[-2:], 1, rtol=1e-6)
    assert np.all(others[:2] < 1 + 1e-6)
