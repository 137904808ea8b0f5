"""Single spikes taken out of trials and put into them, and the gradient made of that."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.estimators._forks import ThresholdChange, run_again

from .test_closed_forms import COUNT, TRUTH, assert_within, estimates, renewal

POINT = (jnp.asarray(0.3), jnp.asarray(0.4))


def changes(neurons, numbers, factor, at_once):
    def whole(x):
        return jnp.asarray(x, jnp.int32)

    neurons, numbers = whole(neurons), whole(numbers)
    shape = neurons.shape
    return ThresholdChange(neurons, numbers, jnp.full(shape, factor), jnp.full(shape, at_once))


def test_a_changed_threshold_moves_all_that_comes_after_and_nothing_else():
    """Constant intensity: each interval is tau (alpha - log u), so that half the mark is later by
    tau log 2, and the mark 1 leaves tau alpha; to rounding."""

    @jax.jit
    def run(key):
        neuron = rs.StochasticLIF(1, mu1=1.0, mu2=1.0, beta=0.0, sigma=None, alpha=0.3, tau_s=0.4)
        trials = rs.simulate_trials(
            neuron, 0.0, 3.0, 0.25, key=key, num_samples=3, max_spikes=12, adjoint=rs.NoGradient()
        )
        which = jnp.broadcast_to(jnp.arange(3, dtype=jnp.int32), (3, 3))
        later = run_again(trials, changes(jnp.zeros((3, 3)), which, 0.5, False))
        at_once = run_again(trials, changes(jnp.zeros((3, 3)), which, 1.0, True))
        return trials.trains.times, later.times, at_once.times

    times, later, at_once = map(np.asarray, run(jr.key(0)))
    assert np.all(np.sum(np.isfinite(times), axis=1) >= 4)
    for b in range(3):
        for n in range(3):
            first = times[b, n - 1] if n else 0.0
            late = np.where(np.arange(12) < n, times[b], times[b] + 0.4 * np.log(2))
            soon = np.where(np.arange(12) < n, times[b], times[b] - times[b, n] + first + 0.12)
            seen = np.isfinite(later[b, n, :12])
            np.testing.assert_allclose(later[b, n, :12][seen], late[seen], atol=1e-12)
            seen = np.isfinite(times[b])
            np.testing.assert_allclose(at_once[b, n, :12][seen], soon[seen], atol=1e-12)


def test_count_of_a_renewal_process():
    """Against the closed form, dead time included, where no noise blurs it."""

    def simulate(point, key):
        return renewal(point, key, 50)

    mean, error = estimates(rs.SpikeRemoval(), POINT, simulate, COUNT, 200)
    assert_within(mean, error, TRUTH)
    assert np.all(error < 0.05 * np.abs(TRUTH))


def network(point, key, size, adjoint=None):
    """Three neurons in a ring; noise of the potential, dead times, a trial that others end."""
    neurons = rs.StochasticLIF(
        3, mu1=10.0, mu2=5.0, sigma=point["sigma"], v_reset=1.0, beta=point["beta"], tau_s=0.3,
        alpha=point["alpha"],
    )  # fmt: skip
    weights = point["weight"] * jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-0.5, 0.0, 0.0]])
    return rs.simulate_trials(
        rs.SpikingNetwork(neurons, weights), 0.0, 0.5, 0.05, key=key, num_samples=size,
        max_spikes=16, input_current=1.2 * jnp.array([1.0, 0.7, 0.7]), throw=False, adjoint=adjoint,
    )  # fmt: skip


NETWORK = {"alpha": 0.1, "beta": 3.0, "sigma": 0.4, "weight": 0.7}
STEP = {"alpha": 0.02, "beta": 0.1, "sigma": 0.05, "weight": 0.05}


def late_trace(trains):
    since = jnp.where(trains.mask, trains.durations[..., None] - trains.times, jnp.inf)
    return jnp.square(jnp.sum(jnp.exp(-since / 0.3), axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize("damping", [0.0, 20.0])
def test_a_network_against_differences(damping):
    """Four standard errors of both, which are a tenth of the derivative in the weight."""
    loss = rs.MeanLoss(late_trace)
    point = {n: jnp.asarray(x) for n, x in NETWORK.items()}
    estimator = rs.SpikeRemoval(removals=2, damping=damping)

    def simulate(point, key):
        return network(point, key, 50)

    mean, error = estimates(estimator, point, simulate, loss, 100 if damping == 0 else 400)

    @jax.jit
    def difference(key):
        def at(point):
            return loss(network(point, key, 1000, rs.NoGradient()).trains)

        return jnp.stack(
            [
                (at({**point, n: point[n] + h}) - at({**point, n: point[n] - h})) / (2 * h)
                for n, h in STEP.items()
            ]
        )

    found = np.stack([np.asarray(difference(k)) for k in jr.split(jr.key(1), 30)])
    truth, truth_error = found.mean(0), found.std(0, ddof=1) / np.sqrt(30)
    assert_within(mean, np.hypot(error, truth_error), truth)
    assert error[-1] < 0.15 * abs(truth[-1])


def test_what_cannot_be_damped_is_refused_by_name():
    with pytest.raises(ValueError, match="damping"):
        rs.SpikeRemoval(damping=-1.0)
    neuron = rs.StochasticLIF(1, sigma=np.array([[0.4, 0.0], [0.1, 0.2]]))
    simulation = rs.Simulation(
        rs.Protocol(0.0, 0.1, 0.05, max_spikes=4), 2, rs.EventEngine(adjoint=rs.NoGradient())
    )
    with pytest.raises(ValueError, match=r"sigma.*unbiased all the same"):
        rs.SpikeRemoval(damping=1.0)(neuron, simulation, COUNT, jr.key(0))
