"""Losses of the signature kernel: against Grams, against differences, and in training."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import roughsnn as rs
import roughsnn.losses.kernel_loss as kernel_loss
from roughsnn.losses import SignatureMMDLoss, SignatureScoreLoss
from roughsnn.signatures import SignatureKernel, mean_within, mmd2_from_grams
from roughsnn.spikes import SpikeTrains
from tests.helpers import directional_derivative, random_direction

# Trains with a tie, with no spike, with shared starts and with identical trains.
TRIALS = [
    [[0.2, 0.7], [0.5]],
    [[], []],
    [[0.2, 0.7], [0.5]],
    [[0.4], [0.4, 0.9]],
]
OTHERS = [[[0.2, 0.7], [0.5]], [[0.1], [0.6]], [[], [0.3]]]

KERNEL = SignatureKernel(1.0, 0.6, tolerance=1e-13, max_simultaneous=2)
NORMALISED = SignatureKernel(1.0, 0.6, normalise=True, tolerance=1e-13, max_simultaneous=2)
LOSSES = [SignatureMMDLoss(KERNEL, "biased"), SignatureScoreLoss(NORMALISED)]
call = eqx.filter_jit(lambda loss, generated, observed: loss(generated, observed))


@pytest.fixture(scope="module")
def generated() -> SpikeTrains:
    return SpikeTrains.from_lists(TRIALS, t0=0.0, t1=1.0, max_spikes=4)


@pytest.fixture(scope="module")
def observed() -> SpikeTrains:
    return SpikeTrains.from_lists(OTHERS, t0=0.0, t1=1.0, max_spikes=4)


@pytest.mark.parametrize("kernel", [KERNEL, NORMALISED])
def test_values_are_those_of_the_grams(kernel, generated, observed):
    grams = kernel(generated), kernel(observed), kernel(generated, observed)
    for estimator in ("unbiased", "biased"):
        loss = SignatureMMDLoss(kernel, estimator)
        exact = mmd2_from_grams(*grams, estimator)
        np.testing.assert_allclose(loss(generated, observed), exact, rtol=1e-9, atol=1e-13)
    score = mean_within(grams[0]) - 2 * jnp.mean(grams[2])
    np.testing.assert_allclose(SignatureScoreLoss(kernel)(generated, observed), score, rtol=1e-12)
    one = mean_within(grams[0]) - 2 * jnp.mean(grams[2][:, 0])
    value = SignatureScoreLoss(kernel)(generated, observed[:1])
    np.testing.assert_allclose(value, one, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_finite_and_equals_differences(loss, generated, observed):
    """At identical trains, empty trains and a tie inside one train; step 1e-5, error 1e-6.

    The tie stays one: the direction moves both of its spikes alike, as a simultaneous jump goes
    along the diagonal and two jumps one after the other do not.
    """
    target = loss.target(observed)

    @eqx.filter_jit
    def value(times):
        filled = jnp.where(generated.mask, times, jnp.inf)
        return loss(eqx.tree_at(lambda x: x.times, generated, filled), target)

    times = jnp.where(generated.mask, generated.times, 0.0)
    gradient = jax.jit(jax.grad(value))(times)
    assert np.all(np.isfinite(gradient))
    assert np.any(np.asarray(gradient) != 0)
    np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(generated.mask)], 0.0)
    direction = np.array(random_direction(times))
    direction[3, 1] = direction[3, 0]
    exact = jnp.sum(gradient * direction)
    difference = directional_derivative(value, times, jnp.asarray(direction))
    np.testing.assert_allclose(exact, difference, rtol=1e-6, atol=1e-9)


def test_identical_samples_have_biased_loss_zero_with_gradient_zero(generated):
    loss = LOSSES[0]

    @eqx.filter_jit
    def value(times):
        return loss(eqx.tree_at(lambda x: x.times, generated, times), generated)

    result, gradient = eqx.filter_value_and_grad(value)(generated.times)
    np.testing.assert_allclose(result, 0.0, atol=1e-12)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-10)


def test_a_target_gives_the_same_and_keeps_the_kernel(generated, observed):
    for loss in (SignatureMMDLoss(), SignatureScoreLoss(SignatureKernel(normalise=True))):
        loss = eqx.tree_at(lambda x: x.kernel, loss, _with_ties(loss.kernel))
        target = loss.target(observed)
        assert target.kernel.is_fixed
        np.testing.assert_allclose(loss(generated, target), loss(generated, observed), rtol=1e-12)
        # The scale is that of the observed sample alone.
        np.testing.assert_allclose(target.kernel.neuron_scale, 1 / np.sqrt(6 / 3), rtol=1e-12)


@pytest.mark.parametrize("where", ["closed over", "an argument"])
def test_a_loss_inside_jit_is_as_exact_as_outside(generated, observed, where):
    """A window five units of the kernel long needs more orders than one unit does; jit hides it.

    Tolerance: twice that of the kernel, as orders may differ by one.
    """
    loss = SignatureMMDLoss(SignatureKernel(5.0, 1.3, normalise=True, max_simultaneous=2))
    target = loss.target(observed)
    if where == "closed over":
        inside = jax.jit(lambda times: loss(_with_times(generated, times), observed))
        value = inside(generated.times)
    else:
        value = jax.jit(loss)(generated, target)
    np.testing.assert_allclose(value, loss(generated, observed), atol=2e-6)


def _with_times(trains, times):
    return eqx.tree_at(lambda t: t.times, trains, times)


def _with_ties(kernel):
    return SignatureKernel(normalise=kernel.normalise, max_simultaneous=2)


def test_losses_train(standard_dtype_promotion):
    """A rate that is too high comes down: times of a renewal process, scaled by its interval."""
    intervals = jr.exponential(jr.key(0), (6, 4))

    def simulate(scale, key):
        times = jnp.cumsum(scale * intervals, axis=1)
        inside = times < 1
        times = jnp.where(inside, times, jnp.inf)
        return SpikeTrains(times, jnp.where(inside, 0, -1), 0.0, 1.0, num_neurons=1)

    data = simulate(jnp.asarray(0.35), None)
    result = rs.fit(
        jnp.asarray(0.2),
        data,
        simulate=simulate,
        loss=SignatureMMDLoss(SignatureKernel(1.0, 0.5, tolerance=1e-4)),
        optimiser=optax.adam(1e-2),
        num_steps=5,
        key=jr.key(1),
        log_every=5,
        progress=False,
    )
    losses = np.asarray(result.history["loss"])
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]
    assert float(result.model) > 0.2


def test_errors(generated, observed):
    with pytest.raises(ValueError, match="`estimator` is 'linear'"):
        SignatureMMDLoss(KERNEL, "linear")
    unbiased = SignatureMMDLoss(KERNEL)
    for loss in (unbiased, SignatureScoreLoss(KERNEL)):
        with pytest.raises(ValueError, match="`generated` has 1 train; an unbiased estimate"):
            loss(generated[:1], observed)
        with pytest.raises(ValueError, match="`observed` holds no train"):
            loss(generated, observed[:0])
        with pytest.raises(ValueError, match=re.escape("`generated` has batch shape (2, 2)")):
            loss(generated.reshape(2, 2), observed)
        with pytest.raises(ValueError, match="windows of different lengths"):
            loss(generated, observed.window(0.0, 0.5))
        with pytest.raises(ValueError, match="`generated` has 2 neurons and `observed` 1"):
            loss(generated, observed.select(0))
    with pytest.raises(ValueError, match=r"`observed` has 1 train; .* `SignatureScoreLoss`"):
        unbiased(generated, observed[:1])


def sample(size: int, seed: int, num_neurons: int = 3) -> SpikeTrains:
    """Trains of independent spikes, with at most 6 of each."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 7, size)
    times = np.where(np.arange(6) < counts[:, None], rng.uniform(size=(size, 6)), np.inf)
    order = np.argsort(times, axis=1)
    neurons = rng.integers(0, num_neurons, (size, 6))
    neurons = np.where(np.isfinite(times), neurons, -1)
    return SpikeTrains(
        np.take_along_axis(times, order, 1), np.take_along_axis(neurons, order, 1).astype(np.int32),
        0.0, 1.0, num_neurons=num_neurons,
    )  # fmt: skip


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(("size", "size_observed"), [(5, 5), (6, 4), (4, 7)])
def test_all_partners_are_all_pairs(normalise, size, size_observed):
    """With as many partners as there are trains nothing is left out; rounding of double precision.

    Samples of even and odd size, as the train opposite in the circle is met from both sides.
    """
    kernel = SignatureKernel(1.0, 0.6, normalise=normalise, tolerance=1e-12, max_simultaneous=1)
    x, y = sample(size, 1), sample(size_observed, 2)
    for kind in (SignatureMMDLoss, SignatureScoreLoss):
        value = kind(kernel, partners=7)(x, y)
        np.testing.assert_allclose(value, kind(kernel)(x, y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("size", "size_observed"), [(6, 6), (4, 9), (8, 3)])
def test_some_partners_estimate_the_same_without_bias(size, size_observed):
    """Trains at random places have the same mean as all pairs; rounding of double precision.

    Across: if the generated trains move round in a circle, each meets each observed one as often.
    Within: all pairs are of different trains, of which all count alike.
    """
    kernel = SignatureKernel(1.0, 0.6, tolerance=1e-12, max_simultaneous=1)
    x, y = sample(size, 3), sample(size_observed, 4)
    gram, cross = np.asarray(kernel(x)), np.asarray(kernel(x, y))
    for partners in (1, 2):
        rows, columns, weights = kernel_loss._pairs_across(size, size_observed, partners)
        assert set(columns) == set(range(size_observed))
        turns = [np.sum(weights * cross[(rows + k) % size, columns]) for k in range(size)]
        np.testing.assert_allclose(np.mean(turns), cross.mean(), rtol=1e-12)
        rows, columns, weights = kernel_loss._pairs_within(size, partners)
        assert np.all(rows != columns)
        met = np.bincount(rows, weights, size) + np.bincount(columns, weights, size)
        np.testing.assert_allclose(met, 2 / size, rtol=1e-12)
        within = np.sum(weights * gram[rows, columns])
        value = SignatureScoreLoss(kernel, partners=partners)(x, y)
        np.testing.assert_allclose(value, within - 2 * turns[0], rtol=1e-10)


def test_partners_are_checked():
    with pytest.raises(ValueError, match="`partners` is 0; it must be a whole number"):
        SignatureMMDLoss(partners=0)
    with pytest.raises(ValueError, match="`partners` is -1; it must be a whole number"):
        SignatureScoreLoss(partners=-1)
    with pytest.raises(ValueError, match="the biased estimator, which is the mean of all pairs"):
        SignatureMMDLoss(estimator="biased", partners=2)
