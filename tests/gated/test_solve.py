import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.gated import LIF, NIF, GatedNetwork, RaisedCosineGate, ThetaNeuron, solve_gated

from .networks import NEURONS, small_network, wave

solve = eqx.filter_jit(solve_gated)


def _alone(neuron, bias, taus=(10.0, 3.0), dtype=jnp.float64):
    n = len(bias)
    return GatedNetwork(
        neuron,
        RaisedCosineGate(0.4),
        taus,
        weights=jnp.zeros((len(taus), n, n), dtype),
        input_weights=jnp.zeros((1, n), dtype),
        bias=jnp.asarray(bias, dtype),
        readout=jnp.ones((n, 1), dtype),
    )


@pytest.mark.parametrize("dt0", [1e-3, 0.1, 1.0, 2.5])
@pytest.mark.parametrize("kind", NEURONS)
def test_a_full_crossing_delivers_unit_charge_at_any_step(kind, dt0):
    # Without decay (an enormous time constant) a trace counts charge.
    network = small_network(kind, taus=(1e18, 1e18))
    x, _ = wave(dt0, 80.0)
    solution = solve(network, x, dt0)
    spikes = solution.num_spikes[0]
    assert jnp.all(spikes >= 2)
    inside = network.gate.cumulative(solution.v[0, -1])
    np.testing.assert_allclose(
        solution.traces[0, -1], jnp.stack([spikes + inside] * 2), rtol=0, atol=1e-12
    )


def test_going_back_in_the_zone_takes_the_charge_away():
    network = _alone(NIF(10.0), [0.0], taus=(1e18,))
    network = eqx.tree_at(lambda n: n.input_weights, network, jnp.ones((1, 1)))
    # up to 0.9 and back to 0.3
    x = jnp.concatenate([jnp.full((90, 1), 1.0), jnp.full((60, 1), -1.0)])
    solution = solve(network, x, 0.1)
    share = network.gate.cumulative(jnp.asarray(0.9))
    np.testing.assert_allclose(solution.traces[89, 0, 0], share, atol=1e-12)
    np.testing.assert_allclose(solution.traces[-1, 0, 0], 0.0, atol=1e-12)
    assert not jnp.any(jnp.isfinite(solution.spike_times))


def test_rates_and_rest_are_those_of_the_formulas():
    window, dt0 = 2000.0, 0.1
    x = jnp.zeros((round(window / dt0), 1))
    current = jnp.asarray([0.05, 0.2, 1.0])
    rate = solve(_alone(NIF(10.0), current), x, dt0).num_spikes / window
    np.testing.assert_allclose(rate, current / 10, atol=1 / window)
    # Euler's error is of the order of dt0 times the rate
    rate = solve(_alone(ThetaNeuron(25.0), current), x, dt0).num_spikes / window
    np.testing.assert_allclose(rate, 2 * jnp.sqrt(current) / 25, rtol=0.02, atol=1 / window)
    rate = solve(_alone(LIF(10.0), current + 1), x, dt0).num_spikes / window
    exact = 1 / (10 * jnp.log((current + 1) / current))
    np.testing.assert_allclose(rate, exact, rtol=0.02, atol=1 / window)

    rest = solve(_alone(ThetaNeuron(25.0), [-0.5]), x, dt0).v[-1, 0]
    np.testing.assert_allclose(jnp.cos(2 * jnp.pi * rest), -0.5 / 1.5, atol=1e-9)
    rest = solve(_alone(LIF(10.0), [0.5]), x, dt0).v[-1, 0]
    np.testing.assert_allclose(rest, 0.5, atol=1e-9)


def test_spike_times_of_a_leaky_neuron_converge_to_the_formula():
    errors = []
    for dt0 in (0.1, 0.05, 0.025):
        solution = solve(_alone(LIF(10.0), [1.7]), jnp.zeros((round(60 / dt0), 1)), dt0)
        found = solution.spike_trains(10).times[:3]
        exact = 10 * np.log(1.7 / 0.7) * np.arange(1, 4)
        errors.append(np.abs(found - exact).max())
    assert errors[0] < 0.2
    # the reset inside the step keeps the first order of Euler's method
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 2, rtol=0.05)


