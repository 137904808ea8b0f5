import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from roughsnn.training import minibatch_indices


def batches(num_samples, batch_size, num_steps, key):
    steps = jnp.arange(num_steps, dtype=jnp.int32)
    return np.asarray(
        jax.vmap(lambda step: minibatch_indices(num_samples, batch_size, step, key))(steps)
    )


@pytest.mark.parametrize(("num_samples", "batch_size"), [(7, 3), (6, 3), (5, 5), (1, 1), (9, 1)])
def test_every_sample_once_an_epoch_and_none_dropped(num_samples, batch_size):
    epochs = 2 * batch_size
    got = batches(num_samples, batch_size, 2 * num_samples, jr.key(0))
    for epoch in got.reshape(epochs, num_samples):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(num_samples))


def test_shuffled_anew_by_epoch_and_key():
    first = batches(20, 5, 8, jr.key(0)).reshape(2, 20)
    assert np.any(first[0] != first[1])
    assert np.any(first != batches(20, 5, 8, jr.key(1)).reshape(2, 20))
    np.testing.assert_array_equal(first, batches(20, 5, 8, jr.key(0)).reshape(2, 20))


def test_late_steps_do_not_overflow():
    late = minibatch_indices(7, 3, jnp.asarray(2**31 - 2, dtype=jnp.int32), jr.key(0))
    assert np.all((late >= 0) & (late < 7))


@pytest.mark.parametrize("batch_size", [0, 8])
def test_bad_size(batch_size):
    with pytest.raises(ValueError, match=f"`batch_size` is {batch_size}; it must be between 1"):
        minibatch_indices(7, batch_size, 0, jr.key(0))
