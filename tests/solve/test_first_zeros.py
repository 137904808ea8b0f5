"""The first zero of smooth event functions, and upward crossings without a reset."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs
from experiments.benchmarks import event_search

KEY = jax.random.key(0)


@pytest.mark.parametrize("make", [event_search._waves, event_search._parabolas])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_none_at_a_wrong_zero_and_none_missed(make, dtype):
    """Waves whose shortest period is four steps, and humps that end within rounding of a step."""
    with jax.enable_x64(dtype == jnp.float64):
        wrong, missed, events = event_search._functions(make, 3000, dtype, seed=3)
    assert wrong == missed == 0
    assert events > 500


@pytest.mark.parametrize("kind", ["inputs", "delays"])
def test_networks_without_noise_agree_with_an_event_loop(kind):
    wrong, missed, spikes = event_search._networks(kind, 12, jnp.float64, seed=5)
    assert wrong == missed == 0
    assert spikes > 100


def test_upward_crossings_without_a_reset():
    """A sine fires once a period, also where it starts above zero, and the state goes on."""
    sde = rs.EventSDE(
        drift_fn=lambda t, y, shift: jnp.cos(t + shift)[None],
        event_fn=lambda t, y, shift: jnp.sin(t + shift)[None],
        crossings=True,
    )

    def times(shift):
        return rs.eventsolve(
            sde, 0.0, 20.0, 0.3, jnp.zeros(1), key=KEY, max_events=5, args=shift, solver=dfx.Heun()
        ).event_times

    for shift in (-0.3, 0.4, 2.0, 4.0):
        exact = 2 * np.pi * np.arange(4) - shift
        exact = exact[(exact > 0) & (exact < 20)]
        found, slope = jax.jvp(times, (jnp.asarray(shift),), (jnp.asarray(1.0),))
        np.testing.assert_allclose(found[: len(exact)], exact, rtol=1e-12)
        assert np.all(np.isinf(found[len(exact) :]))
        np.testing.assert_allclose(slope[: len(exact)], -1.0, rtol=1e-9)
