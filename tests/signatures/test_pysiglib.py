"""The kernels and signatures beside those of pySigLib, an independent C++ code, if installed."""

import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn.signatures import RBF, event_kernel_gram, signature, signature_kernel_gram
from roughsnn.spikes.marcus import marcus_lift

from .test_event_kernel import random_trains

pysiglib = pytest.importorskip("pysiglib")


@pytest.mark.parametrize(("num_neurons", "scale"), [(1, 0.3), (2, 1.0), (22, 1.0)])
def test_event_kernel(num_neurons, scale):
    x, y = random_trains(5, num_neurons, 12, 0), random_trains(4, num_neurons, 12, 1)
    lifts = [np.array(marcus_lift(t, scale=scale)) for t in (x, y)]
    expected = pysiglib.sig_kernel_gram(*lifts, method="polynomial", order=24)
    gram = event_kernel_gram(x, y, neuron_scale=scale, orders=(10, 18))
    # Both sum positive terms to the end.
    np.testing.assert_allclose(gram, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 2])
def test_finite_differences(order):
    x, y = (np.random.default_rng(s).normal(size=(3, 6, 2)).cumsum(1) / 4 for s in (0, 1))
    expected = pysiglib.sig_kernel_gram(x, y, dyadic_order=order)
    gram = signature_kernel_gram(jnp.asarray(x), jnp.asarray(y), dyadic_order=order)
    # The same scheme, in increments here and in values there.
    np.testing.assert_allclose(gram, expected, rtol=1e-12)
    expected = pysiglib.sig_kernel_gram(
        x, y, dyadic_order=order, static_kernel=pysiglib.RBFKernel(sigma=2 * 0.7**2)
    )
    gram = signature_kernel_gram(
        jnp.asarray(x), jnp.asarray(y), dyadic_order=order, static_kernel=RBF(0.7)
    )
    np.testing.assert_allclose(gram, expected, rtol=1e-12)


def test_signature():
    x = np.random.default_rng(0).normal(size=(3, 6, 2))
    expected = pysiglib.sig(x, 4)
    # Its first coordinate, the constant 1, may be left out there too.
    expected = expected[:, -30:]
    np.testing.assert_allclose(signature(jnp.asarray(x), 4), expected, rtol=1e-12, atol=1e-13)
