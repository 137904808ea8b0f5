"""Who is connected to whom: masks, and lists of synapses."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray


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
    # for each neuron its synapses and their targets, padded with E and K
    edges: Int[Array, "K M"]
    targets: Int[Array, "K M"]
    num_neurons: int = eqx.field(static=True)

    def __init__(self, pre: Any, post: Any, num_neurons: int):
        pre, post = (_known(name, x) for name, x in (("pre", pre), ("post", post)))
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
        size = pre.size
        counts = np.bincount(pre, minlength=num_neurons)
        width = max(int(counts.max(initial=0)), 1)
        edges = np.full((num_neurons, width), size)
        targets = np.full((num_neurons, width), num_neurons)
        order = np.argsort(pre, kind="stable")
        place = np.arange(size) - (np.cumsum(counts) - counts)[pre[order]]
        edges[pre[order], place] = order
        targets[pre[order], place] = post[order]
        self.pre, self.post = jnp.asarray(pre, jnp.int32), jnp.asarray(post, jnp.int32)
        self.edges, self.targets = (jnp.asarray(x, jnp.int32) for x in (edges, targets))
        self.num_neurons = num_neurons

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

    @property
    def mask(self) -> Bool[Array, "K K"]:
        """The same as a boolean array from row to column."""
        mask = jnp.zeros((self.num_neurons, self.num_neurons), bool)
        return mask.at[self.pre, self.post].set(True)


def _known(name: str, value) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"`{name}` must be known when the network is built, and not depend on an argument of "
            "a JAX transformation: build the connections outside."
        )
    return np.asarray(value)


def layered_connections(*sizes: int) -> Bool[Array, "K K"]:
    """The mask of a feed-forward network with all connections between consecutive layers."""
    if not sizes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"`sizes` must be positive integers, one for each layer, got {sizes}.")
    layer = jnp.repeat(jnp.arange(len(sizes)), jnp.asarray(sizes))
    return layer[:, None] + 1 == layer[None, :]


def random_connections(
    num_neurons: int,
    *,
    key: PRNGKeyArray,
    probability: float | None = None,
    in_degree: int | None = None,
    autapses: bool = False,
) -> SparseConnections:
    """Random synapses: each with the given probability, or so many into every neuron.

    For a dense network take `.mask` of the result.

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
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    # column j holds a random number for each synapse into j
    scores = rng.random((num_neurons, num_neurons))
    if not autapses:
        np.fill_diagonal(scores, 2.0)
    if probability is not None:
        if not 0 <= probability <= 1:
            raise ValueError(f"`probability` must lie in [0, 1], got {probability}.")
        return SparseConnections(*np.nonzero(scores < probability), num_neurons)
    most = num_neurons if autapses else num_neurons - 1
    if isinstance(in_degree, bool) or not isinstance(in_degree, int) or not 0 <= in_degree <= most:
        raise ValueError(f"`in_degree` must be an integer from 0 to {most}, got {in_degree!r}.")
    chosen = np.argsort(scores, axis=0)[:in_degree]
    post = np.broadcast_to(np.arange(num_neurons), chosen.shape)
    order = np.lexsort((post.ravel(), chosen.ravel()))
    return SparseConnections(chosen.ravel()[order], post.ravel()[order], num_neurons)
