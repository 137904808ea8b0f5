"""Spikes on their way: a bounded buffer of arrivals, each an event of its own."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# far away, and finite, since a state that is not finite ends a solve
NEVER = 1e30


class Arrivals(NamedTuple):
    """The spikes that are on their way.

    Attributes:
        left: how long each is still under way; free places hold 1e30.
        what: the number of the synapse (or of the neuron, where delays are axonal), as a float.
        lost: how many found no place.
    """

    left: Float[Array, " B"]
    what: Float[Array, " B"]
    lost: Float[Array, ""]


def empty(size: int, dtype) -> Arrivals:
    return Arrivals(jnp.full(size, NEVER, dtype), jnp.zeros(size, dtype), jnp.zeros((), dtype))


def waiting(left: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Which of these times are meant."""
    return left < 0.5 * NEVER


def passing(left: Float[Array, "..."]) -> Float[Array, "..."]:
    """The drift of what is left of times: they run down."""
    return jnp.where(waiting(left), jnp.full_like(left, -1), 0)


def over(left: Float[Array, " n"]) -> Float[Array, " n"]:
    """An event function that reaches zero where nothing of a time is left."""
    return jnp.where(waiting(left), -left, -1)


def sent(
    arrivals: Arrivals,
    delays: Float[Array, " M"],
    what: Int[Array, " M"],
    count: Int[Array, ""],
) -> Arrivals:
    """The buffer with the first `count` of these spikes put into free places."""
    free = ~waiting(arrivals.left)
    rank = jnp.cumsum(free, dtype=jnp.int32) - 1
    taken = free & (rank < count)
    source = jnp.clip(rank, 0, delays.shape[0] - 1)
    dtype = arrivals.left.dtype
    missing = jnp.maximum(count - jnp.sum(free, dtype=jnp.int32), 0).astype(dtype)
    return Arrivals(
        jnp.where(taken, delays[source].astype(dtype), arrivals.left),
        jnp.where(taken, what[source].astype(dtype), arrivals.what),
        arrivals.lost + missing,
    )


def taken_out(arrivals: Arrivals, place: Int[Array, ""]) -> Arrivals:
    """The buffer without what lay at this place (anywhere outside: as it is)."""
    here = jnp.arange(arrivals.left.shape[0], dtype=jnp.int32) == place
    return arrivals._replace(left=jnp.where(here, NEVER, arrivals.left))
