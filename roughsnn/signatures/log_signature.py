"""Log-signatures of paths and of spike trains, in the coordinates of the Lyndon words."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import IntLike, real_array, whole_number
from ..spikes.trains import SpikeTrains
from .event_signature import event_signature
from .truncated import num_channels, signature


def log_signature(
    paths: Shaped[ArrayLike, "*batch points channels"], depth: IntLike
) -> Float[Array, "*batch words"]:
    r"""Log-signature of each path up to level `depth`, one coordinate per Lyndon word.

    $\log S = \sum_n \frac{(-1)^{n+1}}{n} (S - 1)^{\otimes n}$ is a Lie series: it holds what the
    signature holds without its algebraic redundancy, far fewer numbers. Given are its coefficients
    of the words of `lyndon_words`, shortest first and in alphabetical order; they are
    coordinates of the Lie series (those of the dual basis, not the coefficients of brackets).
    Level 1 is the increment of the path, level 2 its Levy areas.

    Args:
        paths: points of each path.
        depth: highest level.

    Returns:
        array of shape `(*batch, num_log_coordinates(channels, depth))`, in the dtype of `paths`
        (integers and half precision as in `signature`).

    Raises:
        ValueError: `depth < 1`, no points, or no channels.

    References:
        Reizenstein, Graham (2020), ACM TOMS 46, 8: the truncated logarithm.
        Kidger, Lyons (2021), ICLR: the coordinates of the Lyndon words.
    """
    depth = whole_number("depth", depth, 1)
    return logarithm(signature(paths, depth), depth)


def event_log_signature(
    trains: SpikeTrains,
    depth: IntLike,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
) -> Float[Array, "*batch words"]:
    r"""Log-signature of the Marcus lift of each train, from its `event_signature`.

    The same numbers as `log_signature(marcus_lift(trains), depth)` without the path; time is the
    letter 0 and neuron $k$ the letter $k + 1$. Derivatives are those of `event_signature`.

    Args:
        trains: any batch of trains.
        depth: highest level.
        time_scale: factor of time.
        neuron_scale: size of a jump, one for all neurons or one per neuron.

    Raises:
        ValueError: `depth < 1`, or a scale of the wrong shape.
    """
    depth = whole_number("depth", depth, 1)
    levels = event_signature(trains, depth, time_scale=time_scale, neuron_scale=neuron_scale)
    return logarithm(levels, depth)


def logarithm(
    signatures: Shaped[ArrayLike, "*batch coordinates"], depth: IntLike
) -> Float[Array, "*batch words"]:
    r"""Log-signatures of flattened signatures, see `log_signature`.

    Raises:
        ValueError: `depth < 1`, or a number of coordinates that no signature of this depth has.
    """
    depth, signatures = whole_number("depth", depth, 1), real_array("signatures", signatures)
    channels = num_channels(signatures.shape[-1], depth)
    return _logarithm(signatures, depth, channels)


@functools.partial(jax.jit, static_argnames=("depth", "channels"))
def _logarithm(signatures, depth: int, channels: int):
    batch = signatures.shape[:-1]
    size = math.prod(batch)
    ends = np.cumsum([channels**level for level in range(1, depth)])
    levels = jnp.split(signatures.reshape(size, signatures.shape[-1]), ends, axis=-1)
    # Horner's rule: log(1 + x) = x (1 - x (1/2 - x (1/3 - ...))). The bracket that is multiplied by
    # x another r times is needed up to level depth - r alone.
    bracket: list[Array] = []
    for n in range(depth, 1, -1):
        product = _product(levels, 1 / n, bracket, depth - n + 1)
        bracket = [-level for level in product]
    log = _product(levels, 1.0, bracket, depth)
    parts = [log[level - 1][:, _positions(channels, level)] for level in range(1, depth + 1)]
    return jnp.concatenate(parts, axis=-1).reshape(*batch, num_log_coordinates(channels, depth))


def _product(levels: list, constant: float, bracket: list, highest: int) -> list:
    """Levels 1 to `highest` of `levels * (constant + bracket)`, rows of flattened tensors."""
    result = []
    for n in range(1, highest + 1):
        total = levels[n - 1] * constant
        for m in range(1, n):
            if n - m <= len(bracket):
                left, right = levels[m - 1], bracket[n - m - 1]
                outer = left[:, :, None] * right[:, None, :]
                total = total + outer.reshape(total.shape)
        result.append(total)
    return result


@functools.cache
def lyndon_words(channels: int, depth: int) -> tuple[tuple[int, ...], ...]:
    """The Lyndon words of up to `depth` letters `0 ... channels - 1`, shortest first.

    A Lyndon word comes before all its rotations in alphabetical order. They name the coordinates
    of `log_signature`, in this order.

    Raises:
        ValueError: `channels < 1` or `depth < 1`.

    Reference: Duval (1988), Theoretical Computer Science 60, 255.
    """
    if channels < 1 or depth < 1:
        raise ValueError(f"`channels` is {channels} and `depth` {depth}; both must be 1 or more.")
    words, word = [], [-1]
    while word:
        word[-1] += 1
        words.append(tuple(word))
        length = len(word)
        while len(word) < depth:
            word.append(word[-length])
        while word and word[-1] == channels - 1:
            word.pop()
    return tuple(sorted(words, key=lambda w: (len(w), w)))


def num_log_coordinates(channels: int, depth: int) -> int:
    r"""Number of Lyndon words, $\sum_{n \le \text{depth}} \frac1n \sum_{m | n} \mu(n/m) d^m$."""
    return len(lyndon_words(channels, depth))


@functools.cache
def _positions(channels: int, level: int) -> np.ndarray:
    """Places of the Lyndon words among all words of a level."""
    words = [word for word in lyndon_words(channels, level) if len(word) == level]
    digits = np.array(words, dtype=np.int64).reshape(len(words), level)
    return digits @ channels ** np.arange(level - 1, -1, -1)
