"""Spikes on a grid as spike trains."""

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..drivers import TimeGrid
from ..solve import ConditionsError, refused_where_used


def listed_spikes(
    fires: Bool[Array, "steps K"], grid: TimeGrid, max_spikes: int, dtype
) -> tuple[Float[Array, " S"], Int[Array, " S"], Int[Array, ""]]:
    """Times and neurons of the first spikes of a trial, padded, and how many spikes there are."""
    num_steps, num_neurons = fires.shape
    within = jnp.cumsum(fires, axis=1, dtype=jnp.int32)
    so_far = jnp.cumsum(within[:, -1], dtype=jnp.int32)
    before = so_far - within[:, -1]
    # the place of the spike of each rank, as the first at which there have been so many
    so_many = (within + before[:, None]).reshape(-1)
    rank = jnp.arange(1, max_spikes + 1, dtype=jnp.int32)
    place = jnp.searchsorted(so_many, rank).astype(jnp.int32)
    step, neuron = lax.div(place, jnp.int32(num_neurons)), lax.rem(place, jnp.int32(num_neurons))
    is_spike = place < num_steps * num_neurons
    times = jnp.where(is_spike, grid.begin(step + 1, dtype), jnp.inf)
    # (by a product, so that who does not ask for the list does not pay for the ranks)
    by_step = fires.astype(dtype) @ jnp.ones(num_neurons, dtype)
    count = jnp.sum(by_step.astype(jnp.int32))
    return times, jnp.where(is_spike, neuron, -1), count


@jax.custom_jvp
def never_by_time(times: Float[Array, " S"], spikes: Float[Array, "steps K"]):
    """The times; who asks for their derivative is refused at run time (in forward mode it is NaN).

    Times on a grid do not move, so that a loss of theirs would have a derivative of zero, and
    training would stand still without a word.
    """
    return times


@never_by_time.defjvp
def _(primals, tangents):
    times, moved = primals[0], tangents[1]
    asked = jnp.broadcast_to(jnp.sum(moved).astype(times.dtype), times.shape)
    (asked,) = refused_where_used([asked], jnp.asarray(True), [], _complain, forward=False)
    return times, asked


_BY_TIME = (
    "A loss is differentiated in the spike times of a ClockEngine, which are multiples of the step "
    "and do not move: its derivative would be zero. With surrogate derivatives take what speaks of "
    "the presence of spikes: numbers of spikes (SpikeCountCrossEntropy, `spike_rates`, "
    "`trains.presence_by_neuron`), a LeakyReadout, VanRossum, FirstSpikeCrossEntropy, "
    "ExpectedSignatureLoss, or `trains.presence` itself; or an engine whose spike times have "
    "derivatives, such as roughsnn.EventEngine() or roughsnn.CellEngine()."
)


def _complain(refused):
    raise ConditionsError(_BY_TIME)
