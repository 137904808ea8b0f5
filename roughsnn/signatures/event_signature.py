"""The truncated signature of spike trains, with the work of their events only."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from .._checks import IntLike, whole_number
from ..spikes.marcus import marcus_lift
from ..spikes.trains import SpikeTrains
from ._levels import weighted_levels
from .truncated import num_coordinates, signature

# Bytes of states that the trains computed together may hold.
_STATES = 64 * 2**20


def event_signature(
    trains: SpikeTrains,
    depth: IntLike,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
    level_weights: Sequence[float] | None = None,
) -> Float[Array, "*batch coordinates"]:
    r"""Signature of the Marcus lift of each train, its levels flattened one after the other.

    The same numbers as `signature(marcus_lift(trains), depth)`, with time as channel 0 and neuron
    $k$ as channel $k + 1$, but without the path and with $d^{\text{depth} - 1}$ operations per
    event instead of $d^{\text{depth}}$: every piece of the lift but a diagonal jump runs along one
    channel. In an iterated integral over $n$ ordered times, the time in place $p + 1$ lies in one
    piece $e$ of the path, with the increment $v_e$, so that

    $$
    S_n = \sum_e \int_0^1 \big[S^-_e \otimes e^{u v_e}\big]_p \otimes v_e \otimes
          \big[e^{(1-u) v_e} \otimes S^+_e\big]_{n-1-p}\,du
    $$

    with the signatures $S^-_e$ and $S^+_e$ of what comes before and after the piece. With
    $p \approx (n - 1) / 2$ only their lower half of the levels is needed, for depth 3 the
    increments alone; the integral of a polynomial is a Gauss-Legendre sum without error; and the
    sum over events is added into the words with the letter of the event in place $p + 1$.
    Reverse mode needs nothing but the low levels either, as no state of the high ones is read.

    Of trains that hold the presence of spikes it is the signature of their path through the whole
    grid, which costs as many events as there are steps.

    Derivatives in both modes and of any order, in the times, the window and both scales. At a tie
    the derivative is that of moving the tied spikes together, shared equally among them.

    Args:
        trains: any batch of trains.
        depth: highest level.
        time_scale: factor of time.
        neuron_scale: size of a jump, one for all neurons or one per neuron.
        level_weights: factors $w_1, \dots, w_{\text{depth}}$ of the levels, all 1 by default; in an
            inner product of signatures they count squared. `TensorNormalisation` weighs the levels
            of each train by its own norm instead.

    Returns:
        array of shape `(*batch, d + d^2 + ... + d^depth)`, $d = 1 + \text{num\_neurons}$, in the
        dtype of the times; level 0, which is 1, is left out.

    Raises:
        ValueError: `depth < 1`, a scale of the wrong shape, or not one weight for each level.
    """
    depth, time_scale, scale = _settings(trains, depth, time_scale, neuron_scale)
    batch, num_spikes = trains.batch_shape, trains.max_spikes
    size = math.prod(batch)
    coordinates = num_coordinates(trains.num_neurons + 1, depth)
    if size == 0:
        return jnp.zeros((*batch, coordinates), trains.times.dtype)
    if trains.presence is not None:
        path = marcus_lift(trains, scale=scale, time_scale=time_scale)
        found = signature(path, depth).astype(trains.times.dtype)
        return found if level_weights is None else weighted_levels(found, depth, level_weights)
    signatures = _signatures(
        trains.times.reshape(size, num_spikes), trains.neurons.reshape(size, num_spikes),
        trains.durations.reshape(size), time_scale, scale,
        depth=depth, together=min(size, _trains_together(trains, depth)),
    )  # fmt: skip
    signatures = signatures.reshape(*batch, coordinates)
    return (
        signatures if level_weights is None else weighted_levels(signatures, depth, level_weights)
    )


def mean_event_signature(
    trains: SpikeTrains,
    depth: IntLike,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
) -> Float[Array, " coordinates"]:
    r"""Mean of `event_signature` over a sample, whose words are held once and not for each train.

    The sum over the events of a train is that over the events of all of them, so memory grows with
    the number of words and not with that times the number of trains, in reverse mode too.

    Args:
        trains: a sample, of batch shape `(samples,)`.
        depth: highest level.
        time_scale: factor of time.
        neuron_scale: size of a jump, one for all neurons or one per neuron.

    Returns:
        array of $d + d^2 + \dots + d^{\text{depth}}$ coordinates, as `event_signature` has them.

    Raises:
        ValueError: no train or not exactly one batch axis, `depth < 1`, a scale of the wrong shape.
    """
    depth, time_scale, scale = _settings(trains, depth, time_scale, neuron_scale)
    if len(trains.batch_shape) != 1 or len(trains) == 0:
        raise ValueError(
            f"`trains` has batch shape {trains.batch_shape}; it must be a sample of one train or "
            "more, with one batch axis. Use `trains.reshape(n)`."
        )
    if trains.presence is not None:
        found = event_signature(trains, depth, time_scale=time_scale, neuron_scale=scale)
        return jnp.mean(found, axis=0)
    total = _summed(
        trains.times, trains.neurons, trains.durations, time_scale, scale,
        depth=depth, together=min(len(trains), _trains_together(trains, depth)),
    )  # fmt: skip
    return total / len(trains)


def _settings(trains, depth, time_scale, neuron_scale) -> tuple[int, Array, Array]:
    """The depth, and both scales as arrays, one of jumps for each neuron."""
    depth = whole_number("depth", depth, 1)
    dtype, num_neurons = trains.times.dtype, trains.num_neurons
    neuron_scale = jnp.asarray(neuron_scale, dtype)
    time_scale = jnp.asarray(time_scale, dtype)
    if neuron_scale.shape not in ((), (num_neurons,)):
        raise ValueError(
            f"`neuron_scale` has shape {neuron_scale.shape}; it must be a single number or one per "
            f"neuron, of shape ({num_neurons},)."
        )
    if time_scale.shape != ():
        raise ValueError(f"`time_scale` has shape {time_scale.shape}; it must be a single number.")
    return depth, time_scale, jnp.broadcast_to(neuron_scale, (num_neurons,))


def _trains_together(trains: SpikeTrains, depth: int) -> int:
    """How many trains have room for their states."""
    pieces, channels = 2 * trains.max_spikes + 1, trains.num_neurons + 1
    states = pieces * sum(channels**level for level in range(depth // 2 + 1))
    return max(1, _STATES // (4 * states * trains.times.dtype.itemsize))


@partial(jax.jit, static_argnames=("depth", "together"))
def _signatures(
    times, neurons, ends, time_scale, scale, *, depth: int, together: int
) -> Float[Array, "trains all"]:
    """Signatures of a batch of trains, so many at once."""

    def of_train(train):
        return _signature(*train, time_scale, scale, depth=depth)

    if together == len(times):
        return jax.vmap(of_train)((times, neurons, ends))
    return jax.lax.map(jax.checkpoint(of_train), (times, neurons, ends), batch_size=together)


@partial(jax.jit, static_argnames=("depth", "together"))
def _summed(
    times, neurons, ends, time_scale, scale, *, depth: int, together: int
) -> Float[Array, " all"]:
    """Sum of the signatures of a batch of trains, so many at once."""

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


def _factors(times, neurons, end, time_scale, scale, *, depth: int) -> list:
    """The factors of each level of one train."""
    num_spikes, num_neurons, dtype = times.shape[0], scale.shape[0], times.dtype
    channels = num_neurons + 1
    mask = neurons >= 0
    # `inf` is replaced before any arithmetic, so that its derivative is 0 and never inf * 0.
    times = jnp.where(mask, times, end)
    one_hot = jax.nn.one_hot(neurons, num_neurons, dtype=dtype) * scale[None]
    first, is_first, times = _groups(times, mask)
    # Every spike of a group gets the jump of all of it.
    jump_of_group = jnp.zeros_like(one_hot).at[first].add(one_hot)

    gaps = time_scale * jnp.diff(jnp.concatenate([jnp.zeros(1, dtype), times, end[None]]))
    along_time = jnp.zeros((num_spikes + 1, channels), dtype).at[:, 0].set(gaps)
    jumps = jnp.pad(jump_of_group, ((0, 0), (1, 0)))
    # Time, jump, time, ..., time. The first spike of a group jumps for all of it.
    alternating = jnp.stack([along_time[:-1], jnp.where(is_first[:, None], jumps, 0)], axis=1)
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
    jump_place = 2 * first + 1

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
    """Place of the first spike at the time of each, whether that is it, and the times.

    The times are the given ones, with the derivative of the mean of their group.
    """
    num_spikes = times.shape[0]
    place = jnp.arange(num_spikes, dtype=jnp.int32)
    tied = jnp.pad((times[1:] == times[:-1]) & mask[1:], (1, 0))[:num_spikes]
    first = jax.lax.cummax(jnp.where(tied, 0, place))
    total = jnp.zeros_like(times).at[first].add(times)
    size = jnp.zeros_like(times).at[first].add(1)
    mean = (total / jnp.maximum(size, 1))[first]
    return first, ~tied, jax.lax.stop_gradient(times - mean) + mean


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
