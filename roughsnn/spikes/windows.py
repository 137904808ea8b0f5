"""Windows of time, kept exactly: the ends as bit patterns, the length in the dtype of the times.

A spike time is a number since the start of its window, in the dtype of the model. The start itself
may be a date in seconds, which single precision cannot hold, so it is kept as the bit pattern of a
float64 in two 32-bit integers: that passes through `jit`, `vmap` and devices as it is, in every
precision, without a program for each start and without derivatives.
"""

from typing import Any

import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .checks import is_traced, refuse_if

DOUBLE_EPSILON = float(np.finfo(np.float64).eps)
"""Relative distance of neighbouring float64 numbers."""


def rounding_of(*ends: Any) -> Any:
    """How far apart two roundings of one time in double precision may lie, near these times."""
    return 4 * DOUBLE_EPSILON * np.max([np.abs(np.asarray(end, np.float64)) for end in ends], 0)


# ---- making a window


def window_of(t0: Any, t1: Any, dtype: Any) -> tuple[Any, Float[Array, "..."]]:
    """Bit patterns and length of the windows from `t0` to `t1`, numbers or one each per trial.

    Ends that are the same in all trials are kept once, and so is a length that is, up to the
    rounding of the ends.

    Raises:
        ValueError: ends that are not finite, `t1 <= t0`, or a length that `dtype` cannot hold.
    """
    if is_traced((t0, t1)):
        t0, t1 = (jnp.asarray(t, jnp.result_type(float)) for t in (t0, t1))
        bits = jnp.stack(jnp.broadcast_arrays(_traced_bits(t0), _traced_bits(t1)), axis=-2)
        return bits, (t1 - t0).astype(dtype)
    starts, stops = (np.asarray(t, np.float64) for t in (t0, t1))
    for name, ends in (("t0", starts), ("t1", stops)):
        if not np.isfinite(ends).all():
            wrong = ends.ravel()[int(np.argmin(np.isfinite(ends)))]
            raise ValueError(f"`{name}` is {wrong}; it must be finite.")
    starts, stops = np.broadcast_arrays(starts, stops)
    if not (starts < stops).all():
        place = int(np.argmin((starts < stops).ravel()))
        where = f" in trial {place}" if starts.ndim else ""
        raise ValueError(
            f"`t1` is {stops.ravel()[place]:.15g} and `t0` is {starts.ravel()[place]:.15g}{where}; "
            "the window must end after it starts."
        )
    with np.errstate(over="ignore"):
        lengths = np.asarray((stops - starts).astype(dtype))
    if not ((lengths > 0) & np.isfinite(lengths.astype(np.float64))).all():
        raise ValueError(
            f"`t1 - t0` is {(stops - starts).max():g}, which {np.dtype(dtype).name} cannot hold; "
            "choose another unit of time."
        )
    return shared_where_equal(bit_patterns(np.stack([starts, stops], axis=-1)), lengths)


def check_ends(t0: Any, t1: Any, batch_shape: tuple) -> None:
    """Fail unless both ends are single numbers or have the batch shape, or its first axes.

    Raises:
        ValueError: they have another shape.
    """
    for name, value in (("t0", t0), ("t1", t1)):
        if jnp.shape(value) != batch_shape[: jnp.ndim(value)]:
            raise ValueError(
                f"`{name}` has shape {jnp.shape(value)}; it must be a single number, shared by all "
                f"trains, or have the batch shape {batch_shape} of the trains."
            )


def shared_where_equal(bits: Any, lengths: Any) -> tuple[Any, Float[Array, "..."]]:
    """Known windows, with what all trials share kept once."""
    bits, lengths = np.asarray(bits), np.asarray(lengths)
    if bits.ndim > 2 and bits.size and (bits == bits.reshape(-1, 2, 2)[0]).all():
        bits = bits.reshape(-1, 2, 2)[0]
    if lengths.ndim and lengths.size:
        exact = lengths.astype(np.float64)
        tolerance = 4 * float(jnp.finfo(lengths.dtype).eps) * exact.max()
        tolerance += rounding_of(number_of(bits)).max()
        if exact.max() - exact.min() <= tolerance:
            lengths = lengths.max()
    kept = jnp.asarray(bits)
    # Inside `jit` a NumPy array stays known where an array of JAX would not.
    return (bits if is_traced(kept) else kept), jnp.asarray(lengths)


# ---- bit patterns


def bit_patterns(numbers: Any) -> np.ndarray:
    """Bit patterns of float64 numbers: two uint32 in one more axis, the lower bits first."""
    whole = np.asarray(numbers, np.float64).view(np.uint64)
    return np.stack([whole & 0xFFFFFFFF, whole >> 32], axis=-1).astype(np.uint32)


def number_of(bits: Any) -> Any:
    """The numbers of bit patterns: a float, or a float64 array; inside `jit` in the default float.

    Only the latter is rounded.
    """
    if is_traced(bits):
        return sum(_parts(bits)[1:], _parts(bits)[0])
    low, high = (np.asarray(bits)[..., i].astype(np.uint64) for i in range(2))
    numbers = np.asarray(low | (high << np.uint64(32))).view(np.float64)
    return float(numbers) if numbers.ndim == 0 else numbers


