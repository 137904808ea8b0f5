"""Rules that perturb weights, currents and conductances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.fiete_seung_2006 import one_neuron
from roughsnn.drivers import TimeGrid
from roughsnn.estimators._perturbed import draw_each
from roughsnn.estimators._synaptic_drive import synaptic_drive

STEPS = 7
CLOCK = rs.ClockEngine(surrogate=rs.SuperSpike())


def _by_definition(law, z):
    """The filter as a matrix, and how z is scaled."""
    lag = np.arange(STEPS)[:, None] - np.arange(STEPS)
    a = np.exp(-0.1 / law.time)
    decay = np.where(lag >= 0, a ** np.maximum(lag, 0), 0.0)
    if isinstance(law, rs.PoissonPerturbation):
        return law.weight * decay
    return law.scale * decay * np.where(np.arange(STEPS) > 0, np.sqrt(1 - a * a), 1.0)


def test_scores_are_what_steins_identity_asks_for():
    """The covariance's inverse times the values, for normal ones; A^-T z / var z for Poisson."""
    law = rs.CorrelatedPerturbation(0.3, 0.25)
    values, score = law.draw(jr.key(0), STEPS, 2, 0.1, jnp.float64)
    lag = np.abs(np.arange(STEPS)[:, None] - np.arange(STEPS))
    covariance = 0.3**2 * np.exp(-0.1 * lag / 0.25)
    np.testing.assert_allclose(score, np.linalg.solve(covariance, values), rtol=1e-9, atol=1e-9)
    _, smooth = rs.CorrelatedPerturbation(0.3, 0.25, exact=False).draw(
        jr.key(0), STEPS, 2, 0.1, jnp.float64
    )
    # the sum of the covariance over all lags, in an endless window
    whole = 0.3**2 * np.sum(np.exp(-0.1 * np.abs(np.arange(-500, 501)) / 0.25))
    np.testing.assert_allclose(smooth, values / whole, rtol=1e-9)

    law = rs.PoissonPerturbation(20.0, 0.5, 0.25)
    values, score = law.draw(jr.key(1), STEPS, 2, 0.1, jnp.float64)
    filtered = _by_definition(law, values)
    z = np.linalg.solve(filtered, values)
    np.testing.assert_allclose(z + 2, np.round(z + 2), atol=1e-9)
    np.testing.assert_allclose(score, np.linalg.solve(filtered.T, z) / 2, rtol=1e-9, atol=1e-9)

    values, score = rs.WhitePerturbation(0.3).draw(jr.key(2), 20_000, 1, 0.1, jnp.float64)
    np.testing.assert_allclose(score, values / 0.09, rtol=1e-12)
    # four standard errors of a mean and of a standard deviation
    assert abs(float(values.mean())) < 4 * 0.3 / 20_000**0.5
    assert abs(float(values.std()) / 0.3 - 1) < 4 / 40_000**0.5


def _integrals(arrivals, rate, part, steps, dt):
    """The mean over each step of decaying units that arrive, by the integral of each."""
    mean = np.zeros((steps, len(rate)))
    for time, neuron, weight in arrivals:
        for n in range(steps):
            begin, end = max(n * dt, time), (n + 1) * dt
            if end > begin:
                r = rate[neuron]
                area = (np.exp(-r * (begin - time)) - np.exp(-r * (end - time))) / r
                mean[n, neuron] += part(weight) * area / dt
    return mean


