"""Trials are shared out among all devices, of all hosts, by `jax.shard_map`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

_AXIS = "trials"


def trial_mesh(num_trials: int, operands: PyTree) -> Mesh | None:
    """All devices, if trials are to be shared out among them, else `None`.

    They are not where there is one device or fewer trials than devices, inside
    `jax.default_device`, inside a `shard_map` or a mesh of the caller's, and where an operand has
    been put on some of the devices by `jax.device_put`. With several processes they always are.
    """
    devices = jax.devices()
    if len(devices) == 1:
        return None
    if jax.process_count() == 1:
        chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        if chosen is not None or num_trials < len(devices):
            return None
    if not jax.sharding.get_abstract_mesh().empty:
        return None
    for leaf in jax.tree.leaves(operands):
        known = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        if known and leaf.committed and leaf.sharding.device_set != set(devices):
            return None
    return Mesh(np.array(devices), (_AXIS,))


def map_trials(
    one: Callable[[Any, Any], PyTree], operands: PyTree, num_trials: int, mesh: Mesh | None
) -> PyTree:
    """`one(operands, index)` for each trial, stacked; with a mesh every device runs its share.

    The devices do not wait for each other. Where their number does not divide that of trials,
    a few trials more are run and dropped.
    """
    if mesh is None:
        return eqx.filter_vmap(lambda index: one(operands, index))(jnp.arange(num_trials))
    arrays, static = eqx.partition(operands, eqx.is_array)
    rest = []

    def share(arrays, indices):
        combined = eqx.combine(arrays, static)
        out = eqx.filter_vmap(lambda index: one(combined, index))(indices)
        kept, other = eqx.partition(out, eqx.is_array)
        rest.append(other)
        return kept

    everywhere, split = PartitionSpec(), PartitionSpec(_AXIS)
    padded = -(-num_trials // mesh.size) * mesh.size
    out = jax.shard_map(
        share, mesh=mesh, in_specs=(everywhere, split), out_specs=split, check_vma=False
    )(arrays, jnp.arange(padded))
    if padded != num_trials:
        out = jax.tree.map(lambda x: x[:num_trials], out)
    return eqx.combine(out, rest[-1])


def map_shares(
    some: Callable[[Any, Any], PyTree], operands: PyTree, num_trials: int, mesh: Mesh | None
) -> PyTree:
    """`some(operands, indices)` of all trials at once; with a mesh every device takes its share.

    Arrays that come back have a leading axis of trials; of numbers, what is wrong or needed in some
    share, the largest is taken.
    """
    if mesh is None:
        return some(operands, jnp.arange(num_trials, dtype=jnp.int32))
    arrays, static = eqx.partition(operands, eqx.is_array)
    padded = -(-num_trials // mesh.size) * mesh.size
    # some of the last trial, where the number of devices does not divide that of trials
    indices = jnp.minimum(jnp.arange(padded, dtype=jnp.int32), num_trials - 1)
    rest = []

    def kept(arrays, indices):
        found, other = eqx.partition(some(eqx.combine(arrays, static), indices), eqx.is_array)
        rest.append(other)
        return found

    def share(arrays, indices):
        return jax.tree.map(lambda x: x if x.ndim else _largest(x), kept(arrays, indices))

    everywhere, split = PartitionSpec(), PartitionSpec(_AXIS)
    shapes = jax.eval_shape(kept, arrays, indices[: padded // mesh.size])
    out = jax.shard_map(
        share, mesh=mesh, in_specs=(everywhere, split),
        out_specs=jax.tree.map(lambda x: split if x.ndim else everywhere, shapes), check_vma=False,
    )(arrays, indices)  # fmt: skip
    out = jax.tree.map(lambda x: x[:num_trials] if x.ndim else x, out)
    return eqx.combine(out, rest[-1])


def _largest(x):
    """The largest of the numbers of all devices."""
    number = x.astype(jnp.int32) if x.dtype == bool else x
    return jax.lax.pmax(jax.lax.stop_gradient(number), _AXIS).astype(x.dtype)


def whole_on_each_host(tree: PyTree) -> PyTree:
    """The arrays of `tree` with all trials, on every host; inside `jit` they stay where they
    are."""
    if jax.process_count() == 1:
        return tree
    leaves = jax.tree.leaves(tree)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return tree
    from jax.experimental import multihost_utils

    def gather(x):
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return x
        return jnp.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(gather, tree)


def same_on_each_host(tree: PyTree) -> PyTree:
    """Inside `jit`: arrays that every host is to have whole, such as the state of a training."""
    if jax.process_count() == 1:
        return tree
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), (_AXIS,)), PartitionSpec())
    return jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x, everywhere) if eqx.is_array(x) else x, tree
    )
