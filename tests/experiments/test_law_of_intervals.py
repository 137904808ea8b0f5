"""The smooth residual of a model: its sequences, its Jacobian, and the likelihood of intervals."""

import dataclasses

import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from experiments.recorded_spike_trains.certainty import Certainty, estimates
from experiments.recorded_spike_trains.features import LOSSES, as_trains
from experiments.recorded_spike_trains.law import judged_by_law
from experiments.recorded_spike_trains.models import MODELS
from experiments.recorded_spike_trains.problem import Plan, Problem
from experiments.recorded_spike_trains.rescaling import rescale_part
from experiments.recorded_spike_trains.splitting import Part
from experiments.recorded_spike_trains.target import (
    SEQUENCES,
    Target,
    chebyshev,
    covariance_of_mean,
    lagrange,
)

PLAN = Plan("lif", 2, 6.0, 0.04, 400, 200)


def part_of(gaps, held=None) -> Part:
    held = np.arange(gaps.size) % 3 == 2 if held is None else held
    return Part(1.0, 10.0, gaps[~held], gaps[held], [(gaps, held)], [], 1.0, 1, 1.0, 1)


GAPS = part_of(np.random.default_rng(0).gamma(3.0, 1 / 3, 300))


@pytest.fixture(scope="module")
def problem():
    return Problem.of([GAPS], PLAN, LOSSES["expected-signature"])


def test_polynomials_between_nodes():
    nodes, x = chebyshev(6), np.linspace(0, 1, 11)
    at = lagrange(np.append(x, nodes[2]), nodes)
    np.testing.assert_allclose(at[:-1] @ nodes**5, x**5, atol=1e-13)
    np.testing.assert_allclose(at[-1], np.eye(6)[2], atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_features_of_all_sequences_are_interpolated(name):
    """The table against the features of sequences that are no nodes."""
    edges = PLAN.edges()
    target = Target.of(GAPS, 1.0, edges, 2, LOSSES[name])
    random = np.random.default_rng(1)
    pairs = random.integers(1, edges.size - 1, (20, 2))
    values = np.asarray(target.table.values).reshape(24, 24, -1)
    basis = np.asarray(target.table.basis)
    found = np.einsum("nj,nk,jkd->nd", basis[pairs[:, 0]], basis[pairs[:, 1]], values)
    from experiments.recorded_spike_trains.features import Clock, sequences_on_clock
    from experiments.recorded_spike_trains.splitting import IntervalClock, sequences

    clock = IntervalClock(GAPS.train, 1.0)
    arrays = Clock(clock.log_quantiles, clock.shares, clock.weight)
    recorded = sequences_on_clock(jnp.asarray(sequences(GAPS.train, 2, 199)), arrays)
    features = LOSSES[name].features(recorded)
    exact = np.asarray(features(as_trains(jnp.cumsum(arrays.readings(edges[pairs]), axis=-1))))
    exact = exact - np.asarray(features(recorded)).mean(axis=0)
    # directions are orthogonal and rescaled: compare all differences of sequences in one norm
    both = np.concatenate([exact, found], axis=1)
    fitted = exact @ np.linalg.lstsq(exact, found, rcond=None)[0]
    assert both.shape[0] == 20
    np.testing.assert_allclose(fitted, found, atol=2e-3 * np.abs(found).max())
    assert target.recorded.shape[0] <= SEQUENCES
    assert target.by_chance > 0


def test_the_jacobian_is_that_of_the_mean_residual(problem):
    """Against central differences with the same noise, means over keys. Paths and nodes that are
    drawn differ between the ends, so that single differences jump; a step of 0.1 is off by 1 %."""
    x, h, keys = problem.start, 0.1, jr.split(jr.key(0), 12)
    slopes, differences = [], []
    for key in keys:
        slopes.append(problem.slopes(x, key, PLAN.paths)[1])
        ends = [
            [problem.slopes(x + s * e, key, PLAN.paths)[0] for s in (h, -h)] for e in np.eye(x.size)
        ]
        differences.append(np.stack([(up - down) / (2 * h) for up, down in ends], axis=1))
    apart = np.array(slopes) - np.array(differences)
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(keys))
    # of 600 numbers the largest is expected at four standard errors of 12 keys
    limit = 6 * error + 0.03 * np.abs(np.mean(slopes, axis=0)).max()
    assert np.all(np.abs(apart.mean(axis=0)) < limit)


