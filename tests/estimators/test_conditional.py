"""The conditional estimator against closed forms, and against the law of an interval."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

from .test_closed_forms import COUNT, TRUTH, assert_within, estimates
from .test_interval_law import POINT, constant, steep, steep_law

PROTOCOL = rs.Protocol(0.0, 1.0, 0.02, max_spikes=8)


def renewal(size):
    def simulate(point, key):
        return rs.simulate_trials(
            constant(*point), 0.0, 1.0, 1 / 47, key=key, num_samples=size, max_spikes=8,
            throw=False, adjoint=rs.NoGradient(),
        )  # fmt: skip

    return simulate


@pytest.mark.parametrize("points", [pytest.param(None, marks=pytest.mark.slow), 4])
def test_count_of_a_renewal_process(points):
    """A loss that jumps at the end of the window, of trials of several spikes. The grid of the
    intervals, on which the dead time ends inside a cell, moves the derivative by about 1 %."""
    point = (jnp.asarray(0.3), jnp.asarray(0.4))
    mean, error = estimates(rs.Conditional(points=points), point, renewal(50), COUNT, 100)
    assert_within(mean, np.hypot(error, 0.005 * np.abs(TRUTH)), TRUTH)
    assert np.all(error < 0.05 * np.abs(TRUTH))


def test_the_mean_interval_is_that_of_the_law():
    """Of the time of the first spike the sum over cells is known, wherever in its cell the spike
    lies: for all cells the rule is the derivative of the law's mean, on the same noise."""
    simulation = rs.Simulation(
        rs.Protocol(0.0, 4.0, 0.02, max_spikes=1, stop_after=1, input_current=2.4), 64
    )

    def time(trains):
        return jnp.where(trains.mask[:, 0], trains.times[:, 0], 4.0)

    @jax.jit
    def both(theta):
        neuron, _ = steep(theta)
        estimate = rs.Conditional(points=None)(neuron, simulation, rs.MeanLoss(time), jr.key(5))
        # the noise of the rule: a path and its opposite for each trial
        law = lambda n: rs.interval_law(  # noqa: E731
            n, 4.0, 0.02, key=jr.fold_in(jr.key(5), 0), num_paths=128, input_current=2.4
        )
        expected = jax.grad(lambda n: jnp.sum(law(n).survival[1:]) * 0.02)(neuron)
        return estimate.gradient, expected

    gradient, expected = both(POINT)
    # the last cell's spikes lie before its end, the survivors' at it: 1e-3 of what is left there
    for name in ("sigma", "mu1", "reset_to", "alpha"):
        a, b = getattr(gradient, name), getattr(expected, name)
        # the first interval starts from v0, which is a leaf of its own
        a = a + gradient.v0 if name == "reset_to" else a
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_strata_have_the_mean_of_the_sum_over_all_cells():
    """A loss that is not a mean over trials, with several intervals that the noise decides."""
    simulation = rs.Simulation(
        rs.Protocol(0.0, 4.0, 0.02, max_spikes=3, stop_after=3, input_current=2.4), 8
    )

    def loss(trains):
        last = jnp.where(trains.mask[:, 2], trains.times[:, 2], 4.0)
        return jnp.square(jnp.mean(last) - 2.0)

    neuron, _ = steep(POINT)

    @jax.jit
    @jax.vmap
    def run(key):
        out = []
        for points in (None, 2):
            gradient = rs.Conditional(points=points, chunk=512)(neuron, simulation, loss, key)
            out.append(jnp.stack([gradient.gradient.sigma, gradient.gradient.mu1]))
        return jnp.stack(out)

    found = np.asarray(run(jr.split(jr.key(0), 200)))
    difference = found[:, 0] - found[:, 1]
    error = difference.std(0, ddof=1) / np.sqrt(200)
    assert np.all(np.abs(difference.mean(0)) < 4 * error)
    assert np.all(error > 0)

    # and that mean is the derivative of the expected loss
    levels = np.random.default_rng(0).uniform(size=(20_000, 8, 3))
    step = {"sigma": 0.03, "mu1": 0.02}

    def mean_loss(name, value):
        other = eqx.tree_at(lambda n: getattr(n, name), neuron, jnp.asarray(value))
        law = rs.interval_law(other, 4.0, 0.02, key=jr.key(7), num_paths=20_000, input_current=2.4)
        last = np.minimum(np.asarray(law.quantiles(levels)).sum(-1), 4.0)
        return np.mean(np.square(last.mean(axis=1) - 2.0))

    for i, name in enumerate(("sigma", "mu1")):
        at, h = float(getattr(neuron, name)), step[name]
        truth = (mean_loss(name, at + h) - mean_loss(name, at - h)) / (2 * h)
        mean = found[:, 0, i].mean()
        error = found[:, 0, i].std(ddof=1) / np.sqrt(200)
        # a difference with common numbers, good to a few percent
        assert abs(mean - truth) < 4 * error + 0.05 * abs(truth)


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(ValueError, match="points"):
        rs.Conditional(points=0)
    with pytest.raises(ValueError, match="longest"):
        rs.Conditional(longest=-1.0)
    simulation = rs.Simulation(PROTOCOL, 2)
    with pytest.raises(TypeError, match=r"StochasticLIF.*SpikeRemoval"):
        rs.Conditional()(rs.StochasticLIF(), simulation, COUNT, jr.key(0))
    neuron = rs.ResettingStochasticLIF(mu1=15.0)
    with pytest.raises(ValueError, match="`num_samples` of the simulation is 0"):
        rs.Conditional()(neuron, rs.Simulation(PROTOCOL, 0), COUNT, jr.key(0))
    with pytest.raises(ValueError, match=r"`dt0` = 0\.5 is longer than the time constant"):
        rs.interval_law(neuron, 1.0, 0.5, key=jr.key(0), num_paths=1)
    with pytest.raises(ValueError, match="`input_current` must be finite"):
        rs.interval_law(neuron, 1.0, 0.01, key=jr.key(0), num_paths=1, input_current=np.nan)
    rough = rs.Protocol(0.0, 1.0, 0.1, max_spikes=8, noise=rs.FractionalNoise(0.7))
    with pytest.raises(ValueError, match=r"FractionalNoise.*SpikeRemoval"):
        rs.Conditional()(rs.ResettingStochasticLIF(), rs.Simulation(rough, 2), COUNT, jr.key(0))


