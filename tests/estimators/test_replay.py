"""Walking along simulated trials again: the same spikes, the same derivatives, mean weights."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.estimators._replay import replay

SIGMA = np.array([[0.4, 0.0], [0.1, 0.2]])


def network(weight=1.0, alpha=0.1, **changed):
    parameters = dict(mu1=10.0, sigma=SIGMA, v_reset=1.0, beta=3.0, tau_s=0.2, alpha=alpha)
    neurons = rs.StochasticLIF(2, **{**parameters, **changed})
    weights = weight * jnp.array([[0.0, 1.0], [0.6, 0.0]])
    return rs.SpikingNetwork(neurons, weights, input_weights=jnp.array([[0.5, -0.3]]))


def simulate(model, key, size=20, dt0=0.05, **settings):
    settings = {"input_current": 1.2, "max_spikes": 16, **settings}
    return rs.simulate_trials(model, 0.0, 0.5, dt0, key=key, num_samples=size, **settings)


# one of them at the end of a step
INPUT = rs.SpikeTrains.from_lists([([0.03, 0.1, 0.231], [0, 0, 0])], t0=0.0, t1=0.5, num_neurons=1)
SETTINGS = {
    "linear": {},
    "input spikes, rough noise, jumps": {
        "input_spikes": INPUT[0],
        "noise": rs.FractionalNoise(0.3) + rs.PoissonNoise(2.0, max_jumps=9),
        "max_spikes": 40,
    },
    "a current for each trial": {
        "input_current": jnp.linspace(1.0, 1.6, 40).reshape(20, 2),
        "max_spikes": 40,
    },
    "bridges": {"noise": rs.BrownianNoise("bridge")},
    "order 1.5": {"solver": dfx.SRA1()},
    "stopped": {"stop_after": 1},
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n.startswith("input") else pytest.mark.slow) for n in SETTINGS],
)
def test_with_all_spikes_moving_it_has_the_derivatives_of_the_solver(name):
    """At an infinite ramp nothing is weighed, and the walk is the solver's with the theorem's
    derivatives. The tolerance is that of the located events."""
    model = network()

    def both(model):
        trials = simulate(model, jr.key(1), **SETTINGS[name])
        again = replay(trials, jnp.inf)
        one = jnp.sum(jnp.where(trials.trains.mask, trials.trains.times**2, 0))
        other = jnp.sum(jnp.where(trials.trains.mask, again.trains.times**2, 0))
        ends = jnp.sum(trials.residuals**2), jnp.sum((again.excess - offset(trials)) ** 2)
        return one + ends[0], other + ends[1], trials, again

    def offset(trials):
        # excess - residual is -log u of the pending threshold, a constant
        return jax.lax.stop_gradient(trials.excess - trials.residuals)

    @eqx.filter_jit
    def gradients(model):
        first = eqx.filter_grad(lambda m: both(m)[0])(model)
        second = eqx.filter_grad(lambda m: both(m)[1])(model)
        return first, second, both(model)[2:]

    first, second, (trials, again) = gradients(model)
    np.testing.assert_array_equal(again.trains.times, trials.trains.times)
    np.testing.assert_allclose(again.excess, trials.excess, atol=1e-9)
    assert np.sum(trials.trains.counts) > 20 or name == "stopped"
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def mean_weights(model, ramp, dt0, blocks, size):
    """Mean over trials of the derivative of their weights, and its standard error."""

    @jax.jit
    def of_trials(key):
        def total(model):
            return replay(simulate(model, key, size, dt0, throw=False), ramp).log_weights.mean()

        gradient = eqx.filter_grad(total)(model)
        neurons = getattr(gradient, "neurons", gradient)
        return jnp.stack([neurons.alpha, neurons.beta, neurons.sigma, neurons.mu1])

    found = np.asarray(jax.lax.map(of_trials, jr.split(jr.key(0), blocks)))
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("ramp", [0.02, 0.1, 1.0])
def test_weights_have_mean_zero(ramp):
    """Probabilities add up to one whatever the parameters, dead time included."""
    neuron = rs.StochasticLIF(1, mu1=10.0, sigma=0.3, v_reset=1.0, beta=3.0, tau_s=0.2, alpha=0.3)
    mean, error = mean_weights(neuron, ramp, 0.05, 100, 200)
    assert np.all(np.abs(mean) < 4 * error)
    assert np.all(error > 0)


@pytest.mark.slow
def test_in_a_network_up_to_the_step():
    """A moved spike cuts another neuron's step elsewhere: an error of first order in the step."""
    model = network(sigma=0.3, alpha=0.3)
    coarse, coarse_error = mean_weights(model, 1.0, 0.05, 100, 1000)
    fine, _ = mean_weights(model, 1.0, 0.0125, 100, 1000)
    # of alpha, where it is largest: seen at this step, and a quarter of it at a quarter
    assert abs(coarse[0]) > 4 * coarse_error[0]
    assert abs(fine[0]) < 0.5 * abs(coarse[0])


@pytest.mark.slow
def test_estimators_agree_on_a_network_with_noise():
    """Three estimates of one derivative, with nothing in common but the trials."""
    model = network()

    def felt(trains):
        since = jnp.where(trains.mask, trains.durations[:, None] - trains.times, jnp.inf)
        return jnp.square(jnp.sum(jnp.exp(-since / 0.3), axis=-1))

    loss = rs.MeanLoss(felt)

    def chosen(gradient):
        neurons = gradient.neurons
        return jnp.stack(
            [gradient.weights[0, 1], neurons.alpha, neurons.beta, neurons.sigma[0, 0], neurons.v0]
        )

    def run(model, key):
        return simulate(model, key, 100, throw=False)

    def of_trials(key):
        boundary = rs.PathwiseWithBoundary()(model, run, loss, key).gradient
        score = rs.ScoreFunction()(model, run, loss, key).gradient
        pathwise = rs.Pathwise()(model, run, loss, key).gradient
        return chosen(boundary) - chosen(score), chosen(pathwise) - chosen(score)

    found = jax.jit(lambda keys: jax.lax.map(of_trials, keys))(jr.split(jr.key(0), 300))
    gaps, uncorrected = (np.asarray(x) for x in found)
    z = np.abs(gaps.mean(0)) / (gaps.std(0, ddof=1) / np.sqrt(300))
    assert np.all(z < 4), z
    z = np.abs(uncorrected.mean(0)) / (uncorrected.std(0, ddof=1) / np.sqrt(300))
    assert np.all(z > 4), z
