"""The signature kernel of spike trains, exact: no path is built and no equation is refined."""

import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..spikes.checks import carry, is_traced, refuse_if
from ..spikes.trains import SpikeTrains
from ..spikes.windows import durations_differ
from ._edge_series import order_for_jumps, order_for_square
from ._event_blocks import Settings, kernel_of_pairs
from ._event_checks import check_pair, checked, same_window, with_slots
from ._event_compiled import Compiled, can_compute
from ._event_compiled import kernel_of_pairs as compiled_kernel_of_pairs
from ._event_pairs import events_of
from ._event_sweep import Orders


def event_kernel_gram(
    x: SpikeTrains,
    y: SpikeTrains | None = None,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
    tolerance: float = 1e-6,
    orders: tuple[int, int] | None = None,
    max_simultaneous: int | None = None,
    path_size: tuple[float, float] | None = None,
    return_error: bool = False,
) -> Any:
    r"""Signature kernel of every train of `x` with every train of `y`.

    The Marcus lift of a train runs along time between spikes, and at a spike along the unit vector
    of its neuron (neurons that spike together: along the sum of theirs). For two lifts $X, Y$

    $$
    k(x, y) = \langle S(X), S(Y) \rangle, \qquad
    \frac{\partial^2 k}{\partial s\,\partial t} = \langle \dot X_s, \dot Y_t \rangle\,k,
    $$

    the sum over all levels of the signature, with

    $$
    \langle \dot X, \dot Y \rangle
    = a^2\,\dot t_x \dot t_y + \sum_{kl} M_{kl} \dot N^k_x \dot N^l_y .
    $$

    The lifts are parallel to the axes, so most rectangles of the equation are trivial, and the
    rest have convergent power series, which are carried along the edges. A spike of a neuron that
    the other train never fires changes nothing and is left out. Trains are sorted by what
    they cost: a Gram of ragged trains costs about what its spikes cost, and padding nothing.

    Works under `jit`, `vmap`, `grad`, `jvp`, and for second derivatives, in the times, the window
    and both scales. Memory grows with the Gram and its derivatives, not with the grid. On a CPU
    with a C++ compiler the kernel and its gradient are computed by compiled code on all cores, else
    by JAX, with the same numbers; the environment variable `ROUGHSNN_COMPILED` (`auto`, `jax`,
    `compiled`) chooses.

    Args:
        x: trains, of batch shape `(m,)`.
        y: trains of batch shape `(n,)`, with the same neurons and windows as long. Left out, the
            kernel of `x` with itself, which is symmetric and costs half.
        time_scale: $a$, the factor of time. With `1 / trains.duration` the kernel does not
            depend on the unit of time.
        neuron_scale: size of a jump: one for all, one per neuron ($M = \operatorname{diag}(s^2)$),
            or a positive semi-definite matrix $M$ of shape `(num_neurons, num_neurons)` with which
            different neurons share. Raw counts (1) let a few pairs carry the whole kernel, see
            `suggested_neuron_scale`.
        tolerance: relative truncation error asked for. It sets the orders, from the scales and the
            number of spikes; where these are not known because of `jit`, as `path_size`
            says, or for $a\,T = 1$ and $s = 1$, and from the room for spikes. What is larger is
            refused there if the estimate of the error is above 100 times the tolerance.
        orders: of the series along time and along jumps, instead of `tolerance`.
        max_simultaneous: most spikes at one time in one train. Found from the data where these are
            known; inside `jit` it is 1 unless given, and a tie is then an error.
        path_size: $a\,T$ and the largest $s$, to choose the orders where `jit` hides these.
        return_error: also return an estimate of the relative truncation error of every entry.

    Returns:
        Gram matrix of shape `(m, n)`, in the dtype of the times; with `return_error`, the pair of
        it and the estimate, of the same shape.

    Raises:
        ValueError: batch shapes, windows or neuron numbers that do not fit; a scale of the wrong
            shape; times that are NaN, unsorted or outside the window; more spikes at one
            time than `max_simultaneous`; a kernel too large for its dtype, with the scale to use.
            What depends on values is a run-time error inside `jit`.

    References:
        Salvi, Cass, Foster, Lyons, Yang (2021), SIAM J. Math. Data Sci. 3, 873: the equation.
        Holberg, Salvi (2024): Marcus signature kernels of spike trains.
    """
    symmetric = y is None
    other = x if y is None else y
    check_pair(x, other)
    if len(x.batch_shape) != 1 or len(other.batch_shape) != 1:
        raise ValueError(
            f"`x` and `y` have batch shapes {x.batch_shape} and {other.batch_shape}; both must "
            "have one batch axis. Reshape the trains or use `jax.vmap`."
        )
    m, n = x.batch_shape[0], other.batch_shape[0]
    rows, columns = np.triu_indices(m) if symmetric else np.indices((m, n)).reshape(2, -1)
    value, error = _kernel_of_pairs(
        x,
        None if symmetric else other,
        rows,
        columns,
        time_scale,
        neuron_scale,
        tolerance,
        orders,
        max_simultaneous,
        path_size,
        whole=not symmetric,
    )

    def matrix(values):
        return _symmetric(values, m) if symmetric else values.reshape(m, n)

    return (matrix(value), matrix(error)) if return_error else matrix(value)


