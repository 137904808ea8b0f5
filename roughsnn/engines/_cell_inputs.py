"""What drives the neurons of a trial, cell by cell: input spikes, currents, noise."""

from typing import Any, NamedTuple

import diffrax as dfx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..cells import Listed, listed_inputs
from ..drivers import BrownianNoise, FractionalNoise, TimeGrid
from ..event_sde import AbstractTimeFunction
from ..protocol import has_row_per_sample, trial_keys


class InputList(NamedTuple):
    """Input spikes of one trial for all, or of each: when, since the start, and of which train."""

    since: Float[Array, "*trials S"]
    neurons: Int[Array, "*trials S"]


def placed(inputs: InputList, grid: TimeGrid, dtype):
    """The cell in which each input spike arrives, its offset there, and which input it is, all of
    shape (trials, S), where one trial may stand for all. One outside of the window is in no cell of
    it."""
    since, neurons = inputs
    if since.ndim == 1:
        since, neurons = since[None], neurons[None]
    cell, offset = grid.place(since)
    # an input at the start has no effect, as the trial begins after it
    value, num_cells = lax.stop_gradient(since), grid.num_cells
    last = jnp.asarray(grid.duration * (1 + 4 * float(jnp.finfo(since.dtype).eps)), since.dtype)
    cell = jnp.where(value <= 0, -1, jnp.where((neurons >= 0) & (value <= last), cell, num_cells))
    offset = jnp.where(neurons >= 0, offset, 0) / grid.dt0
    return cell, jnp.minimum(offset, 1).astype(dtype), neurons


def listed_by_cell(
    inputs, grid: TimeGrid, num_inputs: int, first: int, num_samples: int, room: int, dtype
) -> Listed:
    """The input spikes by cells, as sources from number `first` on."""
    num_cells = grid.num_cells
    if inputs is None:
        nothing = jnp.zeros((num_samples, 0), jnp.int32)
        return listed_inputs(
            nothing, nothing.astype(dtype), nothing, num_cells, first + num_inputs, 0
        )
    cell, offset, neurons = placed(inputs, grid, dtype)
    listed = listed_inputs(cell, offset, first + neurons, num_cells, first + num_inputs, room)
    if listed.crowded.shape[0] == num_samples:
        return listed
    offsets, sources = (
        jnp.broadcast_to(x, (*x.shape[:2], num_samples)) for x in (listed.offsets, listed.sources)
    )
    crowded = jnp.broadcast_to(listed.crowded, (num_samples,))
    return Listed(offsets, sources, crowded, listed.most)


def current_by_cell(current, grid: TimeGrid, dtype):
    """The input current of each cell, sample and neuron; an axis of length 1 is shared."""
    if current is None:
        return jnp.zeros((1, 1, 1), dtype)
    if has_row_per_sample(current):
        return jnp.asarray(current, dtype)[None]
    if not callable(current):
        return jnp.asarray(current, dtype).reshape(1, 1, -1)
    cells = jnp.arange(grid.num_cells, dtype=jnp.int32)
    middle = grid.begin(cells, dtype) + 0.5 * grid.width(cells, dtype)
    if not isinstance(current, AbstractTimeFunction):
        if not grid.resolves(dtype):
            raise ValueError(
                f"`input_current` depends on time, and times near t1={grid.t1:g} in "
                f"{np.dtype(dtype).name} do not tell the cells of dt0={grid.dt0} apart: let the "
                "window begin at 0, give the input as a roughsnn.CurrentOnGrid, or use double "
                "precision (jax_enable_x64)."
            )
        middle = grid.t0 + middle
    values = jax.vmap(current)(middle).astype(dtype)
    return values.reshape(grid.num_cells, 1, -1)


def noise_by_cell(
    neurons: Any, grid: TimeGrid, noise: Any, key, index: Int[Array, " B"], dtype
) -> tuple[Float[Array, "T B N"], Float[Array, "T B N"]] | None:
    """What the noise adds to potentials and currents in each cell, evenly spread over it; `None`
    for neurons without noise. It is the noise that the event engine draws from the same key."""
    if neurons.noise_shape is None:
        return None
    law = BrownianNoise() if noise is None else noise

    def increments(index):
        _, path, _ = trial_keys(key, index)
        driver = law.path(
            grid, neurons.noise_shape, path, levy_area=dfx.BrownianIncrement, stored=True
        )
        return driver.increments

    drawn = jax.vmap(increments, out_axes=1)(index)
    start = neurons.initial_state(key)

    def felt(db):
        moved = neurons.diffusion(jnp.zeros(()), start, None).mv(db)
        return moved.v.astype(dtype), moved.i.astype(dtype)

    # (cell by cell, as XLA would otherwise draw the noise again for each number made of it)
    by_v, by_i = lax.map(jax.vmap(felt), drawn)
    # the last cell is computed as a whole, whatever of it belongs to the window
    longer = (grid.dt0 / grid.widths(dtype))[:, None, None]
    return by_v * longer, by_i * longer


def check_noise_law(noise: Any) -> None:
    """Fail unless the noise is a path that is straight in each cell."""
    straight = isinstance(noise, FractionalNoise) or (
        isinstance(noise, BrownianNoise) and noise.bridge == "linear"
    )
    if noise is not None and not straight:
        raise ValueError(
            f"`noise` is {noise!r}, and a CellEngine takes paths that are straight in each cell: "
            "roughsnn.BrownianNoise() or roughsnn.FractionalNoise(...). Use roughsnn.EventEngine() "
            "for others."
        )
