"""Laws of the noise, by name from `simulate`: the paths they draw and how these act."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs
from roughsnn.drivers import TimeGrid

GRID = TimeGrid(0.0, 1.0, 0.05)
NEURON = rs.StochasticLIF(1, mu1=10.0, sigma=0.3, v_reset=1.0, beta=3.0, tau_s=0.2)
INCREMENT = {"levy_area": dfx.BrownianIncrement, "stored": True}
LAWS = {
    "brownian": rs.BrownianNoise(),
    "rough": rs.FractionalNoise(0.3),
    "smooth": rs.FractionalNoise(0.7),
    "refined": rs.RefinedNoise(4),
    "jumps": rs.PoissonNoise(6.0, jump_sizes=lambda key: 0.5 * jr.normal(key)),
    "sum": rs.BrownianNoise() + rs.PoissonNoise(3.0),
}


def increments(law, shape=(), n=20_000):
    """The increments over the cells, drawn often."""

    def one(key):
        driver = law.path(GRID, shape, key, **INCREMENT)
        assert driver.grid == GRID
        ends = jnp.arange(21.0) * 0.05
        return jax.vmap(lambda a, b: driver.evaluate(a, b))(ends[:-1], ends[1:])

    return np.asarray(jax.jit(jax.vmap(one))(jr.split(jr.key(0), n)))


@pytest.mark.parametrize("name", LAWS)
def test_variances_and_covariances_of_increments(name):
    """Of neighbouring increments, to five standard errors: (2^2H - 2) / 2 for fractional noise."""
    found = increments(LAWS[name])
    n, h = len(found), 0.05
    hurst = {"rough": 0.3, "smooth": 0.7}.get(name, 0.5)
    expected = {"jumps": 6 * 0.25 * h, "sum": h + 3 * h}.get(name, h ** (2 * hurst))
    mean = 3 * h if name == "sum" else 0.0
    fourth = np.mean((found - mean) ** 4)
    assert np.all(np.abs(found.mean(0) - mean) < 5 * np.sqrt(expected / n))
    assert np.all(np.abs(found.var(0) - expected) < 5 * np.sqrt(fourth / n))
    covariance = np.mean((found[:, 1:] - mean) * (found[:, :-1] - mean), axis=0)
    wanted = 0.5 * (2 ** (2 * hurst) - 2) * h ** (2 * hurst)
    assert np.all(np.abs(covariance - wanted) < 5 * np.sqrt(fourth / n))


def simulate(law, t0=0.0, **settings):
    return rs.simulate(
        NEURON, t0, t0 + 1.0, 0.05, key=jr.key(2), num_samples=5, max_spikes=20,
        input_current=1.2, noise=law, **settings,
    )  # fmt: skip


def test_brownian_motion_is_the_default():
    np.testing.assert_array_equal(simulate(rs.BrownianNoise()).times, simulate(None).times)


@pytest.mark.parametrize("name", ["smooth", "sum"])
def test_windows_that_begin_elsewhere_have_the_same_noise(name):
    law = LAWS[name]
    np.testing.assert_array_equal(simulate(law).times, simulate(law, t0=36_000.0).times)


def test_the_refined_path_is_one_path_whatever_the_step():
    """A solve in steps of 4 fine cells, and one in fine cells, to the order of the step: with other
    noise the times differ by more."""
    coarse = simulate(rs.RefinedNoise(16)).times
    fine = rs.simulate(
        NEURON, 0.0, 1.0, 0.0125, key=jr.key(2), num_samples=5, max_spikes=20,
        input_current=1.2, noise=rs.RefinedNoise(4),
    ).times  # fmt: skip
    gap = np.abs(np.asarray(coarse[:, 0]) - np.asarray(fine[:, 0]))
    assert np.max(gap) < 0.025
    other = np.asarray(simulate(rs.BrownianNoise()).times[:, 0])
    assert np.max(np.abs(other - np.asarray(fine[:, 0]))) > 0.05


def test_poisson_noise_moves_the_potential_by_its_jumps():
    """The mean of an Ornstein-Uhlenbeck process driven by a Poisson process of rate r,
    c + (r sigma / mu1)(1 - e^(-mu1 t)), to five standard errors and the order of the step; and its
    derivative in the rate."""
    neuron = rs.StochasticLIF(1, mu1=4.0, sigma=0.2, v_th=50.0, v0=0.5)

    def final(rate):
        out = rs.simulate_solution(
            neuron, 0.0, 1.0, 0.02, key=jr.key(1), num_samples=4000, max_spikes=1,
            input_current=0.5, noise=rs.PoissonNoise(rate, max_jumps=24),
        )  # fmt: skip
        return jnp.mean(out.final_state.v), out.final_state.v

    (_, v), slope = jax.value_and_grad(final, has_aux=True)(5.0)
    share = (1 - np.exp(-4.0)) / 4.0
    assert abs(v.mean() - (0.5 + 5.0 * 0.2 * share)) < 5 * v.std() / np.sqrt(4000)
    # a jump that enters at the end is not seen along the path: the derivative misses its part
    entering = 0.2
    assert abs(slope - (0.2 * share - entering)) < 0.05


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        (dict(noise=0.7), TypeError, "noise"),
        (dict(noise=rs.FractionalNoise(0.7), model=rs.LIF(1)), ValueError, "`noise` is given"),
        (dict(noise=rs.FractionalNoise(0.7), dt0=0.3), ValueError, "whole number of cells"),
        (dict(noise=rs.RefinedNoise(2), dt0=0.3), ValueError, "whole number of steps"),
    ],
)
def test_misuse_is_refused(settings, error, match):
    model, dt0 = settings.pop("model", NEURON), settings.pop("dt0", 0.05)
    with pytest.raises(error, match=match):
        rs.simulate(model, 0.0, 1.0, dt0, key=jr.key(0), num_samples=1, max_spikes=5, **settings)


def test_laws_refuse_their_own_arguments():
    with pytest.raises(ValueError, match="`hurst` must lie in"):
        rs.FractionalNoise(1.0)
    with pytest.raises(ValueError, match="`bridge` must be"):
        rs.BrownianNoise("cubic")
    with pytest.raises(ValueError, match="`factor`"):
        rs.RefinedNoise(0)
    with pytest.raises(ValueError, match="`max_jumps` must be given"):
        jax.jit(lambda rate: simulate(rs.PoissonNoise(rate)).times)(3.0)
    with pytest.raises(TypeError):
        rs.BrownianNoise() + 1.0
