"""A run of the cell engine: group by group of neurons, and the spikes of all as trains."""

import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._random import key_of_marks, key_words
from ..cells import (
    EscapeGiven,
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
from ..drivers import TimeGrid
from ..event_sde import AbstractTimeFunction
from ..networks import SpikingNetwork
from ..neurons import AbstractNeuron, StochasticLIF
from ..protocol import Protocol, trial_keys
from ..solve import GRAZES, ConditionsError, refused_where_used, step_is_too_long, tolerance
from ..spikes import SpikeTrains
from ._cell_inputs import current_by_cell, listed_by_cell, noise_by_cell

Policy = Literal["refuse", "leave-out", "ignore"]
# how often a neuron may fire in a cell at most
MOST_SPIKES = 32
# up to so many neurons the layers of a network are computed side by side
_FEW_NEURONS = 64


class Need(eqx.Module):
    """What a group of neurons had to have room for, see `Response`; `lanes` is how many there are,
    of all samples."""

    inputs: Any
    arrivals: Any
    crowded: Any
    bursting: Any
    active: Any
    lanes: int = eqx.field(static=True)

    def exceeds(self, room: Rooms) -> bool:
        if room.spikes >= MOST_SPIKES and bool(jnp.any(self.bursting)):
            return False
        return bool(jnp.any(self.crowded) | jnp.any(self.bursting))

    def room(self, room: Rooms, slack: float = 1.25) -> Rooms:
        """Enough for this, and by a factor more."""

        def enough(needed):
            return max(1, math.ceil(slack * int(needed)))

        spikes = 2 * room.spikes if bool(jnp.any(self.bursting)) else room.spikes
        share = min(1.0, slack * int(self.active) / self.lanes)
        return Rooms(enough(self.inputs), enough(self.arrivals), spikes, share)


class Asked(eqx.Module):
    """What is asked for, by a clock that starts at zero where nothing depends on absolute time:
    such windows are one program, wherever they begin.

    Attributes:
        grid: the cells.
        current: the input current.
        inputs: the input spikes.
        noise: the law of the noise.
        max_spikes: for how many spikes there is room in a trial.
        stop_after: the number of the last spike that is kept.
    """

    grid: TimeGrid = eqx.field(static=True)
    current: Any
    inputs: Any
    noise: Any
    max_spikes: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)

    @classmethod
    def of(cls, model: AbstractNeuron, protocol: Protocol, num_samples: int) -> "Asked":
        grid, current = protocol.grid, protocol.input_current
        if isinstance(current, AbstractTimeFunction):
            current = current.since(grid.t0)
        if not callable(current) or isinstance(current, AbstractTimeFunction):
            grid = grid.from_zero()
        return cls(
            grid, current, protocol.inputs(model, num_samples), protocol.noise,
            protocol.max_spikes, protocol.stop_after,
        )  # fmt: skip


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


class _Problem(NamedTuple):
    """What all groups of neurons have in common.

    Attributes:
        neurons: all neurons.
        network: the network, if they are in one.
        start: their states at the start; for neurons that fire by an intensity of each sample.
        current: the input current by cells, see `current_by_cell`.
        noise: see `noise_by_cell`.
        weights: between all neurons, as a matrix.
        key: random key.
        asked: what is asked for.
        num_samples: how many trials.
    """

    neurons: Any
    network: Any
    start: Any
    current: Array
    noise: Any
    weights: Any
    key: Any
    asked: Asked
    num_samples: int

    @property
    def dtype(self):
        return jnp.result_type(self.start.v, self.start.i)

    @property
    def input_weights(self):
        return None if self.network is None else self.network.input_weights

    def in_cells(self, time, own):
        """A time of a group of neurons in cells, `None` for none."""
        if time is None:
            return None
        time = time.astype(self.dtype) / self.asked.grid.dt0
        return time if time.ndim == 0 else time[own]

    def current_of(self, own):
        return self.current if self.current.shape[2] == 1 else self.current[:, :, own]

    def listed(self, first: int, room: int) -> Listed:
        """The input spikes, as sources from number `first` on."""
        num_inputs = 0 if self.input_weights is None else self.input_weights.shape[0]
        return listed_by_cell(
            self.asked.inputs,
            self.asked.grid,
            num_inputs,
            first,
            self.num_samples,
            room,
            self.dtype,
        )


class _Group(NamedTuple):
    """What became of a group of neurons.

    Attributes:
        offsets: its spikes, by cells.
        need: what it had to have room for.
        early: whether a delay was shorter than a cell.
        finite: which samples have a finite state at the end.
        grazes: which have a spike without a derivative.
    """

    offsets: Float[Array, "T places B N"]
    need: Need
    early: Bool[Array, ""]
    finite: Bool[Array, " B"]
    grazes: Bool[Array, " B"]


