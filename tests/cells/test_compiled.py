"""The cell engine by compiled code beside JAX alone: the same numbers, and who computes.

Spike times to 1e-12 of a cell, some roundings of potentials over their slopes; derivatives to
roundings of sums."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.cells_exactness import SPIKES, simulated
from roughsnn.cells import Rooms, computes_matrices, is_compiled
from tests.cells.test_exactness import known

ROOMS = Rooms(SPIKES, 24, 6, 1.0)
KIND = "noise, recurrent by list and refractory, delays of synapses, rates of each"
RNG = np.random.default_rng(0)
LAYERS = (3, 2, 2)
COUNT, INPUTS = sum(LAYERS), 2


@pytest.fixture
def compiled(monkeypatch):
    if not (is_compiled(np.float64) and computes_matrices(np.float64)):
        pytest.skip("no C++ compiler is at hand")

    def choose(choice: str) -> None:
        monkeypatch.setenv("ROUGHSNN_COMPILED", choice)
        # a program that was traced before knows another choice
        jax.clear_caches()

    yield choose
    jax.clear_caches()


@pytest.mark.parametrize("copies", [1, 3])
def test_lists_of_synapses(compiled, copies):
    """Also the derivatives in all but the rates alone, for which less is kept."""
    _, network, sources, cells = known(2, KIND)

    def run():
        rng = np.random.default_rng(0)
        found = simulated(network, sources, cells, KIND, ROOMS, copies)
        happens = found.offsets <= 1
        weights = jnp.asarray(rng.normal(size=found.offsets.shape[:2] + (1, 1)))

        def loss(network):
            offsets = simulated(network, sources, cells, KIND, ROOMS, copies).offsets
            return jnp.sum(jnp.where(happens, jnp.sin(offsets) * weights, 0))

        def but_rates(some):
            return loss(network._replace(**some))

        some = {n: x for n, x in network._asdict().items() if n not in ("a", "b")}
        return found, jax.jit(jax.grad(but_rates))(some), jax.jit(jax.grad(loss))(network)

    results = []
    for choice in ("compiled", "jax"):
        compiled(choice)
        results.append(run())
    (ours, some, whole), (theirs, their_some, their_whole) = results
    assert int(jnp.sum(ours.offsets <= 1)) > 10
    np.testing.assert_allclose(ours.offsets, theirs.offsets, rtol=0, atol=1e-12)
    for name, value in their_some.items():
        np.testing.assert_allclose(some[name], value, rtol=1e-9, atol=1e-10, err_msg=name)
        same = getattr(whole, name)
        np.testing.assert_allclose(some[name], same, rtol=1e-9, atol=1e-10, err_msg=name)
    for name in ("a", "b"):
        pair = getattr(whole, name), getattr(their_whole, name)
        np.testing.assert_allclose(*pair, rtol=1e-9, atol=1e-10, err_msg=name)


def _each(low, high):
    return RNG.uniform(low, high, COUNT)


def _network(neurons, **given) -> rs.SpikingNetwork:
    rng = np.random.default_rng(1)
    weights = rng.normal(0.5, 1.0, (COUNT, COUNT))
    if "axonal_delays" in given:
        # (a network that excites itself much runs away)
        weights = 0.4 * (weights - 0.5)
    else:
        given["connections"] = rs.layered_connections(*LAYERS)
    inputs = rng.normal(1.0, 1.0, (INPUTS, COUNT))
    return rs.SpikingNetwork(neurons, weights, input_weights=inputs, **given)


NETWORKS = {
    "a threshold, in layers, refractory": _network(
        rs.LIF(COUNT, mu1=_each(1, 2), mu2=_each(2, 3), sigma=0.3), refractory=0.15
    ),
    "an intensity, in layers": _network(
        rs.StochasticLIF(COUNT, mu1=3.0, mu2=5.0, sigma=0.3 * np.eye(2), alpha=_each(0.02, 0.1))
    ),
    "an intensity, delayed, refractory, rates of each": _network(
        rs.StochasticLIF(
            COUNT, mu1=_each(2, 4), mu2=_each(3, 6), sigma=0.3, beta=_each(3, 6),
            intensity=None, v_th=_each(0.8, 1.2),
        ),
        axonal_delays=_each(0.1, 0.4), refractory=_each(0.03, 0.14),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_every_parameter(compiled, name):
    """Spikes of 3 trials, and the derivative of a loss in every parameter of the network, in the
    input current and in when the inputs spike."""
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, 3, (3, 12)), axis=1)
    inputs = rs.SpikeTrains(
        jnp.asarray(times), jnp.asarray(rng.integers(0, INPUTS, (3, 12)), jnp.int32), 0.0, 3.0,
        num_neurons=INPUTS,
    )  # fmt: skip
    # the last cell ends after the window
    protocol = rs.Protocol(0.0, 2.97, 0.1, max_spikes=150, input_spikes=inputs)
    current = jnp.asarray(rng.uniform(0.5, 1.5, COUNT))

    key = jax.random.key(3)

    def given_to(current, times):
        return eqx.tree_at(
            lambda p: (p.input_current, p.input_spikes.times), protocol, (current, times),
            is_leaf=lambda x: x is None,
        )  # fmt: skip

    def run():
        engine = rs.CellEngine("ignore").prepared(
            NETWORKS[name], given_to(current, inputs.times), num_samples=3, key=key
        )

        @eqx.filter_jit
        def evaluate(everything):
            def loss(everything):
                network, *given = everything
                trains = engine.spike_trains(network, given_to(*given), key=key, num_samples=3)
                kept = jnp.where(trains.mask, jnp.sin(3 * trains.times), 0)
                return jnp.sum(kept * (1 + trains.neurons % 3).astype(kept.dtype)), trains

            return eqx.filter_value_and_grad(loss, has_aux=True)(everything)

        (_, trains), gradient = evaluate((NETWORKS[name], current, inputs.times))
        return trains, gradient

    results = []
    for choice in ("compiled", "jax"):
        compiled(choice)
        results.append(run())
    (ours, slopes), (theirs, their_slopes) = results
    assert int(jnp.sum(ours.counts)) > 30
    np.testing.assert_array_equal(ours.neurons, theirs.neurons)
    np.testing.assert_allclose(ours.times, theirs.times, rtol=0, atol=1e-13)
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(slopes), jax.tree.leaves(their_slopes), strict=True
    )
    for (path, one), other in pairs:
        text = jax.tree_util.keystr(path)
        scale = float(jnp.max(jnp.abs(other), initial=1e-3))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * scale, err_msg=text)


def test_who_computes_is_said_by_a_variable(monkeypatch):
    monkeypatch.setenv("ROUGHSNN_COMPILED", "fortran")
    with pytest.raises(
        ValueError, match="ROUGHSNN_COMPILED is 'fortran'; it must be one of 'auto'"
    ):
        is_compiled(np.float64)
    monkeypatch.setenv("ROUGHSNN_COMPILED", "jax")
    assert not is_compiled(np.float64)
