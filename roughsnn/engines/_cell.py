"""The engine that resolves all spikes of a cell side by side."""

# what is optional in a network is there where it is used
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import math
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from .._checks import IntLike, RealLike, number, whole_number
from .._host_errors import refused_on_host
from ..cells import (
    Given,
    Layout,
    Listed,
    Rates,
    Rooms,
    State,
    collected,
    dense_weights,
    is_known,
    layout_of,
    listed_inputs,
    merged,
    neurons_of,
    respond,
    side_by_side,
    strays,
)
from ..drivers import TimeGrid
from ..event_sde import AbstractTimeFunction
from ..networks import SpikingNetwork
from ..neurons import AbstractNeuron
from ..protocol import Protocol, checked_current, has_row_per_sample
from ..solve import (
    GRAZES,
    RESULTS,
    ConditionsError,
    EventSolveError,
    refused_where_used,
    step_is_too_long,
    tolerance,
)
from ..spikes import SpikeTrains
from ..spikes.checks import is_traced
from ._base import AbstractEngine

Policy = Literal["refuse", "leave-out", "ignore"]
# what a first try has room for: inputs, arrivals, spikes of a neuron; and how often a neuron may
# fire in a cell at most
_FIRST, _MOST_SPIKES = (16, 16, 1), 32


class CellEngine(AbstractEngine):
    r"""Exact spikes of leaky integrate-and-fire neurons, all neurons of a cell side by side.

    Between arrivals the potential of a [`roughsnn.LIF`][] neuron has a closed form, so that one
    cell (a step `dt0`) of all neurons is a few array operations, and only neurons that may fire in
    it are looked at one by one. Spike times are those of the equation, to rounding, whatever the
    step, and so are their derivatives, by an adjoint written by hand. The cost is that of a clock,
    plus something for each spike and for each arrival; that of [`roughsnn.EventEngine`][] grows
    with the number of events times the number of neurons.

    It computes networks of `LIF` neurons without noise, with current synapses, refractory periods,
    and with

    - axonal delays of at least a cell; or
    - no delay and no circle in `connections`: layers, or any order of neurons in which spikes go
      one way.

    Anything else is refused by name. An input current is taken as constant in each cell, with its
    value in the middle: exact for currents in steps on the grid, of second order for others.

    For a network that is only known inside a JAX transformation (in [`roughsnn.fit`][]) say
    beforehand how it is connected and how much room it needs, by `prepared`. Outside, both is found
    as it goes, in each call by running again with more room: prepare it for many calls.

    Attributes:
        conditions: what happens where a trial is differentiated in which a spike only grazes its
            threshold: `"refuse"`, `"leave-out"` or `"ignore"`, see [`roughsnn.eventsolve`][].
        layout: who is connected to whom; see `prepared`.
        rooms: for how many spikes there is room in a cell, for each group of neurons of the
            layout; see `prepared`.

    Raises:
        ValueError: `conditions` is no policy.
    """

    conditions: Policy = eqx.field(static=True, default="refuse")
    layout: Layout | None = None
    rooms: tuple[Rooms, ...] | None = None

    def __check_init__(self):
        if self.conditions not in get_args(Policy):
            names = ", ".join(f'"{name}"' for name in get_args(Policy))
            raise ValueError(f"`conditions` must be one of {names}, got {self.conditions!r}.")

    def prepared(
        self,
        model: AbstractNeuron,
        protocol: Protocol,
        *,
        num_samples: IntLike,
        slack: RealLike = 1.5,
    ) -> "CellEngine":
        """An engine that knows how this model is connected, and for how many spikes there has to be
        room in a cell.

        Args:
            model: the model, outside of any JAX transformation.
            protocol: what is done to it, with input spikes or currents like those to come.
            num_samples: how many trials to look at.
            slack: how much more room there is to be than these trials need, as a factor.
        """
        num_samples = whole_number("num_samples", num_samples, 0)
        slack = number("slack", slack, least=1)
        _check(model, protocol, num_samples)
        _, _, needs, engine = self._fitted(model, protocol, num_samples)
        rooms = tuple(
            need.room(room, slack) for need, room in zip(needs, engine.rooms or (), strict=True)
        )
        return CellEngine(engine.conditions, engine.layout, rooms)

    def spike_trains(self, model, protocol, *, key, num_samples, throw=True):
        _check(model, protocol, num_samples)
        if is_traced((model, protocol.input_current, protocol.input_spikes)):
            layout = self._layout_for(model)
            rooms = self.rooms or _first_rooms(layout)
            trains, _, wrong = _run(layout, rooms, self.conditions, model, protocol, num_samples)
        else:
            trains, wrong, _, _ = self._fitted(model, protocol, num_samples)
        return _refused(trains, wrong, protocol.dt0) if throw else trains

    def _layout_for(self, model) -> Layout:
        if self.layout is None:
            if not is_known(model):
                raise ValueError(
                    "`engine` does not know who is connected to whom, as the model is only known "
                    "inside a JAX transformation here (such as the step of roughsnn.fit). Prepare "
                    "it beforehand: engine.prepared(model, protocol, num_samples=n)."
                )
            return layout_of(model)
        if self.layout.order.size != model.num_neurons:
            raise ValueError(
                f"`engine` was prepared for {self.layout.order.size} neurons, and `model` has "
                f"{model.num_neurons}."
            )
        return self.layout

    def _fitted(self, model, protocol, num_samples):
        """The trains, what is wrong, what they needed, and the engine with room for them."""
        layout = self._layout_for(model)
        rooms = self.rooms or _first_rooms(layout)
        while True:
            trains, needs, wrong = _run(
                layout, rooms, self.conditions, model, protocol, num_samples
            )
            grown = tuple(
                need.room(room) if need.exceeds(room) else room
                for need, room in zip(needs, rooms, strict=True)
            )
            hopeless = bool(wrong["infinite"]) or bool(wrong["early"])
            if self.rooms is not None or grown == rooms or hopeless:
                return trains, wrong, needs, CellEngine(self.conditions, layout, rooms)
            rooms = grown


