"""What two samples of spike trains must share before a loss may compare them."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float

from roughsnn.spikes import SpikeTrains
from roughsnn.spikes.checks import is_traced, refuse_if
from roughsnn.spikes.windows import durations_differ


@runtime_checkable
class Observed(Protocol):
    """Anything that knows its windows and neurons: spike trains, or a summary of them."""

    window_bits: Any
    duration: Float[Array, "..."]
    num_neurons: int


def require_sample(trains: SpikeTrains, name: str) -> None:
    """Fail unless `trains` is a non-empty batch with one batch axis.

    Raises:
        ValueError: another number of batch axes, or an empty batch.
    """
    if len(trains.batch_shape) != 1:
        raise ValueError(
            f"`{name}` has batch shape {trains.batch_shape}; a loss compares two samples of "
            "trains, each with one batch axis. Use `reshape(-1)`, or `jax.vmap` for several "
            "samples."
        )
    if trains.batch_shape[0] == 0:
        raise ValueError(f"`{name}` holds no train; a loss needs one or more.")


def require_comparable(generated: SpikeTrains, observed: Observed, dtype: object) -> SpikeTrains:
    """`generated`, after checking that `observed` has its neurons, dtype and length.

    Windows may begin at different times; their lengths must agree, up to rounding. The result must
    be used: inside `jit` it carries the check of the lengths.

    Raises:
        ValueError: different numbers of neurons, dtypes or lengths (different lengths are a
            run-time error inside `jit`).
    """
    if generated.num_neurons != observed.num_neurons:
        raise ValueError(
            f"`generated` has {generated.num_neurons} neurons and `observed` "
            f"{observed.num_neurons}; keep the same neurons of both with `select`."
        )
    if generated.times.dtype != dtype:
        raise ValueError(
            f"`generated` holds times of dtype {generated.times.dtype} and `observed` of {dtype}; "
            "build `observed` with the dtype of the simulation."
        )
    different = durations_differ(
        generated.window_bits, generated.duration, observed.window_bits, observed.duration
    )
    known = ""
    if not is_traced(different):
        known = f": {_lengths(generated.duration)} and {_lengths(observed.duration)}"
    # Only the times carry the check: a window that is known stays known.
    times = refuse_if(
        generated.times,
        different,
        f"`generated` and `observed` have windows of different lengths{known}. Simulate on "
        "windows as long as those of the data, or cut the longer ones with `window`.",
    )
    return eqx.tree_at(lambda trains: trains.times, generated, times)


def _lengths(duration: Float[Array, "..."]) -> str:
    shortest, longest = float(duration.min()), float(duration.max())
    return f"{longest:g}" if shortest == longest else f"{shortest:g} to {longest:g}"
