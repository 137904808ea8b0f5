"""The engine that goes from event to event."""

import dataclasses

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from ..devices import map_trials, trial_mesh, whole_on_each_host
from ..drivers import TimeGrid
from ..neurons import AbstractNeuron
from ..protocol import (
    Protocol,
    checked_current,
    current_of_sample,
    has_row_per_sample,
    randomness,
    trial_keys,
)
from ..solve import (
    RESULTS,
    AbstractEventAdjoint,
    Conditions,
    EventSolution,
    Interpretation,
    NoGradient,
    check_policy,
    clock_of,
    eventsolve,
    freeze,
    raise_unless_successful,
    since_start,
)
from ..spikes import SpikeTrains
from ..spikes.checks import is_traced
from ..trials import Trials, dead_intensity
from ._base import AbstractEngine


class EventEngine(AbstractEngine):
    """Exact spikes, from event to event, with exact pathwise derivatives: [`roughsnn.eventsolve`][]
    for each trial.

    Attributes:
        solver: a diffrax solver, by default that of the model, or `diffrax.Euler()`, or
            `diffrax.Heun()` where the diffusion depends on the state.
        adjoint: how the spikes are differentiated, by default [`roughsnn.ReverseMode`][];
            [`roughsnn.NoGradient`][] samples at the least cost.
        conditions: what happens where a trial is differentiated that has no derivative, because a
            spike only grazes its threshold: `"refuse"`, `"leave-out"`, `"clip"` or `"ignore"`.
        interpretation: `"stratonovich"` or `"ito"`, which makes a difference where the diffusion
            depends on the state.
        progress_meter: a diffrax progress meter.
    """

    solver: dfx.AbstractSolver | None = None
    adjoint: AbstractEventAdjoint | None = None
    conditions: Conditions = eqx.field(static=True, default="refuse")
    progress_meter: dfx.AbstractProgressMeter | None = None
    interpretation: Interpretation = eqx.field(static=True, default="stratonovich")

    def __check_init__(self):
        check_policy(self.conditions)

    def solve(
        self,
        model: AbstractNeuron,
        protocol: Protocol,
        *,
        key: PRNGKeyArray,
        num_samples: int,
        saveat: dfx.SaveAt | None = None,
        save_event_states: bool = False,
        throw: bool = True,
    ) -> EventSolution:
        """Potentials and states beside the spikes, as [`roughsnn.simulate_solution`][] has them."""
        if not isinstance(model, AbstractNeuron):
            raise TypeError(
                f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}; "
                "for any other event SDE use `jax.vmap` of `roughsnn.eventsolve`."
            )
        current = checked_current(model, protocol.input_current, num_samples)
        inputs = protocol.inputs(model, num_samples)
        grid, current, saveat = _own_clock(model, protocol.grid, current, saveat)
        operands = (model, key, current, inputs, protocol.noise)
        mesh = trial_mesh(num_samples, operands)
        # On several devices a failure inside `jit` is raised where it happens, not gathered first.
        at_once = throw and mesh is not None and is_traced(operands)
        solution = _solve_trials(
            self, operands, grid, num_samples, protocol.max_spikes, protocol.stop_after, saveat,
            save_event_states, mesh, at_once,
        )  # fmt: skip
        solution = dataclasses.replace(solution, t0=protocol.t0, t1=protocol.t1)
        if at_once:
            return solution
        solution = whole_on_each_host(solution)
        return raise_unless_successful(solution) if throw else solution

    def spike_trains(self, model, protocol, *, key, num_samples, throw=True):
        solution = self.solve(model, protocol, key=key, num_samples=num_samples, throw=throw)
        return _spike_trains(solution, model.num_neurons, protocol)

    def trials(self, model, protocol, *, key, num_samples, throw=True):
        # what is no neuron model at all is refused by `solve`
        alpha = dead_intensity(model) if isinstance(model, AbstractNeuron) else jnp.zeros(1)
        given = model, protocol
        if isinstance(self.adjoint, NoGradient):
            # an estimator that walks along the trials again has the derivatives from there
            model, protocol, alpha = freeze((model, protocol, alpha))
        solution = self.solve(
            model, protocol, key=key, num_samples=num_samples, save_event_states=True, throw=throw
        )
        current = checked_current(model, protocol.input_current, num_samples)

        def event(since, y, index):
            # an intensity is integrated in the state, which alone says how far it has come
            return model.event(since, y, current_of_sample(current, index))

        number = jnp.arange(num_samples, dtype=jnp.int32)
        residuals = jax.vmap(event)(solution.final_time, solution.final_state, number)

        def start(index):
            first, _, _ = trial_keys(key, index)
            return event(
                jnp.zeros((), solution.final_time.dtype), model.initial_state(first), index
            )

        first = jax.vmap(start)(number)
        levels = lax.stop_gradient(_levels(event, first, number, solution, model.num_neurons))
        stopped = jnp.zeros(num_samples, dtype=bool)
        if protocol.stop_after is not None:
            stopped = solution.num_events >= protocol.stop_after
        return Trials(
            _spike_trains(solution, model.num_neurons, protocol),
            residuals,
            lax.stop_gradient(residuals - alpha[None, :]) - levels,
            stopped,
            solution.result != RESULTS.successful,
            model=given[0],
            protocol=given[1],
            engine=self,
            key=key,
        )