def test_traces_are_filtered_spikes():
    """A narrow gate gives the exponential synapse, to the width of the zone."""
    network = _alone(NIF(10.0), [1.0])
    network = eqx.tree_at(lambda n: n.gate, network, RaisedCosineGate(0.01))
    solution = solve(network, jnp.zeros((10_000, 1)), 0.01)
    spikes = solution.spike_trains(20)
    since = solution.ts[:, None] - spikes.times[None]
    for p, tau in enumerate(network.taus):
        exact = np.sum(np.where(since >= 0, np.exp(-np.maximum(since, 0) / tau), 0), axis=1)
        away = np.abs(since).min(1) > 0.2
        np.testing.assert_allclose(solution.traces[away, p, 0], exact[away], atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", NEURONS)
def test_batches_are_trials_side_by_side(kind):
    network = small_network(kind)
    x, _ = wave(0.5, 40.0, batch=6)
    v0 = jnp.linspace(0, 0.45, 24).reshape(6, 4)
    together = solve(network, x.reshape(2, 3, -1, 2), 0.5, v0=v0.reshape(2, 3, 4))
    for i in range(6):
        alone = solve(network, x[i], 0.5, v0=v0[i])
        for name in ("v", "traces", "readout", "spike_times"):
            np.testing.assert_allclose(
                getattr(together, name)[i // 3, i % 3], getattr(alone, name), atol=1e-12
            )
    mapped = jax.vmap(lambda x: solve(network, x, 0.5).readout)(x)
    np.testing.assert_allclose(mapped, solve(network, x, 0.5).readout, atol=1e-12)


def test_an_empty_batch_and_a_batch_of_one():
    network = small_network("theta")
    none = solve(network, jnp.zeros((0, 20, 2)), 0.5)
    assert none.v.shape == (0, 20, 4)
    assert none.traces.shape == (0, 20, 2, 4)
    assert none.spike_trains(5).times.shape == (0, 5)
    assert solve(network, jnp.zeros((1, 20, 2)), 0.5).readout.shape == (1, 20, 1)


def test_spike_trains_hold_the_spikes_in_order():
    network = small_network("nif")
    x, _ = wave(0.1, 80.0, batch=3)
    solution = solve(network, x, 0.1, t0=5.0)
    trains = solution.spike_trains(60)
    np.testing.assert_array_equal(trains.counts_by_neuron, solution.num_spikes)
    assert not jnp.any(trains.overflowed)
    assert jnp.all(jnp.diff(jnp.where(trains.mask, trains.times, 1e3), axis=-1) >= 0)
    assert float(trains.t0) == 5.0
    np.testing.assert_allclose(trains.t1, 85.0)
    first = solve(network, x, 0.1).spike_trains(60)
    np.testing.assert_array_equal(trains.times, first.times)
    few = solution.spike_trains(3)
    np.testing.assert_array_equal(few.times, trains.times[:, :3])
    assert jnp.all(few.overflowed)


@pytest.mark.parametrize("kind", NEURONS)
def test_single_precision_follows_double(kind):
    x, _ = wave(0.1, 20.0)
    double = solve(small_network(kind), x, 0.1)
    network = jax.tree.map(lambda w: w.astype(jnp.float32), small_network(kind))
    single = solve(network, x, 0.1)
    for name in ("v", "traces", "readout", "spike_times"):
        assert getattr(single, name).dtype == jnp.float32
    np.testing.assert_allclose(single.readout, double.readout, atol=1e-3)


def test_fast_neurons_are_an_error_that_can_be_waived():
    network = _alone(NIF(1.0), [3.0])
    x = jnp.zeros((20, 1))
    with pytest.raises(ValueError, match="smaller `dt0`"):
        solve_gated(network, x, 1.0).readout.block_until_ready()
    solve_gated(network, x, 1.0, throw=False)
    solve_gated(network, x, 0.3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": jnp.zeros((1, 4, 4))}, "`weights` has 1 matrices"),
        ({"weights": jnp.zeros((2, 4, 3))}, r"`weights\[0\]` must have shape"),
        ({"input_weights": jnp.zeros((2, 3))}, "`input_weights` must have shape"),
        ({"readout": jnp.zeros((3, 1))}, "`readout` must have shape"),
        ({"bias": jnp.zeros((4, 1))}, "`bias` must have shape"),
        ({"bias": jnp.full(4, jnp.nan)}, "`bias` must be finite"),
        ({"taus": (10.0, 0.0)}, "`taus` is"),
        ({"read_from": 2}, "`read_from` is 2"),
        ({"gate": RaisedCosineGate(0.3, top=1.1)}, "active zone"),
        ({"gate": RaisedCosineGate(1.0)}, "active zone"),
    ],
)
def test_bad_networks_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        small_network("nif", **change)


def test_bad_arguments_are_refused():
    network = small_network("nif")
    with pytest.raises(ValueError, match="`inputs` has shape"):
        solve_gated(network, jnp.zeros((10, 3)), 0.1)
    with pytest.raises(ValueError, match="`dt0` is 0"):
        solve_gated(network, jnp.zeros((10, 2)), 0.0)
    with pytest.raises(ValueError, match="`checkpoint_every` is 0"):
        solve_gated(network, jnp.zeros((10, 2)), 0.1, checkpoint_every=0)
    with pytest.raises(ValueError, match="`tau` is -1"):
        NIF(-1.0)
    with pytest.raises(TypeError, match="`gate` must be"):
        small_network("nif", gate=None)
