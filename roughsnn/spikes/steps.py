"""Spike times as numbers of steps of a grid."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .trains import SpikeTrains
from .windows import rounding_of


def step_numbers(trains: SpikeTrains, grid: Any) -> np.ndarray:
    """The step at whose end each input spike acts; negative for one at the start or before it.

    Raises:
        ValueError: the times do not say in which step a spike falls.
    """
    eps = float(jnp.finfo(trains.times.dtype).eps)
    starts = np.asarray(trains.t0)[..., None] - grid.t0
    since = np.asarray(trains.times, np.float64) + starts
    spikes = np.asarray(trains.mask)
    since = np.where(spikes, since, 0.0)
    # How far a time may be from what was meant, in steps.
    rounding = 4 * eps * np.abs(np.where(spikes, trains.times, 0.0).astype(np.float64))
    rounding = (rounding + rounding_of(trains.t0, grid.t0, grid.t1).max()) / grid.dt0
    inside = (since > 0) & (since <= grid.duration)
    if np.any(inside & (rounding > 0.4)):
        raise ValueError(
            f"`input_spikes` has times that {trains.times.dtype} does not resolve to a step of "
            f"{grid.dt0:g}, {since[inside].max():g} after the start of their window. Cut them into "
            "shorter windows, or use double precision (jax_enable_x64)."
        )
    numbers = np.ceil(since / grid.dt0 - np.maximum(rounding, 1e-9)) - 1
    numbers = np.minimum(numbers, np.iinfo(np.int32).max)
    # The window may end within its last step.
    numbers = np.where(inside, np.minimum(numbers, grid.num_cells - 1), numbers)
    never = np.iinfo(np.int32).max
    return np.where(spikes, np.maximum(numbers, -1), never).astype(np.int32)