@eqx.filter_jit
def _solve_trials(
    engine, operands, grid, num_samples, max_spikes, stop_after, saveat, save_event_states, mesh,
    at_once,
):  # fmt: skip
    solver, adjoint = engine.solver, engine.adjoint

    def one(operands, index):
        model, key, current, inputs, noise = operands
        stored = adjoint is None or adjoint.stores_driver
        start, driver, marks = randomness(model, grid, noise, key, index, solver, stored)
        driver = driver if inputs is None else inputs.of_sample(index).beside(driver, grid)
        solution = eventsolve(
            model, grid.t0, grid.t1, grid.dt0, model.initial_state(start), key=marks,
            driver=driver, max_events=max_spikes, args=current_of_sample(current, index),
            stop_after=stop_after, solver=solver, adjoint=adjoint, conditions=engine.conditions,
            interpretation=engine.interpretation,
            saveat=saveat, save_event_states=save_event_states,
            progress_meter=engine.progress_meter, throw=False,
        )  # fmt: skip
        if not at_once:
            return solution
        failed = (solution.result != RESULTS.successful) & (index < num_samples)
        return solution.result.error_if(solution, failed)

    return map_trials(one, operands, num_samples, mesh)


def _own_clock(model, grid: TimeGrid, current, saveat):
    """The window, the input current and the times asked for, by a clock that starts at zero where
    nothing asks for absolute time: such windows are one program, wherever they begin."""
    y0 = jax.eval_shape(model.initial_state, jr.key(0))
    y0 = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), y0)
    rows = has_row_per_sample(current)
    one_sample = jnp.zeros(current.shape[1:], current.dtype) if rows else current
    origin, moved = clock_of(model, grid, y0, one_sample)
    subs = None if saveat is None else saveat.subs
    asks = isinstance(subs, dfx.SubSaveAt) and subs.fn is not dfx.SubSaveAt(t1=True).fn
    if asks or origin not in (None, 0.0):
        return grid, current, saveat
    ts = subs.ts if isinstance(subs, dfx.SubSaveAt) else None
    if ts is not None:
        saveat = eqx.tree_at(lambda s: s.subs.ts, saveat, since_start(ts, grid))
    return grid.from_zero(), current if rows else moved, saveat


def _spike_trains(solution: EventSolution, num_neurons: int, protocol: Protocol) -> SpikeTrains:
    """The spike trains of a batch of solutions."""
    return SpikeTrains(
        solution.event_times,
        solution.event_indices,
        protocol.t0,
        protocol.t1,
        solution.result != RESULTS.successful,
        num_neurons=num_neurons,
        grazing=solution.grazing,
    )


def _levels(
    event,
    first: Float[Array, "samples K"],
    number: Array,
    solution: EventSolution,
    num_neurons: int,
) -> Float[Array, "samples K"]:
    """Where the residual of each neuron began after its last spike, or at the start."""

    def one(first, number, times, indices, states):
        after = jax.vmap(lambda t, y: event(t, y, number))(times, states)
        own = indices[:, None] == jnp.arange(num_neurons, dtype=indices.dtype)[None, :]
        place = jnp.arange(indices.shape[0], dtype=jnp.int32)
        last = jnp.max(jnp.where(own, place[:, None], -1), axis=0, initial=-1)
        columns = jnp.arange(num_neurons, dtype=jnp.int32)
        padded = jnp.concatenate([first[None], after])
        return padded[last + 1, columns]

    return jax.vmap(one)(
        first,
        number,
        solution.event_times,
        solution.event_indices,
        solution.event_ys_right,
    )
