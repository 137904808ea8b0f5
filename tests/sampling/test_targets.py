"""Targets, readouts, the Metropolis network and distances from a normal distribution."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.sampling import (
    GaussianTarget,
    LinearGaussianModel,
    LogDensity,
    MetropolisNetwork,
    PiecewiseConstant,
    convergence_time,
    covariance_error,
    equicorrelated_covariance,
    marginal_wasserstein,
    random_readout,
)


def test_a_normal_target():
    covariance = np.asarray(equicorrelated_covariance(3, 0.5, 2.0))
    np.testing.assert_allclose(covariance, np.eye(3) + np.ones((3, 3)), atol=1e-15)
    target = GaussianTarget(1.0, covariance)
    np.testing.assert_allclose(target.root @ target.root, covariance, atol=1e-14)
    np.testing.assert_allclose(target.precision, np.linalg.inv(covariance), atol=1e-14)
    density = LogDensity(lambda x: -0.5 * (x - 1) @ target.precision @ (x - 1), 3)
    x = jnp.asarray([0.3, -1.0, 2.0])
    np.testing.assert_allclose(target.score(x), density.score(x), atol=1e-14)


def test_the_posterior_is_the_conditional_of_the_joint_distribution():
    """Conditioning the joint normal of (x, y) by its Schur complement, in NumPy."""
    prior = GaussianTarget(jnp.asarray([1.0, -1.0]), equicorrelated_covariance(2, 0.3, 2.0))
    h, r = np.asarray([[1.0, 2.0], [0.0, 1.0], [1.0, -1.0]]), np.diag([0.5, 1.0, 2.0])
    y = np.asarray([0.5, 1.0, -2.0])
    found = LinearGaussianModel(prior, h, r).posterior(y)
    c, m = np.asarray(prior.covariance), np.asarray(prior.mean)
    gain = c @ h.T @ np.linalg.inv(h @ c @ h.T + r)
    np.testing.assert_allclose(found.covariance, c - gain @ h @ c, atol=1e-14)
    np.testing.assert_allclose(found.mean, m + gain @ (y - h @ m), atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianTarget(0.0, jnp.ones((2, 2))), "smallest eigenvalue"),
        (lambda: GaussianTarget(0.0, jnp.zeros((0, 0))), "square matrix"),
        (lambda: GaussianTarget(jnp.nan, jnp.eye(2)), "`mean` must be finite"),
        (lambda: GaussianTarget(0.0, jnp.eye(2)).sample(jr.key(0), -1), "`num_samples` must be"),
        (lambda: MetropolisNetwork(GaussianTarget(0.0, jnp.eye(1)), [[jnp.inf]]), "`readout` must"),
        (lambda: covariance_error(jnp.zeros((5, 1)), jnp.eye(2)), "`covariance` must have shape"),
        (lambda: covariance_error(jnp.zeros(5), jnp.eye(2)), r"`samples` has shape \(5,\)"),
        (lambda: marginal_wasserstein(jnp.zeros((0, 2)), 0.0, jnp.eye(2)), "1 or more samples"),
        (lambda: convergence_time([0.1, 0.2], [0.5, 0.9], 0.0), "`target` is 0"),
        (lambda: convergence_time([0.2, 0.1], [0.5, 0.9], 1.0), "`ts` must increase"),
        (lambda: convergence_time([0.1], [0.5], 1.0, share=2), "`share` must be at most 1"),
        (lambda: GaussianTarget(0.0, jnp.asarray([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: GaussianTarget(jnp.zeros(3), jnp.eye(2)), "`mean` must be a number or have"),
        (lambda: equicorrelated_covariance(0, 0.5), "`dim` must be an integer of at least 1"),
        (lambda: equicorrelated_covariance(5, -0.5), "must be above -0.25"),
        (lambda: equicorrelated_covariance(2, 1.0), "`correlation` must be less than 1"),
        (lambda: random_readout(jr.key(0), 2, 5), "it must be even"),
        (lambda: PiecewiseConstant([1.0, 0.5], jnp.zeros((3, 1))), "increase"),
        (lambda: MetropolisNetwork(GaussianTarget(0.0, jnp.eye(1)), jnp.ones((1, 2)), dt0=30.0),
         "less than `tau`"),
        (lambda: LinearGaussianModel(GaussianTarget(0.0, jnp.eye(2)), jnp.ones((1, 3)),
                                     jnp.eye(1)), "`observation_matrix` must have shape"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_metropolis_network_is_the_loop_of_the_source():
    """Against the rules written out in NumPy with the same random numbers; to rounding."""
    target = GaussianTarget(0.0, equicorrelated_covariance(2, 0.75))
    readout = target.root @ random_readout(jr.key(0), 2, 6, scale=0.7)
    network = MetropolisNetwork(target, readout, tau=5.0, dt0=0.1)
    mean = PiecewiseConstant([2.0], [[0.0, 0.0], [1.0, 1.0]])
    path = jax.jit(lambda key: network.run(key, 60, every=20, mean=mean))(jr.key(1))

    g, precision = np.asarray(readout), np.asarray(target.precision)
    keys = [jr.split(k) for k in jr.split(jr.key(1), 3)]
    proposals = np.concatenate([jr.randint(a, (20,), 0, 6, jnp.int32) for a, _ in keys])
    log_u = np.log(np.concatenate([jr.uniform(b, (20,), minval=1e-300) for _, b in keys]))
    theta, found, count = np.zeros(2), [], 0
    for i in range(60):
        mu = np.ones(2) * (i >= 20)
        j = proposals[i]
        v = g[:, j] @ precision @ (mu - theta)
        if log_u[i] < v - g[:, j] @ precision @ g[:, j] / 2:
            theta, count = theta + g[:, j], count + 1
        theta = 0.98 * theta
        if (i + 1) % 20 == 0:
            # the potentials have seen one leak more than the readout
            found.append(theta / 0.98)
    np.testing.assert_allclose(path.estimates, found, atol=1e-12)
    assert int(path.num_spikes.sum()) == count > 10


def test_without_a_leak_its_stationary_law_is_the_target():
    """200 networks of two neurons after 400 proposals each, against the law on the lattice that two
    mirrored columns reach, whose variance is that of exp(-x^2/2) summed over multiples of 0.8;
    within four standard errors, sqrt(2/200) of the variance each."""
    target = GaussianTarget(0.0, jnp.eye(1))
    network = MetropolisNetwork(target, jnp.asarray([[0.8, -0.8]]), tau=float("inf"), dt0=1.0)
    run = jax.jit(jax.vmap(lambda key: network.run(key, 400, every=400).estimates[-1, 0]))
    found = np.asarray(run(jr.split(jr.key(2), 200)))
    lattice = 0.8 * np.arange(-10, 11)
    weight = np.exp(-(lattice**2) / 2)
    variance = (lattice**2 * weight).sum() / weight.sum()
    assert abs(found.var() - variance) < 4 * variance * (2 / 200) ** 0.5
    assert abs(found.mean()) < 4 * (variance / 200) ** 0.5


def test_distances_of_samples_from_a_normal_distribution():
    """Samples at the quantiles themselves have distance 0, and shifted by 2 in one of two
    dimensions the distance sqrt(2)."""
    levels = (np.arange(100) + 0.5) / 100
    quantiles = np.asarray(jax.scipy.special.ndtri(levels))
    samples = jnp.asarray(np.stack([quantiles, 3 * quantiles + 2], -1))
    covariance = jnp.diag(jnp.asarray([1.0, 9.0]))
    np.testing.assert_allclose(
        marginal_wasserstein(samples, jnp.asarray([0.0, 2.0]), covariance), 0, atol=1e-12
    )
    np.testing.assert_allclose(
        marginal_wasserstein(samples, jnp.zeros(2), covariance), 2**0.5, rtol=1e-12
    )
    np.testing.assert_allclose(
        covariance_error(samples, jnp.zeros((2, 2))), (np.cov(np.asarray(samples).T) ** 2).sum()
    )


def test_convergence_time_of_an_exponential_approach():
    ts = jnp.arange(1.0, 1001.0) * 0.01
    curve = 3 * (1 - jnp.exp(-ts / 2))
    np.testing.assert_allclose(convergence_time(ts, curve, 3.0, 1 - np.exp(-1)), 2, rtol=1e-4)
    assert convergence_time(ts, curve, 30.0) == jnp.inf
    assert jnp.isnan(convergence_time(ts, curve * jnp.nan, 3.0))
    # numbers of Python and NumPy, whole ones too
    np.testing.assert_allclose(convergence_time([1, 2], np.array([1, 3]), np.int64(4), 0.5), 1.5)
    np.testing.assert_allclose(PiecewiseConstant([0.5], [[0], [1]])(0.7), [1.0])
    # a step of a solver that ends where it steps sees it before, and the next one after
    step, before, at, after = PiecewiseConstant([0.5], [[0.0], [1.0]]), *jnp.array([0.4, 0.5, 0.6])
    np.testing.assert_array_equal(step.within(before, at)(at), [0.0])
    np.testing.assert_array_equal(step.within(at, after)(at), [1.0])