class _Need(eqx.Module):
    """What a group of neurons had to have room for, see `Response`; `lanes` is how many there are,
    of all samples."""

    inputs: Any
    arrivals: Any
    crowded: Any
    bursting: Any
    active: Any
    lanes: int = eqx.field(static=True)

    def exceeds(self, room: Rooms) -> bool:
        if room.spikes >= _MOST_SPIKES and bool(jnp.any(self.bursting)):
            return False
        return bool(jnp.any(self.crowded) | jnp.any(self.bursting))

    def room(self, room: Rooms, slack: float = 1.25) -> Rooms:
        """Enough for this, and by a factor more."""

        def enough(needed):
            return max(1, math.ceil(slack * int(needed)))

        spikes = 2 * room.spikes if bool(jnp.any(self.bursting)) else room.spikes
        share = min(1.0, slack * int(self.active) / self.lanes)
        return Rooms(enough(self.inputs), enough(self.arrivals), spikes, share)


def _first_rooms(layout: Layout) -> tuple[Rooms, ...]:
    """Room for a first try."""
    return (Rooms(*_FIRST, share=1 / 32),) * len(layout.groups)


def _check(model, protocol: Protocol, num_samples: int) -> None:
    """Fail unless the engine computes this model under this protocol."""
    if not isinstance(model, AbstractNeuron):
        raise TypeError(
            f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}."
        )
    neurons_of(model)
    if protocol.noise is not None:
        raise ValueError(
            f"`noise` is {protocol.noise!r}, and a CellEngine draws none: leave it out, or use "
            "roughsnn.EventEngine()."
        )
    checked_current(model, protocol.input_current, num_samples)
    protocol.inputs(model, num_samples)


