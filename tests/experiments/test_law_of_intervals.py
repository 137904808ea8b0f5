"""The smooth residual of a neuron that forgets: its sequences, and its Jacobian."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats

import roughsnn as rs
from experiments.recorded_spike_trains.law import (
    exact_jacobian,
    has_law,
    quantiles,
    sequences_by_law,
    smooth_residual,
)
from experiments.recorded_spike_trains.models import MODELS
from experiments.recorded_spike_trains.training import Clock, Features, Plan, Target

INTERVALS = [np.random.default_rng(0).gamma(3.0, 1 / 3, 200)]
PLAN = Plan("resetting-lif", 2, 1, 12.0, 0.02, 50, sequences=2, longest=6.0)


class Moments(Features):
    """Times of the first and second spike of a sequence and their squares."""

    def __call__(self, trains):
        return jnp.concatenate([trains.times, trains.times**2], axis=-1)


def trains_of(intervals, clock):
    times = jnp.cumsum(intervals, axis=-1)
    ended = jnp.zeros(times.shape[:-1], bool)
    return rs.SpikeTrains(times, jnp.zeros(times.shape, jnp.int32), 0.0, 20.0, ended, num_neurons=1)


def test_which_models_have_a_law():
    assert [n for n in MODELS if has_law(MODELS[n].start(INTERVALS, 1.0))] == ["resetting-lif"]


def test_sequences_are_the_intervals_of_the_simulated_neuron():
    """A two-sample test of the first and of the second interval with those of the event solver."""
    start = MODELS["resetting-lif"].start(INTERVALS, 1.0)
    found = jax.jit(lambda: sequences_by_law(
        start, 0, jr.key(0), longest=6.0, dt0=0.02, count=1000, length=2
    ))()  # fmt: skip
    trains = rs.simulate(
        start.neuron(), 0.0, 12.0, 0.02, key=jr.key(1), num_samples=1000, max_spikes=2,
        stop_after=2, input_current=start.currents()[0], adjoint=rs.NoGradient(),
    )  # fmt: skip
    simulated = np.diff(np.where(trains.mask, trains.times, 12.0), axis=1, prepend=0.0)
    for place in range(2):
        assert stats.ks_2samp(found[:, place], simulated[:, place]).pvalue > 0.01
    # evenly spread levels: their order says nothing, and all are there
    assert np.all(np.diff(np.sort(found[:, 0])) >= 0)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.1


def test_quantiles_invert_the_law():
    start = MODELS["resetting-lif"].start(INTERVALS, 1.0)
    law = rs.interval_law(
        start.neuron(), 6.0, 0.02, key=jr.key(0), num_paths=20, input_current=start.currents()[0]
    )
    levels = jnp.array([[0.1, 0.5], [0.9, 0.99]])
    times = quantiles(law, levels, 0.02)
    assert times.shape == (2, 2)
    back = np.interp(np.asarray(times), law.edges, 1 - law.survival)
    np.testing.assert_allclose(back, levels, atol=1e-9)
    np.testing.assert_allclose(times, law.quantiles(levels), atol=1e-9)


def test_the_jacobian_is_that_of_the_frozen_residual():
    """Against central differences of the residual in double precision. A step moves a few levels
    across an edge of the grid, where a time has a kink: 1e-3 of the largest slope."""
    start = MODELS["resetting-lif"].start(INTERVALS, 1.0)
    clock = Clock(jnp.zeros(41), jnp.linspace(0, 1, 41))
    targets = [Target(clock, Moments(), jnp.eye(4), jnp.zeros(4), jnp.zeros(()))]
    flat = jax.flatten_util.ravel_pytree(start)[0]

    def residual(x):
        return np.asarray(smooth_residual(x, start, targets, jr.key(0), PLAN, trains_of))

    values, slopes = exact_jacobian(flat, start, targets, jr.key(0), PLAN, trains_of)
    np.testing.assert_allclose(values, residual(flat), rtol=1e-12)
    h = 1e-5
    steps = h * np.eye(flat.size)
    differences = [(residual(flat + s) - residual(flat - s)) / (2 * h) for s in steps]
    expected = np.stack(differences, 1)
    np.testing.assert_allclose(slopes, expected, atol=1e-3 * np.abs(expected).max())
