"""The engine that resolves all spikes of a cell side by side."""

import dataclasses
from typing import Any, get_args

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from .._checks import IntLike, RealLike, number, whole_number
from .._host_errors import refused_on_host
from ..cells import FanRooms, Layout, Rooms, is_known, layout_of, neurons_of
from ..devices import trial_mesh, whole_on_each_host
from ..drivers import check_noise
from ..neurons import AbstractNeuron
from ..protocol import Protocol, checked_current
from ..solve import RESULTS, EventSolveError
from ..spikes import SpikeTrains
from ..spikes.checks import is_traced
from ._base import AbstractEngine
from ._cell_fans import first_fan_rooms
from ._cell_inputs import check_noise_law
from ._cell_problem import MOST_SPIKES, Asked
from ._cell_run import Policy, run

# what a first try has room for: inputs, arrivals, spikes of a neuron
_FIRST = (16, 16, 1)


class CellEngine(AbstractEngine):
    r"""Exact spikes of leaky integrate-and-fire neurons, all neurons of a cell side by side.

    Between arrivals the potential of a [`roughsnn.LIF`][] neuron has a closed form, so that one
    cell (a step `dt0`) of all neurons is a few array operations, and only neurons that may fire in
    it are looked at one by one. Spike times are those of the equation, to rounding, whatever the
    step, and so are their derivatives, by an adjoint written by hand; noise of the current is a
    straight line in each cell. The cost is that of a clock,
    plus something for each spike and for each arrival; that of [`roughsnn.EventEngine`][] grows
    with the number of events times the number of neurons.

    [`roughsnn.StochasticLIF`][] neurons fire by an intensity, with Brownian or fractional noise
    that is a straight line in each cell. Their potentials have closed forms too; the integrated
    intensity is the integral of the parabola through three values of the intensity in a cell, or
    in what is left of it after a spike (Simpson's rule): of second order in the step where spikes
    arrive, and its derivatives are those of what was computed. Noise and marks are those that the
    event engine draws from the same key. All neurons are computed in every cell.

    It computes networks of `LIF` neurons, with noise of the current or without, and of
    `StochasticLIF` neurons, with current synapses, refractory periods, and with

    - axonal delays of at least a cell, and for `LIF` neurons delays of each synapse beside them or
      alone; or
    - no delay and no circle in `connections`: layers, or any order of neurons in which spikes go
      one way.

    Anything else is refused by name. An input current is taken as constant in each cell, with its
    value in the middle: exact for currents in steps on the grid, of second order for others.

    For a network that is only known inside a JAX transformation (in [`roughsnn.fit`][]) say
    beforehand how it is connected and how much room it needs, by `prepared`. Outside, both is found
    as it goes, in each call by running again with more room: prepare it for many calls.

    Where a C++ compiler is at hand, all of this is computed by code that it compiles at its first
    use, on all cores, with the same numbers; for `StochasticLIF` neurons if their intensity is the
    exponential one. It makes room for spikes as it goes. The environment variable
    `ROUGHSNN_COMPILED` (`auto`, `jax`, `compiled`) says who computes.

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
    rooms: tuple[Rooms | FanRooms, ...] | None = None

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
        key: PRNGKeyArray | None = None,
    ) -> "CellEngine":
        """An engine that knows how this model is connected, and for how many spikes there has to be
        room in a cell.

        Args:
            model: the model, outside of any JAX transformation.
            protocol: what is done to it, with input spikes or currents like those to come.
            num_samples: how many trials to look at.
            slack: how much more room there is to be than these trials need, as a factor.
            key: random key of the trials to look at, for neurons that fire by chance.
        """
        num_samples = whole_number("num_samples", num_samples, 0)
        slack = number("slack", slack, least=1)
        check_computes(model, protocol, num_samples)
        key = jr.key(0) if key is None else key
        _, _, needs, engine = self._fitted(model, protocol, key, num_samples)
        rooms = tuple(
            # Rooms for bursts were found by doubling: what is needed is not known more closely.
            dataclasses.replace(
                need.room(room, slack), spikes=min(MOST_SPIKES, int(slack * room.spikes))
            )
            for need, room in zip(needs, engine.rooms or (), strict=True)
        )
        return CellEngine(engine.conditions, engine.layout, rooms)

    def spike_trains(self, model, protocol, *, key, num_samples, throw=True):
        check_computes(model, protocol, num_samples)
        if is_traced((model, protocol.input_current, protocol.input_spikes, key)):
            layout = self._layout_for(model)
            rooms = self.rooms or _first_rooms(layout, num_samples)
            asked = Asked.of(model, protocol, num_samples)
            mesh = trial_mesh(num_samples, (model, key, asked))
            spikes, _, wrong = run(
                layout, rooms, self.conditions, model, asked, key, num_samples, mesh
            )
        else:
            spikes, wrong, _, _ = self._fitted(model, protocol, key, num_samples)
        trains = spikes.trains(model, protocol)
        trains = whole_on_each_host(trains)
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

    def _fitted(self, model, protocol, key, num_samples):
        """The spikes, what is wrong, what they needed, and the engine with room for them."""
        asked = Asked.of(model, protocol, num_samples)
        mesh = trial_mesh(num_samples, (model, key, asked))
        layout = self._layout_for(model)
        rooms = self.rooms or _first_rooms(layout, num_samples)
        while True:
            spikes, needs, wrong = run(
                layout, rooms, self.conditions, model, asked, key, num_samples, mesh
            )
            grown = tuple(
                need.room(room) if need.exceeds(room) else room
                for need, room in zip(needs, rooms, strict=True)
            )
            hopeless = bool(wrong["infinite"]) or bool(wrong["early"])
            if self.rooms is not None or grown == rooms or hopeless:
                return spikes, wrong, needs, CellEngine(self.conditions, layout, rooms)
            rooms = grown


def _first_rooms(layout: Layout, num_samples: int) -> tuple[Rooms | FanRooms, ...]:
    """Room for a first try."""
    if layout.by_list:
        return (first_fan_rooms(max(1, num_samples)),)
    return (Rooms(*_FIRST, share=1 / 32),) * len(layout.groups)


def check_computes(model, protocol: Protocol, num_samples: int) -> None:
    """Fail unless the engine computes this model under this protocol."""
    if not isinstance(model, AbstractNeuron):
        raise TypeError(
            f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}."
        )
    neurons_of(model)
    check_noise(protocol.noise, model)
    check_noise_law(protocol.noise)
    checked_current(model, protocol.input_current, num_samples)
    protocol.inputs(model, num_samples)


# ---- refusals


def _refused(trains: SpikeTrains, wrong: dict[str, Any], dt0: float) -> SpikeTrains:
    """The trains, or an error that says what is wrong and what to do."""
    messages = {
        "too long": RESULTS[RESULTS.step_too_long],
        "strays": "`engine` was prepared for a network that is connected in another way: prepare "
        "it again, engine.prepared(model, protocol, num_samples=n).",
        "no decay": "The synaptic current of LIF neurons with noise (`sigma`) must decay in a "
        "CellEngine, and `mu2` is 0: use roughsnn.EventEngine().",
        "at start": RESULTS[RESULTS.event_at_start],
        "early": f"A delay is shorter than a cell of {dt0:g}, which a CellEngine does not compute: "
        "let `dt0` be at most the shortest delay, or use roughsnn.EventEngine().",
        "infinite": "A potential or a synaptic current became infinite or NaN. Check the "
        "parameters and the inputs.",
        "crowded": "More spikes fell into one cell than the engine has room for, or delays are "
        "longer than those it was prepared with. Prepare it on trials with as many spikes and as "
        "long delays, engine.prepared(model, protocol, num_samples=n, "
        f"slack=3), or take a shorter dt0. If a neuron fires more than {MOST_SPIKES} times in a "
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
