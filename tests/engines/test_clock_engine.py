"""Networks by the clock with surrogate derivatives.

A surrogate derivative is not that of the loss, so it has two witnesses: a step written apart, and
central differences of the network in which spikes are the smooth function of which the surrogate
is the derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs

K, INPUTS, WINDOW, DT = 5, 3, 1.5, 0.05
RNG = np.random.default_rng(4)
WEIGHTS, INPUT_WEIGHTS = RNG.normal(0.3, 1.2, (K, K)), RNG.normal(1.5, 1.0, (INPUTS, K))
MASK = RNG.random((K, K)) < 0.6
CURRENT = 0.6


def network(neurons=None, connections=None, weights=WEIGHTS, **given):
    neurons = rs.LIF(K, mu1=5.0, mu2=8.0, v0=0.1) if neurons is None else neurons
    return rs.SpikingNetwork(
        neurons, jnp.asarray(weights), connections, input_weights=INPUT_WEIGHTS, **given
    )


def trials(samples=2, dtype=float):
    rng = np.random.default_rng(8)
    # half a step off the grid, where no spike hangs on rounding
    steps = [np.sort(rng.choice(28, 9, replace=False)) for _ in range(samples)]
    given = [((n + 0.5) * DT, rng.integers(0, INPUTS, n.size)) for n in steps]
    return rs.SpikeTrains.from_lists(given, t0=0.0, t1=WINDOW, num_neurons=INPUTS, dtype=dtype)


def protocol(**changes):
    given = dict(max_spikes=150, input_spikes=trials(), input_current=CURRENT) | changes
    return rs.Protocol(0.0, WINDOW, DT, **given)


def engine(surrogate=None, **given):
    given = dict(reset="attached", max_delay=0.2) | given
    return rs.ClockEngine(
        surrogate=rs.FastSigmoid(3.0) if surrogate is None else surrogate, **given
    )


def loss_of_presence(trains):
    """Every step counts otherwise."""
    values = trains.presence.values
    steps = jnp.sin(jnp.arange(values.shape[1], dtype=values.dtype))[None, :, None]
    return jnp.mean(jnp.sum(values * steps, axis=1) ** 2) + jnp.mean(trains.presence_by_neuron)


@eqx.filter_jit
def value_and_gradient(model, engine, protocol):
    def value(model):
        trains = engine.spike_trains(model, protocol, key=jr.key(3), num_samples=2)
        return loss_of_presence(trains)

    return eqx.filter_value_and_grad(value)(model)


MODELS = {
    "LIF with delays and refractory periods": lambda: network(
        axonal_delays=jnp.linspace(0.03, 0.18, K), refractory=0.12
    ),
    "conductances and a delay for each synapse": lambda: network(
        rs.LIF(K, mu1=5.0, mu2=8.0, v0=0.1), MASK, synapses=rs.ConductanceSynapses(),
        synaptic_delays=jnp.asarray(np.linspace(0.03, 0.18, K * K).reshape(K, K)),
    ),
    "escape noise, membrane noise, adaptation, a list": lambda: network(
        rs.AdaptiveStochasticLIF(K, mu1=5.0, mu2=8.0, sigma=0.3, v0=0.3),
        rs.SparseConnections.from_mask(MASK), WEIGHTS[MASK],
        synaptic_delays=jnp.asarray(np.linspace(0.03, 0.18, MASK.sum())),
    ),
    "quadratic": lambda: network(rs.StochasticQuadratic(K, mu1=5.0, mu2=8.0, sigma=None, v0=0.3)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_with_smooth_spikes_it_is_the_gradient(name):
    """Along random directions of all parameters, central differences of step 1e-6: to 1e-7 of the
    norm of the gradient, the rounding of the differences."""
    model = MODELS[name]()
    smooth = engine(rs.Relaxed(rs.SigmoidDerivative(4.0)))
    _, gradient = value_and_gradient(model, smooth, protocol())
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    rng = np.random.default_rng(0)
    leaves, tree = jax.tree.flatten(arrays)
    norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(gradient)))
    assert norm > 0.1
    for _ in range(2):
        # delays and refractory periods are counted in steps: not moved over the edge of one
        move = jax.tree.unflatten(tree, [jnp.asarray(rng.normal(size=x.shape)) for x in leaves])
        moved = [
            value_and_gradient(
                eqx.combine(jax.tree.map(lambda x, d, s=s: x + s * d, arrays, move), rest),
                smooth, protocol(),
            )[0]
            for s in (1e-6, -1e-6)
        ]  # fmt: skip
        difference = float(moved[0] - moved[1]) / 2e-6
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, move)
        exact = float(sum(jax.tree.leaves(products)))
        assert abs(difference - exact) < 1e-7 * norm


@jax.custom_jvp
def spike(x):
    return jnp.where(x >= 0, 1.0, 0.0)


@spike.defjvp
def _(primals, tangents):
    (x,), (moved,) = primals, tangents
    return spike(x), moved * 1.5 / (1 + 3 * jnp.abs(x)) ** 2


def written_apart(parameters, attached):
    """The network by a loop over its equations."""
    weights, input_weights, mu1, threshold, lowest = parameters
    given = trials()
    raster = np.zeros((round(WINDOW / DT), 2, INPUTS))
    for sample in range(2):
        count = int(given.counts[sample])
        for t, n in zip(given.times[sample, :count], given.neurons[sample, :count], strict=True):
            raster[int(t / DT), sample, int(n)] += 1

    def step(state, inputs):
        v, i = state
        v, i = v + DT * mu1 * (i + CURRENT - v), i - DT * 8.0 * i
        s = spike(v - threshold)
        share = s if attached else jax.lax.stop_gradient(s)
        v = (1 - share) * v + share * lowest
        return (v, i + s @ weights + inputs @ input_weights), s

    start = jnp.full((2, K), 0.1), jnp.zeros((2, K))
    _, spikes = jax.lax.scan(step, start, jnp.asarray(raster))
    spikes = jnp.moveaxis(spikes, 1, 0)
    times = jnp.sin(jnp.arange(spikes.shape[1], dtype=float))[None, :, None]
    value = jnp.mean(jnp.sum(spikes * times, axis=1) ** 2)
    return value + jnp.mean(jnp.sum(spikes, axis=1)), spikes


@pytest.mark.parametrize("reset", ["attached", "detached"])
def test_the_surrogate_gradient_is_that_of_a_step_written_apart(reset):
    model = network()
    value, gradient = value_and_gradient(model, engine(reset=reset), protocol())
    parameters = [model.weights, model.input_weights, *(jnp.asarray(x) for x in (5.0, 1.0, 0.0))]
    (expected, spikes), other = jax.value_and_grad(written_apart, has_aux=True)(
        parameters, reset == "attached"
    )
    assert float(jnp.sum(spikes)) > 20
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    found = [
        gradient.weights, gradient.input_weights,
        *(getattr(gradient.neurons, name) for name in ("mu1", "v_th", "reset_to")),
    ]  # fmt: skip
    for a, b in zip(found, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * float(jnp.max(jnp.abs(b))))
    # the two resets are not the same derivative
    if reset == "detached":
        attached = jax.grad(lambda p: written_apart(p, True)[0])(parameters)
        assert not np.allclose(attached[0], other[0], rtol=1e-2)


def test_spikes_are_those_of_the_simulation_on_the_grid():
    for name in MODELS:
        model = MODELS[name]()
        found, expected = (
            rs.Simulation(protocol(), 2, one)(model, jr.key(3))
            for one in (engine(max_delay=None), rs.ClockEngine())
        )
        count = expected.max_spikes
        assert count > 5
        np.testing.assert_allclose(found.times[:, :count], expected.times, atol=1e-12)
        np.testing.assert_array_equal(found.neurons[:, :count], expected.neurons)
        assert not jnp.any(found.mask[:, count:])
        raster = found.presence.values
        np.testing.assert_array_equal(jnp.sum(raster, axis=1), found.counts_by_neuron)


def test_one_gradient_however_it_is_computed():
    """With checkpoints, with a list of synapses in place of a matrix, sample by sample, over a
    batch of models, and in single precision."""
    mask = MASK
    model = network(connections=mask, axonal_delays=0.1)
    value, gradient = value_and_gradient(model, engine(), protocol())
    scale = float(jnp.max(jnp.abs(gradient.weights)))
    by_chunks = value_and_gradient(model, engine(checkpoint_every=7), protocol())
    np.testing.assert_allclose(by_chunks[1].weights, gradient.weights, atol=1e-12 * scale)
    listed = network(
        connections=rs.SparseConnections.from_mask(mask), weights=WEIGHTS[mask], axonal_delays=0.1
    )
    by_list = value_and_gradient(listed, engine(), protocol())[1].weights
    np.testing.assert_allclose(by_list, gradient.weights[np.nonzero(mask)], atol=1e-12 * scale)

    def one(weights):
        moved = eqx.tree_at(lambda m: m.weights, model, weights)
        return value_and_gradient(moved, engine(), protocol())[1].weights

    def of_weights(weights):
        moved = eqx.tree_at(lambda m: m.weights, model, weights)
        return loss_of_presence(rs.Simulation(protocol(), 2, engine())(moved, jr.key(3)))

    move = jnp.ones_like(model.weights)
    forward = jax.jvp(of_weights, (model.weights,), (move,))[1]
    np.testing.assert_allclose(forward, jnp.sum(gradient.weights), rtol=1e-10)

    batch = jax.vmap(one)(jnp.stack([model.weights, 0 * model.weights]))
    np.testing.assert_allclose(batch[0], gradient.weights, atol=1e-12 * scale)
    alone = rs.Simulation(protocol(input_spikes=trials()[0]), 1, engine())(model, jr.key(3))
    together = rs.Simulation(protocol(), 2, engine())(model, jr.key(3))
    np.testing.assert_array_equal(alone.presence.values[0], together.presence.values[0])
    with jax.enable_x64(False):
        single = jax.tree.map(
            lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, model
        )
        inputs = trials(dtype=jnp.float32)
        found, slope = value_and_gradient(
            single, engine(rs.FastSigmoid(jnp.float32(3.0))), protocol(input_spikes=inputs)
        )
    assert slope.weights.dtype == jnp.float32
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(slope.weights, gradient.weights, atol=1e-4 * scale)


def test_trials_that_share_all_have_the_same_gradient():
    """Input spikes of all trials, or none, and no noise: nothing differs from trial to trial."""
    model = network(axonal_delays=0.1)
    one = trials()[0]
    spikes = np.asarray(one.times[one.mask]), np.asarray(one.neurons[one.mask])
    both = rs.SpikeTrains.from_lists(2 * [spikes], t0=0.0, t1=WINDOW, num_neurons=INPUTS)
    shared, each = (
        value_and_gradient(model, engine(), protocol(input_spikes=inputs)) for inputs in (one, both)
    )
    np.testing.assert_allclose(shared[0], each[0], rtol=1e-12)
    for name in ("weights", "input_weights"):
        found, expected = getattr(shared[1], name), getattr(each[1], name)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    strong = protocol(input_spikes=None, input_current=3.0)
    driven = value_and_gradient(model, engine(), strong)
    assert float(jnp.max(jnp.abs(driven[1].weights))) > 0


def test_a_network_in_layers_is_computed_by_its_blocks():
    """Two layers into a third, and a neuron that nobody hears: to rounding the same spikes and
    gradients as by the whole matrix, over a batch of models too."""
    mask = np.zeros((K, K), bool)
    mask[:2, 2] = mask[1:3, 3:] = True
    model = network(connections=mask, axonal_delays=0.1)
    prepared = engine().prepared(model)
    assert prepared.blocks == (((2, 3), (0, 2)), ((3, 5), (1, 3)))
    value, gradient = value_and_gradient(model, engine(), protocol())
    found, by_blocks = value_and_gradient(model, prepared, protocol())
    assert float(found) == pytest.approx(float(value), rel=1e-12)
    scale = float(jnp.max(jnp.abs(gradient.weights)))
    np.testing.assert_allclose(by_blocks.weights, gradient.weights, atol=1e-12 * scale)
    np.testing.assert_allclose(by_blocks.input_weights, gradient.input_weights, rtol=1e-9)

    def one(weights):
        moved = eqx.tree_at(lambda m: m.weights, model, weights)
        return value_and_gradient(moved, prepared, protocol())[1].weights

    batch = jax.vmap(one)(jnp.stack([model.weights, 0 * model.weights]))
    np.testing.assert_allclose(batch[0], gradient.weights, atol=1e-12 * scale)
    more = network(connections=mask | np.eye(K, dtype=bool), axonal_delays=0.1)
    with pytest.raises(rs.EventSolveError, match="synapses between neurons that had none"):
        rs.Simulation(protocol(), 2, prepared)(more, jr.key(0))
    assert jnp.all(rs.Simulation(protocol(), 2, prepared, throw=False)(more, jr.key(0)).overflowed)
    with pytest.raises(ValueError, match="another mask of connections"):
        rs.Simulation(protocol(), 2, prepared)(network(axonal_delays=0.1), jr.key(0))
    assert engine().prepared(network()).blocks is None


LOSSES = {
    "van Rossum": lambda trains, target: jnp.sum(rs.VanRossum(0.2)(trains, target) ** 2),
    "rates": lambda trains, target: jnp.sum(rs.spike_rates(trains) ** 2),
    "spike count": lambda trains, target: rs.SpikeCountCrossEntropy()(trains, jnp.array([1, 4])),
    "first spike": lambda trains, target: rs.FirstSpikeCrossEntropy(0.3)(trains, jnp.array([1, 4])),
    "signatures": lambda trains, target: rs.ExpectedSignatureLoss(2)(trains, target),
    "readout": lambda trains, target: jnp.sum(
        jnp.sin(rs.LeakyReadout(WEIGHTS[:, :2], mu1=3.0, mu2=6.0).maximum(trains))
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_take_the_presence_of_spikes(name):
    """The value is that of the spikes, and the derivative that in the presence of each, absent
    spikes included."""
    trains, target = (
        rs.Simulation(protocol(), 2, engine())(network(weights=w), jr.key(1))
        for w in (WEIGHTS, 0 * WEIGHTS)
    )
    target, loss = target.without_presence(), LOSSES[name]
    value = float(loss(trains, target))
    assert value == pytest.approx(float(loss(trains.without_presence(), target)), rel=1e-10)

    @jax.jit
    def of_values(values):
        return loss(eqx.tree_at(lambda x: x.presence.values, trains, values), target)

    values = trains.presence.values
    slope = jax.jit(jax.grad(of_values))(values)
    assert float(jnp.max(jnp.abs(jnp.where(values == 0, slope, 0)))) > 1e-4
    move = jnp.asarray(np.random.default_rng(2).normal(size=values.shape))
    difference = (of_values(values + 1e-5 * move) - of_values(values - 1e-5 * move)) / 2e-5
    np.testing.assert_allclose(jnp.sum(slope * move), difference, rtol=1e-6)


def test_a_loss_of_spike_times_is_refused():
    def by_time(weights, weight_of_times):
        trains = rs.Simulation(protocol(), 2, engine())(network(weights=weights), jr.key(1))
        times = jnp.sum(jnp.where(trains.mask, trains.times, 0))
        return weight_of_times * times + jnp.sum(trains.presence.values)

    slope = jax.grad(by_time)
    assert float(jnp.max(jnp.abs(slope(jnp.asarray(WEIGHTS), 0.0)))) > 1e-3
    with pytest.raises(Exception, match="differentiated in the spike times of a ClockEngine"):
        jax.block_until_ready(slope(jnp.asarray(WEIGHTS), 1.0))


def test_trains_with_presence_are_selected_indexed_and_joined():
    trains = rs.Simulation(protocol(), 2, engine())(network(), jr.key(1))
    values = trains.presence.values
    chosen = trains.select([3, 0])
    np.testing.assert_array_equal(chosen.presence.values, values[..., np.array([3, 0])])
    np.testing.assert_array_equal(chosen.presence_by_neuron, chosen.counts_by_neuron)
    np.testing.assert_array_equal(trains[1].presence.values, values[1])
    np.testing.assert_array_equal(trains.reshape(1, 2).presence.values, values[None])
    joined = rs.SpikeTrains.concatenate([trains, trains[:1]])
    np.testing.assert_array_equal(joined.presence.values[2], values[0])
    counted = jax.vmap(lambda one: one.presence_by_neuron, in_axes=(trains.vmap_axes,))(trains)
    np.testing.assert_array_equal(counted, trains.counts_by_neuron)
    np.testing.assert_array_equal(trains.pad_to(200).presence.values, values)
    with pytest.raises(ValueError, match="without_presence"):
        trains.window(0.0, 1.0)
    assert trains.without_presence().window(0.0, 1.0).presence is None
    with pytest.raises(ValueError, match="others none"):
        rs.SpikeTrains.concatenate([trains, trains.without_presence()])


def test_misuse_is_refused():
    model = network(axonal_delays=0.1)
    simulate = rs.Simulation(protocol(), 2, engine(max_delay=None))
    with pytest.raises(ValueError, match="`engine` does not know how long delays"):
        eqx.filter_jit(simulate)(model, jr.key(0))
    with pytest.raises(rs.EventSolveError, match=r"A delay is longer than `max_delay` = 0\.05"):
        rs.Simulation(protocol(), 2, engine(max_delay=0.05))(model, jr.key(0))
    with pytest.raises(rs.EventSolveError, match="`max_spikes` = 3"):
        rs.Simulation(protocol(max_spikes=3), 2, engine())(model, jr.key(0))
    short = rs.Simulation(protocol(max_spikes=3), 2, engine(), throw=False)(model, jr.key(0))
    assert jnp.all(short.overflowed)
    assert float(jnp.min(jnp.sum(short.presence.values, axis=(1, 2)))) > 3
    with pytest.raises(ValueError, match="without a surrogate, which runs on the host"):
        eqx.filter_jit(rs.Simulation(protocol(), 2, rs.ClockEngine()))(model, jr.key(0))
    with pytest.raises(Exception, match="reset"):
        rs.ClockEngine(reset="soft")


def test_a_schedule_of_the_width_in_fit():
    """The steps of stochastic gradient descent are those with the width of each step."""

    def few(trains, observed):
        return jnp.mean(trains.presence_by_neuron**2)

    def simulation(surrogate):
        return rs.Simulation(protocol(), 2, engine(surrogate))

    def fitted(model, surrogate, steps):
        return rs.fit(
            model, None, simulate=simulation(surrogate), loss=few, optimiser=optax.sgd(1e-4),
            num_steps=steps, key=jr.key(1), progress=False, trainable=lambda m: m.weights,
        ).model  # fmt: skip

    schedule = lambda step: 2.0 + 3.0 * step  # noqa: E731
    gradual = fitted(network(), rs.FastSigmoid(schedule), 2)
    first = fitted(network(), rs.FastSigmoid(2.0), 1)
    same = fitted(network(), rs.FastSigmoid(2.0), 2)
    np.testing.assert_array_equal(
        fitted(network(), rs.FastSigmoid(schedule), 1).weights, first.weights
    )
    slope = eqx.filter_grad(lambda m: few(simulation(rs.FastSigmoid(5.0))(m, jr.key(0)), None))(
        first
    ).weights
    np.testing.assert_allclose(gradual.weights, first.weights - 1e-4 * slope, rtol=1e-12)
    assert not np.allclose(gradual.weights, same.weights, rtol=1e-6)


def test_fit_trains_a_classifier():
    """Which of two inputs fires first: from chance to at least 90 % of 192 fresh trials, by 20
    recurrent neurons and readouts that do not fire."""
    hidden, window = 20, 2.0

    def draw(seed, samples):
        times = np.random.default_rng(seed).uniform(0.1, 1.2, (samples, 2))
        labels = (times[:, 0] > times[:, 1]).astype(int)
        neurons = np.argsort(times, axis=1).astype(np.int32)
        spikes = rs.SpikeTrains(np.sort(times, axis=1), neurons, 0.0, window, num_neurons=2)
        return rs.LabelledData(inputs=spikes, targets=labels)

    keys = jr.split(jr.key(0), 3)
    model = (
        rs.SpikingNetwork(
            rs.LIF(hidden, mu1=4.0, mu2=6.0),
            0.2 * jr.normal(keys[0], (hidden, hidden)),
            input_weights=2.0 + 2.0 * jr.normal(keys[1], (2, hidden)),
        ),
        rs.LeakyReadout(0.5 * jr.normal(keys[2], (hidden, 2)), mu1=2.0, mu2=6.0),
    )
    surrogate = rs.ClockEngine(surrogate=rs.SuperSpike(5.0))

    def respond(model, inputs, key):
        spiking, readout = model
        trains = rs.simulate(
            spiking, 0.0, window, 0.05, key=key, num_samples=len(inputs), max_spikes=800,
            input_spikes=inputs, engine=surrogate,
        )  # fmt: skip
        return readout.maximum(trains)

    loss = rs.ReadoutCrossEntropy(over=None)
    metrics = {"accuracy": lambda model, generated, labels: loss.accuracy(generated, labels)}
    result = rs.fit(
        model, draw(0, 256), simulate=respond, loss=loss, optimiser=optax.adam(0.02),
        num_steps=80, batch_size=64, key=jr.key(1), progress=False, metrics=metrics,
        trainable=lambda m: (m[0].weights, m[0].input_weights, m[1].weights),
    )  # fmt: skip
    found = rs.evaluate(
        result.model, draw(1, 192), simulate=respond, metrics=metrics, batch_size=64, key=jr.key(2)
    )
    assert found["accuracy"] >= 0.9
