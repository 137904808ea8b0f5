"""Some coordinates of the signatures of spike trains, where all of them would be too many."""

from collections.abc import Sequence
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from .._checks import IntLike, whole_number
from ..spikes.trains import SpikeTrains
from ._signature_terms import Inputs, lift_of_train
from .event_signature import checked_scales

Words = Sequence[Sequence[int]]

# Bytes of states that the trains computed together may hold.
_STATES = 64 * 2**20


def event_words(
    trains: SpikeTrains,
    words: Words,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
) -> Float[Array, "*batch words"]:
    r"""Coordinates of `event_signature` that belong to given words, and no others.

    A word is a sequence of letters, time being 0 and neuron $k$ being $k + 1$. A piece of the
    Marcus lift with increment $v$ takes the prefixes of a word $i_1 \dots i_n$ to

    $$
    S^{i_1 \dots i_m} \leftarrow \sum_{r=0}^m \frac{1}{r!}
        S^{i_1 \dots i_{m-r}}\, v^{i_{m-r+1}} \cdots v^{i_m},
    $$

    so that a word costs its length squared for each piece, whatever the number of neurons and of
    words that are left out. Derivatives in both modes and of any order.

    Args:
        trains: any batch of trains.
        words: the words, of one letter or more each; `all_words` and `random_words` make some.
        time_scale: factor of time.
        neuron_scale: size of a jump, one for all neurons or one per neuron.

    Returns:
        array of shape `(*batch, len(words))` in the dtype of the times.

    Raises:
        ValueError: no words, an empty one, a letter that is none, a scale of the wrong shape, or
            trains that hold the presence of spikes.
    """
    time_scale, scale = checked_scales(trains, time_scale, neuron_scale)
    letters = _letters(words, trains.num_neurons + 1)
    if trains.presence is not None:
        raise ValueError(
            "`trains` holds the presence of spikes, whose words `event_words` does not know; take "
            "`event_signature`, or trains without presence."
        )
    batch, size = trains.batch_shape, int(np.prod(trains.batch_shape))
    if size == 0:
        return jnp.zeros((*batch, len(words)), trains.times.dtype)
    flat = trains.reshape(size)
    states = (flat.max_spikes + 1) * (letters.size + len(letters)) * flat.times.dtype.itemsize
    together = min(size, max(1, _STATES // (4 * states)))
    inputs = Inputs(flat.times, flat.durations, time_scale, scale)
    # A tuple can be compared, which a compiled program is found by.
    found = _words(inputs, flat.neurons, tuple(map(tuple, letters.tolist())), together)
    return found.reshape(*batch, len(words))


def all_words(
    channels: IntLike, depth: IntLike, *, leading_time: bool = True
) -> tuple[tuple[int, ...], ...]:
    r"""All words of up to `depth` letters, in the order of the coordinates of `event_signature`.

    Args:
        channels: number of letters $d$, one more than neurons.
        depth: length of the longest words.
        leading_time: whether words that begin with time are among them. Where all trains have one
            window, they say nothing new: by the shuffle product with the letter of time, whose
            coordinate is the length of the window, each is a linear combination of the others,
            which are $(d - 1) d^{n - 1}$ of length $n$.

    Raises:
        ValueError: `channels < 1` or `depth < 1`.
    """
    channels = whole_number("channels", channels, 1)
    depth = whole_number("depth", depth, 1)
    words = (word for n in range(1, depth + 1) for word in product(range(channels), repeat=n))
    return tuple(word for word in words if leading_time or word[0] != 0)


def random_words(
    channels: IntLike, depth: IntLike, number: IntLike, *, key: Key[Array, ""]
) -> tuple[tuple[int, ...], ...]:
    """Different words that do not begin with time, drawn at random: so many of each length, or all
    where there are no more.

    Args:
        channels: number of letters, one more than neurons.
        depth: length of the longest words.
        number: of words of each length.
        key: of the draw.

    Raises:
        ValueError: `channels < 2`, `depth < 1` or `number < 1`.
    """
    channels = whole_number("channels", channels, 2)
    depth, number = whole_number("depth", depth, 1), whole_number("number", number, 1)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    words: list[tuple[int, ...]] = []
    for length in range(1, depth + 1):
        most = (channels - 1) * channels ** (length - 1)
        chosen: set[tuple[int, ...]] = set()
        while len(chosen) < min(number, most):
            first, rest = random.integers(1, channels), random.integers(0, channels, length - 1)
            chosen.add((int(first), *map(int, rest)))
        words += sorted(chosen)
    return tuple(words)


def _letters(words: Words, channels: int) -> np.ndarray:
    """The letters of each word, and -1 after its end."""
    if len(words) == 0 or min(map(len, words)) == 0:
        raise ValueError(f"`words` is {words!r:.60}; it must have words of one letter or more.")
    letters = np.full((len(words), max(map(len, words))), -1)
    for row, word in zip(letters, words, strict=True):
        row[: len(word)] = word
        if not all(0 <= letter < channels for letter in word):
            raise ValueError(
                f"`words` has {tuple(word)}; its letters must be 0, for time, to {channels - 1}, "
                "for the last neuron."
            )
    return letters


@partial(jax.jit, static_argnums=(2, 3))
def _words(inputs: Inputs, neurons: Array, letters: tuple[tuple[int, ...], ...], together: int):
    times, ends, time_scale, scale = inputs

    def of_train(train):
        return _words_of_train(*train, time_scale, scale, np.asarray(letters))

    of_train = jax.checkpoint(of_train)
    return jax.lax.map(of_train, (times, neurons, ends), batch_size=together)


def _words_of_train(times, neurons, end, time_scale, scale, letters: np.ndarray) -> Array:
    gaps, jumps, _ = lift_of_train(times, neurons, end, time_scale, scale)
    depth, is_letter = letters.shape[1], letters >= 0
    is_time = jnp.asarray(letters == 0, times.dtype)

    def along_time(prefixes, gap):
        return _moved(prefixes, is_time * gap)

    def step(prefixes, piece):
        gap, jump = piece
        along_jump = jnp.where(is_letter, jump[np.maximum(letters, 0)], 0)
        return _moved(along_time(prefixes, gap), along_jump), None

    start = jnp.zeros((len(letters), depth + 1), times.dtype).at[:, 0].set(1)
    prefixes, _ = jax.lax.scan(step, start, (gaps[:-1], jumps))
    prefixes = along_time(prefixes, gaps[-1])
    return prefixes[np.arange(len(letters)), is_letter.sum(axis=1)]


def _moved(
    prefixes: Float[Array, "words lengths"], increments: Float[Array, "words letters"]
) -> Float[Array, "words lengths"]:
    """The prefixes after a piece; the increment of the letter in each place of each word."""
    lengths = [prefixes[:, 0]]
    for m in range(1, prefixes.shape[1]):
        # Horner's rule, from the word as a whole: each step takes one letter more from the piece.
        total = prefixes[:, 0]
        for r in range(m, 0, -1):
            total = prefixes[:, m - r + 1] + total * increments[:, m - r] / r
        lengths.append(total)
    return jnp.stack(lengths, axis=1)
