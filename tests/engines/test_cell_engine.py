"""Networks by the engine that resolves all spikes of a cell side by side.

Spike times of single precision are compared to 4e-5 of a cell: a few roundings of the potential
over its slope, which is less than 0.05 thresholds a cell for the slowest of these spikes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs
from experiments.benchmarks._event_loop import spikes_of

SIZES, INPUTS, WINDOW, CELL = (4, 3, 2), 3, 6.0, 0.25
COUNT = sum(SIZES)


def network(**given) -> rs.SpikingNetwork:
    rng = np.random.default_rng(3)
    neurons = rs.LIF(COUNT, mu1=0.7, mu2=0.9)
    weights = rng.normal(0.4, 0.6, (COUNT, COUNT))
    inputs = rng.normal(0.8, 1.0, (INPUTS, COUNT))
    connections = rs.layered_connections(*SIZES)
    return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs, **given)


def trials(count: int, start: float = 0.0):
    rng = np.random.default_rng(5)
    every = [
        (start + np.sort(rng.uniform(0, WINDOW, n)), rng.integers(0, INPUTS, n))
        for n in rng.poisson(8, 4)
    ]
    return every[:count]


def protocol(count: int, start: float = 0.0, **changes) -> rs.Protocol:
    spikes = rs.SpikeTrains.from_lists(
        trials(count, start), t0=start, t1=start + WINDOW, num_neurons=INPUTS
    )
    given = dict(max_spikes=120, input_spikes=spikes, input_current=0.4) | changes
    return rs.Protocol(start, start + WINDOW, CELL, **given)


def looped(model, spikes, current=0.4, delays=None, refractory=None):
    """One trial by the event loop."""
    full = np.ones(COUNT)
    weights = np.asarray(model.effective_weights)
    rows = {n: weights[n] for n in range(COUNT)}
    rows |= {("in", n): row for n, row in enumerate(np.asarray(model.input_rows))}
    inputs = list(zip(*spikes, strict=True))
    found = spikes_of(
        0.7 * full, 0.9 * full, full, 0 * full, current * full, rows, inputs,
        v0=0 * full, i0=0 * full, duration=WINDOW, delays=delays,
        refractory=refractory,
    )  # fmt: skip
    return [t for t, _ in found], [n for _, n in found]


def arrivals(spikes, delays):
    """The spikes of inputs at the end of each of their synapses."""
    found = sorted(
        (time + delay, COUNT * n + k)
        for time, n in zip(*spikes, strict=True)
        for k, delay in enumerate(delays[n])
    )
    return [time for time, _ in found], [row for _, row in found]


def of(trains, sample):
    count = int(trains.counts[sample])
    return np.asarray(trains.times[sample, :count]), list(map(int, trains.neurons[sample, :count]))


@pytest.fixture(scope="module")
def trains():
    return rs.CellEngine().spike_trains(network(), protocol(4), key=jr.key(0), num_samples=4)


def test_layers_without_delays_are_exact(trains):
    assert int(jnp.sum(trains.counts)) > 60
    for sample, spikes in enumerate(trials(4)):
        times, neurons = looped(network(), spikes)
        assert of(trains, sample)[1] == neurons
        np.testing.assert_allclose(of(trains, sample)[0], times, rtol=0, atol=1e-10 * CELL)


def test_delays_refractory_periods_and_sparse_connections():
    """With delays alone, of connections as a list, and with both, of a matrix."""
    pauses = np.linspace(0.1, 0.9, COUNT)
    dense = network(axonal_delays=0.4, refractory=pauses)
    sparse = rs.SparseConnections.from_mask(np.asarray(dense.connections))
    listed = rs.SpikingNetwork(
        dense.neurons, dense.weights[sparse.pre, sparse.post], sparse,
        input_weights=dense.input_weights, axonal_delays=0.4,
    )  # fmt: skip
    for model, refractory in ((dense, pauses), (listed, None)):
        trains = rs.CellEngine().spike_trains(model, protocol(2), key=jr.key(0), num_samples=2)
        for sample, spikes in enumerate(trials(2)):
            times, neurons = looped(
                dense, spikes, delays=np.full(COUNT, 0.4), refractory=refractory
            )
            assert of(trains, sample)[1] == neurons
            np.testing.assert_allclose(of(trains, sample)[0], times, rtol=0, atol=1e-10 * CELL)


def test_delays_of_synapses_and_matrix_and_list_are_equal():
    """Synapses one by one: exact with a delay of each, of inputs too, and as by a matrix with equal
    delays."""
    rng = np.random.default_rng(7)
    delays = rng.uniform(0.1, 1.5, (COUNT, COUNT))
    late = rng.uniform(0.0, 0.6, (INPUTS, COUNT))
    both = network(synaptic_delays=delays, axonal_delays=0.2, input_delays=late)
    trains = rs.CellEngine().spike_trains(both, protocol(2), key=jr.key(0), num_samples=2)
    for sample, spikes in enumerate(trials(2)):
        times, neurons = looped(both, arrivals(spikes, late), delays=0.2 + delays)
        assert of(trains, sample)[1] == neurons
        np.testing.assert_allclose(of(trains, sample)[0], times, rtol=0, atol=1e-10 * CELL)
    # (the same program as of delays of each)
    equal = network(synaptic_delays=np.full_like(delays, 0.2), axonal_delays=0.2)
    by_list, by_matrix = (
        rs.CellEngine().spike_trains(model, protocol(2), key=jr.key(0), num_samples=2)
        for model in (equal, network(axonal_delays=0.4))
    )
    np.testing.assert_array_equal(by_list.neurons, by_matrix.neurons)
    there = np.asarray(by_list.mask)
    np.testing.assert_allclose(
        np.asarray(by_list.times)[there], np.asarray(by_matrix.times)[there], rtol=0, atol=1e-12
    )


def test_the_fastest_engine():
    """Cells for many deterministic neurons that they compute, events for all else."""
    size = 20
    neurons = rs.LIF(size, mu1=1.0, mu2=1.0)
    layers = rs.layered_connections(size - 2, 2)
    weights = np.ones((size, size))

    def chosen(model, **changes):
        return type(rs.fastest_engine(model, rs.Protocol(0.0, 1.0, 0.1, max_spikes=9, **changes)))

    assert chosen(neurons) is rs.CellEngine
    assert chosen(rs.SpikingNetwork(neurons, weights, layers)) is rs.CellEngine
    assert chosen(rs.SpikingNetwork(neurons, weights, synaptic_delays=0.1)) is rs.CellEngine
    others = (
        rs.LIF(3), rs.LIF(size, mu1=50.0), rs.StochasticLIF(size), rs.Izhikevich(size),
        rs.LIF(size, mu1=1.0, mu2=1.0, v0=2.0), rs.SpikingNetwork(neurons, weights),
        rs.SpikingNetwork(neurons, weights, axonal_delays=0.05),
        rs.SpikingNetwork(neurons, weights, layers, synapses=rs.ConductanceSynapses(1.0)),
    )  # fmt: skip
    for model in others:
        assert chosen(model) is rs.EventEngine, model
    noisy = rs.LIF(size, mu1=1.0, mu2=1.0, sigma=0.1)
    assert chosen(noisy) is rs.CellEngine
    assert chosen(noisy, noise=rs.BrownianNoise(bridge="bridge")) is rs.EventEngine
    drawn = dict(key=jr.key(0), num_samples=1, max_spikes=99, input_current=1.5)
    taken, cells, events = (
        rs.simulate(neurons, 0.0, 3.0, 0.5, **drawn, **how)
        for how in ({}, {"engine": rs.CellEngine()}, {"adjoint": rs.NoGradient()})
    )
    np.testing.assert_array_equal(taken.times, cells.times)
    assert taken.counts[0] == events.counts[0]
    assert float(jnp.abs(taken.times[0, 0] - events.times[0, 0])) > 1e-6
    with pytest.raises(ValueError, match="got 'quickest'"):
        rs.simulate(
            neurons, 0.0, 1.0, 0.1, key=jr.key(0), num_samples=1, max_spikes=9, engine="quickest"
        )


def test_noise_of_the_current_is_that_of_the_event_engine():
    """Heun's steps between the same increments are of second order in the step, (3 x 0.02)^2 = 4e-3
    of a time constant, more where a potential crosses slowly; they are half a per cent of an
    interval here, and in the median a tenth of that."""
    neurons = rs.LIF(3, mu1=2.0, mu2=3.0, sigma=0.8)
    weights = np.full((3, 3), 0.5)
    model = rs.SpikingNetwork(neurons, weights, rs.layered_connections(2, 1), refractory=0.05)
    given = rs.Protocol(0.0, 4.0, 0.02, max_spikes=80, input_current=1.2)
    engines = rs.CellEngine(), rs.EventEngine(adjoint=rs.NoGradient())
    cells, events = (
        engine.spike_trains(model, given, key=jr.key(2), num_samples=2) for engine in engines
    )
    np.testing.assert_array_equal(cells.neurons, events.neurons)
    assert int(cells.counts.min()) > 10
    there = np.asarray(cells.mask)
    gaps = np.abs(np.asarray(cells.times)[there] - np.asarray(events.times)[there])
    assert gaps.max() < 5e-3
    assert np.median(gaps) < 5e-4


def test_single_precision_late_windows_and_batch_sizes(trains):
    """In float32 spikes are as sharp in a window that begins at ten o'clock in seconds of the
    epoch, and a trial does not depend on the others."""
    start = 1.7e9
    with jax.enable_x64(False):
        model = network()
        late = rs.CellEngine().spike_trains(model, protocol(1, start), key=jr.key(0), num_samples=1)
        none = rs.CellEngine().spike_trains(model, protocol(0), key=jr.key(0), num_samples=0)
    assert late.t0 == start
    assert late.times.dtype == jnp.float32
    assert of(late, 0)[1] == of(trains, 0)[1]
    # the recorded times themselves are rounded to 2.4e-7 there
    np.testing.assert_allclose(of(late, 0)[0], of(trains, 0)[0], atol=4e-5 * CELL)
    assert none.batch_shape == (0,)


def test_gradient_is_that_of_the_event_engine():
    """At steps 32 times finer, where Heun's scheme still has an error of some 1e-3, relative."""
    model, given = network(), protocol(2)
    fine = rs.Protocol(
        0.0, WINDOW, CELL / 32, max_spikes=120, input_spikes=given.input_spikes, input_current=0.4
    )
    engine = rs.CellEngine().prepared(model, given, num_samples=2)

    def loss(model, engine, protocol):
        trains = engine.spike_trains(model, protocol, key=jr.key(0), num_samples=2)
        return jnp.mean(jnp.where(trains.mask, jnp.sin(trains.times), 0))

    gradient = eqx.filter_jit(eqx.filter_grad(loss))
    cells = gradient(model, engine, given)
    events = gradient(model, rs.EventEngine(), fine)
    for name in ("weights", "input_weights"):
        a, b = getattr(cells, name), getattr(events, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-3 * float(jnp.max(jnp.abs(b))))
    for name in ("mu1", "mu2", "v_th", "reset_to", "v0", "i0"):
        a, b = getattr(cells.neurons, name), getattr(events.neurons, name)
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=2e-4, err_msg=name)