@pytest.mark.parametrize("kind", ["matrix", "list", "conductances"])
def test_what_synapses_bring_is_the_integral_over_each_step(kind):
    k, dt, steps = 3, 0.1, 8
    rng = np.random.default_rng(3)
    mask = ~np.eye(k, dtype=bool)
    w, delays = rng.normal(size=(k, k)), rng.uniform(0.05, 0.2, (k, k))
    w_in = rng.normal(size=(2, k))
    rate = np.array([4.0, 5.0, 6.0]) if kind == "matrix" else np.full(k, 5.0)
    neurons = rs.LIF(k, mu2=rate if kind == "matrix" else 5.0)
    given = dict(input_weights=w_in)
    axonal = np.array([0.03, 0.05, 0.07])
    if kind == "matrix":
        network = rs.SpikingNetwork(neurons, w, mask, synaptic_delays=delays, **given)
    elif kind == "list":
        connections = rs.SparseConnections.from_mask(mask)
        network = rs.SpikingNetwork(neurons, w[mask], connections, axonal_delays=axonal, **given)
        delays = np.broadcast_to(axonal[:, None], (k, k))
    else:
        synapses = rs.ConductanceSynapses(mu_e=4.0, mu_i=6.0)
        network = rs.SpikingNetwork(neurons, w, mask, synapses=synapses, **given)
        delays = np.zeros((k, k))
    times, who = np.array([0.05, 0.2, 0.33, np.inf]), np.array([0, 2, 1, -1], np.int32)
    since, rows = np.array([0.0, 0.12, 0.61]), np.array([0, 1, 0], np.int32)
    arrivals = [
        (times[s] + delays[who[s], j], j, w[who[s], j])
        for s in range(3)
        for j in range(k)
        if mask[who[s], j]
    ]
    # an input at the very start comes before the window
    arrivals += [(since[s], j, w_in[rows[s], j]) for s in (1, 2) for j in range(k)]
    found = synaptic_drive(
        network, jnp.asarray(times), jnp.asarray(who), (jnp.asarray(since), jnp.asarray(rows)),
        TimeGrid(0.0, steps * dt, dt), False,
    )  # fmt: skip
    if kind == "conductances":
        expected = [
            _integrals(arrivals, np.full(k, 4.0), lambda x: max(x, 0), steps, dt),
            _integrals(arrivals, np.full(k, 6.0), lambda x: max(-x, 0), steps, dt),
        ]
    else:
        expected = [_integrals(arrivals, rate, lambda x: x, steps, dt)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_the_neuron_of_the_experiment_is_that_of_a_loop():
    """With conductances put in from outside, spike by spike, by Euler's steps."""
    model, calm = one_neuron.network(1), one_neuron.protocol(1)
    rng = np.random.default_rng(0)
    put_in = 0.6 * rng.normal(size=(2, one_neuron.STEPS, 1))
    grid = one_neuron.STEP * np.arange(one_neuron.STEPS)
    given = [rs.CurrentOnGrid(grid, values, "previous") for values in put_in]
    protocol = rs.Protocol(
        0.0, one_neuron.WINDOW, one_neuron.STEP, max_spikes=100,
        input_current=rs.InputConductances(*given, current=one_neuron.LEAK),
        input_spikes=calm.input_spikes,
    )  # fmt: skip
    trains = CLOCK.spike_trains(model, protocol, key=jr.key(0), num_samples=1)
    weights = np.asarray(model.input_weights)[:, 0]
    inputs = calm.input_spikes
    arriving = np.zeros((one_neuron.STEPS, 2))
    for time, row in zip(np.asarray(inputs.times), np.asarray(inputs.neurons), strict=True):
        if row >= 0:
            cell = int(time / one_neuron.STEP)
            arriving[cell] += max(weights[row], 0), max(-weights[row], 0)
    v, g, rest, spikes = -65.0, np.zeros(2), 0, []
    for n in range(one_neuron.STEPS):
        e, i = g + put_in[:, n, 0]
        dv = (-65.0 - v + e * (0.0 - v) + i * (-75.0 - v)) / 20
        held = rest > 0
        v, g, rest = v + (0.0 if held else one_neuron.STEP * dv), g * (1 - 0.05), rest - 1
        if v >= -50.0 and not held:
            spikes.append((n + 1) * one_neuron.STEP)
            v, rest = -60.0, 4
        g = g + arriving[n]
    assert len(spikes) > 10
    np.testing.assert_allclose(np.asarray(trains.times[0])[: len(spikes)], spikes, rtol=1e-9)
    assert int(trains.counts[0]) == len(spikes)


def test_the_gradient_beside_differences():
    """Of the loss averaged over the perturbation. Errors are standard errors over blocks; the
    differences have some of their own, hence five of them in root mean square, of 20 weights."""
    with jax.enable_x64(False):
        found = one_neuron.compare(1, rs.WhitePerturbation(0.6), 150, 6, 2)
    gaps = np.asarray(found["estimate"]) - np.asarray(found["differences"])
    assert np.sqrt(np.mean(np.square(gaps / np.asarray(found["error"])))) < 5
    assert found["cosine all"] > 0.9
    assert 0.7 < found["ratio all"] < 1.4


def _network(**given):
    neurons = rs.StochasticLIF(2, sigma=0.1, mu1=10.0, tau_s=0.3)
    return rs.SpikingNetwork(neurons, 0.1 * np.ones((2, 2)), **given)


PROTOCOL = rs.Protocol(0.0, 0.5, 0.05, max_spikes=20, input_current=1.2)
COUNT = rs.MeanLoss(lambda trains: trains.counts.astype(trains.times.dtype))


def _weights(model):
    nothing = jax.tree.map(lambda _: False, model)
    return eqx.tree_at(lambda m: m.weights, nothing, True)


def test_what_rules_cannot_do_is_refused_by_name():
    node, conductance = rs.NodePerturbation(), rs.ConductancePerturbation()
    model = _network()
    clamped = _network(synapses=rs.ConductanceSynapses())
    simulation = rs.Simulation(PROTOCOL, 4)

    def run(rule, model, simulate=simulation, chosen=_weights):
        return rule(model, simulate, COUNT, jr.key(0), trainable=chosen(model))

    with pytest.raises(ValueError, match="has synapses that bring currents: use NodePerturbation"):
        run(conductance, model)
    with pytest.raises(ValueError, match="use ConductancePerturbation"):
        run(node, clamped)
    neurons = [rs.StochasticLIF(2), rs.LIF(2)]
    for rule in (node, conductance):
        with pytest.raises(TypeError, match="weights of a SpikingNetwork"):
            run(rule, neurons[0], chosen=lambda m: None)
    with pytest.raises(ValueError, match=r"`trainable` selects .*\.neurons\.mu1.*WeightPerturb"):
        run(node, model, chosen=lambda m: None)
    with pytest.raises(TypeError, match=r"`simulate` is no roughsnn\.Simulation"):
        run(node, model, lambda model, key: simulation(model, key))
    once = rs.Simulation(rs.Protocol(0.0, 0.5, 0.05, max_spikes=20, stop_after=1), 4)
    with pytest.raises(ValueError, match="`stop_after` is 1; NodePerturbation"):
        run(node, model, once)
    with pytest.raises(ValueError, match="`scale` must be positive"):
        rs.WhitePerturbation(0.0)
    with pytest.raises(ValueError, match=r'"others" needs a roughsnn\.Simulation'):
        rs.WeightPerturbation(baseline="others")(
            jnp.ones(2), lambda model, key: model, jnp.sum, jr.key(0)
        )
    given = rs.InputConductances(excitatory=1.0)
    with pytest.raises(ValueError, match="has no conductances"):
        rs.simulate(
            model, 0.0, 0.5, 0.05, key=jr.key(0), num_samples=1, max_spikes=9, input_current=given
        )
    given = rs.InputConductances(excitatory=np.ones(3))
    with pytest.raises(ValueError, match=r"excitatory conductances of shape \(3,\)"):
        rs.simulate(
            clamped, 0.0, 0.5, 0.05, key=jr.key(0), num_samples=1, max_spikes=9, input_current=given
        )
    with pytest.raises(TypeError, match="`inhibitory` must be"):
        rs.InputConductances(inhibitory=lambda t: t)


def test_baselines():
    """A running mean: nothing in the first step, afterwards each trial's loss above it; the mean
    of others: the loss above that of the others."""
    times = np.full((3, 4), np.inf)
    neurons = np.full((3, 4), -1, np.int32)
    for row, count in enumerate((1, 2, 3)):
        times[row, :count], neurons[row, :count] = np.arange(count) / 10, 0
    trains = rs.SpikeTrains(times, neurons, 0.0, 1.0, num_neurons=1)
    rule = rs.NodePerturbation(baseline="running", forgetting=0.5)
    memory = rule.init(None)
    signals, value, memory = rule.judged(COUNT, trains, None, memory)
    np.testing.assert_allclose(signals, 0)
    assert float(value) == float(memory["mean"]) == 2
    signals, _, memory = rule.judged(COUNT, trains[:1].reshape(1), None, memory)
    np.testing.assert_allclose(signals, [1 - 2])
    assert float(memory["mean"]) == 1.5
    # one loss of the sample, which is no mean: all trials answer for it
    signals, _, _ = rule.judged(lambda x: COUNT(x) ** 2, trains, None, memory)
    np.testing.assert_allclose(signals, 4 - 1.5)
    signals, *_ = rs.NodePerturbation(baseline="others").judged(COUNT, trains, None, None)
    np.testing.assert_allclose(signals, [(1 - 2.5) / 3, (2 - 2) / 3, (3 - 1.5) / 3])
    with pytest.raises(ValueError, match="one trial has no others"):
        rs.NodePerturbation(baseline="others").judged(COUNT, trains[:1], None, None)


def test_weight_perturbation_of_a_function_and_of_trials():
    """A linear loss: the estimate is (a z) z, whose mean is a; four standard errors. Trials one by
    one have the same noise whether or not each has a model of its own."""
    a = jnp.asarray([1.0, -2.0, 0.5])
    rule = rs.WeightPerturbation(0.1)

    def one(key):
        return rule(jnp.zeros(3), lambda model, key: model, lambda x: a @ x, key).gradient

    found = jax.vmap(one)(jr.split(jr.key(0), 4000))
    error = np.sqrt(np.sum(np.square(a)) + np.square(a)) / 4000**0.5
    assert np.all(np.abs(found.mean(0) - a) < 4 * error)

    simulation, model = rs.Simulation(PROTOCOL, 3, CLOCK), _network()
    many = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (3, *x.shape)) if eqx.is_array(x) else x, model
    )
    calm = draw_each(simulation, model, jr.key(0))
    own = draw_each(simulation, many, jr.key(0), own_models=True)
    np.testing.assert_array_equal(calm.times, own.times)
    assert len(np.unique(np.asarray(calm.times[:, 0]))) == 3
