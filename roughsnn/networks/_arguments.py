"""Arguments of a network, checked when it is built."""

import jax
import jax.numpy as jnp

from ._connections import SparseConnections


def checked_connections(connections, k: int):
    if connections is None:
        return None
    if isinstance(connections, SparseConnections):
        if connections.num_neurons != k:
            raise ValueError(
                f"`connections` is a list for {connections.num_neurons} neurons, and `neurons` has "
                f"{k}."
            )
        return connections
    connections = jnp.asarray(connections)
    if connections.shape != (k, k) or connections.dtype != bool:
        raise ValueError(
            f"`connections` must be a boolean array of shape ({k}, {k}), got "
            f"{connections.dtype} of shape {connections.shape}, or SparseConnections."
        )
    return connections


def checked_signs(signs, k: int):
    if signs is None:
        return None
    signs = jnp.asarray(signs)
    known = not isinstance(signs, jax.core.Tracer)
    if signs.shape != (k,) or (known and not bool(jnp.all(jnp.abs(signs) == 1))):
        raise ValueError(f"`signs` must hold +1 or -1 for each of the {k} neurons, got {signs}.")
    # integers, so that no optimiser takes them for parameters
    return signs.astype(jnp.int32)
