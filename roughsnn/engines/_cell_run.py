"""A run of the cell engine: group by group of neurons, and the spikes of all as trains."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from .._random import key_of_marks, key_words
from ..cells import (
    EscapeGiven,
    FanRooms,
    Firing,
    Given,
    Lags,
    Layout,
    Listed,
    Marks,
    Propagators,
    Rates,
    Rooms,
    State,
    collected,
    computes_intensities,
    computes_matrices,
    dense_weights,
    drive_of,
    lifted,
    merged,
    neurons_of,
    respond,
    respond_by_intensity,
    side_by_side,
    strays,
)
from ..devices import map_shares
from ..networks import SpikingNetwork
from ..neurons import AbstractNeuron, StochasticLIF
from ..protocol import Protocol, trial_keys
from ..solve import GRAZES, ConditionsError, refused_where_used, step_is_too_long, tolerance
from ..spikes import SpikeTrains
from ._cell_fans import computed_by_list
from ._cell_inputs import current_by_cell, noise_by_cell
from ._cell_intensities import computed_by_intensities
from ._cell_matrices import computed_by_matrices
from ._cell_problem import Asked, Group, Need, Outcome, Problem

Policy = Literal["refuse", "leave-out", "ignore"]
# up to so many neurons the layers of a network are computed side by side
_FEW_NEURONS = 64


class Spikes(NamedTuple):
    """Spikes of all trials, by the clock of `Asked`: when, of which neuron, whether there are too
    many or something is wrong, and whether one grazes its threshold."""

    times: Float[Array, "B S"]
    neurons: Int[Array, "B S"]
    overflowed: Bool[Array, " B"]
    grazes: Bool[Array, " B"]

    def trains(self, model: AbstractNeuron, protocol: Protocol) -> SpikeTrains:
        """As spike trains of the window."""
        return SpikeTrains(
            self.times, self.neurons, protocol.t0, protocol.t1, self.overflowed,
            num_neurons=model.num_neurons, grazing=jnp.where(self.grazes, GRAZES, 0),
        )  # fmt: skip


@eqx.filter_jit
def run(
    layout: Layout, all_rooms: tuple[Rooms | FanRooms, ...], conditions: Policy,
    model: AbstractNeuron, asked: Asked, key, num_samples: int, mesh: Mesh | None = None,
):  # fmt: skip
    """The spikes, what each group of neurons needed, and what is wrong, by name; shared out among
    the devices of a mesh."""

    def some(operands, index):
        model, asked, key = operands
        return _some_trials(
            layout, all_rooms, conditions, model, asked.of_trials(index), key, index
        )

    return map_shares(some, (model, asked, key), num_samples, mesh)


def _some_trials(layout, all_rooms, conditions, model, asked: Asked, key, index):
    """The same of the trials of these numbers."""
    grid, neurons = asked.grid, neurons_of(model)
    by_intensity = isinstance(neurons, StochasticLIF)
    network = model if isinstance(model, SpikingNetwork) else None
    start = neurons.initial_state(jr.key(0))
    if by_intensity:
        start = jax.vmap(lambda n: neurons.initial_state(trial_keys(key, n)[0]))(index)
    dtype = jnp.result_type(start.v, start.i)
    problem = Problem(
        neurons, network, start, current_by_cell(asked.current, grid, dtype),
        noise_by_cell(neurons, grid, asked.noise, key, index, dtype),
        None if network is None or layout.by_list else dense_weights(network), key, asked, index,
    )  # fmt: skip
    wrong = {
        "too long": step_is_too_long(model, grid.dt0),
        "strays": strays(model, layout),
        "no decay": jnp.asarray(not by_intensity and problem.noise is not None)
        & jnp.any(neurons.mu2 == 0),
        "at start": jnp.asarray(False) if by_intensity else jnp.any(start.v >= neurons.v_th),
    }
    compute = _group_by_group
    if layout.by_list:
        compute = computed_by_list
    elif isinstance(neurons, StochasticLIF):
        if computes_intensities(neurons, dtype):
            compute = computed_by_intensities
    elif computes_matrices(dtype):
        compute = computed_by_matrices
    outcome = compute(problem, layout, all_rooms)
    times, who, count, room = outcome.times, outcome.neurons, outcome.count, asked.max_spikes
    stopped = asked.stop_after
    if stopped is not None:
        times, who = (
            jnp.where(jnp.arange(room) < stopped, x, fill)
            for x, fill in ((times, jnp.inf), (who, -1))
        )
        count = jnp.minimum(count, stopped)

    def in_any(values):
        return jnp.any(jnp.stack(values), axis=0)

    times = _guarded(times, outcome.grazes, conditions)
    wrong["early"] = outcome.early
    wrong["infinite"] = jnp.any(~outcome.finite)
    crowded = in_any([need.crowded | need.bursting for need in outcome.needs])
    wrong["crowded"] = jnp.any(crowded)
    whole = "too long", "strays", "no decay", "at start", "early"
    of_all = in_any([wrong[name] for name in whole])
    wrong["overflowed"] = jnp.any(count > room)
    overflowed = (count > room) | crowded | ~outcome.finite | of_all
    return Spikes(times, who, overflowed, outcome.grazes), outcome.needs, wrong


def _group_by_group(problem: Problem, layout: Layout, all_rooms: tuple[Rooms, ...]) -> Outcome:
    """All neurons, by matrices of the weights of groups of them."""
    by_intensity = isinstance(problem.neurons, StochasticLIF)
    groups: list[Group] = []
    if by_intensity and _layers_lag(layout):
        groups.append(_layers_by_intensity(problem, layout, all_rooms))
        needs = (groups[0].need,) * len(all_rooms)
    else:
        compute = _by_intensity if by_intensity else _by_threshold
        for n, room in enumerate(all_rooms):
            parents = [(layout.groups[m], groups[m].offsets) for m in layout.parents[n]]
            groups.append(compute(problem, layout, layout.groups[n], parents, room))
        needs = tuple(group.need for group in groups)
    grid = problem.asked.grid
    spikes = side_by_side([group.offsets for group in groups])
    times, who, count = collected(
        spikes, jnp.asarray(layout.order), grid.dt0, grid.width_of_last / grid.dt0,
        problem.asked.max_spikes,
    )  # fmt: skip

    def of_all(values, merge):
        return merge(jnp.stack(values), axis=0)

    return Outcome(
        times, who, count, needs, of_all([group.early for group in groups], jnp.any),
        of_all([group.finite for group in groups], jnp.all),
        of_all([group.grazes for group in groups], jnp.any),
    )  # fmt: skip


def _by_threshold(problem: Problem, layout: Layout, group, parents, room: Rooms) -> Group:
    """A group of neurons with a hard threshold."""
    own, (neurons, network, dtype) = (
        np.asarray(group),
        (problem.neurons, problem.network, problem.dtype),
    )
    width, num_samples = problem.asked.grid.dt0, problem.num_samples
    parameters = width * neurons.mu1, width * neurons.mu2, neurons.v_th, neurons.reset_to
    parameters = (x.astype(dtype) for x in parameters)
    rates = Rates(*(x if x.ndim == 0 else x[own] for x in parameters))
    first, rows, delays = 0, [], None
    if layout.is_delayed:
        first, rows = len(own), [problem.weights]
        delays = problem.in_cells(network.axonal_delays, own)
    listed = problem.listed(first, room.inputs)
    num_rows, most_inputs = first, listed.most
    if problem.input_rows is not None:
        rows.append(problem.input_rows[:, own])
        num_rows += problem.input_rows.shape[0]
    if parents:
        rows += [problem.weights[np.ix_(np.asarray(other), own)] for other, _ in parents]
        spikes = side_by_side([offsets for _, offsets in parents])
        listed = merged(listed, spikes, num_rows, room.arrivals)
    matrix = jnp.concatenate(rows) if rows else jnp.zeros((0, len(own)), dtype)
    start = problem.start.v[own], problem.start.i[own]
    state = State(*(jnp.broadcast_to(x, (num_samples, len(own))) for x in start))
    refractory = None if network is None else problem.in_cells(network.refractory, own)
    noise = None
    if problem.noise is not None:
        noise = problem.noise[1][:, :, own] / lifted(rates.b, 3)
    given = Given(
        rates, state, problem.current_of(own), matrix.astype(dtype), listed.offsets, delays,
        refractory, noise,
    )  # fmt: skip
    response = respond(given, listed.sources, room)
    need = Need(
        most_inputs, jnp.maximum(listed.most, response.most_arrivals),
        listed.crowded | response.crowded, response.bursting, response.most_active,
        max(1, num_samples * len(own)),
    )  # fmt: skip
    grazes = response.slowest < tolerance(dtype)
    return Group(response.offsets, need, response.early, response.finite, grazes)


def _by_intensity(problem: Problem, layout: Layout, group, parents, room: Rooms) -> Group:
    """A group of neurons that fire by an intensity."""
    own = np.asarray(group)
    spikes = [
        (offsets, problem.weights[np.ix_(np.asarray(other), own)].astype(problem.dtype))
        for other, offsets in parents
    ]
    given, listed = _given_by_intensity(problem, own, spikes, room.inputs)
    if layout.is_delayed:
        given = given._replace(
            weights=problem.weights.astype(problem.dtype),
            delays=problem.in_cells(problem.network.axonal_delays, own),
        )
    return _response_by_intensity(problem, own, given, listed, room.spikes)


def _layers_by_intensity(problem: Problem, layout: Layout, rooms: tuple[Rooms, ...]) -> Group:
    """All layers side by side, each one cell behind the layer before it: a small network is bound
    by how many operations there are, whatever their size."""
    own = layout.order
    given, listed = _given_by_intensity(problem, own, [], max(room.inputs for room in rooms))
    lags = [n for n, group in enumerate(layout.groups) for _ in group]
    weights = problem.weights[np.ix_(own, own)].astype(problem.dtype)
    given = given._replace(lags=Lags(tuple(lags)), weights=weights)
    return _response_by_intensity(problem, own, given, listed, max(room.spikes for room in rooms))


def _layers_lag(layout: Layout) -> bool:
    """Whether a network is a small one of layers, each of which only feels the one before it."""
    in_turn = all(
        parents in ((), (n - 1,)) for n, parents in enumerate(layout.parents)
    )  # fmt: skip
    return in_turn and len(layout.groups) > 1 and layout.order.size <= _FEW_NEURONS


def _given_by_intensity(problem: Problem, own, spikes, room: int):
    """What neurons that fire by an intensity depend on, but for one another; and the input spikes
    of each cell."""
    network, dtype = problem.network, problem.dtype
    neurons = _part_of(problem.neurons, own)
    width = jnp.asarray(problem.asked.grid.dt0, dtype)
    a, b = ((width * x).astype(dtype) for x in (neurons.mu1, neurons.mu2))
    # one number for each neuron in both, or in neither
    a, b = (x if a.ndim == b.ndim == 0 else jnp.broadcast_to(x, (len(own),)) for x in (a, b))
    listed = problem.listed(0, room)
    inputs = None
    if problem.input_rows is not None:
        inputs = listed, problem.input_rows[:, own].astype(dtype)
    noise = problem.noise
    if noise is not None and not np.array_equal(own, np.arange(problem.neurons.num_neurons)):
        noise = tuple(x[:, :, own] for x in noise)
    drive = drive_of(
        a, b, problem.asked.grid.num_cells, problem.current_of(own), noise, inputs, spikes
    )
    refractory = None if network is None else problem.in_cells(network.refractory, own)
    given = EscapeGiven(
        Firing(neurons, a, width, refractory), Propagators.of(a, b),
        *(x[:, own].astype(dtype) for x in problem.start), drive, weights=None, delays=None,
        lags=None, alpha=neurons.alpha.astype(dtype),
    )  # fmt: skip
    return given, listed


def _response_by_intensity(problem, own, given: EscapeGiven, listed: Listed, places: int) -> Group:
    keys = jax.vmap(lambda n: key_words(key_of_marks(trial_keys(problem.key, n)[2])))
    words = keys(problem.index)
    marks = Marks(*words, jnp.asarray(own, jnp.int32))
    response = respond_by_intensity(given, marks, places)
    need = Need(
        listed.most, listed.most, listed.crowded, response.bursting, jnp.int32(0),
        max(1, problem.num_samples * len(own)),
    )  # fmt: skip
    return Group(response.offsets, need, response.early, response.finite, ~(response.slowest > 0))


def _part_of(neurons: StochasticLIF, own) -> StochasticLIF:
    """Some of the neurons; without their noise, which is drawn for all."""
    neurons = eqx.tree_at(lambda n: n.sigma, neurons, None, is_leaf=lambda x: x is None)
    return jax.tree.map(
        lambda x, axis: x if axis < 0 else jnp.take(x, own, axis), neurons, neurons.neuron_axes()
    )


# ---- what is not differentiated


_GRAZING = (
    "Spike times are differentiated in a trial in which a spike only grazes its threshold, where "
    'they have no derivative. Pass `conditions="leave-out"` to the CellEngine, which leaves such '
    "trials out of the derivative and counts them (`trains.grazing`), or "
    '`conditions="ignore"`, which differentiates all the same.'
)


def _guarded(times, grazes, conditions: Policy):
    """The times, whose derivative is refused or left out where a spike grazes."""
    if conditions == "ignore":
        return times
    if conditions == "leave-out":
        return jnp.where(grazes[:, None], lax.stop_gradient(times), times)
    return _watched(times, grazes)


@jax.custom_jvp
def _watched(times, grazes):
    return times


@_watched.defjvp
def _(primals, tangents):
    (times, grazes), (moved, _) = primals, tangents
    (moved,) = jax.vmap(lambda x, wrong: refused_where_used([x], wrong, [], _complain))(
        moved, grazes
    )
    return times, moved


def _complain(refused):
    raise ConditionsError(_GRAZING)