@partial(jax.jit, static_argnums=1)
def _symmetric(values: Float[Array, " pairs"], size: int) -> Float[Array, "size size"]:
    """The matrix with these entries on and above its diagonal, row by row."""
    rows, columns = np.triu_indices(size)
    entries = np.zeros((size, size), np.int32)
    entries[rows, columns] = entries[columns, rows] = np.arange(len(rows), dtype=np.int32)
    return values[entries]


def event_kernel(
    x: SpikeTrains,
    y: SpikeTrains,
    *,
    time_scale: ArrayLike = 1.0,
    neuron_scale: ArrayLike = 1.0,
    tolerance: float = 1e-6,
    orders: tuple[int, int] | None = None,
    max_simultaneous: int | None = None,
    path_size: tuple[float, float] | None = None,
    return_error: bool = False,
) -> Any:
    """Signature kernel of each train of `x` with the train of `y` at the same place in the batch.

    Arguments and errors are those of `event_kernel_gram`; the result has the batch shape.
    """
    check_pair(x, y)
    if x.batch_shape != y.batch_shape:
        raise ValueError(
            f"`x` and `y` have batch shapes {x.batch_shape} and {y.batch_shape}; they must be "
            "equal. Use `event_kernel_gram` for all pairs."
        )
    batch = x.batch_shape
    size = math.prod(batch)

    def flat(trains):
        return trains.reshape(size)

    index = np.arange(size)
    value, error = _kernel_of_pairs(
        flat(x),
        flat(y),
        index,
        index,
        time_scale,
        neuron_scale,
        tolerance,
        orders,
        max_simultaneous,
        path_size,
    )
    value, error = value.reshape(batch), error.reshape(batch)
    return (value, error) if return_error else value


def suggested_neuron_scale(trains: SpikeTrains) -> Float[Array, ""]:
    r"""A jump size with which no few trains dominate a Gram: $1 / \sqrt{\text{mean count}}$.

    With it the jumps of a typical train and its time, scaled to a window of length 1, weigh alike.
    Use one scale for all Grams of a comparison, found from the data and not from the model, as the
    kernel must not change with the parameters.
    """
    mean = jnp.mean(trains.counts.astype(trains.times.dtype))
    return 1 / jnp.sqrt(jnp.maximum(mean, 1))


