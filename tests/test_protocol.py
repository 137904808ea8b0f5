"""One protocol, several engines and estimators."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

NEURONS = rs.StochasticLIF(2, mu1=10.0, sigma=0.3, v_reset=1.0, beta=3.0, tau_s=0.2)
NETWORK = rs.SpikingNetwork(
    NEURONS, jnp.array([[0.0, 1.0], [0.6, 0.0]]), input_weights=jnp.array([[0.5, -0.3]])
)
SPIKES = rs.SpikeTrains.from_lists([([0.03, 0.2], [0, 0])], t0=0.0, t1=0.5, num_neurons=1)[0]
PROTOCOL = rs.Protocol(
    0.0, 0.5, 0.05, max_spikes=16, input_current=1.2, input_spikes=SPIKES,
)  # fmt: skip
SETTINGS = dict(max_spikes=16, input_current=1.2, input_spikes=SPIKES)


def test_a_simulation_is_what_the_functions_in_one_line_give():
    simulation = rs.Simulation(PROTOCOL, 3)
    trains = simulation(NETWORK, jr.key(1))
    expected = rs.simulate(
        NETWORK, 0.0, 0.5, 0.05, key=jr.key(1), num_samples=3, **SETTINGS
    )  # fmt: skip
    np.testing.assert_array_equal(trains.times, expected.times)
    trials = simulation.trials(NETWORK, jr.key(1))
    np.testing.assert_array_equal(trials.trains.times, expected.times)
    one_line = rs.simulate_trials(
        NETWORK, 0.0, 0.5, 0.05, key=jr.key(1), num_samples=3, **SETTINGS
    )  # fmt: skip
    np.testing.assert_array_equal(trials.residuals, one_line.residuals)


def test_each_sample_has_its_own_current():
    """Rows of a current one after the other; a sample depends on its number, not on how many."""
    currents = jnp.array([[1.0, 1.4], [1.6, 0.5], [0.0, 1.8]])

    def simulate(current, n):
        return rs.simulate(
            NETWORK, 0.0, 0.5, 0.05, key=jr.key(1), num_samples=n, max_spikes=40,
            input_current=current,
        ).times  # fmt: skip

    together = simulate(currents, 3)
    for i in range(3):
        alone = simulate(currents[i], 3)[i]
        np.testing.assert_allclose(together[i], alone, rtol=1e-12)
    with pytest.raises(ValueError, match="a row for each of 3 samples, and there are 2"):
        simulate(currents, 2)
    on_grid = rs.simulate_on_grid(
        NETWORK, 0.0, 0.5, 0.005, key=jr.key(1), num_samples=3, input_current=currents
    )
    counts = np.asarray(on_grid.counts_by_neuron)
    assert counts[1, 0] > counts[2, 0]
    assert counts[2, 1] > counts[1, 1]


def test_the_clock_engine_is_the_simulation_on_the_grid():
    simulation = rs.Simulation(PROTOCOL, 3, rs.ClockEngine())
    expected = rs.simulate_on_grid(
        NETWORK, 0.0, 0.5, 0.05, key=jr.key(1), num_samples=3, input_current=1.2,
        input_spikes=SPIKES,
    )  # fmt: skip
    np.testing.assert_array_equal(simulation(NETWORK, jr.key(1)).times, expected.times)
    loss = rs.MeanLoss(lambda trains: trains.counts.astype(float))
    with pytest.raises(TypeError, match="`engine` is a ClockEngine"):
        rs.PathwiseWithBoundary()(NETWORK, simulation, loss, jr.key(1))
    for changes, match in (
        (dict(stop_after=1), "`stop_after`"),
        (dict(noise=rs.FractionalNoise(0.7)), "`noise`"),
    ):
        other = rs.Protocol(0.0, 0.5, 0.05, max_spikes=16, **changes)
        with pytest.raises(ValueError, match=match):
            rs.Simulation(other, 1, rs.ClockEngine())(NETWORK, jr.key(0))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (dict(t1=0.0), ValueError, "`t1` must be greater"),
        (dict(stop_after=9), ValueError, "`stop_after` must be at most"),
        (dict(noise=0.5), TypeError, "`noise`|noise"),
        (dict(input_spikes=[0.1]), TypeError, "`input_spikes`|input_spikes"),
    ],
)
def test_misuse_of_a_protocol_is_refused(arguments, error, match):
    given = {"t0": 0.0, "t1": 1.0, "dt0": 0.1, "max_spikes": 5} | arguments
    with pytest.raises(error, match=match):
        rs.Protocol(given.pop("t0"), given.pop("t1"), given.pop("dt0"), **given)


def test_misuse_of_a_simulation_is_refused():
    with pytest.raises(TypeError, match="protocol"):
        rs.Simulation("a protocol", 3)
    with pytest.raises(TypeError, match="engine"):
        rs.Simulation(PROTOCOL, 3, "event")
    with pytest.raises(ValueError, match="`num_samples`"):
        rs.Simulation(PROTOCOL, -1)


ADJOINTS = [rs.ForwardMode(), rs.StochasticAdjoint(), rs.EligibilityTraces("full")]


def test_inputs_of_another_time_are_refused():
    """Before a word was said, they drove nothing."""
    late = rs.SpikeTrains.from_lists([[[5.2]]], t0=5.0, t1=6.0)
    network = rs.SpikingNetwork(rs.LIF(1), [[0.0]], input_weights=[[1.0]])
    protocol = rs.Protocol(0.0, 1.0, 0.05, max_spikes=1, input_spikes=late)
    for engine in (rs.EventEngine(), rs.CellEngine(), rs.ClockEngine(surrogate=rs.SuperSpike())):
        with pytest.raises(ValueError, match=r"the window \[5, 6\], of which nothing"):
            engine.spike_trains(network, protocol, key=jr.key(0), num_samples=1)
    with pytest.raises(ValueError, match=r"the window \[5, 6\], of which nothing"):
        rs.simulate_on_grid(
            network, 0.0, 1.0, 0.05, key=jr.key(0), num_samples=1, input_spikes=late
        )


def test_without_derivatives_an_estimator_that_needs_them_says_so():
    loss = rs.MeanLoss(lambda trains: trains.counts.astype(float))
    simulation = rs.Simulation(PROTOCOL, 2, rs.EventEngine(adjoint=rs.NoGradient()))
    with pytest.raises(TypeError, match="the adjoint NoGradient"):
        rs.PathwiseWithBoundary()(NETWORK, simulation, loss, jr.key(1))
    with pytest.raises(TypeError, match="the adjoint NoGradient"):
        rs.Pathwise()(NETWORK, simulation.trials, loss, jr.key(1))
    with pytest.raises(NotImplementedError, match="samples only, without derivatives"):
        rs.Pathwise()(NETWORK, simulation, loss, jr.key(1))


@pytest.mark.slow
def test_the_score_function_needs_no_adjoint():
    loss = rs.MeanLoss(lambda trains: trains.counts.astype(float))
    found = []
    for adjoint in (None, rs.NoGradient()):
        simulation = rs.Simulation(PROTOCOL, 20, rs.EventEngine(adjoint=adjoint))
        estimate = rs.ScoreFunction()(NETWORK, simulation, loss, jr.key(1))
        found.append(jax.tree.leaves(estimate.gradient))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator", [rs.PathwiseWithBoundary(), rs.ScoreFunction()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("adjoint", ADJOINTS, ids=lambda a: type(a).__name__)
def test_every_estimator_with_every_adjoint(estimator, adjoint):
    """They are derivatives of one scheme, and agree to rounding; or say why they do not work."""
    loss = rs.MeanLoss(lambda trains: trains.counts.astype(float))
    found = []
    for one in (None, adjoint):
        simulation = rs.Simulation(PROTOCOL, 20, rs.EventEngine(adjoint=one))
        found.append(
            jax.jit(lambda s=simulation: estimator(NETWORK, s, loss, jr.key(1)).gradient)()
        )
    for a, b in zip(jax.tree.leaves(found[0]), jax.tree.leaves(found[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