@eqx.filter_jit
def run(
    layout: Layout, all_rooms: tuple[Rooms, ...], conditions: Policy, model: AbstractNeuron,
    asked: Asked, key, num_samples: int,
):  # fmt: skip
    """The spikes, what each group of neurons needed, and what is wrong, by name."""
    grid, neurons = asked.grid, neurons_of(model)
    by_intensity = isinstance(neurons, StochasticLIF)
    network = model if isinstance(model, SpikingNetwork) else None
    start = neurons.initial_state(jr.key(0))
    if by_intensity:
        index = jnp.arange(num_samples, dtype=jnp.int32)
        start = jax.vmap(lambda n: neurons.initial_state(trial_keys(key, n)[0]))(index)
    dtype = jnp.result_type(start.v, start.i)
    problem = _Problem(
        neurons, network, start, current_by_cell(asked.current, grid, dtype),
        noise_by_cell(neurons, grid, asked.noise, key, num_samples, dtype),
        None if network is None else dense_weights(network), key, asked, num_samples,
    )  # fmt: skip
    wrong = {
        "too long": step_is_too_long(model, grid.dt0),
        "strays": strays(model, layout),
        "no decay": jnp.asarray(not by_intensity and problem.noise is not None)
        & jnp.any(neurons.mu2 == 0),
        "at start": jnp.asarray(False) if by_intensity else jnp.any(start.v >= neurons.v_th),
    }
    groups: list[_Group] = []
    if by_intensity and _layers_lag(layout):
        groups.append(_layers_by_intensity(problem, layout, all_rooms))
        needs = (groups[0].need,) * len(all_rooms)
    else:
        compute = _by_intensity if by_intensity else _by_threshold
        for n, room in enumerate(all_rooms):
            parents = [(layout.groups[m], groups[m].offsets) for m in layout.parents[n]]
            groups.append(compute(problem, layout, layout.groups[n], parents, room))
        needs = tuple(group.need for group in groups)
    order = jnp.asarray(layout.order)
    room = asked.max_spikes
    spikes = side_by_side([group.offsets for group in groups])
    last = grid.width_of_last / grid.dt0
    times, who, count = collected(spikes, order, grid.dt0, last, room)
    stopped = asked.stop_after
    if stopped is not None:
        times, who = (
            jnp.where(jnp.arange(room) < stopped, x, fill)
            for x, fill in ((times, jnp.inf), (who, -1))
        )
        count = jnp.minimum(count, stopped)

    def in_any(values):
        return jnp.any(jnp.stack(values), axis=0)

    grazes = in_any([group.grazes for group in groups])
    times = _guarded(times, grazes, conditions)
    wrong["early"] = in_any([group.early for group in groups])
    infinite = in_any([~group.finite for group in groups])
    wrong["infinite"] = jnp.any(infinite)
    crowded = in_any([need.crowded | need.bursting for need in needs])
    wrong["crowded"] = jnp.any(crowded)
    whole = "too long", "strays", "no decay", "at start", "early"
    of_all = in_any([wrong[name] for name in whole])
    wrong["overflowed"] = jnp.any(count > room)
    overflowed = (count > room) | crowded | infinite | of_all
    return Spikes(times, who, overflowed, grazes), needs, wrong


def _by_threshold(problem: _Problem, layout: Layout, group, parents, room: Rooms) -> _Group:
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
    if problem.input_weights is not None:
        rows.append(problem.input_weights[:, own])
        num_rows += problem.input_weights.shape[0]
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
    return _Group(response.offsets, need, response.early, response.finite, grazes)


def _by_intensity(problem: _Problem, layout: Layout, group, parents, room: Rooms) -> _Group:
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


def _layers_by_intensity(problem: _Problem, layout: Layout, rooms: tuple[Rooms, ...]) -> _Group:
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


def _given_by_intensity(problem: _Problem, own, spikes, room: int):
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
    if problem.input_weights is not None:
        inputs = listed, problem.input_weights[:, own].astype(dtype)
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


def _response_by_intensity(problem, own, given: EscapeGiven, listed: Listed, places: int) -> _Group:
    index = jnp.arange(problem.num_samples, dtype=jnp.int32)
    words = jax.vmap(lambda n: key_words(key_of_marks(trial_keys(problem.key, n)[2])))(index)
    marks = Marks(*words, jnp.asarray(own, jnp.int32))
    response = respond_by_intensity(given, marks, places)
    need = Need(
        listed.most, listed.most, listed.crowded, response.bursting, jnp.int32(0),
        max(1, problem.num_samples * len(own)),
    )  # fmt: skip
    return _Group(response.offsets, need, response.early, response.finite, ~(response.slowest > 0))


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
