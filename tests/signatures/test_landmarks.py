import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures import LandmarkFeatures, SignatureKernel, landmark_mmd2, mmd2
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative
from .test_event_kernel import random_trains

X, Y = random_trains(6, 2, 5, 0), random_trains(6, 2, 5, 1)
KERNEL = SignatureKernel(1.0, 0.5, normalise=True, orders=(5, 8))
KEY = jax.random.key(0)


def features_of(trains, number):
    return LandmarkFeatures.from_trains(trains, number, KERNEL, key=KEY, cut=1e-12)


def test_inner_products_are_those_of_the_projection():
    features = features_of(Y, 3)
    gram = np.asarray(KERNEL(features.landmarks))
    to_x, to_y = (np.asarray(KERNEL(features.landmarks, t)) for t in (X, Y))
    expected = to_x.T @ np.linalg.solve(gram, to_y)
    np.testing.assert_allclose(features(X) @ features(Y).T, expected, rtol=1e-9)


def test_with_all_trains_as_landmarks_it_is_the_full_mmd():
    features = features_of(SpikeTrains.concatenate([X, Y]), 12)
    for estimator in ("unbiased", "biased"):
        full = mmd2(X, Y, KERNEL, estimator=estimator)
        found = landmark_mmd2(X, Y, features, estimator=estimator)
        # Rounding of kernels about 1, over the smallest eigenvalue.
        np.testing.assert_allclose(found, full, rtol=0, atol=1e-9)


def test_corrected_on_all_trains_it_is_the_full_mmd_and_uncorrected_less():
    features = features_of(Y, 2)
    full = mmd2(X, Y, KERNEL)
    found = landmark_mmd2(X, Y, features, corrected_on=6)
    np.testing.assert_allclose(found, full, rtol=0, atol=1e-13)
    biased = landmark_mmd2(X, Y, features, estimator="biased")
    assert 0 <= biased < mmd2(X, Y, KERNEL, estimator="biased")


def test_gradient_equals_central_differences():
    features = features_of(Y, 3)

    @jax.jit
    def value(times):
        x = SpikeTrains(times, X.neurons, 0.0, 1.0, num_neurons=2)
        return landmark_mmd2(x, Y, features, corrected_on=6)

    direction = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, X.times.shape))
    expected = directional_derivative(value, X.times, direction, step=1e-6)
    gradient = jax.jit(jax.grad(value))(X.times)
    # Central differences of a number of size 0.1, with this step.
    np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-5, atol=1e-9)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="`num_landmarks` is 7; there are 6 trains"):
        features_of(Y, 7)
    with pytest.raises(ValueError, match="must have one batch axis"):
        LandmarkFeatures.from_trains(Y.reshape(2, 3), 1, KERNEL, key=KEY)
    features = features_of(Y, 2)
    for settings, message in (
        (dict(estimator="linear"), "must be 'unbiased' or 'biased'"),
        (dict(corrected_on=7), "must be 0 or from 2 to 6"),
        (dict(corrected_on=2, estimator="biased"), "with the unbiased estimator"),
    ):
        with pytest.raises(ValueError, match=message):
            landmark_mmd2(X, Y, features, **settings)
    with pytest.raises(ValueError, match="have 1 and 6 trains"):
        landmark_mmd2(X[:1], Y, features)
