"""Which entries of a long mask are set, in order: by bits of words, without a scatter or a sort.

`jnp.nonzero` of a mask of n entries costs n scattered writes on a CPU; here the mask is packed into
words of 32 bits, whose counts are summed up, and each place is looked up by halving.
"""

from typing import NamedTuple

import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

_WORD = 32
# the powers of 2 of the bits of the lower and of the upper half of a word
_HALVES = np.zeros((_WORD, 2), np.float32)
_HALVES[:16, 0] = _HALVES[16:, 1] = 2.0 ** np.arange(16)


class SetBits(NamedTuple):
    """A mask as words.

    Attributes:
        words: its bits, the first entry of the mask lowest.
        counts: how many are set up to the end of each word.
    """

    words: UInt32[Array, " W"]
    counts: Int[Array, " W"]

    @property
    def total(self) -> Int[Array, ""]:
        """How many entries are set."""
        return self.counts[-1]


def packed(mask: Bool[Array, "..."]) -> SetBits:
    """The bits of a mask, in the order of its entries."""
    flat = mask.reshape(-1)
    whole = flat.size - flat.size % _WORD
    words = _words(flat[:whole])
    if whole < flat.size or not whole:
        # (padded apart: what computes the mask would otherwise have a branch for each entry)
        rest = jnp.pad(flat[whole:], (0, whole + _WORD - flat.size))
        words = jnp.concatenate([words, _words(rest)])
    counts = jnp.cumsum(lax.population_count(words).astype(jnp.int32), dtype=jnp.int32)
    return SetBits(words, counts)


def _words(flat: Bool[Array, " n"]) -> UInt32[Array, " W"]:
    # as a product: a sum of bits would take the computation of the mask in, entry by entry
    bits = flat.astype(jnp.float32).reshape(-1, _WORD)
    halves = jnp.dot(bits, _HALVES, precision=lax.Precision.HIGHEST)
    low, high = (halves[:, n].astype(jnp.uint32) for n in (0, 1))
    return low | (high << 16)


def places_of(bits: SetBits, rank: Int[Array, " R"], past: int) -> Int[Array, " R"]:
    """Where the set entry of each rank (0, 1, ...) lies; `past` for a rank that there is not."""
    num_words = bits.words.shape[0]
    word, step = jnp.zeros_like(rank), 1 << (num_words.bit_length() - 1)
    while step:
        further = word + step
        passed = (further <= num_words) & (bits.counts.at[further - 1].get(mode="clip") <= rank)
        word = jnp.where(passed, further, word)
        step //= 2
    before = jnp.where(word > 0, bits.counts.at[word - 1].get(mode="clip"), 0)
    left = rank - before
    own = bits.words.at[word].get(mode="fill", fill_value=0)
    bit = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        lower = own & jnp.uint32((1 << half) - 1)
        count = lax.population_count(lower).astype(rank.dtype)
        upper = left >= count
        left = jnp.where(upper, left - count, left)
        bit = jnp.where(upper, bit + half, bit)
        own = jnp.where(upper, own >> half, lower)
    return jnp.where(rank < bits.total, word * _WORD + bit, past)


def divided(index: Int[Array, " R"], size: int) -> tuple[Int[Array, " R"], Int[Array, " R"]]:
    """Quotient and remainder of numbers that are not negative, which spares their signs."""
    by = jnp.asarray(size, index.dtype)
    return lax.div(index, by), lax.rem(index, by)