def test_a_stochastic_gradient_is_that_of_the_loss(problem):
    """The mean over keys of the gradient that `rs.fit` sees, against the exact Jacobian, both from
    as many paths: within five standard errors."""

    @jax.jit
    def gradient(key):
        return jax.grad(lambda p: problem.residuals(p, key).loss())(problem.template)

    found = np.array(
        [jax.flatten_util.ravel_pytree(gradient(key))[0] for key in jr.split(jr.key(1), 24)]
    )
    halves = [problem.slopes(problem.start, jr.key(k), PLAN.paths) for k in range(2, 26)]
    values = np.mean([v for v, _ in halves], axis=0)
    expected = 2 * np.mean([s for _, s in halves], axis=0).T @ values
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - expected) < 5 * np.sqrt(2) * error)


def test_intervals_are_judged_as_by_a_particle_filter():
    """Another method for the same likelihood, of a neuron that remembers its potential: the mean
    over 100 intervals, where the filter scatters by 0.03 and its steps differ by as much. Of one
    interval both densities scatter by a tenth. After an interval so short that the potential is
    left far beyond the nodes, one of these hundred, they differ by more."""
    model = dataclasses.replace(PLAN, dt0=0.01)
    parameters = MODELS["lif"].start([GAPS.train], 1.0)
    z, likelihood = judged_by_law(parameters, 0, GAPS, model, paths=16000, seed=0)
    z_filter, filtered = rescale_part(parameters, 0, GAPS, 0.01, particles=2000, seed=0)
    assert z.shape == likelihood.shape == GAPS.held.shape
    np.testing.assert_allclose(z.mean(), z_filter.mean(), atol=0.08)
    np.testing.assert_allclose(likelihood.mean(), filtered.mean(), atol=0.08)
    assert np.median(np.abs(likelihood - filtered)) < 0.15


def test_an_interval_longer_than_any_that_was_followed():
    long = part_of(np.array([0.9, 1.1, 9.0] * 5))
    parameters = MODELS["lif"].start([GAPS.train], 1.0)
    z, likelihood = judged_by_law(parameters, 0, long, PLAN, paths=PLAN.paths, seed=0)
    assert np.all(np.isfinite(z))
    assert np.all(z > 3)
    assert np.all(np.isfinite(likelihood))
    assert np.all(likelihood < -3)


def test_standard_errors_of_a_mean():
    """A residual that is linear in one parameter and does not see another: the first has the
    standard error of the recorded mean, the second that of the prior."""
    recorded = np.random.default_rng(0).normal(size=(500, 1))
    target = dataclasses.replace(
        Target(None, recorded - recorded.mean(), 1.0, 500)  # pyright: ignore[reportArgumentType]
    )
    weight = 1 / np.sqrt(500)
    certainty = Certainty.of(np.array([[1.0, 0.0]]), [target], 1.0, weight)
    expected = recorded.std() / np.sqrt(500)
    found = estimates(lambda x: {"seen": x[0], "not": 2 * x[1]}, np.array([3.0, 1.0]), certainty)
    # the prior counts as one of 501
    np.testing.assert_allclose(found["seen"].error, expected, rtol=5e-3)
    np.testing.assert_allclose(found["not"].error, 2.0, rtol=1e-6)
    assert found["seen"].told
    assert not found["not"].told
    assert "not told" in str(found["not"])
    np.testing.assert_allclose(covariance_of_mean(recorded, 1.0)[0, 0], expected**2, rtol=1e-12)


def test_a_chain_without_memory_is_the_law_of_an_interval():
    start = MODELS["resetting-lif"].start([GAPS.train], 1.0)
    args = dict(key=jr.key(0), num_paths=2000, input_current=start.currents()[0])
    chain = rs.interval_chain(start.neuron(), 6.0, 0.02, **args)
    law = rs.interval_law(start.neuron(), 6.0, 0.02, **args)
    # other paths: five standard errors of a probability from 2000 of each
    np.testing.assert_allclose(chain.survival[:, 0], law.survival, atol=5 * np.sqrt(0.5 / 2000))
