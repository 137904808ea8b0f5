"""Fractional Brownian motion: its law, and what it may drive."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs


def _paths(hurst, n=16, count=20_000):
    def one(key):
        return rs.FractionalBrownianGrid(0.0, 1.0, 1 / n, (1,), key, hurst=hurst).increments[:, 0]

    return np.asarray(jax.vmap(one)(jr.split(jr.key(0), count)))


@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.8])
def test_the_covariance_is_that_of_the_definition(hurst):
    increments = _paths(hurst)
    values = np.cumsum(increments, axis=1)
    t = np.arange(1, 17) / 16
    s, r = t[:, None], t[None, :]
    exact = 0.5 * (s ** (2 * hurst) + r ** (2 * hurst) - np.abs(s - r) ** (2 * hurst))
    # 20,000 samples: the standard error of an entry is below sqrt(2) / sqrt(20,000) = 0.01
    np.testing.assert_allclose(values.T @ values / len(values), exact, atol=0.04)
    # total variance exactly as many standard errors as a good generator shows
    assert abs(np.var(values[:, -1]) - 1) < 4 * np.sqrt(2 / len(values))


def test_components_are_independent_and_the_path_is_linear_in_a_cell():
    path = rs.FractionalBrownianGrid(0.0, 2.0, 0.5, (3,), jr.key(1), hurst=0.7)
    assert path.increments.shape == (4, 3)
    np.testing.assert_allclose(path.evaluate(0.25), path.increments[0] / 2, rtol=1e-12)
    np.testing.assert_allclose(
        path.evaluate(0.5, 1.5), path.increments[1] + path.increments[2], rtol=1e-12
    )


def _linear(with_state):
    return rs.EventSDE(
        drift_fn=lambda t, y, args: jnp.zeros_like(y),
        event_fn=lambda t, y, args: y - 1e6,
        transition_fn=lambda t, y, k, u, args: y,
        diffusion_fn=lambda t, y, args: y[:, None] if with_state else jnp.ones((1, 1)),
        noise=(1,),
    )


def test_a_young_equation_has_its_closed_form():
    # dy = y dB^H with H > 1/2 is y0 exp(B^H) by the ordinary chain rule
    import diffrax as dfx

    errors = []
    for n in (64, 256):
        driver = rs.FractionalBrownianGrid(0.0, 1.0, 1 / n, (1,), jr.key(2), hurst=0.75)
        end = rs.eventsolve(
            _linear(True), 0.0, 1.0, 1 / n, jnp.ones(1), key=jr.key(0), max_events=1,
            driver=driver, solver=dfx.Heun(),
        ).final_state  # fmt: skip
        exact = jnp.exp(driver.evaluate(0.0, 1.0))
        errors.append(float(jnp.abs(end / exact - 1)[0]))
    # local error h^(3H), so n^(1 - 3H) over all: a factor of 4^1.25 = 5.7 for a smooth worst case
    assert errors[1] < 0.5 * errors[0] < 0.05


def test_rough_paths_drive_constant_fields_only():
    driver = rs.FractionalBrownianGrid(0.0, 1.0, 0.25, (1,), jr.key(3), hurst=0.3)
    kwargs = dict(key=jr.key(0), max_events=1, driver=driver)
    end = rs.eventsolve(_linear(False), 0.0, 1.0, 0.25, jnp.zeros(1), **kwargs).final_state
    np.testing.assert_allclose(end, driver.increments.sum(0), rtol=1e-12)
    with pytest.raises(ValueError, match=r"hurst=0\.3"):
        rs.eventsolve(_linear(True), 0.0, 1.0, 0.25, jnp.ones(1), **kwargs)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(hurst=1.0), "`hurst`"),
        (dict(hurst=0.0), "`hurst`"),
        (dict(shape=(-1,)), "`shape`"),
        (dict(t1=1.1), "whole number"),
    ],
)
def test_refused(changes, text):
    kwargs = dict(t0=0.0, t1=1.0, dt0=0.25, shape=(1,), key=jr.key(0), hurst=0.5) | changes
    with pytest.raises(ValueError, match=text):
        rs.FractionalBrownianGrid(**kwargs)


def test_a_spiking_neuron_driven_by_it_has_exact_derivatives():
    neuron = rs.StochasticLIF(1, sigma=0.4)
    driver = rs.FractionalBrownianGrid(0.0, 1.0, 0.02, (1,), jr.key(4), hurst=0.3)
    y0 = neuron.initial_state(jr.key(5))

    @jax.jit
    def first(c):
        return rs.eventsolve(
            neuron, 0.0, 1.0, 0.02, y0, key=jr.key(6), max_events=9, args=c, driver=driver
        ).event_times[0]

    h = 1e-6
    difference = (first(1.5 + h) - first(1.5 - h)) / (2 * h)
    # the discretised path is smooth in c away from grid points: differences of order h^2
    np.testing.assert_allclose(jax.grad(first)(1.5), difference, rtol=1e-6)
