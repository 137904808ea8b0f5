"""Who is connected to whom: masks, and lists of synapses."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from .._checks import IntLike, RealLike, number, whole_number


class SparseConnections(eqx.Module):
    """The synapses of a network as a list, so that a spike costs its own synapses only.

    Args:
        pre: the neuron that each synapse leads from, shape (E,).
        post: the neuron it leads to.
        num_neurons: K.

    Raises:
        ValueError: lists of unequal length, a neuron that there is not, or a pair named twice.
    """

    pre: Int[Array, " E"]
    post: Int[Array, " E"]
    # the synapses neuron by neuron, with `most_per_neuron` places to spare, and where those of
    # each neuron begin; the last entry is their number
    order: Int[Array, " E_and_M"]
    starts: Int[Array, " K_and_1"]
    # the same by the neurons that they lead to, without places to spare
    order_by_post: Int[Array, " E"]
    starts_by_post: Int[Array, " K_and_1"]
    num_neurons: int = eqx.field(static=True)
    most_per_neuron: int = eqx.field(static=True)

    def __init__(self, pre: Any, post: Any, num_neurons: IntLike):
        num_neurons = whole_number("num_neurons", num_neurons, 1)
        pre, post = (_numbers(name, x) for name, x in (("pre", pre), ("post", post)))
        if pre.ndim != 1 or pre.shape != post.shape:
            raise ValueError(
                "`pre` and `post` must be vectors of the same length, one entry for each synapse, "
                f"got shapes {pre.shape} and {post.shape}."
            )
        for name, x in (("pre", pre), ("post", post)):
            if x.size and (x.min() < 0 or x.max() >= num_neurons):
                raise ValueError(
                    f"`{name}` must hold numbers of neurons from 0 to {num_neurons - 1}, got "
                    f"{x.min()} to {x.max()}."
                )
        if np.unique(pre.astype(np.int64) * num_neurons + post).size != pre.size:
            raise ValueError("`pre` and `post` name a synapse twice: give every pair once.")
        counts = np.bincount(pre, minlength=num_neurons)
        most = max(int(counts.max(initial=0)), 1)
        order = np.pad(np.argsort(pre, kind="stable"), (0, most), constant_values=pre.size)
        starts = np.concatenate([[0], np.cumsum(counts)])
        counts_by_post = np.bincount(post, minlength=num_neurons)
        starts_by_post = np.concatenate([[0], np.cumsum(counts_by_post)])
        self.pre, self.post = jnp.asarray(pre, jnp.int32), jnp.asarray(post, jnp.int32)
        self.order, self.starts = jnp.asarray(order, jnp.int32), jnp.asarray(starts, jnp.int32)
        self.order_by_post = jnp.asarray(np.argsort(post, kind="stable"), jnp.int32)
        self.starts_by_post = jnp.asarray(starts_by_post, jnp.int32)
        self.num_neurons, self.most_per_neuron = num_neurons, most

    @classmethod
    def from_mask(cls, mask) -> "SparseConnections":
        """The synapses of a mask, row by row."""
        known = _known("mask", mask)
        if known.ndim != 2 or known.shape[0] != known.shape[1] or known.dtype != bool:
            raise ValueError(
                f"`mask` must be a boolean array of shape (K, K), got {known.dtype} of shape "
                f"{known.shape}."
            )
        return cls(*np.nonzero(known), known.shape[0])

    def __len__(self) -> int:
        return self.pre.shape[0]

    def of(self, neuron: Int[Array, ""]) -> tuple[Int[Array, " M"], Int[Array, " M"]]:
        """The synapses of a neuron and the neurons that they lead to, padded with E and K."""
        place = jnp.arange(self.most_per_neuron, dtype=jnp.int32)
        edges = jax.lax.dynamic_slice(self.order, (self.starts[neuron],), (place.size,))
        own = place < self.starts[neuron + 1] - self.starts[neuron]
        edges = jnp.where(own, edges, len(self))
        return edges, taken(self.post, edges, self.num_neurons)

    @property
    def mask(self) -> Bool[Array, "K K"]:
        """The same as a boolean array from row to column."""
        mask = jnp.zeros((self.num_neurons, self.num_neurons), bool)
        return mask.at[self.pre, self.post].set(True)


def taken(values: Shaped[Array, " n"], index: Int[Array, "..."], fill: int) -> Array:
    """The values at these places, and `fill` past the last one, even where there are no values."""
    if values.shape[0] == 0:
        return jnp.full(index.shape, fill, values.dtype)
    return values.at[index].get(mode="fill", fill_value=fill)


def _numbers(name: str, value) -> np.ndarray:
    known = _known(name, value)
    if known.size == 0:
        return known.astype(np.int64)
    if not np.issubdtype(known.dtype, np.integer):
        raise ValueError(f"`{name}` must hold numbers of neurons, integers, got {known.dtype}.")
    return known.astype(np.int64)


def _known(name: str, value) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"`{name}` must be known when the network is built, and not depend on an argument of "
            "a JAX transformation: build the connections outside."
        )
    return np.asarray(value)


def layered_connections(*sizes: IntLike) -> Bool[Array, "K K"]:
    """The mask of a feed-forward network with all connections between consecutive layers."""
    sizes = tuple(whole_number("sizes", n, 1) for n in sizes)
    if not sizes:
        raise ValueError("`sizes` must be positive integers, one for each layer, got none.")
    layer = jnp.repeat(jnp.arange(len(sizes)), jnp.asarray(sizes))
    return layer[:, None] + 1 == layer[None, :]


def random_connections(
    num_neurons: IntLike,
    *,
    key: PRNGKeyArray,
    probability: RealLike | None = None,
    in_degree: IntLike | None = None,
    autapses: bool = False,
) -> SparseConnections:
    """Random synapses: each with the given probability, or so many into every neuron.

    Memory and time grow with the number of synapses. For a dense network take `.mask` of the
    result.

    Args:
        num_neurons: K.
        key: random key.
        probability: every pair is connected with this probability, independently.
        in_degree: every neuron has so many synapses, from neurons chosen without replacement.
        autapses: whether a neuron may be connected to itself.

    Raises:
        ValueError: not exactly one of `probability` and `in_degree`, or one out of range.
    """
    if (probability is None) == (in_degree is None):
        raise ValueError(
            "Give exactly one of `probability` and `in_degree`, got "
            f"probability={probability} and in_degree={in_degree}."
        )
    k = whole_number("num_neurons", num_neurons, 1)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    # with how many others each neuron may be connected
    others = k if autapses else k - 1
    if probability is not None:
        probability = number("probability", probability)
        if not 0 <= probability <= 1:
            raise ValueError(f"`probability` must lie in [0, 1], got {probability}.")
        pre, other = _by_chance(rng, k, others, probability)
        post = other if autapses else other + (other >= pre)
    else:
        in_degree = whole_number("in_degree", in_degree, 0, others)
        other = np.sort(_distinct(rng, k, others, in_degree), axis=1)
        post = np.repeat(np.arange(k), in_degree)
        pre = other.ravel()
        pre = pre if autapses else pre + (pre >= post)
    order = np.lexsort((post, pre))
    return SparseConnections(pre[order], post[order], k)


# random numbers that are held at once where every pair has one
_BLOCK = 2**20


def _by_chance(rng, rows: int, columns: int, probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row, column), each chosen with this probability, independently."""
    total = rows * columns
    if probability < 0.04:
        # their number first, then which they are: as likely, and no number for every pair
        count = rng.binomial(total, probability)
        if not count:
            return np.zeros(0, int), np.zeros(0, int)
        return np.divmod(rng.choice(total, count, replace=False, shuffle=False), columns)
    found = []
    step = max(1, _BLOCK // max(columns, 1))
    for first in range(0, rows, step):
        some = rng.random((min(step, rows - first), columns)) < probability
        row, column = np.nonzero(some)
        found.append((row + first, column))
    pre, other = (np.concatenate(x) for x in zip(*found, strict=True))
    return pre, other


def _distinct(rng, rows: int, columns: int, count: int) -> np.ndarray:
    """For each row so many different columns, every set of them as likely as any other."""
    if 4 * count > columns:
        step = max(1, _BLOCK // max(columns, 1))
        parts = [
            np.argsort(rng.random((min(step, rows - first), columns)), axis=1)[:, :count]
            for first in range(0, rows, step)
        ]
        return np.concatenate(parts)
    # The first `count` different ones of a sequence of independent draws: what comes a second time
    # is drawn again.
    chosen = rng.integers(columns, size=(rows, count))
    again = np.arange(rows)
    while again.size:
        some = np.sort(chosen[again], axis=1)
        twice = np.zeros(some.shape, bool)
        twice[:, 1:] = some[:, 1:] == some[:, :-1]
        some[twice] = rng.integers(columns, size=int(twice.sum()))
        chosen[again] = some
        again = again[twice.any(axis=1)]
    return chosen