def test_currents_in_steps_and_functions_of_time():
    model = rs.LIF(2, mu1=1.0, mu2=1.0)
    times = np.arange(0, 8.0, 0.5)
    values = np.random.default_rng(0).uniform(0.5, 2.5, times.size)
    steps = rs.CurrentOnGrid(times, values, "previous")

    def run(current, t0=0.0):
        given = rs.Protocol(t0, t0 + 8.0, 0.5, max_spikes=40, input_current=current)
        return rs.CellEngine().spike_trains(model, given, key=jr.key(0), num_samples=1)

    def current(time):
        return values[min(int(time / 0.5), values.size - 1)]

    current.step = 0.5
    expected = spikes_of(
        np.ones(2), np.ones(2), np.ones(2), np.zeros(2), current, {}, [], v0=np.zeros(2),
        i0=np.zeros(2), duration=8.0,
    )  # fmt: skip
    found = run(steps)
    np.testing.assert_allclose(of(found, 0)[0], [t for t, _ in expected], rtol=0, atol=1e-10)
    by_function = run(lambda t: steps(t))
    np.testing.assert_array_equal(by_function.times, found.times)


def test_stop_after_and_room():
    given = protocol(2)
    all_spikes = rs.CellEngine().spike_trains(network(), given, key=jr.key(0), num_samples=2)
    stopped = protocol(2, stop_after=3)
    first = rs.CellEngine().spike_trains(network(), stopped, key=jr.key(0), num_samples=2)
    np.testing.assert_array_equal(first.times[:, :3], all_spikes.times[:, :3])
    assert list(first.counts) == [3, 3]
    assert not jnp.any(first.overflowed)
    small = protocol(2, max_spikes=2)
    with pytest.raises(rs.EventSolveError, match="max_spikes"):
        rs.CellEngine().spike_trains(network(), small, key=jr.key(0), num_samples=2)
    cut = rs.CellEngine().spike_trains(network(), small, key=jr.key(0), num_samples=2, throw=False)
    np.testing.assert_array_equal(cut.times, all_spikes.times[:, :2])
    assert jnp.all(cut.overflowed)


