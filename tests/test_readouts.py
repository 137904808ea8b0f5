"""Leaky readouts against their sums over spikes in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roughsnn as rs

RNG = np.random.default_rng(1)
TIMES = [np.sort(RNG.uniform(0.05, 2.0, n)) for n in (7, 4, 0)]
WHO = [RNG.integers(0, 3, t.size) for t in TIMES]
END = 2.0
TRAINS = rs.SpikeTrains.from_lists(
    list(zip(TIMES, WHO, strict=True)), t0=0.0, t1=END, num_neurons=3
)
WEIGHTS = RNG.normal(0.2, 1.0, (3, 2))
# the second of the readouts has equal rates
LEAK, DECAY, BIAS = np.array([1.5, 4.0]), np.array([6.0, 4.0]), np.array([0.3, -0.2])
READOUT = rs.LeakyReadout(WEIGHTS, mu1=LEAK, mu2=DECAY, bias=BIAS)


def response(t):
    """What a spike of weight one does to both readouts a time later."""
    t = np.asarray(t)[..., None]
    apart = np.where(LEAK == DECAY, 1, LEAK - DECAY)
    found = LEAK * (np.exp(-DECAY * t) - np.exp(-LEAK * t)) / apart
    found = np.where(LEAK == DECAY, LEAK * t * np.exp(-LEAK * t), found)
    return np.where(t > 0, found, 0)


def summed(trial, at):
    """Potentials at these times by their sum."""
    found = BIAS * np.exp(-LEAK * at[:, None])
    for time, neuron in zip(TIMES[trial], WHO[trial], strict=True):
        found = found + WEIGHTS[neuron] * response(at - time)
    return found


def test_potentials_and_what_is_made_of_them():
    """Maximum and mean to the error of a fine grid, which is of second order in its step of 2e-5;
    everything else to rounding."""
    at = np.linspace(0.0, END, 100_001)
    few = at[::5_000]
    potentials = READOUT.potentials(TRAINS, few)
    for trial in range(3):
        exact = summed(trial, at)
        np.testing.assert_allclose(potentials[trial], exact[::5_000], atol=1e-13)
        np.testing.assert_allclose(READOUT.last(TRAINS)[trial], exact[-1], atol=1e-13)
        # (a top may be a kink, at a spike)
        top = np.maximum(exact.max(axis=0), summed(trial, TIMES[trial]).max(axis=0, initial=-9))
        np.testing.assert_allclose(READOUT.maximum(TRAINS)[trial], top, atol=1e-8)
        mean = np.trapezoid(exact, at, axis=0) / END
        np.testing.assert_allclose(READOUT.mean(TRAINS)[trial], mean, atol=1e-8)
    np.testing.assert_allclose(READOUT.last(TRAINS[1]), summed(1, np.array([END]))[0], atol=1e-13)


@pytest.mark.parametrize("name", ["maximum", "mean", "last"])
def test_derivatives_in_spike_times_and_parameters(name):
    """Central differences of step 1e-6, to 1e-7."""

    @jax.jit
    def value(readout, times):
        trains = TRAINS.with_spikes(times, TRAINS.neurons)
        return jnp.sum(jnp.sin(getattr(readout, name)(trains)))

    times = jnp.where(TRAINS.mask, TRAINS.times, END)
    slopes = jax.jit(jax.grad(value, argnums=(0, 1)))(READOUT, times)
    rng = np.random.default_rng(0)
    move = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), (READOUT, times))
    move = (move[0], jnp.where(TRAINS.mask, move[1], 0))

    def moved(step):
        return value(*jax.tree.map(lambda x, d: x + step * d, (READOUT, times), move))

    product = sum(
        float(jnp.sum(g * d))
        for g, d in zip(jax.tree.leaves(slopes), jax.tree.leaves(move), strict=True)
    )
    difference = float(moved(1e-6) - moved(-1e-6)) / 2e-6
    assert product == pytest.approx(difference, abs=1e-7)
    assert abs(product) > 1e-3


def test_single_precision_and_misuse():
    with jax.enable_x64(False):
        trains = rs.SpikeTrains.from_lists(
            list(zip(TIMES, WHO, strict=True)), t0=0.0, t1=END, num_neurons=3
        )
        single = rs.LeakyReadout(
            WEIGHTS.astype(np.float32), mu1=LEAK.astype(np.float32), mu2=DECAY, bias=BIAS
        )
        found = [x(trains) for x in (single.maximum, single.mean, single.last)]
    expected = [x(TRAINS) for x in (READOUT.maximum, READOUT.mean, READOUT.last)]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=3e-6)
        # trains decide which precision it is
        mixed = rs.LeakyReadout(WEIGHTS, mu1=LEAK, mu2=DECAY, bias=BIAS)
        np.testing.assert_array_equal(mixed.last(trains), single.last(trains))
    narrow = eqx.filter_jit(lambda x: single.last(x))(TRAINS)
    assert narrow.dtype == jnp.float64
    for times in ([-0.1], [0.0, 1.01 * END], [np.nan]):
        with pytest.raises(ValueError, match="must lie in the window of every train"):
            READOUT.potentials(TRAINS, np.array(times))
    with pytest.raises(ValueError, match="`mu2` must be at least 0, got -1"):
        rs.LeakyReadout(WEIGHTS, mu2=-1.0)
    with pytest.raises(ValueError, match="`weights` must be finite"):
        rs.LeakyReadout(WEIGHTS * np.nan)
    with pytest.raises(ValueError, match="`weights` has rows for 3"):
        READOUT.last(TRAINS.select([0]))
    with pytest.raises(ValueError, match="`mu1` must be a number"):
        rs.LeakyReadout(WEIGHTS, mu1=np.ones(3))
    assert len(jax.tree.leaves(eqx.filter(READOUT, eqx.is_inexact_array))) == 4