def difference(bits: Any, other: Any, dtype: Any) -> tuple[Array, Array]:
    """A number less another, as a pair whose sum is the difference in full precision."""
    if not is_traced((bits, other)):
        exact = np.asarray(number_of(bits) - number_of(other))
        near = exact.astype(dtype)
        return jnp.asarray(near), jnp.asarray((exact - near.astype(np.float64)).astype(dtype))
    terms = [t for a, b in zip(_parts(bits), _parts(other), strict=True) for t in (a, -b)]
    terms = jnp.broadcast_arrays(*terms)
    total, rest = terms[0], jnp.zeros_like(terms[0])
    for term in terms[1:]:
        # the sum and what its rounding left out, both exact
        new = total + term
        kept = new - total
        rest = rest + ((total - (new - kept)) + (term - kept))
        total = new
    near = total.astype(dtype)
    return near, ((total - near.astype(total.dtype)) + rest).astype(dtype)


def _parts(bits: Any) -> list[Array]:
    """Numbers in the default float whose sum is exactly that of the bit pattern."""
    bits = jnp.asarray(bits)
    if jnp.result_type(float) == jnp.float64:
        return [lax.bitcast_convert_type(bits, jnp.float64)]
    low, high = bits[..., 0], bits[..., 1]
    exponent = ((high >> 20) & 0x7FF).astype(jnp.int32)
    lead = jnp.where(exponent > 0, (high & 0xFFFFF) | 0x100000, 0)
    low = jnp.where(exponent > 0, low, 0)
    sign = jnp.where(high >> 31 > 0, -1.0, 1.0).astype(jnp.float32)
    pieces = ((lead, 20), (low >> 16, 36), (low & 0xFFFF, 52))
    return [
        sign * jnp.ldexp(piece.astype(jnp.float32), exponent - 1023 - place)
        for piece, place in pieces
    ]


def _traced_bits(number: Array) -> Array:
    """Bit pattern, as a float64, of a number that is known only when it is computed."""
    number = lax.stop_gradient(number)
    if number.dtype == jnp.float64:
        return lax.bitcast_convert_type(number, jnp.uint32)
    bits = lax.bitcast_convert_type(number.astype(jnp.float32), jnp.uint32)
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    wide = jnp.where(exponent == 0xFF, 0x7FF, exponent + (1023 - 127))
    high = ((bits >> 31) << 31) | (wide << 20) | (fraction >> 3)
    low = (fraction & 7) << 29
    # numbers too small to be normal become 0
    return jnp.stack([jnp.where(exponent > 0, low, 0), jnp.where(exponent > 0, high, 0)], axis=-1)


# ---- windows of the trials of a batch


def spread(array: Any, batch_shape: tuple[int, ...], inner: int = 0) -> Any:
    """`array`, whose axes but the last `inner` are the first of the batch, for the whole batch."""
    lead = array.ndim - inner
    last = array.shape[lead:]
    shape = (*array.shape[:lead], *(1,) * (len(batch_shape) - lead), *last)
    module = np if isinstance(array, np.ndarray) else jnp
    return module.broadcast_to(array.reshape(shape), (*batch_shape, *last))


def beside_spikes(array: Array, batch_shape: tuple[int, ...]) -> Array:
    """A number of the windows as it goes with spike times: with an axis of one more, if any."""
    return array if array.ndim == 0 else spread(array, batch_shape)[..., None]


def times_since(trains: Any, origin: float) -> Float[Array, "*batch max_spikes"]:
    """Spike times since another time than the start of the window; what is lost is their rounding
    alone."""
    starts = trains.window_bits[..., 0, :]
    pair = difference(starts, bit_patterns(origin), trains.times.dtype)
    start, rest = (beside_spikes(x, trains.batch_shape) for x in pair)
    return (trains.times + start) + rest


def rounding_of_duration(window_bits: Any, duration: Array) -> Array:
    """How far lengths of windows may be apart that are equal but for rounding."""
    ends = jnp.abs(jnp.asarray(number_of(window_bits), jnp.result_type(float)))
    ends = jnp.max(ends, initial=0).astype(duration.dtype)
    longest = jnp.max(duration, initial=0)
    return 8 * float(jnp.finfo(duration.dtype).eps) * longest + 4 * DOUBLE_EPSILON * ends


def durations_differ(window_bits: Any, duration: Array, other_bits: Any, other: Array) -> Array:
    """Whether two samples have windows of different lengths, up to rounding."""
    tolerance = rounding_of_duration(window_bits, duration)
    tolerance = tolerance + rounding_of_duration(other_bits, other)
    longest = jnp.abs(jnp.max(duration, initial=0) - jnp.max(other, initial=0))
    shortest = jnp.min(duration, initial=jnp.inf), jnp.min(other, initial=jnp.inf)
    both = duration.size > 0 and other.size > 0
    return both & ((longest > tolerance) | (jnp.abs(shortest[0] - shortest[1]) > tolerance))


def common_duration(trains: Any, needed_by: str) -> Float[Array, ""]:
    """The length of the windows of `trains`, refused where they are not of one length.

    Raises:
        ValueError: they are not (a run-time error inside `jit`).
    """
    duration = trains.duration
    if duration.ndim == 0:
        return duration
    if duration.size == 0:
        return jnp.ones((), duration.dtype)
    shortest, longest = jnp.min(duration), jnp.max(duration)
    known = ""
    if not is_traced((shortest, longest)):
        known = f", and these are {float(shortest):g} to {float(longest):g} long"
    return refuse_if(
        longest,
        longest - shortest > rounding_of_duration(trains.window_bits, duration),
        f"{needed_by} needs trials of one length{known}. Bring them to one with `window` or `cut`.",
    )
