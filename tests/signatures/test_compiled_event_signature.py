"""The compiled path of truncated signatures of spike trains beside the one in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn._native import VARIABLE
from roughsnn.signatures import _signature_compiled
from roughsnn.signatures._signature_terms import Inputs, Wanted, words_by_jax
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative
from .test_event_kernel import random_trains
from .test_event_signature import tied_trains

FEW = SpikeTrains.concatenate([random_trains(2, 3, 6, 5), tied_trains()])
# More channels than are multiplied at a time.
MANY = random_trains(3, 30, 8, 1)


def inputs_of(trains, dtype=jnp.float64):
    scale = jnp.linspace(0.5, 1.3, trains.num_neurons, dtype=dtype)
    ends = jnp.linspace(1.0, 1.2, len(trains), dtype=dtype)
    return Inputs(trains.times.astype(dtype), ends, jnp.asarray(0.7, dtype), scale)


def needs_compiler(dtype="float64"):
    reason = _signature_compiled.NATIVE._failure(dtype)
    if reason is not None:
        pytest.skip(reason)


def value_and_gradient(run, inputs, neurons, wanted):
    """The words, and the derivatives of a function of them with as many cotangents."""

    @jax.jit
    def both(inputs):
        words, pull = jax.vjp(lambda inputs: run(inputs, neurons, wanted), inputs)
        slopes = jnp.sin(jnp.arange(words.size, dtype=words.dtype)).reshape(words.shape)
        return words, pull(slopes)[0]

    return both(inputs)


def assert_same(trains, wanted, tolerance, dtype=jnp.float64):
    inputs = inputs_of(trains, dtype)
    ours = value_and_gradient(_signature_compiled.words_by_compiled, inputs, trains.neurons, wanted)
    theirs = value_and_gradient(words_by_jax, inputs, trains.neurons, wanted)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype == dtype
        # The same terms, summed in another order.
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("total", [False, True])
def test_values_and_derivatives_are_those_of_jax(depth, total):
    needs_compiler()
    assert_same(FEW, Wanted(depth, total), 1e-13)


def test_many_channels_and_single_precision():
    needs_compiler("float32")
    assert_same(MANY, Wanted(3, False), 1e-5, jnp.float32)


def test_trains_of_a_sum_are_taken_some_at_a_time():
    """More spikes than have room together in each of the parts of a sum."""
    needs_compiler()
    trains = random_trains(230, 3, 300, 2, mean=200)
    whole = _signature_compiled.words_by_compiled(
        inputs_of(trains), trains.neurons, Wanted(3, False)
    )
    found, slopes = value_and_gradient(
        _signature_compiled.words_by_compiled, inputs_of(trains), trains.neurons, Wanted(3, True)
    )
    np.testing.assert_allclose(found, jnp.sum(whole, axis=0), rtol=1e-12)
    few = trains[:1]
    _, alone = value_and_gradient(
        _signature_compiled.words_by_compiled,
        inputs_of(trains)._replace(times=few.times, ends=jnp.ones(1)),
        few.neurons,
        Wanted(3, True),
    )
    # The end of the first train is 1; its derivatives do not depend on the other trains.
    np.testing.assert_allclose(slopes.times[0], alone.times[0], rtol=1e-9, atol=1e-9)


def test_derivatives_of_derivatives_and_batches():
    """Forward mode, second derivatives and `vmap`, in all inputs together."""
    needs_compiler()
    inputs, wanted = inputs_of(FEW), Wanted(3, True)
    # Padding has no derivative, and spikes that are tied stay so.
    tied = (FEW.times[:, None, :] == FEW.times[:, :, None]).astype(FEW.times.dtype)
    labels = FEW.neurons.astype(FEW.times.dtype)

    def f(x):
        moves = jnp.einsum("bij,bj->bi", tied, 0.1 * jnp.sin(x * labels))
        moved = inputs._replace(
            times=jnp.where(FEW.mask, FEW.times + moves, jnp.inf),
            ends=inputs.ends + x, time_scale=inputs.time_scale * x, scale=inputs.scale * x**2,
        )  # fmt: skip
        return jnp.sum(_signature_compiled.words_by_compiled(moved, FEW.neurons, wanted) ** 2)

    x = jnp.asarray(0.3)
    slope, second = jax.jit(jax.grad(f))(x), jax.jit(jax.jvp, static_argnums=0)(f, (x,), (x,))[1]
    np.testing.assert_allclose(second, slope * x, rtol=1e-12)
    # The error of central differences at this step.
    expected = directional_derivative(jax.jit(f), x, jnp.asarray(1.0), step=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=1e-7)
    twice = jax.jit(jax.grad(jax.grad(f)))(x)
    expected = directional_derivative(jax.jit(jax.grad(f)), x, jnp.asarray(1.0), step=1e-5)
    np.testing.assert_allclose(twice, expected, rtol=1e-7)
    both = jax.jit(jax.vmap(jax.grad(f)))(jnp.stack([x, x]))
    np.testing.assert_allclose(both, [slope, slope], rtol=1e-12)
    both = jax.jit(jax.grad(lambda x: jnp.sum(jax.vmap(f)(x))))(jnp.stack([x, x]))
    np.testing.assert_allclose(both, [slope, slope], rtol=1e-12)


def test_labels_that_are_no_neuron_are_no_spikes():
    needs_compiler()
    inputs, wanted = inputs_of(FEW), Wanted(3, False)
    wrong = jnp.where(FEW.mask, 2**31 - 2, -1).astype(jnp.int32)
    found = _signature_compiled.words_by_compiled(inputs, wrong, wanted)
    silent = _signature_compiled.words_by_compiled(inputs, jnp.full_like(wrong, -1), wanted)
    np.testing.assert_allclose(found, silent, rtol=1e-14)


def test_jax_computes_what_is_left_to_it(monkeypatch):
    needs_compiler()
    assert _signature_compiled.can_compute("float64", 3)
    assert not _signature_compiled.can_compute("float64", 4)
    monkeypatch.setenv(VARIABLE, "jax")
    assert not _signature_compiled.can_compute("float64", 3)
