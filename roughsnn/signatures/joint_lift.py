"""One path of spikes and of what is sampled beside them: potentials, currents, an input."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import real_array
from ..spikes.checks import refuse_if
from ..spikes.marcus import marcus_lift
from ..spikes.trains import SpikeTrains
from ..spikes.windows import rounding_of_duration


def joint_lift(
    trains: SpikeTrains,
    grid: Shaped[ArrayLike, " samples"],
    values: Shaped[ArrayLike, "*batch samples signals"],
    *,
    at_spikes: tuple[
        Shaped[ArrayLike, "*batch max_spikes signals"],
        Shaped[ArrayLike, "*batch max_spikes signals"],
    ]
    | None = None,
    scale: ArrayLike = 1.0,
    time_scale: ArrayLike = 1.0,
    value_scale: ArrayLike = 1.0,
) -> Float[Array, "*batch points channels"]:
    r"""Points of the path $(t, N_t, V_t)$: time, the counts of each neuron, and sampled signals.

    Between its points the path is a straight line: it passes through every sample of the signals,
    and at a spike time stands still while the counts jump, as in `marcus_lift`. A signal that jumps
    with the spike, as a potential that is reset, goes along the same diagonal from its value before
    to its value after; these are `at_spikes`, which a solution knows. Left out, signals are
    interpolated at the spikes.

    The path goes into `signature_kernel_gram`, `signature` and `log_signature` as it is. With an
    input as the signals it is a lift of the response *given* the input: an MMD of such paths
    compares how trains go with the input, not their law alone.

    Differentiable in the spike times, the signals and the scales; at a tie of a spike with a
    sample, or of two spikes, the derivative is that from one side, or shared.

    Args:
        trains: any batch of trains.
        grid: times of the samples since the start of the window, sorted, inside the window, two
            or more; signals are constant before the first and after the last.
        values: signals at these times; integers and half precision become the dtype of the times.
        at_spikes: signals immediately before and after each spike; padding is ignored.
        scale: factor of the counts, one for all neurons or one per neuron.
        time_scale: factor of the time channel.
        value_scale: factor of the signals, one for all or one per signal.

    Returns:
        array of shape `(*batch, 2 * max_spikes + 2 + samples, 1 + num_neurons + signals)`, in the
        dtype of the times. Points at the end are repeated where a train has padding.

    Raises:
        ValueError: shapes or dtypes that do not fit; a grid that is not sorted or not inside the
            window, or signals that are not finite (a run-time error inside `jit`).

    Reference: Holberg and Salvi (2024), section 3: Marcus lifts of spikes with their potentials.
    """
    batch, num_spikes, dtype = trains.batch_shape, trains.max_spikes, trains.times.dtype
    grid, values = real_array("grid", grid, dtype), real_array("values", values, dtype)
    if grid.ndim != 1 or grid.shape[0] < 2:
        raise ValueError(f"`grid` has shape {grid.shape}; it must hold two times or more.")
    if values.ndim != len(batch) + 2 or values.shape[:-1] != (*batch, grid.shape[0]):
        raise ValueError(
            f"`values` has shape {values.shape}; it must be the batch shape {batch} of the trains, "
            f"then ({grid.shape[0]}, signals), a row for each time of `grid`."
        )
    if grid.dtype != dtype or values.dtype != dtype:
        raise ValueError(
            f"`grid` has dtype {grid.dtype} and `values` {values.dtype}; both must have that of "
            f"the times, {dtype}."
        )
    signals, size = values.shape[-1], math.prod(batch)
    value_scale = jnp.asarray(value_scale, dtype)
    if value_scale.shape not in ((), (signals,)):
        raise ValueError(
            f"`value_scale` has shape {value_scale.shape}; it must be a single number or one per "
            f"signal, of shape ({signals},)."
        )
    if at_spikes is not None:
        before, after = (real_array("at_spikes", part, dtype) for part in at_spikes)
        at_spikes = before, after
        for part in at_spikes:
            if part.shape != (*batch, num_spikes, signals):
                raise ValueError(
                    f"`at_spikes` has shape {part.shape}; both parts must have the shape "
                    f"{(*batch, num_spikes, signals)}, a row for each spike."
                )
    grid = refuse_if(grid, grid[1:] < grid[:-1], "`grid` is not sorted.")
    rounding = rounding_of_duration(trains.window_bits, trains.duration)
    grid = refuse_if(
        grid,
        (grid < -rounding)
        | (grid > jnp.min(trains.duration, initial=jnp.inf) + rounding)
        | jnp.isnan(grid),
        "`grid` has a time outside the window of the trains; like their times, those of `grid` "
        "count from its start, and must be between 0 and `duration`.",
    )
    values = refuse_if(values, ~jnp.isfinite(values), "`values` has an entry that is not finite.")

    # The times, unscaled, order the points; the lift has the scaled ones.
    spikes = marcus_lift(trains, scale=scale).reshape(
        size, 2 * num_spikes + 2, 1 + trains.num_neurons
    )
    flat = values.reshape(size, grid.shape[0], signals)
    sides = None
    if at_spikes is not None:
        mask = trains.mask.reshape(size, num_spikes, 1)
        sides = tuple(
            jnp.where(mask, part.reshape(size, num_spikes, signals), 0) for part in at_spikes
        )

    def one(points, samples, sides, mask):
        times, counts = points[:, 0], points[:, 1:]
        along = jax.vmap(lambda v: jnp.interp(times, grid, v), in_axes=1, out_axes=1)(samples)
        if sides is not None:
            along = _with_jumps(along, times[1:-1:2], sides, mask)
        after = jnp.searchsorted(times, grid, side="right") - 1
        sampled = jnp.concatenate([grid[:, None], counts[after], samples], axis=1)
        everything = jnp.concatenate([jnp.concatenate([points, along], axis=1), sampled], axis=0)
        order = jnp.argsort(everything[:, 0], stable=True)
        return everything[order]

    real = trains.mask.reshape(size, num_spikes)
    path = jax.vmap(one, in_axes=(0, 0, None if sides is None else 0, 0))(spikes, flat, sides, real)
    factors = jnp.concatenate(
        [
            jnp.asarray(time_scale, dtype).reshape(1),
            jnp.ones(trains.num_neurons, dtype),
            jnp.broadcast_to(value_scale, (signals,)),
        ]
    )
    path = path * factors.reshape(1, 1, -1)
    return path.reshape(*batch, *path.shape[1:])


def _with_jumps(along: Array, times: Array, sides: tuple, mask: Array) -> Array:
    """Signals at the points of the lift, with those before and after each spike as given."""
    before, after = sides
    num_spikes = before.shape[0]
    # The first of tied spikes jumps for all of them, from before the first to after the last; the
    # others stay where it arrived. Padding stays alone.
    tied = jnp.pad((times[1:] == times[:-1]) & mask[1:], (1, 0))[:num_spikes]
    place = jnp.arange(num_spikes, dtype=jnp.int32)
    starts = jnp.where(tied, num_spikes, place)
    following = jax.lax.cummin(jnp.append(starts[1:], num_spikes), reverse=True)
    arrived = after[following - 1]
    left = jnp.where(tied[:, None], arrived, before)
    pair = jnp.stack([left, arrived], axis=1).reshape(-1, before.shape[1])
    kept = jnp.repeat(mask, 2)[:, None]
    return along.at[1:-1].set(jnp.where(kept, pair, along[1:-1]))