@eqx.filter_jit
def _run(
    layout: Layout, all_rooms: tuple[Rooms, ...], conditions: Policy, model: AbstractNeuron,
    protocol: Protocol, num_samples: int,
):  # fmt: skip
    """The trains, what each group of neurons needed, and what is wrong, by name."""
    grid, neurons = protocol.grid, neurons_of(model)
    width = grid.dt0
    start = neurons.initial_state(jr.key(0))
    dtype = jnp.result_type(start.v, start.i)
    current = _current_by_cell(protocol.input_current, grid, dtype)
    parameters = width * neurons.mu1, width * neurons.mu2, neurons.v_th, neurons.reset_to
    parameters = [x.astype(dtype) for x in parameters]
    network = model if isinstance(model, SpikingNetwork) else None
    weights = input_weights = None
    if network is not None:
        weights, input_weights = dense_weights(network), network.input_weights
    inputs = protocol.inputs(model, num_samples)
    wrong = {
        "too long": step_is_too_long(model, grid.dt0),
        "strays": strays(model, layout),
        "at start": jnp.any(start.v >= neurons.v_th),
    }
    responses, needs = [], []
    for group, parents, room in zip(layout.groups, layout.parents, all_rooms, strict=True):
        own = np.asarray(group)
        rates = Rates(*(x if x.ndim == 0 else x[own] for x in parameters))
        num_inputs = 0 if input_weights is None else input_weights.shape[0]
        first = len(own) if layout.is_delayed else 0
        rows = [] if input_weights is None else [input_weights[:, own]]
        listed = _listed(inputs, grid, num_inputs, first, num_samples, room.inputs, dtype)
        delays = None
        if layout.is_delayed:
            rows = [weights, *rows]
            delays = network.axonal_delays.astype(dtype) / width
        refractory = None if network is None else network.refractory
        if refractory is not None:
            refractory = refractory.astype(dtype) / width
            refractory = refractory if refractory.ndim == 0 else refractory[own]
        num_rows, most_inputs = first + num_inputs, listed.most
        if parents:
            rows += [weights[np.ix_(np.asarray(layout.groups[m]), own)] for m in parents]
            spikes = side_by_side([responses[m].offsets for m in parents])
            listed = merged(listed, spikes, num_rows, room.arrivals)
        matrix = jnp.concatenate(rows) if rows else jnp.zeros((0, len(own)), dtype)
        state = State(
            *(jnp.broadcast_to(x[own], (num_samples, len(own))) for x in (start.v, start.i))
        )
        given = Given(
            rates, state, current if current.shape[2] == 1 else current[:, :, own],
            matrix.astype(dtype), listed.offsets, delays, refractory,
        )  # fmt: skip
        response = respond(given, listed.sources, room)
        responses.append(response)
        needs.append(
            _Need(
                most_inputs, jnp.maximum(listed.most, response.most_arrivals),
                listed.crowded | response.crowded, response.bursting, response.most_active,
                max(1, num_samples * len(own)),
            )
        )  # fmt: skip
    order = jnp.asarray(layout.order)
    last = grid.width_of_last / width
    room = protocol.max_spikes
    spikes = side_by_side([response.offsets for response in responses])
    times, who, count = collected(spikes, order, width, last, room)
    stopped = protocol.stop_after
    if stopped is not None:
        times, who = (
            jnp.where(jnp.arange(room) < stopped, x, fill)
            for x, fill in ((times, jnp.inf), (who, -1))
        )
        count = jnp.minimum(count, stopped)
    slowest = jnp.min(jnp.stack([r.slowest for r in responses]), axis=0)
    grazes = slowest < tolerance(dtype)
    times = _guarded(times, grazes, conditions)
    wrong["early"] = jnp.any(jnp.stack([response.early for response in responses]))
    finite = jnp.all(jnp.stack([response.finite for response in responses]), axis=0)
    wrong["infinite"] = jnp.any(~finite)
    crowded = [need.crowded | need.bursting for need in needs]
    crowded = jnp.any(jnp.stack(crowded), axis=0)
    wrong["crowded"] = jnp.any(crowded)
    of_all = [wrong[name] for name in ("too long", "strays", "at start", "early")]
    overflowed = (count > room) | crowded | ~finite | jnp.any(jnp.stack(of_all))
    wrong["overflowed"] = jnp.any(count > room)
    trains = SpikeTrains(
        times, who, protocol.t0, protocol.t1, overflowed, num_neurons=model.num_neurons,
        grazing=jnp.where(grazes, GRAZES, 0),
    )  # fmt: skip
    return trains, tuple(needs), wrong


