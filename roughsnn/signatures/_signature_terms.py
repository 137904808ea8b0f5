"""Truncated signatures of spike trains as sums over the events of their lifts, in JAX.

The formula is that of `event_signature`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .truncated import num_coordinates

# Bytes of states that the trains computed together may hold.
_STATES = 64 * 2**20


class Inputs(NamedTuple):
    """What a signature is differentiated in."""

    times: Float[Array, "trains spikes"]
    ends: Float[Array, " trains"]
    time_scale: Float[Array, ""]
    scale: Float[Array, " neurons"]


class Wanted(NamedTuple):
    """What is known when the computation is compiled: the depth, and whether the signatures of all
    trains are summed."""

    depth: int
    total: bool


def words_by_jax(
    inputs: Inputs, neurons: Int[Array, "trains spikes"], wanted: Wanted
) -> Float[Array, "*trains all"]:
    """Signature of each train, or their sum; no more trains together than have room."""
    number, num_spikes = inputs.times.shape
    channels = inputs.scale.shape[0] + 1
    states = (2 * num_spikes + 1) * sum(channels**n for n in range(wanted.depth // 2 + 1))
    together = max(1, _STATES // (4 * states * inputs.times.dtype.itemsize))
    run = _summed if wanted.total else _signatures
    return run(inputs, neurons, wanted.depth, min(number, together))


@partial(jax.jit, static_argnums=(2, 3))
def _signatures(inputs: Inputs, neurons: Array, depth: int, together: int):
    times, ends, time_scale, scale = inputs

    def of_train(train):
        return _signature(*train, time_scale, scale, depth=depth)

    if together == len(times):
        return jax.vmap(of_train)((times, neurons, ends))
    return jax.lax.map(jax.checkpoint(of_train), (times, neurons, ends), batch_size=together)


@partial(jax.jit, static_argnums=(2, 3))
def _summed(inputs: Inputs, neurons: Array, depth: int, together: int):
    times, ends, time_scale, scale = inputs

    def of_part(part):
        times, neurons, ends = part
        of_train = partial(_factors, depth=depth)
        factors = jax.vmap(of_train, (0, 0, 0, None, None))(times, neurons, ends, time_scale, scale)
        return _words(factors, neurons, scale)

    trains = (times, neurons, ends)
    if together == len(times):
        return of_part(trains)
    whole = len(times) // together * together
    parts = jax.tree.map(lambda a: a[:whole].reshape(-1, together, *a.shape[1:]), trains)

    def add(total, part):
        return total + jax.checkpoint(of_part)(part), None

    start = jnp.zeros(num_coordinates(scale.shape[0] + 1, depth), times.dtype)
    total, _ = jax.lax.scan(add, start, parts)
    if whole == len(times):
        return total
    return total + of_part(jax.tree.map(lambda a: a[whole:], trains))


def _signature(times, neurons, end, time_scale, scale, *, depth: int) -> Float[Array, " all"]:
    """Signature of one train."""
    factors = _factors(times, neurons, end, time_scale, scale, depth=depth)
    return _words(jax.tree.map(lambda a: a[None], factors), neurons[None], scale)


class _Factors(NamedTuple):
    """What the words of one level of one train are summed from: products of rows and columns."""

    time_left: Float[Array, "nodes pieces rows"]
    time_right: Float[Array, "nodes pieces columns"]
    jump_left: Float[Array, "spikes nodes rows"]
    jump_right: Float[Array, "spikes nodes columns"]


def _words(factors: list, neurons: Array, scale: Array) -> Float[Array, " all"]:
    """The words of all levels, summed over the trains of a batch."""
    levels = []
    for time_left, time_right, jump_left, jump_right in factors:
        rows, columns = time_left.shape[-1], time_right.shape[-1]
        time_part = time_left.reshape(-1, rows).T @ time_right.reshape(-1, columns)
        jump_part = _by_label(jump_left, jump_right, neurons, scale.shape[0])
        both = jnp.concatenate([time_part[None], jump_part * scale[:, None, None]], axis=0)
        levels.append(jnp.moveaxis(both, 0, 1).reshape(-1))
    return jnp.concatenate(levels)


class Lift(NamedTuple):
    """The pieces of the Marcus lift of one train: a gap of time, a jump, ..., a last gap.

    The first of spikes at one time jumps for all of them; `places` has its place for each spike.
    """

    gaps: Float[Array, " pieces"]
    jumps: Float[Array, "spikes channels"]
    places: Int[Array, " spikes"]


def lift_of_train(times, neurons, end, time_scale, scale) -> Lift:
    """The pieces of one train."""
    num_neurons, dtype = scale.shape[0], times.dtype
    mask = neurons >= 0
    # `inf` is replaced before any arithmetic, so that its derivative is 0 and never inf * 0.
    times = jnp.where(mask, times, end)
    one_hot = jax.nn.one_hot(neurons, num_neurons, dtype=dtype) * scale[None]
    places, times = _groups(times, mask)
    jumps = jnp.pad(jnp.zeros_like(one_hot).at[places].add(one_hot), ((0, 0), (1, 0)))
    gaps = time_scale * jnp.diff(jnp.concatenate([jnp.zeros(1, dtype), times, end[None]]))
    return Lift(gaps, jumps, places)


def _factors(times, neurons, end, time_scale, scale, *, depth: int) -> list:
    """The factors of each level of one train."""
    num_spikes, channels, dtype = times.shape[0], scale.shape[0] + 1, times.dtype
    gaps, jumps, places = lift_of_train(times, neurons, end, time_scale, scale)
    along_time = jnp.zeros((num_spikes + 1, channels), dtype).at[:, 0].set(gaps)
    alternating = jnp.stack([along_time[:-1], jumps], axis=1)
    pieces = jnp.concatenate(
        [alternating.reshape(2 * num_spikes, channels), along_time[-1:]], axis=0
    )
    highest = depth // 2
    before = _prefixes(pieces, highest)
    # Backwards, words are read from their end.
    after = [
        jnp.transpose(level[::-1], (0, *range(level.ndim - 1, 0, -1)))
        for level in _prefixes(pieces[::-1], highest)
    ]
    jump_place = 2 * places + 1

    levels = []
    for level in range(1, depth + 1):
        left = (level - 1) // 2
        right = level - 1 - left
        rows, columns = channels**left, channels**right
        # Exact for polynomials of degree level - 1 in the place within the piece.
        nodes, weights = np.polynomial.legendre.leggauss((level + 1) // 2)
        time_lefts, time_rights, lefts, rights = [], [], [], []
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            past = _multiplied(before, pieces, float(node), left, from_right=True)
            future = _multiplied(after, pieces, 1 - float(node), right, from_right=False)
            past, future = past.reshape(-1, rows), future.reshape(-1, columns)
            time_lefts.append(past[::2] * (float(weight) * gaps[:, None]))
            time_rights.append(future[::2])
            lefts.append(float(weight) * past[jump_place])
            rights.append(future[jump_place])
        levels.append(
            _Factors(
                jnp.stack(time_lefts), jnp.stack(time_rights), jnp.stack(lefts, 1),
                jnp.stack(rights, 1),
            )
        )  # fmt: skip
    return levels


def _groups(times, mask):
    """Place of the first spike at the time of each, and the times.

    The times are the given ones, with the derivative of the mean of their group.
    """
    num_spikes = times.shape[0]
    place = jnp.arange(num_spikes, dtype=jnp.int32)
    tied = jnp.pad((times[1:] == times[:-1]) & mask[1:], (1, 0))[:num_spikes]
    first = jax.lax.cummax(jnp.where(tied, 0, place))
    total = jnp.zeros_like(times).at[first].add(times)
    size = jnp.zeros_like(times).at[first].add(1)
    mean = (total / jnp.maximum(size, 1))[first]
    return first, jax.lax.stop_gradient(times - mean) + mean


def _prefixes(pieces: Array, highest: int) -> list[Array]:
    """Levels 0 to `highest` of the signature of what comes before each piece."""
    count, dtype = pieces.shape[0], pieces.dtype
    levels = [jnp.ones(count, dtype)]
    for level in range(1, highest + 1):
        change = _multiplied([*levels, None], pieces, 1.0, level, from_right=True)
        summed = jnp.cumsum(change, axis=0)
        levels.append(jnp.concatenate([jnp.zeros_like(summed[:1]), summed[:-1]], axis=0))
    return levels


def _multiplied(states: list, pieces: Array, part: float, level: int, *, from_right: bool) -> Array:
    r"""Level `level` of each state times $e^{u v}$ (or the reverse product), for each piece $v$.

    A state whose own level is None leaves that term out: what is left is the change.
    """
    total = states[level]
    power = jnp.ones_like(pieces[:, 0])
    for r in range(1, level + 1):
        power = _outer(power, pieces * (part / r))
        state = states[level - r]
        term = _outer(state, power) if from_right else _outer(power, state)
        total = term if total is None else total + term
    return total


def _outer(a: Array, b: Array) -> Array:
    """Tensor product of the rows."""
    return jnp.reshape(a, a.shape + (1,) * (b.ndim - 1)) * jnp.reshape(
        b, b.shape[:1] + (1,) * (a.ndim - 1) + b.shape[1:]
    )


def _by_label(
    left: Float[Array, "trains items nodes rows"],
    right: Float[Array, "trains items nodes columns"],
    labels: Int[Array, "trains items"],
    num_labels: int,
) -> Float[Array, "labels rows columns"]:
    """Sum of the outer products of the items of each label; padding has label -1."""
    labels = jnp.where(labels >= 0, labels, num_labels)

    def add(total, item):
        a, b, label = item
        product = a[:, 0, :, None] * b[:, 0, None]
        for node in range(1, a.shape[1]):
            product = product + a[:, node, :, None] * b[:, node, None]
        return total.at[label].add(product, mode="drop"), None

    start = jnp.zeros((num_labels, left.shape[3], right.shape[3]), left.dtype)
    items = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), (left, right, labels))
    return jax.lax.scan(add, start, items)[0]