def test_training():
    """A network learns the time of its first output spike, with the engine prepared beforehand."""
    model, given = network(), protocol(2)
    engine = rs.CellEngine().prepared(model, given, num_samples=2, slack=3)

    def loss(trains, _):
        first = rs.first_spike_times(trains, 1)[:, -1, 0]
        return jnp.mean((jnp.minimum(first, WINDOW) - 3.0) ** 2)

    result = rs.fit(
        model, None, simulate=rs.Simulation(given, 2, engine), loss=loss, num_steps=80,
        key=jr.key(1), optimiser=optax.adam(0.03), progress=False,
    )  # fmt: skip
    losses = np.asarray(result.history["loss"])
    assert losses[-1] < 0.2 * losses[0]


def test_delays_and_bursts_that_grew_since_an_engine_was_prepared():
    """Within the slack a prepared engine computes longer delays and bursts, beyond it refuses."""
    neurons = rs.LIF(2, mu1=1.0, mu2=1.0)
    inputs = rs.SpikeTrains.from_lists([([0.5], [0])], t0=0.0, t1=8.0, num_neurons=1)
    given = rs.Protocol(0.0, 8.0, 0.25, max_spikes=60, input_spikes=inputs)
    forward = rs.SparseConnections(np.array([0]), np.array([1]), 2)

    def model(delay, weight=6.0):
        return rs.SpikingNetwork(
            neurons, jnp.full(1, 6.0), forward, synaptic_delays=jnp.full(1, delay),
            input_weights=jnp.array([[weight, 0.0]]),
        )  # fmt: skip

    known = rs.CellEngine().prepared(model(1.0), given, num_samples=1, slack=2.0)

    def spikes(engine, delay, weight=6.0):
        return engine.spike_trains(model(delay, weight), given, key=jr.key(0), num_samples=1)

    for delay in (0.5, 1.9):
        found, fresh = (np.asarray(spikes(e, delay).times) for e in (known, rs.CellEngine()))
        np.testing.assert_array_equal(found, fresh)
    with pytest.raises(rs.EventSolveError, match="delays are longer"):
        spikes(known, 3.5)
    # more spikes of a neuron in one cell
    tight = rs.CellEngine().prepared(model(1.0), given, num_samples=1, slack=1.0)
    assert known.rooms[0].spikes == 2 * tight.rooms[0].spikes
    found, fresh = (np.asarray(spikes(e, 1.0, 10.0).times) for e in (known, rs.CellEngine()))
    np.testing.assert_array_equal(found, fresh)


