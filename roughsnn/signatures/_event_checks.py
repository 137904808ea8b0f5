"""What is asked of the trains of an event kernel."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..spikes.checks import is_traced, refuse_if
from ..spikes.trains import SpikeTrains


def check_pair(x: SpikeTrains, y: SpikeTrains) -> None:
    """Refuse trains of other neurons or of another precision."""
    if x.num_neurons != y.num_neurons:
        raise ValueError(
            f"`x` has {x.num_neurons} neurons and `y` {y.num_neurons}; a kernel compares trains "
            "of the same neurons. Use `select` to bring them together."
        )
    if x.times.dtype != y.times.dtype:
        raise ValueError(
            f"`x` has times of dtype {x.times.dtype} and `y` of {y.times.dtype}; convert one."
        )


def same_window(x: SpikeTrains, y: SpikeTrains) -> bool:
    """Whether two windows are known to be the same."""
    ours, theirs = (x.window_bits, x.duration), (y.window_bits, y.duration)
    if is_traced((ours, theirs)):
        return False
    return all(map(np.array_equal, map(np.asarray, ours), map(np.asarray, theirs)))


def checked(trains: SpikeTrains) -> SpikeTrains:
    """The trains, once their times are known to be in order."""
    # NumPy where all is known: each operation of JAX would first compile a program of its own.
    known = not is_traced(trains)
    numpy: Any = np if known else jnp
    times, neurons, durations = trains.times, trains.neurons, trains.duration
    if known:
        times, neurons, durations = (np.asarray(a) for a in (times, neurons, durations))
    mask = neurons >= 0
    following = numpy.where(mask, times, np.inf)
    ends = numpy.broadcast_to(durations, mask.shape[:1])[:, None]
    failures = (
        (mask & numpy.isnan(times), "`times` has a NaN among the spikes."),
        (
            mask & ((times < 0) | (times > ends)),
            "A spike lies outside the window: `times` count from its start and must be between 0 "
            "and `duration`. Use `from_lists` for times of a recording.",
        ),
        (
            following[:, 1:] < following[:, :-1],
            "`times` is not sorted, or has padding before a spike; `SpikeTrains` keeps spikes "
            "sorted.",
        ),
    )
    for wrong, message in failures:
        if not known:
            trains = eqx.tree_at(lambda t: t.times, trains, refuse_if(trains.times, wrong, message))
        elif wrong.any():
            raise ValueError(message)
    return trains


def with_slots(trains: SpikeTrains, given: int | None) -> tuple[SpikeTrains, int]:
    """Room for the spikes of one event, and the trains, once that is known to be enough."""
    if given is not None and given < 1:
        raise ValueError(f"`max_simultaneous` is {given}; it must be 1 or more.")

    def exceeds(slots, times, mask, numpy):
        later = times[:, slots:]
        return numpy.any((later == times[:, : later.shape[1]]) & mask[:, slots:])

    message = (
        "More neurons spike at exactly one time than there is room for; give their number as "
        "`max_simultaneous`."
    )
    if is_traced(trains):
        slots = given or 1
        excess = exceeds(slots, trains.times, trains.mask, jnp)
        times = refuse_if(trains.times, excess, message)
        return eqx.tree_at(lambda t: t.times, trains, times), slots
    times, mask = np.asarray(trains.times), np.asarray(trains.neurons) >= 0
    slots = 1
    while exceeds(slots, times, mask, np):
        slots += 1
    if given is not None and slots > given:
        raise ValueError(message)
    return trains, slots
