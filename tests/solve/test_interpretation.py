"""The equation that was written is the equation that is solved: Stratonovich, or Ito by name."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import roughsnn as rs

GEOMETRIC = rs.EventSDE(
    drift_fn=lambda t, y, args: 0 * y,
    event_fn=lambda t, y, args: -1 - y**2,
    transition_fn=lambda t, y, k, u, args: y,
    diffusion_fn=lambda t, y, args: y[:, None],
    noise=(1,),
)
ADDITIVE = rs.EventSDE(
    drift_fn=lambda t, y, args: -y,
    event_fn=lambda t, y, args: -1 - y**2,
    transition_fn=lambda t, y, k, u, args: y,
    diffusion_fn=lambda t, y, args: jnp.ones((1, 1)),
    noise=(1,),
)


def final(sde, driver, **settings):
    return rs.eventsolve(
        sde, 0.0, 1.0, driver.grid.dt0, jnp.ones(1), key=jr.key(0), max_events=1, driver=driver,
        **settings,
    ).final_state[0]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "correction"),
    [({}, 0.0), (dict(interpretation="ito"), 0.5), (dict(solver=dfx.Tsit5()), 0.0)],
)
def test_a_geometric_brownian_motion_is_that_of_the_calculus(settings, correction):
    r"""$y_1 = e^{B_1}$ (Stratonovich) and $e^{B_1 - 1/2}$ (Ito), path by path: the mean relative
    error, of order $\sqrt{h}$ for Euler's steps, against a gap of 0.65 and 0.39 between the two."""

    @jax.jit
    def one(key):
        driver = rs.BrownianGrid(0.0, 1.0, 1 / 256, (1,), key)
        return final(GEOMETRIC, driver, **settings), jnp.exp(driver.evaluate(0.0, 1.0)[0])

    found, path = (np.asarray(x) for x in jax.vmap(one)(jr.split(jr.key(1), 100)))
    exact = path * np.exp(-correction)
    assert np.mean(np.abs(found / exact - 1)) < 0.06


def test_a_solver_of_the_other_calculus_is_refused():
    driver = rs.BrownianGrid(0.0, 1.0, 0.1, (1,), jr.key(0))
    with pytest.raises(ValueError, match="`solver` Euler converges to the Ito solution"):
        final(GEOMETRIC, driver, solver=dfx.Euler())
    with pytest.raises(ValueError, match="`solver` converges to the Stratonovich"):
        final(GEOMETRIC, driver, solver=dfx.Heun(), interpretation="ito")
    with pytest.raises((ValueError, TypeError), match="interpretation"):
        final(GEOMETRIC, driver, interpretation="both")
    # where they are the same, and along a path that is smooth enough, either will do
    final(ADDITIVE, driver, solver=dfx.Euler())
    smooth = rs.FractionalBrownianGrid(0.0, 1.0, 0.1, (1,), jr.key(0), hurst=0.8)
    final(GEOMETRIC, smooth, solver=dfx.Euler())


def test_a_model_names_its_solver():
    """Neurons with a hard threshold: spikes of second order in the step without being asked."""
    neuron = rs.LIF(1, mu1=10.0, mu2=0.0)
    exact = np.log(1.5 / 0.5) / 10

    def error(**settings):
        times = rs.simulate(
            neuron, 0.0, 0.2, 0.01, key=jr.key(0), num_samples=1, max_spikes=3, input_current=1.5,
            **settings,
        ).times  # fmt: skip
        return abs(float(times[0, 0]) - exact)

    assert error() == error(solver=dfx.Heun()) < 0.1 * error(solver=dfx.Euler())
    network = rs.SpikingNetwork(neuron, jnp.zeros((1, 1)))
    assert isinstance(network.default_solver, dfx.Heun)
    assert rs.StochasticLIF().default_solver is None