def _listed(inputs, grid: TimeGrid, num_inputs: int, first: int, num_samples: int, room: int,
            dtype) -> Listed:  # fmt: skip
    """The input spikes by cells, as sources from number `first` on."""
    num_cells = grid.num_cells
    if inputs is None:
        nothing = jnp.zeros((num_samples, 0), jnp.int32)
        return listed_inputs(
            nothing, nothing.astype(dtype), nothing, num_cells, first + num_inputs, 0
        )
    since, neurons = inputs.since, inputs.trains.neurons
    if since.ndim == 1:
        since, neurons = since[None], neurons[None]
    cell, offset = grid.place(since)
    # an input at the start has no effect, as the trial begins after it
    value = lax.stop_gradient(since)
    last = jnp.asarray(grid.duration * (1 + 4 * float(jnp.finfo(since.dtype).eps)), since.dtype)
    cell = jnp.where(value <= 0, -1, jnp.where((neurons >= 0) & (value <= last), cell, num_cells))
    offset = jnp.where(neurons >= 0, offset, 0) / grid.dt0
    listed = listed_inputs(
        cell, jnp.minimum(offset, 1).astype(dtype), first + neurons, num_cells, first + num_inputs,
        room,
    )  # fmt: skip
    if listed.crowded.shape[0] == num_samples:
        return listed
    offsets, sources = (
        jnp.broadcast_to(x, (*x.shape[:2], num_samples)) for x in (listed.offsets, listed.sources)
    )
    crowded = jnp.broadcast_to(listed.crowded, (num_samples,))
    return Listed(offsets, sources, crowded, listed.most)


def _current_by_cell(current, grid: TimeGrid, dtype):
    """The input current of each cell, sample and neuron; an axis of length 1 is shared."""
    if current is None:
        return jnp.zeros((1, 1, 1), dtype)
    if has_row_per_sample(current):
        return jnp.asarray(current, dtype)[None]
    if not callable(current):
        return jnp.asarray(current, dtype).reshape(1, 1, -1)
    cells = jnp.arange(grid.num_cells, dtype=jnp.int32)
    middle = grid.begin(cells, dtype) + 0.5 * grid.width(cells, dtype)
    if isinstance(current, AbstractTimeFunction):
        current = current.since(grid.t0)
    else:
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


# ---- refusals


def _refused(trains: SpikeTrains, wrong: dict[str, Any], dt0: float) -> SpikeTrains:
    """The trains, or an error that says what is wrong and what to do."""
    messages = {
        "too long": RESULTS[RESULTS.step_too_long],
        "strays": "`engine` was prepared for a network that is connected in another way: prepare "
        "it again, engine.prepared(model, protocol, num_samples=n).",
        "at start": RESULTS[RESULTS.event_at_start],
        "early": f"A delay is shorter than a cell of {dt0:g}, which a CellEngine does not compute: "
        "let `dt0` be at most the shortest delay, or use roughsnn.EventEngine().",
        "infinite": "A potential or a synaptic current became infinite or NaN. Check the "
        "parameters and the inputs.",
        "crowded": "More spikes fell into one cell than the engine has room for. Prepare it on "
        "trials with as many spikes, engine.prepared(model, protocol, num_samples=n, "
        f"slack=3), or take a shorter dt0. If a neuron fires more than {_MOST_SPIKES} times in a "
        "cell, the network is running away.",
        "overflowed": f"More spikes happened than `max_spikes` = {trains.max_spikes} has room for. "
        "Increase it, or pass `throw=False` to get the truncated trains with a flag.",
    }
    times = trains.times
    for name, message in messages.items():
        if not is_traced(wrong[name]):
            if bool(wrong[name]):
                raise EventSolveError(message)
            continue
        failed = refused_on_host(wrong[name], message)
        times = jnp.where(failed, jnp.nan, times)
    return trains.with_spikes(times, trains.neurons, trains.overflowed)


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
