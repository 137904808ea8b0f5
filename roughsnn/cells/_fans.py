"""Synapses as a list, by the neurons that they lead from and by those that they lead to, and rows
of them for many neurons at a time."""

from typing import NamedTuple

import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

WIDTH = 16
"""So many synapses of a neuron make a row; its last row may have free places."""


class Fans(NamedTuple):
    """The synapses of each neuron, one after the other.

    Attributes:
        starts: where those of each neuron begin; the last entries are their number, also for the
            neuron that stands for none.
        others: the neuron at the other end of each synapse.
        synapses: the number of each synapse.
    """

    starts: Int[Array, " N_and_2"]
    others: Int[Array, " E"]
    synapses: Int[Array, " E"]

    @classmethod
    def of(
        cls, starts: Int[Array, " N_and_1"], others: Int[Array, " E"], synapses: Int[Array, " E"]
    ) -> "Fans":
        return cls(jnp.concatenate([starts, starts[-1:]]), others, synapses)


def fans_of(connections, num_inputs: int, by_synapse: bool = False) -> tuple[Fans, Fans]:
    """The synapses of a list by the neurons that they lead from, and by those that they lead to;
    behind them those of inputs, which reach all neurons: sources behind the neurons, or (with
    `by_synapse`) a source for each of these synapses."""
    count, size = connections.num_neurons, len(connections)
    by_pre, by_post = connections.order[:size], connections.order_by_post
    others = jnp.arange(num_inputs * count, dtype=jnp.int32)
    each = 1 if by_synapse else count
    ends = size + each * jnp.arange(1, others.size // each + 1, dtype=jnp.int32)
    sent = Fans.of(
        jnp.concatenate([connections.starts, ends]),
        jnp.concatenate([connections.post[by_pre], others % count]),
        jnp.concatenate([by_pre, size + others]),
    )
    # at each neuron its inputs come after its other synapses
    first = num_inputs * jnp.arange(count + 1, dtype=jnp.int32)
    own = jnp.arange(size, dtype=jnp.int32) + first[connections.post[by_post]]
    target, which = others % count, others // count
    source = count + (others if by_synapse else which)
    of_inputs = connections.starts_by_post[target + 1] + first[target] + which
    blank = jnp.zeros(size + others.size, jnp.int32)
    into = Fans.of(
        connections.starts_by_post + first,
        blank.at[own].set(connections.pre[by_post]).at[of_inputs].set(source),
        blank.at[own].set(by_post).at[of_inputs].set(size + others),
    )
    return sent, into


class Rows(NamedTuple):
    """Rows of synapses.

    Attributes:
        items: for which of the neurons that were asked for each row is.
        places: where in the list of the fans each synapse is; 0 in a free place.
        here: which places are not free.
    """

    items: Int[Array, " P"]
    places: Int[Array, "P W"]
    here: Bool[Array, "P W"]


class Counted(NamedTuple):
    """How many rows there are up to each of several neurons, and where the first one of each
    begins and the last one ends."""

    ends: Int[Array, " S"]
    first: Int[Array, " S"]
    last: Int[Array, " S"]
    rows: Int[Array, " S"]

    @property
    def total(self) -> Int[Array, ""]:
        return self.ends[-1]


def counted(fans: Fans, neurons: Int[Array, " S"]) -> Counted:
    """The rows of these neurons; the number of neurons stands for none."""
    first, last = fans.starts[neurons], fans.starts[neurons + 1]
    rows = (last - first + WIDTH - 1) // WIDTH
    return Counted(jnp.cumsum(rows, dtype=jnp.int32), first, last, rows)


def rows_from(count: Counted, begin: Int[Array, ""], num_rows: int) -> Rows:
    """So many rows, from row number `begin` of all of them on."""
    rank = begin + jnp.arange(num_rows, dtype=jnp.int32)
    item = jnp.searchsorted(count.ends, rank, side="right", method="scan_unrolled")
    item = jnp.minimum(item, count.ends.shape[0] - 1).astype(jnp.int32)
    row = rank - (count.ends[item] - count.rows[item])
    column = jnp.arange(WIDTH, dtype=jnp.int32)
    place = (count.first[item] + row * WIDTH)[:, None] + column[None]
    here = (place < count.last[item][:, None]) & (rank < count.total)[:, None]
    return Rows(item, jnp.where(here, place, 0), here)


class Delays(NamedTuple):
    """Delays of synapses in cells: whole cells and the rest, numbers or one for each synapse."""

    whole: Int[Array, "..."]
    rest: Float[Array, "..."]

    @classmethod
    def of(cls, delays: Float[Array, "..."]) -> "Delays":
        whole = jnp.floor(lax.stop_gradient(delays))
        return cls(whole.astype(jnp.int32), delays - whole)

    def ordered(self, order: Int[Array, " E"]) -> "Delays":
        return self if self.whole.ndim == 0 else Delays(self.whole[order], self.rest[order])

    def at(self, places: Int[Array, "P W"]) -> "Delays":
        return self if self.whole.ndim == 0 else Delays(self.whole[places], self.rest[places])


class Arriving(NamedTuple):
    """In which cell spikes arrive, counted from the one in which they happen, and where in it."""

    later: Int[Array, "..."]
    offsets: Float[Array, "..."]


def arriving(delays: Delays, offsets: Float[Array, "..."]) -> Arriving:
    """When spikes at offsets in a cell arrive."""
    offsets = offsets + delays.rest
    over = offsets >= 1
    return Arriving(delays.whole + over.astype(jnp.int32), jnp.where(over, offsets - 1, offsets))
