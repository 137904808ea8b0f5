import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roughsnn as rs
from roughsnn.losses import ConditionalMMDLoss, SignatureMMDLoss
from roughsnn.losses import ConditionedTrains as With
from roughsnn.signatures import SignatureKernel, mmd2_from_grams
from roughsnn.spikes import SpikeTrains

from ..helpers import directional_derivative, random_direction

KERNEL = SignatureKernel(1.0, 0.4)


def respond(seed, rates):
    """Poisson trains, one for each rate."""
    random = np.random.default_rng(seed)
    trials = [[np.sort(random.random(min(random.poisson(rate), 12)))] for rate in rates]
    return SpikeTrains.from_lists(trials, t0=0.0, t1=1.0, max_spikes=12)


def conditions(seed, n):
    return jnp.asarray(np.random.default_rng(seed).random(n))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("normalise", [False, True])
def test_value_is_that_of_the_product_kernel(estimator, normalise):
    kernel = SignatureKernel(1.0, 0.4, normalise=normalise)
    x, y = respond(0, [3] * 4), respond(1, [4] * 3)
    c, d = (
        jnp.asarray(np.random.default_rng(s).normal(size=(n, 2, 2))) for s, n in ((2, 4), (3, 3))
    )
    loss = ConditionalMMDLoss(kernel, 0.7, estimator)(With(x, c), With(y, d))

    def product(a, b, u, v):
        squares = ((np.asarray(u)[:, None] - np.asarray(v)[None]) ** 2).sum((2, 3))
        return kernel(a, b) * np.exp(-squares / (2 * 0.7**2))

    expected = mmd2_from_grams(
        product(x, x, c, c), product(y, y, d, d), product(x, y, c, d), estimator
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-9, atol=1e-12)


def test_it_sees_answers_that_are_exchanged():
    """The same trains given the opposite inputs: one law together, another law given the input."""
    n = 60
    c, d = conditions(4, n), conditions(5, n)
    x, y = respond(6, 2 + 8 * c), respond(7, 10 - 8 * d)
    same = respond(8, 2 + 8 * d)
    plain, conditional = SignatureMMDLoss(KERNEL), ConditionalMMDLoss(KERNEL)
    spread = abs(float(plain(x, same)))
    differing = float(conditional(With(x, c), With(y, d)))
    assert differing > 10 * abs(float(conditional(With(x, c), With(same, d))))
    # All conditions together, the two laws are one.
    assert abs(float(plain(x, y))) < 5 * spread + 0.05
    assert differing > 5 * abs(float(plain(x, y)))


def test_one_condition_is_the_plain_loss_and_the_bandwidth_is_the_median():
    x, y = respond(0, [3] * 5), respond(1, [4] * 6)
    c, d = jnp.ones(5), jnp.ones(6)
    np.testing.assert_allclose(
        ConditionalMMDLoss(KERNEL)(With(x, c), With(y, d)),
        SignatureMMDLoss(KERNEL)(x, y),
        rtol=1e-9,
    )
    c, d = conditions(2, 5), jnp.asarray([0.0, 0.0, 1.0, 1.0, 3.0, 3.0])
    # Distances that differ from zero: 1 four times, 2 four times, 3 four times.
    by_median = ConditionalMMDLoss(KERNEL)(With(x, c), With(y, d))
    np.testing.assert_allclose(
        by_median, ConditionalMMDLoss(KERNEL, 2.0)(With(x, c), With(y, d)), rtol=1e-12
    )


def test_gradient_and_identical_samples():
    x, y = respond(0, [3] * 4), respond(1, [4] * 3)
    c, d = conditions(2, 4), conditions(3, 3)

    def f(times, observed=y, given=d):
        trains = SpikeTrains(times, x.neurons, 0.0, 1.0, num_neurons=1)
        return ConditionalMMDLoss(KERNEL, 0.5, "biased")(With(trains, c), With(observed, given))

    direction = jnp.where(x.mask, random_direction(x.times), 0.0)
    gradient = jax.jit(jax.grad(f))(x.times)
    expected = directional_derivative(f, x.times, direction, step=1e-5)
    # The kernel's tolerance is 1e-6, and its derivative is that of the exact one.
    np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-4)
    np.testing.assert_allclose(f(x.times, x, c), 0, atol=1e-12)
    np.testing.assert_allclose(jax.grad(f)(x.times, x, c), 0, atol=1e-5)


def test_it_trains_on_labelled_data(standard_dtype_promotion):
    """Neurons that fire once, later the stronger their input, trained from a slope that is too
    small; trains without conditions were given those of the same mini-batch."""
    c = conditions(4, 8)

    def simulate(slope, strength, key):
        times = (slope * strength)[:, None]
        return SpikeTrains(times, jnp.zeros((8, 1), jnp.int32), 0.0, 1.0, num_neurons=1)

    recorded = simulate(jnp.asarray(0.9), c, None)
    loss = ConditionalMMDLoss(KERNEL, 0.3)
    np.testing.assert_array_equal(
        loss(recorded, With(recorded[::-1], c)), loss(With(recorded, c), With(recorded[::-1], c))
    )
    result = rs.fit(
        jnp.asarray(0.5), rs.LabelledData(c, With(recorded, c)), simulate=simulate, loss=loss,
        optimiser=optax.adam(0.05), num_steps=4, batch_size=8, key=jax.random.key(0), log_every=4,
        progress=False,
    )  # fmt: skip
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert float(result.model) > 0.55


def test_errors():
    x, c = respond(0, [3] * 4), conditions(2, 4)
    with pytest.raises(ValueError, match="`estimator` is 'linear'"):
        ConditionalMMDLoss(estimator="linear")
    # A TypeError for users; the type checks of the tests are there first.
    with pytest.raises(Exception, match="ConditionedTrains"):
        ConditionalMMDLoss()(x, x)
    with pytest.raises(ValueError, match=r"`observed.conditions` has shape \(3,\) for 4 trains"):
        ConditionalMMDLoss()(With(x, c), With(x, c[:3]))
    with pytest.raises(ValueError, match=r"`observed.conditions` \(4, 2\)"):
        ConditionalMMDLoss()(With(x, c), With(x, jnp.ones((4, 2))))
    with pytest.raises(ValueError, match="needs two or more"):
        ConditionalMMDLoss()(With(x[:1], c[:1]), With(x, c))
    with pytest.raises(ValueError, match="windows"):
        ConditionalMMDLoss()(With(x.window(0.0, 0.5), c), With(x, c))