def _kernel_of_pairs(
    x: SpikeTrains,
    y: SpikeTrains | None,
    rows: np.ndarray,
    columns: np.ndarray,
    time_scale: ArrayLike,
    neuron_scale: ArrayLike,
    tolerance: float,
    orders: tuple[int, int] | None,
    max_simultaneous: int | None,
    path_size: tuple[float, float] | None,
    whole: bool = False,
) -> tuple[Array, Array]:
    dtype = x.times.dtype
    if len(rows) == 0:
        return jnp.zeros(0, dtype), jnp.zeros(0, dtype)
    scale = jnp.asarray(neuron_scale, dtype)
    shapes = ((), (x.num_neurons,), (x.num_neurons,) * 2)
    if scale.shape not in shapes:
        raise ValueError(
            f"`neuron_scale` has shape {scale.shape}; it must be a single number, one per neuron, "
            f"{shapes[1]}, or a matrix {shapes[2]}."
        )
    if jnp.ndim(time_scale) != 0:
        raise ValueError(
            f"`time_scale` has shape {jnp.shape(time_scale)}; it must be a single number."
        )
    jumps = most_spikes(x) + most_spikes(x if y is None else y)
    # Both have windows of one length; that of a model may be unknown where the data's is known.
    known = [t.duration for t in (x, x if y is None else y) if not is_traced(t.duration)]
    traced_time, traced_jumps = not known or is_traced(time_scale), is_traced(neuron_scale)
    length, size = path_size or (1.0, 1.0)
    if not traced_time:
        length = scaled_length(known[0], time_scale)
    if not traced_jumps:
        size = largest_jump(neuron_scale)
    chosen = _orders(length, size, tolerance, orders, jumps)
    if y is not None and not same_window(x, y):
        message = (
            "`x` and `y` have windows of different lengths; bring them to one with `window` first."
        )
        differ = durations_differ(x.window_bits, x.duration, y.window_bits, y.duration)
        x = eqx.tree_at(lambda t: t.times, x, refuse_if(x.times, differ, message))
    trains, slots = zip(
        *(with_slots(checked(t), max_simultaneous) for t in ((x,) if y is None else (x, y))),
        strict=True,
    )
    value, error, wrong, factor = _run(
        trains,
        jnp.asarray(rows, jnp.int32),
        jnp.asarray(columns, jnp.int32),
        jnp.asarray(time_scale, dtype),
        scale,
        slots,
        chosen,
        can_compute(dtype, chosen),
        whole,
    )
    guessed = orders is None and (traced_time or traced_jumps)
    if guessed:
        # Where the kernel is too large the estimate means nothing.
        poor = ~wrong & jnp.any(error > _MOST_TIMES_TOLERANCE * tolerance)
        value = carry(value, eqx.error_if(wrong, poor, _POOR.format(*chosen)))
    return _without_overflow(value, wrong, factor, scale), error


@partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _run(trains, rows, columns, time_scale, neuron_scale, slots, orders, compiled, whole):
    diagonal = neuron_scale.ndim < 2
    table = neuron_scale
    if diagonal:
        table = jnp.diag(jnp.broadcast_to(neuron_scale**2, (trains[0].num_neurons,)))
    events = [events_of(t, time_scale, s) for t, s in zip(trains, slots, strict=True)]
    settings = Settings(orders, diagonal, by_entry=not (diagonal and max(slots) == 1))
    # A last label, for no spike.
    table = jnp.pad(table, (0, 1))
    if compiled:
        known = Compiled(settings, whole)
        found = compiled_kernel_of_pairs(events[0], events[-1], rows, columns, table, known)
    else:
        found = kernel_of_pairs(events[0], events[-1], rows, columns, table, settings)
    return *found, *_overflow(found[0], trains, time_scale, neuron_scale)


def _orders(length: float, size: float, tolerance: float, orders, jumps: int) -> Orders:
    if orders is not None:
        time, jump = orders
        if time < 2 or jump < 2:
            raise ValueError(f"`orders` is {orders}; both orders must be 2 or more.")
        return Orders(int(time), int(jump))
    if not tolerance > 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be positive.")
    return Orders(order_for_square(length**2, tolerance), order_for_jumps(size, tolerance, jumps))


