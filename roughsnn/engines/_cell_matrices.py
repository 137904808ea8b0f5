"""Networks that compiled code computes by matrices of their weights, all groups of neurons at
once."""

# what is optional in a network is there where it is used
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..cells import (
    InputSpikes,
    Layout,
    MatrixGiven,
    Rates,
    Rooms,
    State,
    Wiring,
    lifted,
    respond_by_matrices,
)
from ..solve import tolerance
from ._cell_inputs import placed
from ._cell_problem import MOST_SPIKES, Outcome, Problem


class NoNeed(eqx.Module):
    """Compiled code makes room as it goes."""

    crowded: Any
    bursting: Any

    def exceeds(self, room: Rooms) -> bool:
        return False

    def room(self, room: Rooms, slack: float = 1.25) -> Rooms:
        return room


def computed_by_matrices(problem: Problem, layout: Layout, rooms: tuple[Rooms, ...]) -> Outcome:
    """All neurons, by the weights between them and of their inputs."""
    neurons, network, dtype = problem.neurons, problem.network, problem.dtype
    asked, num_samples = problem.asked, problem.num_samples
    grid, width = asked.grid, asked.grid.dt0
    own = layout.order
    in_order = np.array_equal(own, np.arange(own.size))

    def ordered(values, *axes):
        """Values of all neurons, in the order of the groups."""
        if in_order:
            return values
        for axis in axes:
            if values.ndim and values.shape[axis] > 1:
                values = jnp.take(values, own, axis)
        return values

    parameters = width * neurons.mu1, width * neurons.mu2, neurons.v_th, neurons.reset_to
    rates = Rates(*(ordered(x.astype(dtype), 0) for x in parameters))
    start = State(
        *(jnp.broadcast_to(ordered(x, -1), (num_samples, own.size)) for x in problem.start)
    )
    weights = delays = refractory = noise = None
    if network is not None:
        refractory = problem.in_cells(network.refractory, own)
        if layout.is_delayed or any(layout.parents):
            weights = ordered(problem.weights.astype(dtype), 0, 1)
        if layout.is_delayed:
            delays = problem.in_cells(network.axonal_delays, own)
    if refractory is None:
        refractory = jnp.zeros((), dtype)
    if problem.noise is not None:
        noise = ordered(problem.noise[1], 2) / lifted(rates.b, 3)
    input_weights = jnp.zeros((0, own.size), dtype)
    cells = sources = jnp.zeros((num_samples, 0), jnp.int32)
    offsets = jnp.zeros((num_samples, 0), dtype)
    if problem.input_rows is not None and asked.inputs is not None:
        input_weights = ordered(problem.input_rows.astype(dtype), 1)
        cells, offsets, sources = (
            jnp.broadcast_to(x, (num_samples, x.shape[1]))
            for x in placed(asked.inputs, grid, dtype)
        )
    given = MatrixGiven(
        rates, start, ordered(problem.current, 2), weights, input_weights, offsets, delays,
        refractory, noise,
    )  # fmt: skip
    wiring = wiring_of(problem, layout)
    inputs = InputSpikes(cells, sources.astype(jnp.int32))
    response = respond_by_matrices(given, inputs, wiring)
    early = jnp.asarray(False) if delays is None else jnp.any(delays < 1)
    return outcome_of(
        problem, layout, response, early, response.slowest < tolerance(dtype), len(rooms)
    )


def wiring_of(problem: Problem, layout: Layout) -> Wiring:
    """The groups of the neurons and the cells of the window."""
    count, grid = len(layout.groups), problem.asked.grid
    children = tuple(tuple(m for m in range(count) if n in layout.parents[m]) for n in range(count))
    return Wiring(
        tuple(map(len, layout.groups)), children, grid.num_cells,
        grid.width_of_last / grid.dt0, MOST_SPIKES, problem.asked.max_spikes,
    )  # fmt: skip


def outcome_of(
    problem: Problem, layout: Layout, response, early, grazes, num_groups: int
) -> Outcome:
    """What became of the neurons, from spikes in their order."""
    asked, own = problem.asked, layout.order
    is_spike = jnp.arange(asked.max_spikes, dtype=jnp.int32)[None] < response.count[:, None]
    times = (response.cells.astype(problem.dtype) + response.offsets) * asked.grid.dt0
    who = jnp.asarray(own)[response.neurons]
    need = NoNeed(jnp.zeros(problem.num_samples, bool), response.bursting)
    return Outcome(
        jnp.where(is_spike, times, jnp.inf), jnp.where(is_spike, who, -1), response.count,
        (need,) * num_groups, early, response.finite, grazes,
    )  # fmt: skip
