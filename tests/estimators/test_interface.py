"""Estimators as an argument: in training, under transformations, and with wrong arguments."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs

# at constant intensity the potential, however slow, says nothing; nor does the step
MODEL = rs.StochasticLIF(1, mu1=0.05, mu2=0.05, beta=0.0, sigma=None, tau_s=0.4, alpha=0.1)
ALL = [rs.Pathwise(), rs.PathwiseWithBoundary(), rs.ScoreFunction()]
COUNT = rs.MeanLoss(lambda trains: trains.counts.astype(trains.times.dtype))


def simulate(model, key, size=64, **settings):
    settings = {"max_spikes": 20, "throw": False, **settings}
    return rs.simulate_trials(model, 0.0, 1.0, 0.25, key=key, num_samples=size, **settings)


def plain(model, key):
    return rs.simulate(model, 0.0, 1.0, 0.25, key=key, num_samples=8, max_spikes=20)


def mean_count(generated, observed):
    """Not a mean over trials, and without a short way."""
    wanted = jnp.mean(observed.counts.astype(jnp.result_type(float)))
    return jnp.square(jnp.mean(generated.counts.astype(jnp.result_type(float))) - wanted)


def test_trials_have_the_spikes_of_simulate():
    trials, trains = jax.jit(lambda k: (simulate(MODEL, k, 8), plain(MODEL, k)))(jr.key(2))
    np.testing.assert_array_equal(trials.trains.times, trains.times)
    assert len(trials) == 8
    # a threshold is passed as soon as it is reached, so that none is left behind
    assert np.all(trials.residuals < 0)
    assert np.all(trials.residuals <= trials.excess)


@pytest.mark.slow
def test_pathwise_is_value_and_grad_and_takes_plain_trains():
    loss = rs.MeanLoss(lambda trains: jnp.sum(jnp.where(trains.mask, trains.times, 0), axis=-1))
    value, gradient = eqx.filter_value_and_grad(lambda m: loss(plain(m, jr.key(0))))(MODEL)
    for run in (plain, lambda m, key: simulate(m, key, 8)):
        estimate = rs.Pathwise()(MODEL, run, loss, jr.key(0))
        assert isinstance(estimate.generated, rs.SpikeTrains)
        assert float(estimate.value) == float(value)
        for a, b in zip(jax.tree.leaves(estimate.gradient), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALL[1:], ids=["boundary", "score"])
def test_value_and_trainable_leaves_whatever_the_estimator(estimator):
    marks = jax.tree.map(lambda _: False, MODEL)
    marks = eqx.tree_at(lambda m: m.tau_s, marks, True)
    trains = simulate(MODEL, jr.key(0)).trains

    @eqx.filter_jit
    def run(model, key):
        return estimator(model, simulate, COUNT, key, trainable=marks)

    estimate = run(MODEL, jr.key(0))
    assert len(jax.tree.leaves(estimate.gradient)) == 1
    np.testing.assert_allclose(estimate.value, COUNT(trains), rtol=1e-14)
    np.testing.assert_array_equal(estimate.generated.times, trains.times)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ALL[:2], ids=lambda e: type(e).__name__)
def test_a_loss_that_vanishes_at_the_end_needs_no_correction(estimator):
    def early(trains):
        left = jnp.where(trains.mask, trains.durations[:, None] - trains.times, 0)
        return jnp.sum(left**2, axis=-1)

    pathwise = rs.Pathwise()(MODEL, simulate, rs.MeanLoss(early), jr.key(0))
    other = estimator(MODEL, simulate, rs.MeanLoss(early), jr.key(0))
    assert other.diagnostics.get("largest_change", 0.0) == 0.0
    np.testing.assert_allclose(other.gradient.tau_s, pathwise.gradient.tau_s, rtol=1e-12)


@pytest.mark.slow
def test_nor_does_one_of_trials_that_all_reach_their_last_spike():
    def run(model, key):
        return rs.simulate_trials(
            model, 0.0, 40.0, 10.0, key=key, num_samples=16, max_spikes=2, stop_after=2
        )

    trials = run(MODEL, jr.key(0))
    assert np.all(trials.stopped)
    assert np.all(trials.excess < 0)
    loss = rs.MeanLoss(lambda trains: trains.times[..., 1])
    pathwise, other = (e(MODEL, run, loss, jr.key(0)) for e in ALL[:2])
    assert other.diagnostics["exposed"] == 0.0
    np.testing.assert_allclose(other.gradient.tau_s, pathwise.gradient.tau_s, rtol=1e-12)


def test_training_on_counts(standard_dtype_promotion):
    """The number of spikes at the window's end, which no pathwise derivative sees."""
    observed = simulate(MODEL, jr.key(9), 256).trains
    start = eqx.tree_at(lambda m: m.tau_s, MODEL, jnp.asarray(0.7))
    found = {}
    for estimator in (None, rs.PathwiseWithBoundary(chunk=16)):
        found[estimator is None] = rs.fit(
            start,
            observed,
            simulate=simulate,
            loss=mean_count,
            optimiser=optax.adam(0.02),
            num_steps=60,
            key=jr.key(1),
            estimator=estimator,
            trainable=lambda model: model.tau_s,
            metrics={"count": lambda model, generated, holdout: generated.counts.mean()},
            progress=False,
        )
    assert float(found[True].model.tau_s) == 0.7
    # the mean count of 256 trials has a standard error of 3 %, as has the rate that fits it
    assert abs(float(found[False].model.tau_s) - 0.4) < 0.05
    assert found[False].history["count"][-1] > found[False].history["count"][0]


