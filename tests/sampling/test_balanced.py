"""The balanced sampler: the same network by the clock and as an event SDE, and its law."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.sampling import (
    BalancedSampler,
    GaussianTarget,
    LogDensity,
    PiecewiseConstant,
    equicorrelated_covariance,
    random_readout,
    run_by_clock,
)

TARGET = GaussianTarget(0.0, equicorrelated_covariance(2, 0.6, common=1.2))


def exact(target=TARGET, size=0.5, neurons=12, **options):
    directions = random_readout(jr.key(3), target.dim, neurons, scale=size, unit_norm=True)
    options = dict(threshold_factor=1.2, tau_readout=100.0, tau_langevin=1.0) | options
    return BalancedSampler(target, TARGET.root @ directions, noise_factor=TARGET.root,
                           metric=TARGET.precision, **options)  # fmt: skip


def solve(model, key, start, shift, t1=4.0, **options):
    return rs.eventsolve(
        model, 0.0, t1, 0.05, model.initial_state(start), key=key, max_events=600, args=shift,
        solver=dfx.Heun(), adjoint=rs.NoGradient(), **options,
    )  # fmt: skip


def test_hidden_state_follows_the_langevin_equation_and_the_readout_follows_it():
    """The hidden state is the scheme's own solution of dx = (m - x) dt0 + B sqrt(2) dW on the same
    path, whatever the spikes do (up to rounding, as every event cuts a step of Heun's scheme of a
    linear equation: an error of the third power of the step); the readout is off by no more than
    the thresholds allow."""
    model, shift = exact(), jnp.asarray([6.0, 6.0])
    key, start = jr.key(0), jnp.asarray([1.0, -1.0])
    ts = jnp.arange(1.0, 80.0) * 0.05
    solution = solve(model, key, start, shift, saveat=dfx.SaveAt(ts=ts), save_event_states=True)
    hidden = jax.vmap(model.hidden_state)(solution.ys)
    estimates = jax.vmap(model.estimate)(solution.ys)

    driver = rs.BrownianGrid(0.0, 4.0, 0.05, (2,), jax.random.fold_in(key, 0))
    x, oracle = np.asarray(start), []
    for i in range(79):
        dw = np.asarray(driver.evaluate(i * 0.05, (i + 1) * 0.05))
        jump = np.sqrt(2) * np.asarray(TARGET.root) @ dw
        drift = np.asarray(shift) - x
        x = x + 0.025 * (drift + np.asarray(shift) - (x + 0.05 * drift + jump)) + jump
        oracle.append(x)
    # 79 steps of at most 0.05^3 / 6 times a distance of 7, which decays
    np.testing.assert_allclose(hidden, oracle, atol=5e-3)
    whitened = (estimates - hidden) @ np.linalg.inv(TARGET.root)
    assert np.linalg.norm(whitened, axis=-1).max() < 0.5
    # each spike is in the trains: their number is what the traces have gained
    trains = model.spike_trains(solution)
    spikes = int(jnp.sum(jnp.isfinite(trains.times)))
    decayed = np.exp(-(4.0 - np.asarray(trains.times)[:spikes]) / 100).sum()
    decayed += np.exp(-4.0 / 100) * model.initial_state(start).r.sum()
    np.testing.assert_allclose(solution.final_state.r.sum(), decayed, rtol=1e-3)


def test_moments_of_the_readout_are_those_of_the_target():
    """All means and covariances of 400 trials within 4 standard errors, 8 time constants after the
    mean has stepped from 0 to 6; chance misses that once in 3000 cases."""
    model, n = exact(size=0.3), 400
    starts = TARGET.sample(jr.key(1), n)

    @jax.jit
    @jax.vmap
    def last(key, start):
        solution = solve(model, key, start, jnp.full(2, 6.0), t1=8.0)
        return model.estimate(solution.final_state)

    found = np.asarray(last(jr.split(jr.key(2), n), starts))
    covariance = np.asarray(TARGET.covariance)
    variance = np.diag(covariance)
    assert np.abs((found.mean(0) - 6) / np.sqrt(variance / n)).max() < 4
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert np.abs((np.cov(found.T) - covariance) / error).max() < 4


def test_a_density_that_is_not_normal():
    """exp(-x^4 / 4) has variance 2 Gamma(3/4) / Gamma(1/4) = 0.676; two long trials of 2000 time
    constants by the clock, whose samples decorrelate in about one: within 0.07."""
    target = LogDensity(lambda x: -jnp.sum(x**4) / 4, 1)
    readout = random_readout(jr.key(0), 1, 2, scale=0.2, unit_norm=True)
    model = BalancedSampler(
        target, readout, threshold_factor=1.2, tau_readout=100.0, tau_langevin=1.0
    )

    @jax.jit
    @jax.vmap
    def run(key):
        return run_by_clock(model, key, 40_000, 0.05, every=20, max_spikes_per_step=None).estimates

    found = np.asarray(run(jr.split(jr.key(4), 2)))
    assert abs(found.var() - 0.676) < 0.07
    assert abs(found.mean()) < 0.07


@pytest.mark.parametrize("most", [1, None])
def test_by_the_clock_it_is_the_loop_of_the_source(most):
    """Against the equations written out in NumPy, in double precision; the same noise, so that
    estimates agree to rounding."""
    readout = random_readout(jr.key(5), 2, 8, mirrored=False)
    alpha = 8**0.5
    model = BalancedSampler(
        TARGET, readout, noise_factor=TARGET.root, cost=alpha, background=alpha,
        drift_at="readout",
    )  # fmt: skip
    shift = PiecewiseConstant([1.0], [[0.0, 0.0], [6.0, 6.0]])
    path = run_by_clock(model, jr.key(6), 60, 0.1, every=20, shift=shift, max_spikes_per_step=most)

    g, root = np.asarray(readout), np.asarray(TARGET.root)
    w = g.T @ g + alpha * np.eye(8)
    gain = root @ root @ np.linalg.inv(np.asarray(TARGET.covariance)) / 0.2
    noise = np.concatenate([jr.normal(k, (20, 2)) for k in jr.split(jr.key(6), 3)])
    v, r, found, count = np.zeros(8), np.zeros(8), [], 0
    for i in range(60):
        mean = 6.0 * (i >= 10) * np.ones(2)
        theta = g @ r
        v = v + 0.1 * (-(v + alpha) / 20 + g.T @ (theta / 20 + gain @ (mean - theta)))
        v = v + g.T @ root @ noise[i] * np.sqrt(2 * 0.1 / 0.2)
        r = r * (1 - 0.1 / 20)
        while True:
            j = np.argmax(v - np.diag(w) / 2)
            if v[j] <= w[j, j] / 2:
                break
            v, count = v - w[:, j], count + 1
            r[j] += 1
            if most == 1:
                break
        if (i + 1) % 20 == 0:
            found.append(g @ r)
    np.testing.assert_allclose(path.estimates, found, atol=1e-10)
    assert int(path.num_spikes.sum()) == count > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(cost=-1.0), "`cost` must be at least 0"),
        (dict(cost=1.0), 'both must be 0 with `drift_at="state"`'),
        (dict(threshold_factor=0.5), "`threshold_factor` must be at least 1"),
        (dict(tau_langevin=0.0), "`tau_langevin` must be positive"),
        (dict(drift_at="there"), '`drift_at` must be "state" or "readout"'),
        (dict(noise_factor=jnp.eye(3)), r"`noise_factor` must have shape \(2, 2\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BalancedSampler(TARGET, jnp.eye(2), **options)


def test_what_diverges_by_the_clock_is_refused():
    """A step at which the scheme is unstable, and a density that is not finite where it starts:
    without a check both end in numbers that look like an estimate."""
    model = BalancedSampler(TARGET, jnp.eye(2), tau_langevin=0.2)
    with pytest.raises(ValueError, match="diverges unless it is less than twice"):
        run_by_clock(model, jr.key(0), 10, 3.0)
    nowhere = LogDensity(lambda x: jnp.sum(jnp.log(x - 5.0)), 2)
    model = BalancedSampler(nowhere, jnp.eye(2))
    with pytest.raises(ValueError, match="became infinite or NaN"):
        run_by_clock(model, jr.key(0), 10, 0.01)


def test_readouts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not reach every one of the 2 directions"):
        BalancedSampler(TARGET, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"`readout` must have shape \(p, K\) with p = 2"):
        BalancedSampler(TARGET, jnp.ones((3, 4)))
    with pytest.raises(TypeError, match="`target` must be"):
        BalancedSampler(1.0, jnp.eye(2))  # pyright: ignore[reportArgumentType]
