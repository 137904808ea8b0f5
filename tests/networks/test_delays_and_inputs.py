"""Delays, refractory periods and inputs: equivalences, gradients, and what is refused."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roughsnn as rs
from tests.helpers import directional_derivative, random_direction

K = 5
CONNECTIONS = rs.random_connections(K, key=jr.key(0), probability=0.5)
NEURONS = rs.StochasticLIF(K, sigma=None)


def _parameters():
    rng = np.random.default_rng(0)
    e = len(CONNECTIONS)
    weights, delays = rng.normal(size=e), rng.uniform(0.02, 0.1, size=e)
    return dict(
        weights=jnp.asarray(weights), synaptic_delays=jnp.asarray(delays),
        axonal_delays=jnp.full(K, 0.01), refractory=jnp.asarray(0.08),
    )  # fmt: skip


def _times(network):
    return rs.simulate(
        network, 0.0, 1.2, 0.05, key=jr.key(1), num_samples=2, max_spikes=60, input_current=1.3
    ).times


def test_gradients_through_delays_and_refractory_periods_and_dense_as_sparse():
    """All spike times, along a direction in which all weights, delays and periods move; the step
    of 1e-6 has an error of about 1e-10 / 1e-6 by rounding."""

    @jax.jit
    def both(parameters):
        def times(parameters):
            return _times(rs.SpikingNetwork(NEURONS, connections=CONNECTIONS, **parameters))

        return jax.jvp(times, (parameters,), (direction,))

    parameters = _parameters()
    direction = random_direction(parameters)
    sparse, slopes = both(parameters)
    assert np.isfinite(sparse).sum() > 20
    differences = directional_derivative(lambda p: both(p)[0], parameters, direction, 1e-6)
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-7)

    def matrix(values):
        pair = CONNECTIONS.pre, CONNECTIONS.post
        return jnp.full((K, K), 0.3).at[pair].set(values)

    lists = ("weights", "synaptic_delays")
    dense = {n: matrix(x) if n in lists else x for n, x in parameters.items()}
    network = rs.SpikingNetwork(NEURONS, connections=CONNECTIONS.mask, **dense)
    # the sums of a matrix and of a list round in different orders on some processors
    np.testing.assert_allclose(_times(network), sparse, rtol=1e-13)


def test_a_delayed_spike_is_an_input_spike_that_comes_later():
    """A delayed chain beside two neurons without synapses, to which the spikes of the chain are
    given, shifted by the delay; both with noise, which is the same in both."""
    neurons = rs.StochasticLIF(2, sigma=0.3, v0=jnp.array([0.0, -0.4]))
    weights, delay = jnp.array([[0.0, 1.5], [0.0, 0.0]]), 0.03
    settings = dict(key=jr.key(3), num_samples=3, max_spikes=24, input_current=1.2)
    chain = rs.SpikingNetwork(neurons, weights, axonal_delays=delay)
    delayed = rs.simulate(chain, 0.0, 1.0, 0.05, **settings)
    # all spikes, since those of neuron 1 cut steps where they arrive, though nothing comes of it
    arrivals = delayed.times + delay
    late = rs.SpikeTrains(
        jnp.where(arrivals < 1.0, arrivals, jnp.inf),
        jnp.where(arrivals < 1.0, delayed.neurons, -1), 0.0, 1.0, num_neurons=2,
    )  # fmt: skip
    alone = rs.SpikingNetwork(neurons, jnp.zeros((2, 2)), input_weights=weights)
    driven = rs.simulate(alone, 0.0, 1.0, 0.05, input_spikes=late, **settings)
    a, b = (np.asarray(x.select([1]).times) for x in (delayed, driven))
    assert np.isfinite(a).sum() >= 6
    np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_delays_of_inputs_are_input_spikes_that_come_later():
    """A delay of each synapse of an input, trained: as inputs of one synapse each, given later;
    and in one direction, as differences with steps of 1e-6 have it. A spike before the window that
    arrives within it counts."""
    neurons, weights = rs.LIF(2, mu1=1.0, mu2=2.0), jnp.array([[1.5, 0.6], [0.9, 2.0]])
    delays = jnp.array([[0.13, 0.42], [0.02, 0.71]])
    sent, rows = jnp.array([[-0.1, 0.3, 0.35, 0.9, 1.3]]), jnp.array([[0, 0, 1, 1, 0]])

    def inputs(times, rows, count):
        return rs.SpikeTrains(times, rows, -0.5, 2.5, num_neurons=count)

    @jax.jit
    def spikes(delays, times, rows):
        network = rs.SpikingNetwork(
            neurons, jnp.zeros((2, 2)), input_weights=weights, input_delays=delays
        )
        return rs.simulate(
            network, 0.0, 2.0, 0.05, key=jr.key(0), num_samples=1, max_spikes=6,
            input_current=1.1, input_spikes=inputs(times, rows, 2),
        ).times  # fmt: skip

    found = spikes(delays, sent, rows)
    assert np.isfinite(found).sum() >= 3
    each = jnp.arange(2, dtype=rows.dtype)
    times = (sent[..., None] + delays[rows]).reshape(1, -1)
    rows_of_each = (2 * rows[..., None] + each[None, None]).reshape(1, -1)
    order = jnp.argsort(times, axis=1)
    given = inputs(times[:, order[0]], rows_of_each[:, order[0]], 4)
    single = jnp.array([[1.5, 0.0], [0.0, 0.6], [0.9, 0.0], [0.0, 2.0]])
    alone = rs.SpikingNetwork(neurons, jnp.zeros((2, 2)), input_weights=single)
    expected = rs.simulate(
        alone, 0.0, 2.0, 0.05, key=jr.key(0), num_samples=1, max_spikes=6, input_current=1.1,
        input_spikes=given,
    ).times  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    direction = jnp.array([[0.3, -0.8], [0.5, 1.0]])
    slopes = jax.jvp(lambda d: spikes(d, sent, rows), (delays,), (direction,))[1]
    differences = directional_derivative(lambda d: spikes(d, sent, rows), delays, direction, 1e-6)
    assert np.sum(np.abs(np.nan_to_num(np.asarray(slopes)))) > 0.1
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-7)
    # a delay of zero moves spikes as their own times do
    none = jnp.zeros_like(delays)
    by_delays = jax.jvp(lambda d: spikes(d, sent, rows), (none,), (jnp.ones_like(none),))[1]
    by_times = jax.jvp(lambda t: spikes(none, t, rows), (sent,), (jnp.ones_like(sent),))[1]
    np.testing.assert_allclose(by_delays, by_times, rtol=1e-12)


def test_input_spikes_between_two_cells_have_the_derivative_of_their_times():
    """By a scheme of fifth order, to its error (1e-6): that of a scheme is another one on either
    side of the point where two of its cells meet."""
    network = rs.SpikingNetwork(
        rs.LIF(2, mu1=2.0, mu2=3.0), jnp.zeros((2, 2)), input_weights=jnp.array([[1.5, 0.7]])
    )

    @jax.jit
    def spikes(times):
        trains = rs.SpikeTrains(times, jnp.zeros((1, 3), jnp.int32), 0.0, 2.0, num_neurons=1)
        return rs.simulate(
            network, 0.0, 2.0, 0.05, key=jr.key(0), num_samples=1, max_spikes=8, solver=dfx.Tsit5(),
            input_current=1.2, input_spikes=trains,
        ).times  # fmt: skip

    times, direction = jnp.array([[0.35, 0.9, 1.0]]), jnp.array([[1.0, -0.6, 0.8]])
    slopes = jax.jvp(spikes, (times,), (direction,))[1]
    differences = directional_derivative(spikes, times, direction, 1e-6)
    assert np.sum(np.abs(np.nan_to_num(np.asarray(slopes))) > 0.1) >= 3
    np.testing.assert_allclose(slopes, differences, rtol=1e-5, atol=1e-6)


def test_too_many_spikes_on_their_way_are_an_error():
    network = rs.SpikingNetwork(NEURONS, jnp.zeros((K, K)), axonal_delays=5.0, max_pending=2)
    solution = rs.simulate_solution(
        network, 0.0, 1.5, 0.05, key=jr.key(1), num_samples=2, max_spikes=20, input_current=1.5,
        throw=False,
    )  # fmt: skip
    assert np.all(solution.result == rs.RESULTS.too_many_arrivals)
    # the third spike is the one for which there is no room
    np.testing.assert_array_equal(solution.num_events, [3, 3])


def test_intervals_with_a_refractory_period():
    """At constant intensity: period + tau_s (alpha + Exp(1))."""
    neurons = rs.StochasticLIF(1, beta=0.0, tau_s=0.1, alpha=0.2, sigma=0.2)
    network = rs.SpikingNetwork(neurons, jnp.zeros((1, 1)), refractory=0.15)
    times = rs.simulate(
        network, 0.0, 8.0, 0.05, key=jr.key(0), num_samples=500, max_spikes=8, stop_after=8
    ).times
    intervals = np.diff(np.asarray(times), axis=1)
    assert intervals.min() >= 0.15 + 0.02 - 1e-12
    # five standard errors
    assert abs(intervals.mean() - 0.27) < 5 * 0.1 / np.sqrt(intervals.size)


def test_conductances():
    neurons = rs.StochasticLIF(3, mu1=2.0, sigma=0.2)
    synapses = rs.ConductanceSynapses(mu_e=3.0, mu_i=4.0, e_reversal=3.0, i_reversal=-2.0)
    weights = jnp.array([[0.0, 0.5, 0.7], [0.3, 0.0, 0.2], [0.0, 0.0, 0.0]])
    network = rs.SpikingNetwork(neurons, weights, signs=[1, -1, 1], synapses=synapses)
    t, half = jnp.asarray(0.0), jnp.asarray(0.5)
    y = network.initial_state(jr.key(0))
    y = network.transition(t, y, jnp.asarray(0), half, None)
    y = network.transition(t, y, jnp.asarray(1), half, None)
    np.testing.assert_allclose(y.conductances.excitatory, [0.0, 0.5, 0.7])
    np.testing.assert_allclose(y.conductances.inhibitory, [0.3, 0.0, 0.2])
    np.testing.assert_array_equal(y.v, y.neurons.v)
    dy = network.drift(t, y, 1.0)
    v, g = y.v, y.conductances
    current = 1.0 + g.excitatory * (3 - v) + g.inhibitory * (-2 - v)
    np.testing.assert_allclose(dy.neurons.v, 2 * (current - v))
    np.testing.assert_allclose(dy.conductances.excitatory, -3 * g.excitatory)
    np.testing.assert_allclose(dy.conductances.inhibitory, -4 * g.inhibitory)
    listed = rs.SparseConnections.from_mask(weights > 0)
    sparse = rs.SpikingNetwork(
        neurons, weights[listed.pre, listed.post], listed, signs=[1, -1, 1], synapses=synapses
    )
    z = sparse.initial_state(jr.key(0))
    for k in (0, 1):
        z = sparse.transition(t, z, jnp.asarray(k), half, None)
    jax.tree.map(np.testing.assert_array_equal, y, z)
    np.testing.assert_array_equal(sparse.effective_weights, [0.5, 0.7, -0.3, -0.2])


def test_random_connections():
    by_chance = rs.random_connections(40, key=jr.key(1), probability=0.25)
    assert abs(len(by_chance) - 390) < 5 * np.sqrt(1560 * 0.25 * 0.75)
    assert not np.any(np.diag(by_chance.mask))
    by_degree = rs.random_connections(40, key=jr.key(1), in_degree=7)
    np.testing.assert_array_equal(np.sum(by_degree.mask, axis=0), np.full(40, 7))
    same = rs.SparseConnections.from_mask(by_degree.mask)
    np.testing.assert_array_equal(same.pre, by_degree.pre)
    np.testing.assert_array_equal(same.post, by_degree.post)
    other = rs.random_connections(40, key=jr.key(2), in_degree=7)
    assert np.any(other.mask != by_degree.mask)


@settings(max_examples=20)
@given(
    st.integers(1, 30), st.floats(0, 1), st.integers(0, 29), st.booleans(), st.integers(0, 2**31)
)
def test_random_connections_keep_their_promises(k, probability, degree, autapses, seed):
    key = jr.key(seed)
    others = k if autapses else k - 1
    degree = min(degree, others)
    for rule in (dict(in_degree=degree), dict(probability=probability)):
        found = rs.random_connections(k, key=key, autapses=autapses, **rule)
        same = rs.random_connections(np.int64(k), key=key, autapses=autapses, **rule)
        np.testing.assert_array_equal(found.pre, same.pre)
        mask = np.asarray(found.mask)
        assert mask.sum() == len(found)
        assert autapses or not mask.diagonal().any()
        if "in_degree" in rule:
            np.testing.assert_array_equal(mask.sum(0), degree)
        # a spike finds its own synapses
        edges, targets = found.of(jnp.asarray(k - 1, jnp.int32))
        own = np.asarray(edges) < len(found)
        np.testing.assert_array_equal(np.asarray(targets)[own], np.flatnonzero(mask[k - 1]))
        np.testing.assert_array_equal(np.asarray(found.pre)[np.asarray(edges)[own]], k - 1)


@pytest.mark.parametrize("rule", [dict(in_degree=2), dict(probability=0.02)])
def test_random_connections_have_their_law(rule):
    """Each pair is as likely as any other, and so is each pair of pairs into one neuron."""
    k, n = 9, 2000
    pairs = np.zeros((k, k))
    both = np.zeros((k, k))
    for seed in range(n):
        c = rs.random_connections(k, key=jr.key(seed), **rule)
        pre, post = np.asarray(c.pre), np.asarray(c.post)
        pairs[pre, post] += 1
        first = np.sort(pre[post == 0])
        if len(first) == 2:
            both[first[0], first[1]] += 1
    share = 0.25 if "in_degree" in rule else 0.02
    error = np.sqrt(n * share * (1 - share))
    assert np.abs(pairs[~np.eye(k, dtype=bool)] - n * share).max() < 4.5 * error
    if "in_degree" in rule:
        seen = both[1:, 1:][np.triu_indices(k - 1, 1)]
        assert np.abs(seen - n / 28).max() < 4.5 * np.sqrt(n / 28)


@pytest.mark.parametrize("kind", ["list", "list, delays", "mask, delays", "signs, conductances"])
def test_a_network_without_synapses_is_its_neurons(kind):
    k = 3
    neurons = rs.LIF(k, mu1=jnp.array([20.0, 15.0, 10.0]))
    none = rs.random_connections(k, key=jr.key(0), probability=0.0)
    network = {
        "list": lambda: rs.SpikingNetwork(neurons, jnp.zeros(0), none),
        "list, delays": lambda: rs.SpikingNetwork(
            neurons, jnp.zeros(0), none, synaptic_delays=jnp.zeros(0),
            input_weights=jnp.ones((2, k)),
        ),
        "mask, delays": lambda: rs.SpikingNetwork(
            neurons, jnp.ones((k, k)), jnp.zeros((k, k), bool), synaptic_delays=0.01,
            input_weights=jnp.zeros((0, k)),
        ),
        "signs, conductances": lambda: rs.SpikingNetwork(
            neurons, jnp.zeros(0), none, signs=[1, -1, 1], axonal_delays=0.02,
            synapses=rs.ConductanceSynapses(),
        ),
    }[kind]()  # fmt: skip

    def times(model, current):
        trains = rs.simulate(
            model, 0.0, 0.3, 0.005, key=jr.key(0), num_samples=1, max_spikes=30,
            input_current=current, solver=dfx.Heun(),
        )  # fmt: skip
        found = trains.times[0]
        return jnp.sum(jnp.where(jnp.isfinite(found), found, 0)), trains

    (_, alone), slope = jax.value_and_grad(lambda c: times(neurons, c), has_aux=True)(1.5)
    (_, trains), own = jax.value_and_grad(lambda c: times(network, c), has_aux=True)(1.5)
    np.testing.assert_array_equal(trains.neurons, alone.neurons)
    # arrivals cut the steps of the solver, of second order: 0.9 % of the slope at steps of 0.01,
    # 0.13 % here
    tolerance = 5e-3
    np.testing.assert_allclose(trains.times[:, :4], alone.times[:, :4], rtol=tolerance)
    np.testing.assert_allclose(own, slope, rtol=tolerance)
    on_grid = rs.simulate_on_grid(network, 0.0, 0.3, 0.01, key=jr.key(0), input_current=1.5)
    assert abs(int(on_grid.counts[0]) - int(alone.counts[0])) <= 3


class _HardThreshold(rs.StochasticLIF):
    def event(self, t, y, args):
        return y.v - 1.0


class _ResetToValue(rs.StochasticLIF):
    def jump(self, y, fires):
        return y._replace(v=jnp.where(fires, 0.0, y.v))


class _StruckAtOnce(rs.StochasticLIF):
    def receive(self, y, jump):
        return y._replace(s=y.s + jump)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (_HardThreshold, "noise tangent to the event surface"),
        (_ResetToValue, "noise commutes with the transition"),
        (_StruckAtOnce, "An arriving spike moves the event function"),
    ],
)
def test_what_breaks_a_condition_is_refused_when_the_network_is_built(kind, match):
    with pytest.raises(rs.ConditionsError, match=match):
        rs.SpikingNetwork(kind(2), jnp.zeros((2, 2)))
    rs.SpikingNetwork(kind(2), jnp.zeros((2, 2)), conditions="ignore")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (dict(axonal_delays=0.0), ValueError, "`axonal_delays` must be positive"),
        (dict(synaptic_delays=jnp.ones(3)), ValueError, "`synaptic_delays` must have shape"),
        (dict(refractory=-1.0), ValueError, "`refractory` must be positive"),
        (dict(signs=[1, 0]), ValueError, r"`signs` must hold \+1 or -1 for each of the 2 neurons"),
        (dict(signs=[1, -1]), ValueError, "`weights` must not be negative"),
        (dict(input_weights=jnp.ones((4, 3))), ValueError, "`input_weights` must have shape"),
        (dict(input_delays=0.1), ValueError, "`input_delays` are those of `input_weights`"),
        (
            dict(input_weights=jnp.ones((4, 2)), input_delays=jnp.ones((2, 4))),
            ValueError,
            "`input_delays` must have shape",
        ),
        (
            dict(input_weights=jnp.ones((4, 2)), input_delays=-0.1),
            ValueError,
            "`input_delays` must not be negative",
        ),
        (dict(synapses="gaba"), TypeError, "`synapses` must be a ConductanceSynapses"),
        (dict(axonal_delays=1.0, max_pending=0), ValueError, "`max_pending` must be an integer"),
        (dict(conditions="maybe"), ValueError, "`conditions` must be"),
    ],
)
def test_misuse_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        rs.SpikingNetwork(rs.StochasticLIF(2), -jnp.ones((2, 2)), **arguments)


def test_misuse_of_lists_and_inputs_is_refused():
    with pytest.raises(ValueError, match="must hold numbers of neurons from 0 to 1"):
        rs.SparseConnections([0, 2], [1, 1], 2)
    with pytest.raises(ValueError, match="name a synapse twice"):
        rs.SparseConnections([0, 0], [1, 1], 2)
    with pytest.raises(ValueError, match="vectors of the same length"):
        rs.SparseConnections([0, 0], [1], 2)
    with pytest.raises(ValueError, match="Give exactly one of"):
        rs.random_connections(3, key=jr.key(0))
    with pytest.raises(ValueError, match="`in_degree` must be an integer from 0 to 2"):
        rs.random_connections(3, key=jr.key(0), in_degree=3)
    with pytest.raises(ValueError, match="is a list for 5 neurons"):
        rs.SpikingNetwork(rs.StochasticLIF(2), jnp.zeros(3), CONNECTIONS)
    trains = rs.SpikeTrains.from_lists([([0.1], [0])], t0=0.0, t1=1.0, num_neurons=1)
    settings = dict(key=jr.key(0), num_samples=2, max_spikes=3, input_spikes=trains)
    with pytest.raises(ValueError, match="`input_spikes` need a SpikingNetwork"):
        rs.simulate(rs.StochasticLIF(2), 0.0, 1.0, 0.1, **settings)
    network = rs.SpikingNetwork(
        rs.StochasticLIF(2), jnp.zeros((2, 2)), input_weights=jnp.ones((3, 2)), axonal_delays=0.1
    )
    with pytest.raises(ValueError, match="has 1 trains, and `input_weights` has rows for 3"):
        rs.simulate(network, 0.0, 1.0, 0.1, **settings)
    solve = dict(key=jr.key(0), max_events=3, adjoint=rs.StochasticAdjoint())
    with pytest.raises(ValueError, match="silent ones"):
        rs.eventsolve(network, 0.0, 1.0, 0.1, network.initial_state(jr.key(0)), **solve)
