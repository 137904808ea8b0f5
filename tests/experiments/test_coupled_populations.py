"""Coupled populations on the cell engine, and their training by losses of signatures."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from experiments.recorded_spike_trains.driven.neuron import Driven
from experiments.recorded_spike_trains.population import training
from experiments.recorded_spike_trains.population.coupled import (
    Coupled,
    FreeRun,
    generate_coupled,
)
from experiments.recorded_spike_trains.population.latents import Latents
from experiments.recorded_spike_trains.population.losses import ExpectedSignatures, KernelDistance
from experiments.recorded_spike_trains.population.network import FOR_CELLS, Population
from experiments.recorded_spike_trains.population.score import (
    subset_of,
    weighted_log_likelihood,
    windows_of,
)

RHYTHM = Latents(np.array([[-0.5, 1.5], [-1.5, -0.5]]), np.eye(2), np.zeros((0, 2)), 0.1)
UNITS = np.array([0.5, 0.7, 0.4])


def neurons(offset=0.3):
    """Three neurons with shared currents."""
    of = [([0.5, 0.1], 5.0, 3.0), ([0.2, -0.4], 8.0, 2.0), ([-0.3, 0.6], 3.0, 4.0)]
    own = [
        Driven(
            jnp.array(loads), jnp.full(1, offset), jnp.zeros(0), jnp.log(jnp.asarray(leak)),
            jnp.asarray(reset), jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), FOR_CELLS,
        )
        for loads, leak, reset in of
    ]  # fmt: skip
    return Population(own, UNITS, RHYTHM)


def coupled(strengths=(2.0, -2.0, 1.5)):
    model = Coupled.start(neurons(), 1.0, np.array([[0, 1], [1, 2], [2, 0]]))
    return eqx.tree_at(lambda m: m.couplings, model, jnp.array(strengths))


def test_the_score_knows_what_couplings_do():
    model, trials = coupled(), 400
    run = FreeRun.of(model, RHYTHM, 3.0, 1, trials)
    draw = eqx.filter_jit(run)
    runs = draw(model, jr.key(0))
    assert not bool(jnp.any(runs.trains.overflowed))
    chosen = jnp.arange(3, dtype=jnp.int32)

    @eqx.filter_jit
    def scores(couplings, rewards):
        """Sum over trials of reward times derivative of the log-likelihood, and its square."""

        def weighed(couplings, trials):
            of = eqx.tree_at(lambda m: m.couplings, model, couplings)
            shape = (8 * len(runs.path), 1, 3)
            own = runs.trains[trials[None]]
            return weighted_log_likelihood(of, runs.path, own, chosen, jnp.ones(shape))

        def one(index):
            return jax.grad(weighed)(couplings, index)

        each = jax.lax.map(one, jnp.arange(trials, dtype=jnp.int32), batch_size=100)
        each = each * rewards[:, None]
        return each.mean(0), each.std(0) / np.sqrt(trials)

    mean, error = scores(model.couplings, jnp.ones(trials))
    assert np.all(np.abs(mean) < 4 * error)
    counts = runs.trains.counts_by_neuron[:, 1].astype(float)
    slope, error = scores(model.couplings, counts - counts.mean())
    step = 0.5
    sides = [draw(coupled((2.0 + x, -2.0, 1.5)), jr.key(0)).trains for x in (step, -step)]
    gaps = np.subtract(*(np.asarray(x.counts_by_neuron[:, 1], float) for x in sides)) / (2 * step)
    assert slope[0] > 3 * error[0]
    tolerance = 3 * np.hypot(error[0], gaps.std() / np.sqrt(trials))
    np.testing.assert_allclose(slope[0], gaps.mean(), atol=tolerance)


def test_windows_of_subsets_are_those_of_lists():
    random = np.random.default_rng(0)
    trials = [[np.sort(random.uniform(0, 4, 9)) for _ in range(3)] for _ in range(2)]
    trains = rs.SpikeTrains.from_lists(trials, t0=0.0, t1=4.0)
    starts = np.array([0.5, 1.5, 3.0])
    cut = subset_of(windows_of(trains, starts, 1.0, 20).reshape(-1), jnp.array([2, 0]), 12)
    expected = [
        [trial[n][(trial[n] >= start) & (trial[n] < start + 1)] - start for n in (2, 0)]
        for trial in trials
        for start in starts
    ]
    for found, own in zip(cut.to_lists(), expected, strict=True):
        for a, b in zip(found, own, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    crowded = subset_of(windows_of(trains, starts, 1.0, 20).reshape(-1), jnp.array([2, 0]), 1)
    assert bool(jnp.any(crowded.overflowed))


def test_both_losses_tell_rates_apart_and_are_zero_on_average_at_equal_laws():
    random = np.random.default_rng(1)

    def sample(rate):
        lists = [
            [np.sort(random.uniform(0, 1, random.poisson(rate))) for _ in range(2)]
            for _ in range(40)
        ]
        return rs.SpikeTrains.from_lists(lists, t0=0.0, t1=1.0, max_spikes=20)

    a, b, o, fast, faster = (sample(rate) for rate in (2.0, 2.0, 2.0, 4.0, 4.0))
    kernel = rs.SignatureKernel(normalise=True).fixed_for(o)
    for loss in (ExpectedSignatures(), KernelDistance(kernel)):
        same, (rewards, _) = loss.judged(a, b, o)
        apart, (of_fast, _) = loss.judged(fast, faster, o)
        assert rewards.shape == (40,)
        assert abs(same) < 0.3 * apart
        # where there are too many spikes, more of them are worse
        assert np.corrcoef(of_fast, fast.counts)[0, 1] > 0.3


def test_training_brings_rates_back(monkeypatch):
    monkeypatch.setattr(training, "PARTS", 6)
    truth = coupled((0.0, 0.0, 0.0))
    run = FreeRun.of(truth, RHYTHM, 60.0, 1, 1)
    spikes = [np.asarray(x, float) for x in run(truth, jr.key(1)).trains.to_lists()[0]]
    detuned = dataclasses.replace(
        neurons(1.0), latents=dataclasses.replace(RHYTHM, path=np.zeros((600, 2)))
    )
    settings = training.Training(steps=30, couplings=1, hidden=1, learning_rate=0.05)
    found = training.train_population(detuned, spikes, 60.0, 1.0, settings)
    assert found.start.connections is not None
    assert len(found.start.connections) == 3 + 1
    assert found.trained.num_neurons == 4
    # recorded neurons are uncoupled at first; the hidden one acts on one of them
    np.testing.assert_array_equal(found.start.couplings[:3], 0)
    before, after = (np.mean(np.asarray(m.offset[:3])) for m in (found.start, found.trained))
    assert before == 1.0
    assert abs(after - 0.3) < 0.5 * abs(before - 0.3)
    assert not np.any(found.result.history["overflowed"])
    samples = generate_coupled(found.trained, detuned.latents, 5.0, 2, 0)
    assert [len(sample) for sample in samples] == [3, 3]
