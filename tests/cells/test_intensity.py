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
from experiments.benchmarks._intensity_cases import (
    DURATION,
    KINDS,
    WIDTH,
    looped,
    random_case,
)

# each kind is two programs; the others are in the study `cells-exactness` as well
_SLOW = "layers", "rates of each, a delay"


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in _SLOW)) for kind in KINDS]
)
def test_spikes_and_every_derivative(kind):
    case = random_case(np.random.default_rng(1), kind)
    model, given, key = case
    engine = case.engine()
    trains = engine.spike_trains(model, given, key=key, num_samples=1)
    count = int(trains.counts[0])
    times, who = looped(case)
    assert count > 10
    np.testing.assert_array_equal(trains.neurons[0, :count], who)
    np.testing.assert_allclose(trains.times[0, :count], times, rtol=0, atol=1e-10 * WIDTH)

    weights = np.random.default_rng(3).normal(size=trains.times.shape)
    parts, rest = eqx.partition((model, given), eqx.is_inexact_array)

    def loss(parts):
        trains = engine.spike_trains(*eqx.combine(parts, rest), key=key, num_samples=1)
        return jnp.sum(jnp.where(trains.mask, trains.times * weights, 0))

    # (compiled as a whole, so that equal rates are compared in many fused operations)
    slopes = jax.jit(jax.grad(loss))(parts)
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
    """In single precision noise and marks are other numbers: spikes are about as many, within a
    factor of two for some twenty. A trial does not depend on the others, to the rounding of
    products of another shape. Paths that are not straight in a cell are refused."""
    model, given, key = case = random_case(np.random.default_rng(1), "layers")
    exact = case.engine().spike_trains(model, given, key=key, num_samples=1)
    with jax.enable_x64(False):
        case = random_case(np.random.default_rng(1), "layers")
        trains = case.engine().spike_trains(*case[:2], key=case.key, num_samples=1)
    assert trains.times.dtype == jnp.float32
    assert 0.5 < int(trains.counts[0]) / int(exact.counts[0]) < 2
    alone = rs.Protocol(0.0, DURATION, WIDTH, max_spikes=120, input_current=0.8)
    first = rs.CellEngine().spike_trains(model, alone, key=key, num_samples=1)
    three = rs.CellEngine().spike_trains(model, alone, key=key, num_samples=3)
    np.testing.assert_allclose(three.times[0], first.times[0], rtol=0, atol=1e-12)
    none = rs.CellEngine().spike_trains(model, alone, key=key, num_samples=0)
    assert none.batch_shape == (0,)
    bridges = rs.Protocol(
        0.0, DURATION, WIDTH, max_spikes=120, noise=rs.BrownianNoise(bridge="bridge")
    )
    with pytest.raises(ValueError, match="straight in each cell"):
        rs.CellEngine().spike_trains(model, bridges, key=key, num_samples=1)


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
