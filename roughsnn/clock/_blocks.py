"""Where a matrix of weights has synapses: products with its blocks instead of the whole."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# with more of them, or where they fill more than this share, the whole matrix is as fast
_MOST, _SHARE = 16, 0.95


class Block(NamedTuple):
    """Neurons that follow each other, and all that have synapses to them lie within a range: first
    numbers, and those after the last."""

    to: tuple[int, int]
    since: tuple[int, int]


Blocks = tuple[Block, ...] | None
"""Blocks that cover all synapses, by the neurons they lead to; `None` for the whole matrix."""


def blocks_of(connections: Bool[Any, "K K"]) -> Blocks:
    """The blocks of a mask of connections from row to column."""
    mask = np.asarray(connections)
    k, reached = mask.shape[0], mask.any(axis=0)
    first, last = mask.argmax(axis=0), mask.shape[0] - mask[::-1].argmax(axis=0)
    found: list[Block] = []
    for neuron in np.flatnonzero(reached):
        since = int(first[neuron]), int(last[neuron])
        if found and found[-1].to[1] == neuron and found[-1].since == since:
            found[-1] = Block((found[-1].to[0], int(neuron) + 1), since)
        else:
            found.append(Block((int(neuron), int(neuron) + 1), since))
    area = sum((b.to[1] - b.to[0]) * (b.since[1] - b.since[0]) for b in found)
    return None if len(found) > _MOST or area > _SHARE * k * k else tuple(found)


def covered(blocks: tuple[Block, ...], k: int) -> Bool[np.ndarray, "K K"]:
    """The mask of the blocks."""
    mask = np.zeros((k, k), bool)
    for block in blocks:
        mask[slice(*block.since), slice(*block.to)] = True
    return mask


def cut(matrix: Float[Array, "K K"], blocks: Blocks) -> tuple[Array, ...]:
    """The blocks of a matrix."""
    if blocks is None:
        return (matrix,)
    return tuple(matrix[slice(*block.since), slice(*block.to)] for block in blocks)


def product(sent: Float[Array, "*n K"], pieces: tuple[Any, ...], blocks: Blocks) -> Array:
    """What is sent times a matrix that has been cut; pieces that are `None` are zero."""
    if blocks is None:
        return sent @ pieces[0].astype(sent.dtype)
    parts, done, shape = [], 0, sent.shape[:-1]

    def silent(number):
        return [jnp.zeros((*shape, number), sent.dtype)] if number else []

    for block, piece in zip(blocks, pieces, strict=True):
        if piece is None:
            continue
        parts += silent(block.to[0] - done)
        parts.append(sent[..., slice(*block.since)] @ piece.astype(sent.dtype))
        done = block.to[1]
    return jnp.concatenate([*parts, *silent(sent.shape[-1] - done)], axis=-1)


def product_over_steps(
    sent: Float[Array, "steps K"], pieces: tuple[Any, ...], blocks: Blocks
) -> Array:
    """The same for all steps of a trial, to be mapped over trials.

    Of trials with the same matrix it is one product of all rows, in the order in which a scan over
    steps reads and writes them: no array of the size of all steps is turned around.
    """

    @jax.custom_batching.custom_vmap
    def times(sent, pieces):
        return product(sent, pieces, blocks)

    @times.def_vmap
    def _(trials, batched, sent, pieces):
        axes = jax.tree.map(lambda own: 0 if own else None, batched)
        if not batched[0] or any(jax.tree.leaves(batched[1])):
            return jax.vmap(lambda x, y: product(x, y, blocks), axes)(sent, pieces), True
        rows = jnp.swapaxes(sent, 0, 1)
        found = product(rows.reshape(-1, rows.shape[-1]), pieces, blocks)
        return jnp.swapaxes(found.reshape(*rows.shape[:2], -1), 0, 1), True

    return times(sent, pieces)
