"""Mini-batches of the data, without replacement."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, PRNGKeyArray


def minibatch_indices(
    num_samples: int, batch_size: int, step: Int[Array, ""] | int, key: PRNGKeyArray
) -> Int[Array, " batch_size"]:
    """Which of `num_samples` samples make up the mini-batch of one step.

    The samples are shuffled anew for every epoch and the epochs are laid end to end; step `s`
    takes entries `s * batch_size ... (s + 1) * batch_size - 1` of that sequence. So every sample
    is used exactly once an epoch, none is dropped, and where `batch_size` does not divide
    `num_samples` a batch that ends one epoch is filled up from the next. The batch depends on
    `key` and `step` alone.

    Raises:
        ValueError: `batch_size` is not between 1 and `num_samples`.
    """
    if not 1 <= batch_size <= num_samples:
        raise ValueError(
            f"`batch_size` is {batch_size}; it must be between 1 and the number of samples, "
            f"{num_samples}."
        )
    step = jnp.asarray(step)
    # Whole periods of steps are split off first, so that step * batch_size cannot overflow.
    period, within = jnp.divmod(step, jnp.asarray(num_samples, step.dtype))
    start = within * batch_size
    epoch = period * batch_size + start // num_samples
    offset = start % num_samples
    # A batch is no larger than an epoch, so it reaches into the next epoch at most.
    both = jnp.concatenate(
        [jr.permutation(jr.fold_in(key, epoch + i), num_samples) for i in range(2)]
    )
    return both[offset + jnp.arange(batch_size, dtype=offset.dtype)]
