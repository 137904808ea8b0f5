"""Networks that fire by an exponential intensity, which compiled code computes all at once."""

# what is optional in a network is there where it is used
# pyright: reportOptionalMemberAccess=false

import jax
import jax.numpy as jnp

from .._random import key_of_marks, key_words
from ..cells import (
    CellWidth,
    IntensityGiven,
    Layout,
    Marks,
    Rooms,
    drive_of,
    exponential_intensity,
    respond_by_compiled_intensity,
)
from ..protocol import trial_keys
from ._cell_matrices import outcome_of, wiring_of
from ._cell_problem import Need, Outcome, Problem


def computed_by_intensities(problem: Problem, layout: Layout, rooms: tuple[Rooms, ...]) -> Outcome:
    """All neurons; input spikes are felt before, and need room."""
    neurons, network, dtype = problem.neurons, problem.network, problem.dtype
    width, own = problem.asked.grid.dt0, layout.order
    a, b = ((width * x).astype(dtype) for x in (neurons.mu1, neurons.mu2))
    # one number for each neuron in both, or in neither
    a, b = (x if a.ndim == b.ndim == 0 else jnp.broadcast_to(x, own.shape)[own] for x in (a, b))
    listed = problem.listed(0, max(room.inputs for room in rooms))
    inputs = weights = delays = refractory = None
    if problem.input_rows is not None:
        inputs = listed, problem.input_rows[:, own].astype(dtype)
    noise = None if problem.noise is None else tuple(x[:, :, own] for x in problem.noise)
    drive = drive_of(a, b, problem.asked.grid.num_cells, problem.current_of(own), noise, inputs, [])
    if network is not None:
        refractory = problem.in_cells(network.refractory, own)
        if layout.is_delayed or any(layout.parents):
            weights = problem.weights[own][:, own].astype(dtype)
        if layout.is_delayed:
            delays = problem.in_cells(network.axonal_delays, own)

    def each(parameter):
        parameter = parameter.astype(dtype)
        return parameter if parameter.ndim == 0 else parameter[own]

    known = exponential_intensity(neurons)
    assert known is not None, "compiled code is asked for where it knows the intensity"
    *intensity, max_excess = known
    given = IntensityGiven(
        a, b, *map(each, intensity), each(neurons.v_reset), each(neurons.alpha), refractory,
        weights, delays, drive, *(x[:, own].astype(dtype) for x in problem.start),
    )  # fmt: skip
    keys = jax.vmap(lambda n: key_words(key_of_marks(trial_keys(problem.key, n)[2])))
    marks = Marks(*keys(problem.index), jnp.asarray(own, jnp.int32))
    response = respond_by_compiled_intensity(
        given, marks, CellWidth(width, max_excess), wiring_of(problem, layout)
    )
    early = jnp.asarray(False) if delays is None else jnp.any(delays < 1)
    outcome = outcome_of(problem, layout, response, early, ~(response.slowest > 0), len(rooms))
    need = Need(
        listed.most, listed.most, listed.crowded, response.bursting, jnp.int32(0),
        max(1, problem.num_samples * own.size),
    )  # fmt: skip
    return outcome._replace(needs=(need,) * len(rooms))
