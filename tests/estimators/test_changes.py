"""What one train changes in the loss of a sample: the short ways against evaluating it again."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.estimators._changes import shifted, with_spike_at_end

GENERATED = rs.SpikeTrains.from_lists(
    [[[0.2, 0.7], [0.5]], [[], []], [[0.1], [0.4, 0.9]], [[0.3], []]], t0=0.0, t1=1.0, max_spikes=4
)
OBSERVED = rs.SpikeTrains.from_lists(
    [[[0.3], [0.6]], [[0.2, 0.8], []], [[], [0.5]], [[0.9], [0.1]]], t0=0.0, t1=1.0
)
KERNEL = rs.SignatureKernel(1.0, 0.6, tolerance=1e-13)
NORMALISED = rs.SignatureKernel(1.0, 0.6, normalise=True, tolerance=1e-13)


class PlainSignatureLoss(rs.ExpectedSignatureLoss):
    """The same loss without the promise that its summary is a mean."""

    summary_is_mean = False


FAST = ("mean", "signature")
LOSSES = {
    "mean": rs.MeanLoss(lambda trains: jnp.sum(jnp.where(trains.mask, trains.times**2, 0), -1)),
    "first spikes": rs.FirstSpikesLoss(2),
    "signature": rs.ExpectedSignatureLoss(depth=3, channel_scale=0.5),
    "no short way": PlainSignatureLoss(depth=2),
    "unbiased MMD": rs.SignatureMMDLoss(KERNEL),
    "biased MMD": rs.SignatureMMDLoss(NORMALISED, "biased"),
    "biased MMD, not normalised": rs.SignatureMMDLoss(KERNEL, "biased"),
    "score": rs.SignatureScoreLoss(NORMALISED),
    "paired": rs.PairedTruncatedSignatureLoss(depth=2),
}


def trials_of(trains, stopped=None):
    shape = (len(trains), trains.num_neurons)
    no = jnp.zeros(len(trains), dtype=bool)
    protocol = rs.Protocol(0.0, 1.0, 0.5, max_spikes=trains.times.shape[-1])
    stopped = no if stopped is None else jnp.asarray(stopped)
    return rs.Trials(
        trains, jnp.zeros(shape), jnp.ones(shape), stopped, no, model=rs.StochasticLIF(2),
        protocol=protocol, engine=rs.EventEngine(), key=jr.key(0),
    )  # fmt: skip


def test_a_spike_more_at_the_end():
    lists = with_spike_at_end(trials_of(GENERATED)).to_lists()
    for b, trial in enumerate(GENERATED.to_lists()):
        for k in range(2):
            for j in range(2):
                expected = [*trial[j], 1.0] if j == k else trial[j]
                np.testing.assert_array_equal(lists[b][k][j], expected)


def test_another_last_spike_where_trials_are_stopped():
    trains = GENERATED[jnp.array([0, 2])]
    lists = with_spike_at_end(trials_of(trains, [True, True])).to_lists()
    np.testing.assert_array_equal(lists[0][1][0], [0.2])
    np.testing.assert_array_equal(lists[0][1][1], [0.5, 0.7])
    np.testing.assert_array_equal(lists[0][0][0], [0.2, 0.7])
    np.testing.assert_array_equal(lists[1][0][0], [0.1, 0.9])
    np.testing.assert_array_equal(lists[1][0][1], [0.4])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in LOSSES]
)
def test_short_ways_agree_with_the_loss_itself(name):
    loss = rs.Against(LOSSES[name], OBSERVED)
    alternatives = rs.SpikeTrains.concatenate(
        [with_spike_at_end(trials_of(GENERATED)), shifted(GENERATED.pad_to(5), 2)], axis=1
    )
    changes = jax.jit(lambda: rs.estimators.loss_changes(loss, GENERATED, alternatives))()
    assert changes.shape == (4, 4)
    evaluate, padded = jax.jit(lambda trains: loss(trains)), GENERATED.pad_to(5)
    value = evaluate(padded)
    for b in range(4):
        for a in range(4):
            rows = [alternatives[b, a] if i == b else padded[i] for i in range(4)]
            expected = evaluate(rs.SpikeTrains.stack(rows)) - value
            np.testing.assert_allclose(changes[b, a], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["signature", "unbiased MMD"])
def test_a_target_serves_as_well(name):
    loss = LOSSES[name]
    alternatives = with_spike_at_end(trials_of(GENERATED))
    direct = rs.estimators.loss_changes(rs.Against(loss, OBSERVED), GENERATED, alternatives)
    target = rs.Against(loss, loss.target(OBSERVED))
    np.testing.assert_allclose(
        rs.estimators.loss_changes(target, GENERATED, alternatives), direct, rtol=1e-12
    )


@pytest.mark.slow
def test_evaluations_in_chunks():
    loss = rs.Against(LOSSES["paired"], OBSERVED)
    alternatives = with_spike_at_end(trials_of(GENERATED))
    changes = rs.estimators.loss_changes(loss, GENERATED, alternatives)
    in_chunks = jax.jit(lambda: rs.estimators.loss_changes(loss, GENERATED, alternatives, 3))()
    np.testing.assert_allclose(in_chunks, changes, rtol=1e-12, atol=1e-16)


@pytest.mark.slow
def test_the_boundary_term_of_a_batch_loss():
    """A squared distance of expected signatures of six trials, which jumps whenever one of them
    gains a spike: the mean of the estimates is the central difference of the mean loss."""
    tau_s = jnp.array([0.4, 0.6])
    observed = OBSERVED

    def simulate(tau_s, key):
        neurons = rs.StochasticLIF(
            2, mu1=1.0, mu2=1.0, beta=0.0, sigma=None, alpha=0.1, tau_s=tau_s
        )
        return rs.simulate_trials(
            neurons, 0.0, 1.0, 0.5, key=key, num_samples=6, max_spikes=20, throw=False
        )

    loss = rs.Against(rs.ExpectedSignatureLoss(depth=1, normalisation="none"), observed)
    keys = jr.split(jr.key(5), 4000)

    @jax.jit
    def expected_loss(tau_s):
        return jax.vmap(lambda key: loss(simulate(tau_s, key).trains))(keys)

    @jax.jit
    def gradients(tau_s):
        estimator = rs.PathwiseWithBoundary()
        return jax.vmap(lambda key: estimator(tau_s, simulate, loss, key).gradient)(keys)

    found = np.asarray(gradients(tau_s))
    step = 0.02
    for k in range(2):
        e = step * jnp.eye(2)[k]
        difference = np.asarray(expected_loss(tau_s + e) - expected_loss(tau_s - e)) / (2 * step)
        # the same trials on both sides, so that the difference of the two is what is uncertain
        gap = found[:, k] - difference
        assert abs(gap.mean()) < 4 * gap.std(ddof=1) / np.sqrt(len(keys))
        # not by being vague: the pathwise gradient sees nothing of counts and is zero
        assert gap.std(ddof=1) / np.sqrt(len(keys)) < 0.1 * abs(difference.mean())
