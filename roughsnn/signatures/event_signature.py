"""The truncated signature of spike trains, with the work of their events only."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._checks import IntLike, whole_number
from ..spikes.marcus import marcus_lift
from ..spikes.trains import SpikeTrains
from ._levels import weighted_levels
from ._signature_compiled import can_compute, words_by_compiled
from ._signature_terms import Inputs, Wanted, words_by_jax
from .truncated import num_coordinates, signature


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
    depth = whole_number("depth", depth, 1)
    time_scale, scale = checked_scales(trains, time_scale, neuron_scale)
    batch = trains.batch_shape
    size = math.prod(batch)
    coordinates = num_coordinates(trains.num_neurons + 1, depth)
    if size == 0:
        return jnp.zeros((*batch, coordinates), trains.times.dtype)
    if trains.presence is not None:
        path = marcus_lift(trains, scale=scale, time_scale=time_scale)
        found = signature(path, depth).astype(trains.times.dtype)
        return found if level_weights is None else weighted_levels(found, depth, level_weights)
    signatures = _words(trains.reshape(size), time_scale, scale, Wanted(depth, total=False))
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
    depth = whole_number("depth", depth, 1)
    time_scale, scale = checked_scales(trains, time_scale, neuron_scale)
    if len(trains.batch_shape) != 1 or len(trains) == 0:
        raise ValueError(
            f"`trains` has batch shape {trains.batch_shape}; it must be a sample of one train or "
            "more, with one batch axis. Use `trains.reshape(n)`."
        )
    if trains.presence is not None:
        found = event_signature(trains, depth, time_scale=time_scale, neuron_scale=scale)
        return jnp.mean(found, axis=0)
    return _words(trains, time_scale, scale, Wanted(depth, total=True)) / len(trains)


def checked_scales(
    trains: SpikeTrains, time_scale: ArrayLike, neuron_scale: ArrayLike
) -> tuple[Float[Array, ""], Float[Array, " neurons"]]:
    """Both scales as arrays, one of jumps for each neuron.

    Raises:
        ValueError: a scale of the wrong shape.
    """
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
    return time_scale, jnp.broadcast_to(neuron_scale, (num_neurons,))


def _words(trains: SpikeTrains, time_scale: Array, scale: Array, wanted: Wanted) -> Array:
    inputs = Inputs(trains.times, trains.durations, time_scale, scale)
    compiled = can_compute(trains.times.dtype, wanted.depth)
    run = words_by_compiled if compiled else words_by_jax
    return run(inputs, trains.neurons, wanted)