@pytest.mark.slow
def test_several_seeds_side_by_side(standard_dtype_promotion):
    keys = jr.split(jr.key(0), (2, 2))
    start = eqx.filter_vmap(lambda key: MODEL)(keys[0])
    data = rs.SpikeTrains.stack([simulate(MODEL, key, 6).trains for key in keys[1]])
    arguments = dict(
        simulate=lambda model, key: simulate(model, key, 6),
        loss=rs.ExpectedSignatureLoss(depth=2),
        optimiser=optax.sgd(0.01),
        num_steps=2,
        estimator=rs.PathwiseWithBoundary(),
        trainable=lambda model: model.tau_s,
        progress=False,
    )
    many = rs.fit_many(start, data, keys=keys[0], **arguments)
    one = rs.fit(MODEL, data[1], key=keys[0][1], **arguments)
    np.testing.assert_allclose(many[1].model.tau_s, one.model.tau_s, rtol=1e-10)
    assert float(one.model.tau_s) != 0.4


def test_what_is_refused():
    class NoHazard(rs.StochasticLIF):
        @property
        def dead_intensity(self):
            return None

    with pytest.raises(TypeError, match="`dead_intensity` is None"):
        simulate(NoHazard(1), jr.key(0))
    for given in ({"axonal_delays": 0.1}, {"refractory": 0.1}):
        network = rs.SpikingNetwork(rs.StochasticLIF(2), jnp.ones((2, 2)), **given)
        with pytest.raises(ValueError, match="with delays or refractory periods"):
            simulate(network, jr.key(0))
    with pytest.raises(TypeError):
        simulate(3.0, jr.key(0))
    trials = jax.jit(lambda: simulate(MODEL, jr.key(0)))()
    for estimator in ALL[1:]:
        with pytest.raises(TypeError, match="`simulate` returned SpikeTrains"):
            estimator(MODEL, lambda model, key: trials.trains, COUNT, jr.key(0))
    with pytest.raises(ValueError, match=r"`loss` returned an array of shape \(64,\)"):
        ALL[1](MODEL, lambda model, key: trials, lambda trains: trains.counts, jr.key(0))
    for wrong in (0, -1, True):
        with pytest.raises(ValueError, match="`num_candidates` must be"):
            rs.PathwiseWithBoundary(num_candidates=wrong)
        with pytest.raises(ValueError, match="`chunk` must be"):
            rs.PathwiseWithBoundary(chunk=wrong)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="`ramp` must be"):
            rs.ScoreFunction(ramp=wrong)
    with pytest.raises(ValueError, match="`controls` must be"):
        rs.ScoreFunction(controls=-1)
    two = rs.StochasticLIF(2, beta=0.0, sigma=None)
    with pytest.raises(ValueError, match="`stop_after` is 1 with 2 neurons"):
        rs.ScoreFunction()(two, lambda m, key: simulate(m, key, stop_after=1), COUNT, jr.key(0))
    with pytest.raises(ValueError, match=r"`of_trials` returned an array of shape \(\)"):
        rs.MeanLoss(lambda trains: jnp.zeros(()))(trials.trains)
    with pytest.raises(TypeError):
        rs.fit(
            MODEL, trials.trains, simulate=simulate, loss=mean_count,
            optimiser=optax.sgd(1.0), num_steps=1, key=jr.key(0), estimator="pathwise",
        )  # fmt: skip
