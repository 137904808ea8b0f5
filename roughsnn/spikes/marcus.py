"""The Marcus lift: a spike train as a continuous, piecewise-linear path."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from .trains import SpikeTrains


def marcus_lift(
    trains: SpikeTrains,
    *,
    scale: ArrayLike | Sequence[float] = 1.0,
    time_scale: ArrayLike = 1.0,
) -> Float[Array, "*batch points channels"]:
    r"""Points of the Marcus lift of each train, time in channel 0 and neuron $k$ in channel $k+1$.

    With spikes $(\tau_1, k_1), (\tau_2, k_2), \dots$ and the counting path $N_t \in \mathbb R^K$,
    the lift runs along straight lines through

    $$
    (0, 0) \to (\tau_1, 0) \to (\tau_1, e_{k_1}) \to (\tau_2, e_{k_1})
    \to (\tau_2, e_{k_1} + e_{k_2}) \to \dots \to (T, N_T).
    $$

    Time counts from the start of the window, and each train ends at the end $T$ of its own. The
    lift always ends at $(T, N_T)$; no jump is lost when the padding is full. Neurons that spike
    at the same time jump together, along one diagonal from the counts before $\tau$ to the
    counts at $\tau$. Padding repeats the end point and so contributes nothing to a signature.

    The path is differentiable in the spike times and both scales, with finite derivatives. As two
    spikes of different neurons pass each other the lift jumps; exactly at a tie the derivative
    given is that of moving the tied spikes together, shared equally among them.

    Of trains that hold the presence of spikes (`trains.presence`) each step of their grid is such a
    jump, by the presence of a spike at its end: the same path, differentiable in the presence.

    Args:
        trains: any batch of trains.
        scale: factor of the counts, one for all neurons or one per neuron.
        time_scale: factor of the time channel.

    Returns:
        array of shape `(*batch, 2 * max_spikes + 2, 1 + num_neurons)`, in the dtype of the times;
        with presence, of as many points for each step.

    Raises:
        ValueError: `scale` has a shape other than `()` or `(num_neurons,)`.

    Reference: Holberg and Salvi (2024), section 3; for the Marcus rule, Chevyrev and Friz (2019).
    """
    dtype, num_neurons = trains.times.dtype, trains.num_neurons
    scale = jnp.asarray(scale, dtype=dtype)
    if scale.shape not in ((), (num_neurons,)):
        raise ValueError(
            f"`scale` has shape {scale.shape}; it must be a single number or one per neuron, "
            f"of shape ({num_neurons},)."
        )
    scale = jnp.broadcast_to(scale, (num_neurons,))
    lift = _lift if trains.presence is None else _lift_of_presence
    return lift(trains, scale, jnp.asarray(time_scale, dtype))


@jax.jit
def _lift_of_presence(trains: SpikeTrains, scale, time_scale):
    presence, batch = trains.presence, trains.batch_shape
    assert presence is not None
    num_steps = presence.times.shape[0]
    start, end = jnp.zeros((*batch, 1), presence.times.dtype), trains.durations[..., None]
    times = jnp.broadcast_to(jnp.repeat(presence.times, 2), (*batch, 2 * num_steps))
    times = jnp.concatenate([start, times, end], axis=-1) * time_scale
    counts = presence.counting_path
    zero = jnp.zeros((*batch, 1, trains.num_neurons), counts.dtype)
    counts = jnp.repeat(jnp.concatenate([zero, counts], axis=-2), 2, axis=-2)
    counts = counts * jnp.broadcast_to(scale, counts.shape)
    return jnp.concatenate([times[..., None], counts], axis=-1)


@jax.jit
def _lift(trains: SpikeTrains, scale: Float[Array, " num_neurons"], time_scale: Float[Array, ""]):
    dtype = trains.times.dtype
    batch, num_spikes, num_neurons = trains.batch_shape, trains.max_spikes, trains.num_neurons
    start = jnp.zeros((*batch, 1), dtype)
    end = trains.durations[..., None]
    mask = trains.mask

    # `inf` is replaced before any arithmetic, so that its derivative is 0 and never inf * 0.
    tau = jnp.where(mask, trains.times, jnp.broadcast_to(end, mask.shape))
    first, last = _tied_with(trains)
    tau = _share_tangents(tau, first)
    time = jnp.stack([tau, tau], axis=-1).reshape(*batch, 2 * num_spikes)
    time = jnp.concatenate([start, time, end], axis=-1)

    # Counts after spike m, with those before the first spike in front.
    jumps = jax.nn.one_hot(trains.neurons, num_neurons, dtype=dtype)
    counts = jnp.cumsum(jumps, axis=-2)
    counts = jnp.concatenate([jnp.zeros((*batch, 1, num_neurons), dtype), counts], axis=-2)
    # The first of tied spikes jumps for all of them; the others stay where it arrived.
    position = jnp.arange(num_spikes, dtype=jnp.int32)
    is_first = first == jnp.broadcast_to(position, first.shape)
    before = _rows(counts, jnp.where(is_first, first, last + 1))
    after = _rows(counts, last + 1)
    points = jnp.stack([before, after], axis=-2).reshape(*batch, 2 * num_spikes, num_neurons)
    points = jnp.concatenate([counts[..., :1, :], points, counts[..., -1:, :]], axis=-2)
    points = points * jnp.broadcast_to(scale, points.shape)

    time = time * time_scale
    return jnp.concatenate([time[..., None], points], axis=-1)


def _tied_with(
    trains: SpikeTrains,
) -> tuple[Int[Array, "*batch max_spikes"], Int[Array, "*batch max_spikes"]]:
    """Positions of the first and of the last spike at the same time as each spike."""
    num_spikes = trains.max_spikes
    axis = len(trains.batch_shape)
    position = jnp.broadcast_to(jnp.arange(num_spikes, dtype=jnp.int32), trains.times.shape)
    # Padding stays alone: it has no jump that could be shared.
    same = (trains.times[..., 1:] == trains.times[..., :-1]) & trains.mask[..., 1:]
    edge = jnp.zeros((*trains.batch_shape, min(num_spikes, 1)), dtype=bool)
    same_as_previous = jnp.concatenate([edge, same], axis=-1)
    same_as_next = jnp.concatenate([same, edge], axis=-1)
    first = jax.lax.cummax(jnp.where(same_as_previous, 0, position), axis=axis)
    last = jax.lax.cummin(jnp.where(same_as_next, num_spikes, position), axis=axis, reverse=True)
    return first, last


def _share_tangents(
    tau: Float[Array, "*batch max_spikes"], first: Int[Array, "*batch max_spikes"]
) -> Float[Array, "*batch max_spikes"]:
    """`tau` itself, but tied times have the mean of their derivatives.

    Without this the derivative would depend on how the neurons are numbered.
    """
    shape = tau.shape
    flat = (math.prod(shape[:-1]), shape[-1])
    tau, first = tau.reshape(flat), first.reshape(flat)
    rows = jnp.arange(tau.shape[0])[:, None]
    value = jax.lax.stop_gradient(tau)
    size = jnp.zeros_like(tau).at[rows, first].add(1.0)
    total = jnp.zeros_like(tau).at[rows, first].add(tau - value)
    shared = total[rows, first] / jax.lax.stop_gradient(size[rows, first])
    return (value + shared).reshape(shape)


def _rows(
    values: Float[Array, "*batch rows channels"], index: Int[Array, "*batch chosen"]
) -> Float[Array, "*batch chosen channels"]:
    return jnp.take_along_axis(values, index[..., None], axis=-2)