# NumPy, as inside `jit` even known arrays turn into traced ones under JAX's operations.
def scaled_length(duration: Any, time_scale: Any) -> float:
    """Length of the longest window times the scale of time, of known numbers."""
    return abs(float(time_scale)) * float(np.max(np.asarray(duration), initial=0))


def largest_jump(neuron_scale: Any) -> float:
    """Size of the largest jump, of known scales of neurons or a matrix."""
    largest = float(np.max(np.abs(np.asarray(neuron_scale)), initial=0))
    return largest if np.ndim(neuron_scale) < 2 else math.sqrt(largest)


def most_spikes(trains: SpikeTrains) -> int:
    """Spikes of the fullest train, or the room for them where that is not known."""
    if is_traced(trains.neurons):
        return trains.max_spikes
    return int((np.asarray(trains.neurons) >= 0).sum(axis=1).max(initial=0))


# Orders that were chosen before the scales were known are refused where the estimate of the error
# is so many times what was asked for.
_MOST_TIMES_TOLERANCE = 100
_POOR = (
    "The signature kernel is less exact than `tolerance` asks: its orders, {} along time and {} "
    "along jumps, were chosen inside `jit`, where the scales and the window are not known, as for "
    "a window of length 1 and jumps of size 1. Give larger `orders`, or scales that are known, for "
    "example by `SignatureKernel().fixed_for(trains)` outside of `jit`."
)

# Factors offered where a kernel is too large and its numbers are not known.
_FACTORS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)


def _overflow(value: Array, trains: tuple, time_scale: Array, scale: Array) -> tuple[Array, Array]:
    r"""Whether a kernel is too large, and the factor of the scale with which it is not.

    A path of length $\ell$ has $\|S\|_n \le \ell^n / n!$, hence
    $k \le I_0(2 \sqrt{\ell_x \ell_y}) \le e^{2 \max \ell}$ with
    $\ell \le a T + s\,(\text{number of spikes})$.
    """
    limit = 0.5 * math.log(float(jnp.finfo(value.dtype).max))
    size = jnp.max(jnp.abs(scale)) if scale.ndim < 2 else jnp.sqrt(jnp.max(jnp.abs(scale)))
    counts = jnp.stack([jnp.max(t.counts, initial=0) for t in trains])
    jumps = size * jnp.max(counts).astype(value.dtype)
    longest = jnp.max(trains[0].duration, initial=0)
    time = jnp.abs(time_scale * longest).astype(value.dtype)
    factor = jnp.maximum(limit - time, 0) / jnp.maximum(jumps, 1)
    return ~jnp.all(jnp.isfinite(value)), jax.lax.stop_gradient(factor)


def _without_overflow(value: Array, wrong: Array, factor: Array, scale: Array) -> Array:
    """The kernel, or an error that says which scale fits."""
    change = "neuron_scale" if scale.ndim < 2 else "the square root of `neuron_scale`"
    start = f"The signature kernel is too large for {value.dtype}: "
    end = (
        ". Multiply {} by {:.2g} or less; `suggested_neuron_scale` gives one that also keeps a "
        "few pairs from carrying the whole Gram."
    )
    no_scale = start + "the window is too long. Lower `time_scale`, for example to 1 / duration."
    if not is_traced((value, factor, wrong)):
        if not bool(wrong):
            return value
        known = float(factor)
        raise ValueError(no_scale if known == 0 else start[:-2] + end.format(change, known))
    messages = [start[:-2] + end.format(change, f) for f in _FACTORS]
    index = jnp.sum(factor < jnp.asarray(_FACTORS, factor.dtype))
    index = jnp.where(factor > 0, jnp.minimum(index, len(_FACTORS) - 1), len(_FACTORS))
    failed = eqx.branched_error_if(wrong, wrong, index, [*messages, no_scale])
    return carry(value, failed)
