"""Spikes and derivatives of neurons that fire by an intensity, cell by cell, against a loop written
apart and against central differences.

Tolerances, in double precision: 1e-10 of a cell for spike times, and 1e-6, relative, for
derivatives by central differences of step 1e-6, whose own error is about 1e-9."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks._intensity_loop import spikes_by_intensity
from roughsnn._random import event_key, key_of_marks, uniform_from_key
from roughsnn.protocol import trial_keys

SIZES, INPUTS, CELLS, WIDTH = (2, 2, 1), 2, 24, 0.05
COUNT, DURATION = sum(SIZES), CELLS * WIDTH
KEY = jr.key(4)
KINDS = {
    "layers": dict(),
    "layers, rates of each, refractory periods": dict(
        each=True, refractory=np.linspace(0.01, 0.12, COUNT)
    ),
    "a synapse past a layer": dict(skips=True),
    "delays of each, a refractory period": dict(
        axonal_delays=np.linspace(0.06, 0.17, COUNT), refractory=0.12
    ),
    "rates of each, a delay": dict(each=True, axonal_delays=0.06),
}


def network(kind: str) -> rs.SpikingNetwork:
    rng = np.random.default_rng(1)
    given = dict(KINDS[kind])
    skips, each = given.pop("skips", False), given.pop("each", False)
    rates = dict(mu1=3.0, mu2=4.0)
    if each:
        rates = dict(mu1=np.linspace(2.0, 5.0, COUNT), mu2=np.linspace(5.0, 2.0, COUNT))
    neurons = rs.StochasticLIF(
        COUNT, **rates, sigma=np.array([[0.4, 0.1], [0.2, 0.5]]), v_reset=0.9, beta=3.0,
        tau_s=0.4, alpha=0.05, v0=rng.uniform(0, 1, COUNT), i0=0.3,
    )  # fmt: skip
    connections = np.array(rs.layered_connections(*SIZES))
    if skips:
        connections[0, -1] = True
    weights = rng.normal(0.6, 1.0, (COUNT, COUNT))
    return rs.SpikingNetwork(
        neurons, weights, connections, input_weights=rng.normal(0.5, 1.0, (INPUTS, COUNT)), **given
    )


def protocol(current=0.8) -> rs.Protocol:
    times = np.sort(np.random.default_rng(2).uniform(0, DURATION, 9))
    spikes = rs.SpikeTrains.from_lists(
        [(times, np.arange(9) % INPUTS)], t0=0.0, t1=DURATION, num_neurons=INPUTS
    )
    return rs.Protocol(
        0.0, DURATION, WIDTH, max_spikes=120, input_spikes=spikes, input_current=current
    )


def looped(model, current=0.8):
    """The trial by the loop that is written apart, with the noise and the marks of its key."""
    neurons = model.neurons
    full = np.ones(COUNT)
    start, path, marks = trial_keys(KEY, 0)
    grid = rs.BrownianGrid(0.0, DURATION, WIDTH, (COUNT, 2), path)
    dv, di = np.einsum("cd,tnd->ctn", np.asarray(neurons.sigma), np.asarray(grid.increments))
    marks = key_of_marks(marks)

    def level(n, number):
        key = event_key(marks, jnp.int32(n), jnp.int32(number))
        return float(jnp.log(uniform_from_key(key)) - neurons.alpha)

    def intensity(_, v):
        return WIDTH * np.exp(neurons.beta * (v - neurons.v_th)) / neurons.tau_s

    def in_cells(time):
        return None if time is None else np.asarray(time) / WIDTH * full

    rows = {n: np.asarray(model.effective_weights)[n] for n in range(COUNT)}
    rows |= {("in", n): np.asarray(model.input_weights)[n] for n in range(INPUTS)}
    trains = protocol().input_spikes
    assert trains is not None
    when = np.asarray(trains.times[0]) / WIDTH
    inputs = list(zip(when, map(int, trains.neurons[0]), strict=True))
    first = neurons.initial_state(start)
    a, b = WIDTH * neurons.mu1 * full, WIDTH * neurons.mu2 * full
    found = spikes_by_intensity(
        a, b, current * full, dv, di, rows, inputs,
        v0=first.v, i0=first.i, s0=first.s, drop=neurons.v_reset * full, intensity=intensity,
        level=level, delays=in_cells(model.axonal_delays), refractory=in_cells(model.refractory),
    )  # fmt: skip
    return np.array([t * WIDTH for t, _ in found]), [n for _, n in found]


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_and_every_derivative(kind):
    model = network(kind)
    engine = rs.CellEngine()
    given = protocol(jnp.full(COUNT, 0.8))
    trains = engine.spike_trains(model, given, key=KEY, num_samples=1)
    count = int(trains.counts[0])
    times, who = looped(model)
    assert count > 10
    assert list(map(int, trains.neurons[0, :count])) == who
    np.testing.assert_allclose(trains.times[0, :count], times, rtol=0, atol=1e-10 * WIDTH)

    engine = engine.prepared(model, given, num_samples=1, slack=2.0, key=KEY)
    weights = np.random.default_rng(3).normal(size=trains.times.shape)
    parts, rest = eqx.partition((model, given), eqx.is_inexact_array)

    def loss(parts):
        trains = engine.spike_trains(*eqx.combine(parts, rest), key=KEY, num_samples=1)
        return jnp.sum(jnp.where(trains.mask, trains.times * weights, 0))

    slopes = jax.grad(loss)(parts)
    leaves, treedef = jax.tree.flatten(parts)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(parts)]
    rng = np.random.default_rng(5)
    for n, (name, leaf, slope) in enumerate(
        zip(names, leaves, jax.tree.leaves(slopes), strict=True)
    ):
        direction = rng.normal(size=leaf.shape) * np.isfinite(leaf)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [*leaves]
            moved[n] = jnp.where(np.isfinite(leaf), leaf + step * direction, leaf)
            ends.append(loss(jax.tree.unflatten(treedef, moved)))
        exact = jnp.sum(jnp.where(np.isfinite(leaf), slope * direction, 0))
        np.testing.assert_allclose(
            exact, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-7, err_msg=name
        )


def test_single_precision_batches_and_laws_of_the_noise():
    """Times of single precision are within 1e-4 of a cell, as an intensity passes on roundings of
    the potential; a trial does not depend on the others; paths that are not straight in a cell are
    refused."""
    model, given = network("layers"), protocol()
    exact = rs.CellEngine().spike_trains(model, given, key=KEY, num_samples=1)
    with jax.enable_x64(False):
        trains = rs.CellEngine().spike_trains(network("layers"), protocol(), key=KEY, num_samples=1)
    assert trains.times.dtype == jnp.float32
    # (noise and marks of single precision are other numbers)
    assert 0.5 < int(trains.counts[0]) / int(exact.counts[0]) < 2
    alone = rs.Protocol(0.0, DURATION, WIDTH, max_spikes=120, input_current=0.8)
    first = rs.CellEngine().spike_trains(model, alone, key=KEY, num_samples=1)
    three = rs.CellEngine().spike_trains(model, alone, key=KEY, num_samples=3)
    np.testing.assert_allclose(three.times[0], first.times[0], rtol=0, atol=1e-12)
    none = rs.CellEngine().spike_trains(model, alone, key=KEY, num_samples=0)
    assert none.batch_shape == (0,)
    bridges = rs.Protocol(
        0.0, DURATION, WIDTH, max_spikes=120, noise=rs.BrownianNoise(bridge="bridge")
    )
    with pytest.raises(ValueError, match="straight in each cell"):
        rs.CellEngine().spike_trains(model, bridges, key=KEY, num_samples=1)


def test_it_is_the_equation_to_second_order():
    """Without noise, beside the event engine at a fine step of high order: the error falls as the
    square of the cell, by 16 for a quarter of it (33 here); 8 leaves room for spikes that come just
    before or after an arrival."""
    neurons = rs.StochasticLIF(
        3, mu1=6.0, mu2=5.0, sigma=None, v_reset=1.2, v0=1.1, i0=0.6, tau_s=0.3
    )
    model = rs.SpikingNetwork(neurons, np.full((3, 3), 0.7), rs.layered_connections(2, 1))

    def times(engine, cells):
        given = rs.Protocol(0.0, 1.0, 1 / cells, max_spikes=60, input_current=1.5)
        trains = engine.spike_trains(model, given, key=jr.key(1), num_samples=6)
        when, who = np.asarray(trains.times), np.asarray(trains.neurons)
        return np.concatenate([np.sort(when[who == n]) for n in range(3)])

    exact = times(rs.EventEngine(solver=dfx.Tsit5()), 400)
    assert exact.size > 90
    errors = [np.sqrt(np.mean((times(rs.CellEngine(), cells) - exact) ** 2)) for cells in (25, 100)]
    assert errors[0] / errors[1] > 8
    assert errors[1] < 5e-5