def test_grazing_spikes():
    """A potential whose top is a rounding above the threshold."""
    # the top of the potential after a unit of current, with both rates one, is at 1, of height 1/e
    inputs = rs.SpikeTrains.from_lists([([0.5], [0])], t0=0.0, t1=4.0, num_neurons=1)

    given = rs.Protocol(0.0, 4.0, 0.5, max_spikes=2, input_spikes=inputs)

    def model(weight):
        return rs.SpikingNetwork(
            rs.LIF(1, mu1=1.0, mu2=1.0), jnp.zeros((1, 1)), jnp.zeros((1, 1), bool),
            input_weights=weight[None, None],
        )  # fmt: skip

    known = rs.CellEngine().prepared(model(jnp.ones(())), given, num_samples=1)

    def spike_time(weight, conditions):
        engine = rs.CellEngine(conditions, known.layout, known.rooms)
        trains = engine.spike_trains(model(weight), given, key=jr.key(0), num_samples=1)
        return jnp.where(trains.mask, trains.times, 0)[0, 0], trains

    weight = jnp.asarray(np.e * (1 + 1e-15))
    time, trains = spike_time(weight, "ignore")
    if not trains.mask[0, 0]:
        weight = jnp.asarray(np.e * (1 + 4e-15))
        time, trains = spike_time(weight, "ignore")
    assert abs(time - 1.5) < 1e-6
    assert trains.grazing[0] == 1
    with pytest.raises(Exception, match="grazes"):
        jax.grad(lambda w: spike_time(w, "refuse")[0])(weight)
    assert jax.grad(lambda w: spike_time(w, "leave-out")[0])(weight) == 0
    assert abs(jax.grad(lambda w: spike_time(w, "ignore")[0])(weight)) > 1e4


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        (lambda: rs.AdaptiveStochasticLIF(2), TypeError, "AdaptiveStochasticLIF"),
        (lambda: rs.LIF(2, sigma=0.1, mu2=0.0), rs.EventSolveError, "must decay"),
        (lambda: rs.SpikingNetwork(rs.LIF(2), jnp.ones((2, 2))), ValueError, "circle"),
        (lambda: network(synaptic_delays=0.1), rs.EventSolveError, "shortest delay"),
        (
            lambda: rs.SpikingNetwork(rs.StochasticLIF(2), jnp.ones((2, 2)), synaptic_delays=1.0),
            ValueError,
            "synaptic_delays",
        ),
        (lambda: network(axonal_delays=0.1), rs.EventSolveError, "shortest delay"),
        (lambda: rs.LIF(2, mu1=1.0, v0=1.5), rs.EventSolveError, "at `t0`"),
        (lambda: rs.LIF(2, mu1=1.0), rs.EventSolveError, "infinite"),
        (lambda: rs.LIF(2, mu1=50.0), rs.EventSolveError, "time constant"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(model, error, text):
    refused = model()
    given = protocol(1)
    if getattr(refused, "input_weights", None) is None:
        current = (lambda t: jnp.where(t > 0.5, jnp.nan, 1.0)) if text == "infinite" else None
        given = rs.Protocol(0.0, 1.0, 0.05, max_spikes=10, input_current=current)
    with pytest.raises(error, match=text):
        rs.CellEngine().spike_trains(refused, given, key=jr.key(0), num_samples=1)


def test_a_model_that_is_not_known_needs_preparation():
    given = protocol(1)

    @eqx.filter_jit
    def run(model):
        return rs.CellEngine().spike_trains(model, given, key=jr.key(0), num_samples=1)

    with pytest.raises(ValueError, match="prepared"):
        run(network())


def test_a_key_that_is_not_known():
    """Of a model that is known the connections are; room is that of a first try."""
    neuron = rs.StochasticLIF(mu1=10.0, sigma=0.3)

    def times(key):
        return rs.simulate(
            neuron, 0.0, 1.0, 0.1, key=key, num_samples=2, max_spikes=20, input_current=1.5,
            engine=rs.CellEngine(),
        ).times  # fmt: skip

    np.testing.assert_allclose(jax.jit(times)(jr.key(0)), times(jr.key(0)), rtol=1e-12)


def test_what_does_not_fit_is_an_error_inside_jit_too(monkeypatch):
    # compiled code makes room as it goes
    monkeypatch.setenv("ROUGHSNN_COMPILED", "jax")
    model, given = network(), protocol(1)
    known = rs.CellEngine().prepared(model, given, num_samples=1)

    @eqx.filter_jit
    def run(model, engine):
        return engine.spike_trains(model, given, key=jr.key(0), num_samples=1).times

    narrow = tuple(type(room)(1, 1, 1, 1.0) for room in known.rooms)
    with pytest.raises(Exception, match="fell into one cell"):
        run(model, rs.CellEngine("refuse", known.layout, narrow))
    # and so is a network that is connected in another way
    backwards = eqx.tree_at(lambda m: m.connections, model, model.connections.T)
    with pytest.raises(Exception, match="connected in another way"):
        run(backwards, known)
    alone = rs.Protocol(0.0, 1.0, CELL, max_spikes=9)
    with pytest.raises(ValueError, match="prepared for 9 neurons"):
        known.spike_trains(rs.LIF(2, mu1=1.0), alone, key=jr.key(0), num_samples=1)


def test_simulate_with_an_engine(trains):
    given = protocol(4)
    arguments = dict(
        key=jr.key(0), num_samples=4, max_spikes=120, input_current=0.4,
        input_spikes=given.input_spikes, engine=rs.CellEngine(),
    )  # fmt: skip
    found = rs.simulate(network(), 0.0, WINDOW, CELL, **arguments)
    np.testing.assert_array_equal(found.times, trains.times)
    with pytest.raises(ValueError, match="belong to an engine"):
        rs.simulate(network(), 0.0, WINDOW, CELL, conditions="ignore", **arguments)
