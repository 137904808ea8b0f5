"""Distances beside elephant's and PySpike's, and what a distance must be whatever its formula."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks.spike_distances import (
    COST,
    TAU,
    random_train,
    reference,
    trains_of,
)
from tests.strategies import given_trains

DISTANCES = {
    "van_rossum": rs.VanRossum(TAU),
    "victor_purpura": rs.VictorPurpura(COST),
    "isi": rs.ISIDistance(),
    "spike": rs.SPIKEDistance(),
}
pairs = {name: jax.jit(distance.pairs) for name, distance in DISTANCES.items()}
by_neuron = {
    name: jax.jit(lambda x, y, d=distance: d.pairs(x, y, by_neuron=True))
    for name, distance in DISTANCES.items()
}
every = pytest.mark.parametrize("name", DISTANCES)


@pytest.fixture(scope="module")
def random_pairs():
    rng = np.random.default_rng(1)
    kinds = [np.array(times) for times in ([], [0.0], [1.0], [0.4], [0.0, 1.0], [0.2, 0.4, 0.9])]
    generic = np.array([0.13, 0.31, 0.55, 0.86]), np.array([0.05, 0.35, 0.61])
    left = (
        [generic[0]] + [a for a in kinds for _ in kinds] + [random_train(rng) for _ in range(200)]
    )
    right = (
        [generic[1]] + [b for _ in kinds for b in kinds] + [random_train(rng) for _ in range(200)]
    )
    return left, right


@every
def test_equals_the_libraries_of_the_field(name, random_pairs):
    left, right = random_pairs
    ours = np.asarray(pairs[name](trains_of(left), trains_of(right)))
    theirs = np.array([reference(name, *pair) for pair in zip(left, right, strict=True)])
    assert np.isfinite(ours).all()
    # PySpike divides 0 by 0 where the only spike of both trains is at the end of the window.
    undefined = [list(a) == list(b) == [1.0] for a, b in zip(left, right, strict=True)]
    assert not np.isnan(theirs[~np.array(undefined)]).any()
    assert (ours[undefined] == 0).all()
    known = np.isfinite(theirs)
    if name == "van_rossum":
        # elephant's distance of identical trains is the root of a rounding error, about 3e-8.
        np.testing.assert_allclose(ours**2, theirs**2, rtol=0, atol=1e-12)
        known &= ours > 0
    np.testing.assert_allclose(ours[known], theirs[known], rtol=0, atol=1e-11)


def test_van_rossum_of_near_trains_keeps_its_relative_accuracy():
    # d^2 = 2 (1 - exp(-delta / tau)), by hand for one spike against one.
    delta = 2.0**-40
    x, y = trains_of([np.array([0.5])]), trains_of([np.array([0.5 + delta])])
    expected = np.sqrt(-2 * np.expm1(-delta / TAU))
    np.testing.assert_allclose(rs.VanRossum(TAU).pairs(x, y), [expected], rtol=1e-9)


def test_limits():
    x, y = trains_of([np.array([0.1, 0.2, 0.7])]), trains_of([np.array([0.5])])
    np.testing.assert_allclose(rs.VanRossum(jnp.inf).pairs(x, y), [2.0], rtol=1e-15)
    np.testing.assert_allclose(rs.VictorPurpura(0.0).pairs(x, y), [2.0], rtol=1e-15)
    np.testing.assert_allclose(rs.VictorPurpura(1e9).pairs(x, y), [4.0], rtol=1e-15)


@given_trains()
def test_neurons_apart_and_together(trains):
    other = trains[jnp.array([2, 0, 1])]
    together = {
        "van_rossum": lambda apart: np.sqrt((apart**2).sum(-1)),
        "victor_purpura": lambda apart: apart.sum(-1),
        "isi": lambda apart: apart.mean(-1),
        "spike": lambda apart: apart.mean(-1),
    }
    for name, rule in together.items():
        apart = np.asarray(by_neuron[name](trains, other))
        assert apart.shape == (3, 3)
        alone = pairs[name](trains.select(1), other.select(1))
        np.testing.assert_allclose(apart[:, 1], alone, rtol=0, atol=1e-12)
        np.testing.assert_allclose(pairs[name](trains, other), rule(apart), rtol=0, atol=1e-12)


@given_trains()
def test_padding_and_order_do_not_matter_and_self_is_at_zero(trains):
    other = trains[jnp.array([1, 2, 0])]
    for name in DISTANCES:
        there = np.asarray(pairs[name](trains, other))
        np.testing.assert_allclose(pairs[name](other, trains), there, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(pairs[name](trains, trains), 0)
        padded = pairs[name](trains.pad_to(9), other.pad_to(9))
        np.testing.assert_allclose(padded, there, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["van_rossum", "isi"])
def test_a_matrix_holds_the_pairs(name, random_pairs):
    left, right = (trains_of(side)[:9] for side in random_pairs)
    distance = DISTANCES[name]
    matrix = np.asarray(distance(left, right))
    np.testing.assert_allclose(np.diag(matrix), pairs[name](left, right), rtol=0, atol=1e-13)
    np.testing.assert_allclose(distance(left), distance(left, left), rtol=0, atol=1e-13)


def test_a_large_matrix_is_made_in_parts(monkeypatch, random_pairs):
    x = trains_of(random_pairs[0])[30:41]
    whole = rs.VanRossum(TAU)(x)
    monkeypatch.setattr("roughsnn.spikes.distances._SPIKES_AT_ONCE", 64)
    jax.clear_caches()
    np.testing.assert_allclose(rs.VanRossum(TAU)(x), whole, rtol=0, atol=1e-13)


@every
def test_derivatives_equal_central_differences_and_are_finite_everywhere(name, random_pairs):
    # The first pair has no tie, so that every distance is smooth; step 1e-6, error about 1e-9.
    x, y = (trains_of(side) for side in random_pairs)

    def moved(times):
        return eqx.tree_at(lambda trains: trains.times, x, times)

    exact = jax.jit(jax.grad(lambda times: jnp.sum(pairs[name](moved(times), y))))(x.times)
    assert jnp.isfinite(exact).all()
    np.testing.assert_array_equal(exact[~x.mask], 0)
    for spike in range(4):
        step = np.zeros(x.times.shape)
        step[0, spike] = 1e-6
        ends = [pairs[name](moved(x.times + sign * step), y)[0] for sign in (1.0, -1.0)]
        np.testing.assert_allclose(exact[0, spike], (ends[0] - ends[1]) / 2e-6, atol=1e-7)


def test_single_precision():
    x, y = (
        rs.SpikeTrains.from_lists([[t]], t0=0, t1=1, dtype=jnp.float32)
        for t in ([0.1, 0.4], [0.2, 0.5, 0.6])
    )
    for name, distance in DISTANCES.items():
        value = distance.pairs(x, y)
        assert value.dtype == jnp.float32
        expected = reference(name, np.array([0.1, 0.4]), np.array([0.2, 0.5, 0.6]))
        np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_errors():
    x = trains_of([np.array([0.5])])
    two = rs.SpikeTrains.from_lists([[[0.5], []]], t0=0, t1=1)
    longer = rs.SpikeTrains.from_lists([[[0.5]]], t0=0, t1=2)
    isi = rs.ISIDistance()
    with pytest.raises(ValueError, match="`tau` is 0; it must be positive"):
        rs.VanRossum(0.0)
    with pytest.raises(ValueError, match="`cost` is -1; it must be finite, and 0 or more"):
        rs.VictorPurpura(-1.0)
    with pytest.raises(ValueError, match="`x` has 1 neurons and `y` 2"):
        isi(x, two)
    with pytest.raises(ValueError, match="windows of different lengths"):
        isi(x, longer)
    with pytest.raises(ValueError, match=re.escape("`x` has batch shape (); a matrix needs one")):
        isi(x[0])
    with pytest.raises(ValueError, match="pairs need as many trains"):
        isi.pairs(x, x[0])
