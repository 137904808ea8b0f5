import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.losses import FirstSpikesLoss
from roughsnn.spikes import SpikeTrains
from tests.helpers import finite_difference_gradient
from tests.strategies import MAX_SPIKES, given_trains

LOSSES = [
    FirstSpikesLoss(3, error=error, missing=missing)
    for error in ("squared", "absolute")
    for missing in ("extrapolate", "horizon")
]
call = eqx.filter_jit(lambda loss, generated, observed: loss(generated, observed))


@eqx.filter_jit
def gradient(loss, generated, observed):
    def of_times(times):
        return loss(eqx.tree_at(lambda x: x.times, generated, times), observed)

    return jax.grad(of_times)(generated.times)


@eqx.filter_jit
def third_gradient(loss, generated):
    """Derivative of the mean third spike time."""

    def of_times(times):
        return loss.summary(eqx.tree_at(lambda x: x.times, generated, times))[0, 2]

    return jax.grad(of_times)(generated.times)


def trains_of(*trials, t1=5.0) -> SpikeTrains:
    """Trials of one neuron on [0, t1], with room for three spikes."""
    return SpikeTrains.from_lists([[list(x)] for x in trials], t0=0.0, t1=t1, max_spikes=3)


def test_errors_of_mean_times_when_all_spikes_occur():
    generated, observed = trains_of([1, 2, 3], [2, 3, 4]), trains_of([1, 2, 5])
    # Means 1.5, 2.5, 3.5 against 1, 2, 5.
    for missing in ("extrapolate", "horizon"):
        squared = FirstSpikesLoss(3, missing=missing)
        absolute = FirstSpikesLoss(3, error="absolute", missing=missing)
        np.testing.assert_allclose(call(squared, generated, observed), (0.25 + 0.25 + 2.25) / 3)
        np.testing.assert_allclose(call(absolute, generated, observed), 2.5 / 3)


def test_missing_spikes_by_each_rule():
    trains = trains_of([1.0, 3.0], [])
    # Two spikes in a mean interval of 1.5, then one after the horizon; the silent train has the
    # window itself as its interval.
    extrapolated = FirstSpikesLoss(3).summary(trains)
    np.testing.assert_allclose(extrapolated, [[(1 + 10) / 2, (3 + 15) / 2, (6.5 + 20) / 2]])
    horizon = FirstSpikesLoss(3, missing="horizon").summary(trains)
    np.testing.assert_allclose(horizon, [[(1 + 5) / 2, (3 + 5) / 2, 5.0]])


def test_neurons_are_averaged():
    trials = [[[1.0], [2.0, 3.0]]]
    generated = SpikeTrains.from_lists(trials, t0=0.0, t1=5.0)
    observed = SpikeTrains.from_lists([[[1.5], [2.0]]], t0=0.0, t1=5.0)
    loss = FirstSpikesLoss(1, error="absolute")
    np.testing.assert_allclose(call(loss, generated, observed), 0.25)


def test_the_gradient_is_usable_when_most_trains_miss_the_last_spike():
    """One spike at 4 in most trains: only extrapolation tells that spikes must come earlier."""
    generated = trains_of(*[[4.0]] * 9, [1.0, 2.0, 3.0])
    observed = trains_of([1.0, 2.0, 3.0])
    for last, missing in ((0.0, "horizon"), (1.0, "extrapolate")):
        of_third = third_gradient(FirstSpikesLoss(3, missing=missing), generated)
        assert np.all(np.isfinite(of_third))
        assert np.all((of_third[:9, 0] > 0) == bool(last))
        np.testing.assert_array_equal(of_third[:9, 1:], 0.0)
    usable = gradient(FirstSpikesLoss(3), generated, observed)
    weak = gradient(FirstSpikesLoss(3, missing="horizon"), generated, observed)
    assert np.all(usable[:9, 0] > 2 * weak[:9, 0])
    assert np.all(weak[:9, 0] > 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_equals_central_differences(loss):
    # Piecewise polynomial with no kink within the step of 1e-5: errors are rounding, 1e-10.
    generated = trains_of([1.1, 3.2], [2.3], [], [0.4, 1.5, 4.6])
    observed = trains_of([1.0, 2.0, 3.0], [2.0])
    infinite = jnp.isinf(generated.times)

    @jax.jit
    def f(times):
        times = jnp.where(infinite, jnp.inf, times)
        return loss(eqx.tree_at(lambda x: x.times, generated, times), observed)

    times = jnp.where(infinite, 0.0, generated.times)
    np.testing.assert_allclose(
        gradient(loss, generated, observed), finite_difference_gradient(f, times), atol=1e-8
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_finite_and_zero_for_identical_samples(loss):
    other = SpikeTrains.from_lists(
        [[[0.5], [], [0.25, 0.75]]] * 3, t0=0.0, t1=1.0, max_spikes=MAX_SPIKES
    )

    @given_trains()
    def check(trains):
        assert call(loss, trains, trains) < 1e-15
        assert np.all(np.isfinite(gradient(loss, trains, trains)))
        assert np.all(np.isfinite(gradient(loss, trains, other)))

    check()


@given_trains()
def test_shifting_both_samples_changes_nothing(trains):
    @jax.jit
    def shifted(x):
        return SpikeTrains(x.times, x.neurons, 2.0, 3.0, num_neurons=x.num_neurons)

    other = trains[jnp.array([2, 0, 2])]
    for loss in LOSSES:
        np.testing.assert_allclose(
            call(loss, shifted(trains), shifted(other)), call(loss, trains, other), atol=1e-12
        )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_dtype_and_silent_samples(loss, dtype):
    silent = SpikeTrains.from_lists([[[]]], t0=0.0, t1=1.0, dtype=dtype)
    spike = SpikeTrains.from_lists([[[0.5]]], t0=0.0, t1=1.0, dtype=dtype)
    value = call(loss, silent, spike)
    assert value.dtype == dtype
    assert value > 0
    assert gradient(loss, silent, spike).shape == (1, 0)


def test_target_stands_for_the_data():
    generated, observed = trains_of([1.0], [2.0, 3.0]), trains_of([1.0, 2.0, 3.0])
    loss = FirstSpikesLoss(3)
    assert call(loss, generated, loss.target(observed)) == call(loss, generated, observed)
    with pytest.raises(ValueError, match=r"`observed` is a target of shape \(1, 3\)"):
        FirstSpikesLoss(2)(generated, loss.target(observed))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "`n` is 0; it must be 1 or more"),
        ({"n": -2}, "`n` is -2"),
        ({"n": 1, "error": "cubic"}, "`error` is 'cubic'; it must be 'squared' or 'absolute'"),
        ({"n": 1, "missing": "drop"}, "it must be 'extrapolate' or 'horizon'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FirstSpikesLoss(**settings)


def test_bad_samples():
    loss = FirstSpikesLoss(2)
    with pytest.raises(ValueError, match="`generated` holds no train"):
        loss(trains_of([1.0])[:0], trains_of([1.0]))
    with pytest.raises(ValueError, match="windows of different lengths"):
        loss(trains_of([1.0]), trains_of([1.0], t1=4.0))