def test_the_law_reads_like_a_law():
    """Probabilities are not negative and the survival falls, in the steepest case too."""
    law = jax.jit(steep_law)(POINT.at[2].set(200.0))
    assert np.all(np.diff(law.survival) <= 0)
    assert np.all(np.asarray(law.probabilities) >= 0)
    mean = float(law.mean(law.edges))
    assert repr(law).startswith(f"law of an interval: {law.edges.size - 1} cells up to ")
    assert f"mean {mean:.4g}, " in repr(law)


def test_windows_that_begin_late():
    """The neuron does not know what time it is, so that neither trains nor gradient do. With too
    little room for its spikes an estimate is refused."""

    def estimate(t0, room=16):
        simulation = rs.Simulation(
            rs.Protocol(t0, t0 + 1.0, 0.05, max_spikes=room, input_current=2.4), 2
        )
        neuron = rs.ResettingStochasticLIF(mu1=15.0, sigma=1.0)
        loss = lambda trains: jnp.mean(jnp.where(trains.mask, trains.times, 0))  # noqa: E731
        found = jax.jit(lambda key: rs.Conditional(points=2)(neuron, simulation, loss, key))
        return found(jr.key(1))

    with jax.enable_x64(False):
        early, late = estimate(0.0), estimate(1.7e9)
    assert int(early.generated.counts.sum()) > 4
    np.testing.assert_array_equal(late.generated.times, early.generated.times)
    np.testing.assert_array_equal(late.gradient.mu1, early.gradient.mu1)
    assert late.generated.t0 == 1.7e9
    with pytest.raises(Exception, match="More spikes happened than `max_spikes` = 1"):
        jax.block_until_ready(estimate(0.0, 1).value)
