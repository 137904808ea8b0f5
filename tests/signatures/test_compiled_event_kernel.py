"""The compiled path of the event kernel beside the one in JAX, and what happens without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roughsnn._native import VARIABLE
from roughsnn.signatures import _event_compiled
from roughsnn.signatures.event_kernel import event_kernel_gram
from roughsnn.spikes.trains import SpikeTrains

from ..helpers import directional_derivative
from .test_event_kernel import random_trains

FEW = (3, 4)
X, Y = random_trains(7, 2, 5, 0), random_trains(3, 2, 4, 1)
WEIGHTS = jnp.asarray(np.random.default_rng(3).normal(size=(7, 3)))
SCALES = {
    "per neuron": jnp.asarray([0.4, 0.7]),
    "matrix": jnp.asarray([[0.5, 0.2], [0.2, 0.3]]),
}


@pytest.fixture
def without_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    _event_compiled.NATIVE._failure.cache_clear()
    yield
    _event_compiled.NATIVE._failure.cache_clear()


def needs_compiler(dtype="float64"):
    reason = _event_compiled.NATIVE._failure(dtype)
    if reason is not None:
        pytest.skip(reason)


def loss(times, t1, time_scale, scale, other=None, weights=WEIGHTS, slots=1):
    """A sum of entries of the Gram, and the largest error estimate."""
    x = SpikeTrains(times, X.neurons, 0.0, t1, num_neurons=2)
    y = SpikeTrains(Y.times, Y.neurons, 0.0, t1, num_neurons=2) if other is None else None
    gram, error = event_kernel_gram(
        x, y, time_scale=time_scale, neuron_scale=scale, orders=FEW, return_error=True,
        max_simultaneous=slots,
    )  # fmt: skip
    return jnp.sum(weights * gram), jnp.max(error)


def by_both(monkeypatch, make):
    """What a fresh compilation gives with the compiled path and without."""
    results = []
    for choice in ("compiled", "jax"):
        monkeypatch.setenv(VARIABLE, choice)
        results.append(make())
    return results


@pytest.mark.parametrize(("scale", "slots"), [("per neuron", 1), ("matrix", 1), ("per neuron", 2)])
def test_values_and_derivatives_are_those_of_jax(scale, slots, monkeypatch):
    needs_compiler()
    point = X.times, jnp.asarray(1.1), jnp.asarray(0.6), SCALES[scale]
    gradient = jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True)

    def make():
        return jax.jit(lambda *p: gradient(*p, slots=slots))(*point)

    ours, theirs = by_both(monkeypatch, make)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_parts_in_single_precision(monkeypatch):
    """A symmetric Gram whose derivatives are computed part by part."""
    needs_compiler("float32")
    point = X.times, jnp.asarray(1.1), jnp.asarray(0.6), SCALES["per neuron"]
    weights = jnp.ones((7, 7))

    def make():
        with jax.enable_x64(False):
            values = [jnp.asarray(np.asarray(p), jnp.float32) for p in point]
            f = jax.jit(lambda *p: loss(*p, other=X, weights=weights.astype(jnp.float32)))
            return f(*values), jax.jit(jax.grad(f, argnums=(0, 3), has_aux=True))(*values)[0]

    monkeypatch.setattr(_event_compiled, "_RESIDUALS", 0)
    monkeypatch.setattr(_event_compiled, "_PART", 512)
    ours, theirs = by_both(monkeypatch, make)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype == jnp.float32
        size = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * size)


@pytest.mark.parametrize("scale", [0.05, "matrix"])
def test_long_trains_go_by_segments_of_rows(scale):
    """More spikes than what is stored of all rows has room for."""
    needs_compiler()
    x, y = (random_trains(1, 2, 150, seed, mean=2000) for seed in (0, 1))
    scale = jnp.asarray(0.05) if scale == 0.05 else 0.002 * jnp.asarray([[1.0, 0.5], [0.5, 1.0]])

    @jax.jit
    def kernel(times, scale):
        trains = SpikeTrains(times, x.neurons, 0.0, 1.0, num_neurons=2)
        gram = event_kernel_gram(
            trains, y, time_scale=0.5, neuron_scale=scale, orders=(4, 12), max_simultaneous=1
        )
        return gram[0, 0]

    by_times, by_scale = jax.grad(kernel, argnums=(0, 1))(x.times, scale)
    # Spikes move less than what lies between two of them.
    direction = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, x.times.shape))
    expected = directional_derivative(
        lambda times: kernel(times, scale), x.times, direction, step=1e-6
    )
    np.testing.assert_allclose(jnp.sum(by_times * direction), expected, rtol=1e-5)
    expected = directional_derivative(lambda s: kernel(x.times, s), scale, scale, step=1e-5)
    np.testing.assert_allclose(jnp.sum(by_scale * scale), expected, rtol=1e-7)


def test_labels_that_are_no_neuron_are_no_spikes():
    needs_compiler()
    call = jax.jit(
        lambda labels: event_kernel_gram(
            SpikeTrains(X.times, labels, 0.0, 1.0, num_neurons=2), Y, orders=FEW
        )
    )
    wrong = jnp.where(X.mask, 2**31 - 2, -1).astype(jnp.int32)
    silent = SpikeTrains.from_lists([[[], []]], t0=0.0, t1=1.0)
    np.testing.assert_allclose(
        call(wrong), np.broadcast_to(event_kernel_gram(silent, Y, orders=FEW), (7, 3)), rtol=1e-12
    )


def test_without_a_compiler_jax_computes_the_kernel(without_compiler, monkeypatch):
    assert not _event_compiled.can_compute("float64", FEW)
    monkeypatch.setenv(VARIABLE, "compiled")
    with pytest.raises(RuntimeError, match=r"cannot be had here.*no-compiler.*unset the variable"):
        _event_compiled.can_compute("float64", FEW)
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ValueError, match=r"'fast'; it must be one of"):
        _event_compiled.can_compute("float64", FEW)
