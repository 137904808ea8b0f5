"""Simulation on a grid against a loop in numpy; sparse and dense connections; relabelling."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

K, T, DT = 6, 1.2, 0.01
RNG = np.random.default_rng(3)
MASK = RNG.random((K, K)) < 0.5
WEIGHTS = RNG.normal(0.0, 0.6, (K, K))
LAGS = RNG.integers(1, 9, (K, K))
MU1, MU2 = RNG.uniform(5.0, 9.0, K), 4.0
V0, CURRENT = RNG.uniform(0.0, 0.8, K), RNG.uniform(1.1, 1.7, K)
# half a step off the grid, where nothing depends on rounding
INPUT_TIMES, INPUT_ROWS = np.array([0.105, 0.305, 0.315, 0.725]), np.array([0, 1, 0, 1])
INPUT_WEIGHTS = RNG.normal(0.0, 0.5, (2, K))
HELD = 7


def _network(order=None, dense=False):
    """The network, with neuron order[j] at place j."""
    order = np.arange(K) if order is None else order
    pairs = np.ix_(order, order)
    mask, weights, delays = MASK[pairs], WEIGHTS[pairs], LAGS[pairs] * DT
    connections, chosen = jnp.asarray(mask), slice(None)
    if not dense:
        connections = rs.SparseConnections.from_mask(mask)
        chosen = np.nonzero(mask)
    return rs.SpikingNetwork(
        rs.LIF(K, mu1=jnp.asarray(MU1[order]), mu2=MU2, v0=jnp.asarray(V0[order])),
        jnp.asarray(weights[chosen]), connections, synaptic_delays=jnp.asarray(delays[chosen]),
        refractory=HELD * DT, input_weights=jnp.asarray(INPUT_WEIGHTS[:, order]),
    )  # fmt: skip


def _simulated(network, order=None):
    order = np.arange(K) if order is None else order
    trains = rs.simulate_on_grid(
        network, 0.0, T, DT, key=jr.key(0), input_current=jnp.asarray(CURRENT[order]),
        input_spikes=rs.SpikeTrains.from_lists(
            [[INPUT_TIMES[n == INPUT_ROWS] for n in range(2)]], t0=0.0, t1=T
        )[0],
    )  # fmt: skip
    count = int(trains.counts[0])
    steps = np.round(np.asarray(trains.times[0])[:count] / DT).astype(int)
    spikes = zip(steps.tolist(), np.asarray(trains.neurons[0])[:count].tolist(), strict=True)
    return sorted(spikes)


def _reference():
    """The same by a loop: (step, neuron) of every spike, and how close to the threshold a potential
    ever came at the end of a step."""
    v, i, held = V0.copy(), np.zeros(K), np.zeros(K, int)
    steps, closest = round(T / DT), np.inf
    arriving, spikes = np.zeros((steps + 20, K)), []
    for n in range(1, steps + 1):
        dv = np.where(held > 0, 0.0, MU1 * (i + CURRENT - v))
        v, i = v + DT * dv, i - DT * MU2 * i
        closest = min(closest, np.min(np.abs(v - 1.0)))
        fires = (v >= 1.0) & (held == 0)
        held = np.maximum(held - 1, 0)
        v[fires], held[fires] = 0.0, HELD
        for k in np.flatnonzero(fires):
            spikes.append((n, int(k)))
            for j in np.flatnonzero(MASK[k]):
                arriving[n + LAGS[k, j], j] += WEIGHTS[k, j]
        for time, row in zip(INPUT_TIMES, INPUT_ROWS, strict=True):
            if (n - 1) * DT < time <= n * DT:
                i = i + INPUT_WEIGHTS[row]
        i = i + arriving[n]
    return sorted(spikes), closest


def test_a_network_with_everything_is_that_of_a_loop_in_numpy():
    expected, closest = _reference()
    # no spike hangs on the last digits, in which the two may differ
    assert closest > 1e-6
    assert len(expected) > 20
    assert _simulated(_network()) == expected


def test_sparse_and_dense_connections_and_other_labels_give_the_same_spikes():
    expected = _reference()[0]
    assert _simulated(_network(dense=True)) == expected
    order = np.random.default_rng(0).permutation(K)
    moved = _simulated(_network(order), order)
    assert sorted((step, int(order[k])) for step, k in moved) == expected


def test_intervals_at_constant_intensity_with_noise():
    """A spike waits until the integrated intensity has passed alpha + Exp(1): so many steps of
    dt / tau_s, rounded up, plus one in which a step that ends at zero fires. The mean of
    ceil(x / q), q = dt / tau_s, x = alpha + Exp(1), alpha = 6 q: 6 + 1 / (1 - e^-q) steps."""
    neurons = rs.StochasticLIF(40, beta=0.0, tau_s=0.1, alpha=0.6, sigma=0.3)
    trains = rs.simulate_on_grid(neurons, 0.0, 30.0, DT, key=jr.key(1), num_samples=2)
    gaps = [
        np.diff(np.asarray(trains.times[n])[np.asarray(trains.neurons[n]) == k]) / DT
        for n in range(2)
        for k in range(40)
    ]
    # the first hundred of each, as the end of the window cuts long ones off
    gaps = np.concatenate([gap[:100] for gap in gaps])
    assert gaps.size > 7500
    expected = 6 + 1 / (1 - np.exp(-0.1))
    # five standard errors of a geometric number of steps
    assert abs(gaps.mean() - expected) < 5 * np.std(gaps) / np.sqrt(gaps.size)
    assert gaps.min() >= 7 - 1e-6


def test_a_sample_depends_on_its_number_alone():
    neurons = rs.StochasticLIF(3, sigma=0.3)
    network = rs.SpikingNetwork(neurons, jnp.full((3, 3), 0.2), axonal_delays=0.02)
    settings = dict(key=jr.key(2), input_current=1.4)
    one, two = (
        rs.simulate_on_grid(network, 0.0, 0.5, DT, num_samples=n, **settings) for n in (1, 2)
    )
    count = int(one.counts[0])
    assert count > 2
    # multiples of the step, of which rounding changes none
    np.testing.assert_allclose(one.times[0, :count], two.times[0, :count], atol=1e-9)
    assert not np.array_equal(two.times[0, :count], two.times[1, :count])


def test_misuse_is_refused():
    neurons = rs.LIF(2)
    settings = dict(key=jr.key(0))
    with pytest.raises(ValueError, match="`num_samples` must be an integer of at least 1"):
        rs.simulate_on_grid(neurons, 0.0, 1.0, 0.1, num_samples=0, **settings)
    with pytest.raises(ValueError, match="needs Levy areas"):
        rs.simulate_on_grid(
            rs.LIF(2, sigma=0.1), 0.0, 1.0, 0.1, solver=dfx.SRA1(), **settings
        )  # fmt: skip
    with pytest.raises(ValueError, match="input_current"):
        rs.simulate_on_grid(neurons, 0.0, 1.0, 0.1, input_current=jnp.ones(3), **settings)
    explosive = eqx.tree_at(lambda n: n.mu1, neurons, jnp.asarray(-1e4))
    with pytest.raises(rs.EventSolveError, match="1 of 1 samples"):
        rs.simulate_on_grid(explosive, 0.0, 20.0, 0.1, input_current=1.0, **settings)


def test_windows_that_begin_late_have_the_same_spikes():
    """In single precision, to the bit: the steps are counted, and nothing asks for the time."""
    with jax.enable_x64(False):
        neurons = rs.StochasticLIF(3, mu1=15.0, tau_s=0.05)
        network = rs.SpikingNetwork(
            neurons, jnp.full((3, 3), 0.2), axonal_delays=0.02, refractory=0.03,
            input_weights=jnp.ones((1, 3)),
        )  # fmt: skip
        found = []
        for t0 in (0.0, 3600.0, 1.7e9):
            # multiples of the step, which are rounded where the window begins late
            times = t0 + 0.01 * np.arange(1, 90, 3)
            inputs = rs.SpikeTrains.from_lists([[times]], t0=t0, t1=t0 + 1.0)[0]
            trains = rs.simulate_on_grid(
                network, t0, t0 + 1.0, 0.01, key=jr.key(0), input_current=1.2, input_spikes=inputs
            )
            found.append((np.asarray(trains.times), np.asarray(trains.neurons)))
    assert found[0][0].size > 10
    for times, numbers in found[1:]:
        np.testing.assert_array_equal(times, found[0][0])
        np.testing.assert_array_equal(numbers, found[0][1])
