"""`simulate`: spike trains of a neuron or a network, in one line."""

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from ._checks import IntLike, RealLike, optional_whole_number, real_array, whole_number, window
from .devices import map_trials, trial_mesh, whole_on_each_host
from .drivers import BrownianGrid, TimeGrid
from .networks._inputs import Inputs
from .neurons import AbstractNeuron
from .solve import RESULTS, AbstractEventAdjoint, EventSolution, eventsolve
from .solve._arguments import clock_of, levy_area_for, since_start
from .solve._guard import Conditions, check_policy
from .solve._solution import raise_unless_successful
from .spikes import SpikeTrains
from .spikes.checks import is_traced

__all__ = ["simulate", "simulate_solution"]


def simulate(
    model: AbstractNeuron,
    t0: RealLike,
    t1: RealLike,
    dt0: RealLike,
    *,
    key: PRNGKeyArray,
    num_samples: IntLike,
    max_spikes: IntLike,
    input_current: Any = None,
    input_spikes: SpikeTrains | None = None,
    stop_after: IntLike | None = None,
    solver: dfx.AbstractSolver | None = None,
    bridge: str = "linear",
    adjoint: AbstractEventAdjoint | None = None,
    conditions: Conditions = "refuse",
    progress_meter: dfx.AbstractProgressMeter | None = None,
    throw: bool = True,
) -> SpikeTrains:
    """Draw independent samples of the spike trains of a model on the window [t0, t1].

    For potentials and states, use [`roughsnn.simulate_solution`][].

    Args:
        model: a neuron model or a network.
        t0: start of the window, in the model's unit of time; a known number, as are `t1` and
            `dt0`, which are not traced.
        t1: end of the window.
        dt0: step of the solver.
        key: random key. Sample i depends on the key and on i alone, not on `num_samples`.
        num_samples: how many trials. They are shared out among all devices.
        max_spikes: room for spikes, of all neurons together, in each trial. It costs memory, not
            time; one spike more is an error.
        input_current: a number, an array of shape (K,), or a function of time that returns one,
            for instance [`roughsnn.CurrentOnGrid`][], values on a grid of times; it drives the
            potential. Default: none.
        input_spikes: [`roughsnn.SpikeTrains`][] that drive a network with `input_weights`: one
            trial for all samples, or a batch of `num_samples`. Each of its spikes cuts a step;
            one at t0 has no effect, as the trial begins after it.
        stop_after: end each trial at its n-th spike (of all neurons together).
        solver: a diffrax solver, by default `diffrax.Euler()`.
        bridge: the Brownian motion inside a step, see [`roughsnn.BrownianGrid`][].
        adjoint: how the spikes are differentiated, see [`roughsnn.eventsolve`][]; by default
            [`roughsnn.ReverseMode`][]. [`roughsnn.NoGradient`][] samples at the least cost.
        conditions: what happens where a trial is differentiated that has no derivative, because a
            spike only grazes its threshold: `"refuse"`, `"leave-out"`, `"clip"` or `"ignore"`, see
            [`roughsnn.eventsolve`][]. `trains.grazing` says which trials these are.
        progress_meter: a diffrax progress meter, see [`roughsnn.eventsolve`][].
        throw: whether to raise an error when a trial outgrows `max_spikes` or fails. With
            `throw=False` such trials are flagged in `trains.overflowed`.

    Returns:
        [`roughsnn.SpikeTrains`][] with batch shape `(num_samples,)`, differentiable with respect
        to the parameters of the model and the input current.

    Raises:
        EventSolveError: a trial fails and `throw=True`; the text is that of the member of
            [`roughsnn.RESULTS`][] that applies.
        TypeError: a model or an input current of the wrong kind.
        ValueError: an argument outside its range.
    """
    t0, t1, dt0 = window(t0, t1, dt0)
    solution = simulate_solution(
        model, t0, t1, dt0, key=key, num_samples=num_samples, max_spikes=max_spikes,
        input_current=input_current, input_spikes=input_spikes, stop_after=stop_after,
        solver=solver, bridge=bridge, adjoint=adjoint, conditions=conditions,
        progress_meter=progress_meter, throw=throw,
    )  # fmt: skip
    return spike_trains(solution, model.num_neurons, t0, t1)


def simulate_solution(
    model: AbstractNeuron,
    t0: RealLike,
    t1: RealLike,
    dt0: RealLike,
    *,
    key: PRNGKeyArray,
    num_samples: IntLike,
    max_spikes: IntLike,
    input_current: Any = None,
    input_spikes: SpikeTrains | None = None,
    stop_after: IntLike | None = None,
    solver: dfx.AbstractSolver | None = None,
    bridge: str = "linear",
    adjoint: AbstractEventAdjoint | None = None,
    conditions: Conditions = "refuse",
    saveat: dfx.SaveAt | None = None,
    save_event_states: bool = False,
    progress_meter: dfx.AbstractProgressMeter | None = None,
    throw: bool = True,
) -> EventSolution:
    """As [`roughsnn.simulate`][], but with potentials and states.

    Args:
        model: as in `simulate`.
        t0: as in `simulate`.
        t1: as in `simulate`.
        dt0: as in `simulate`.
        key: as in `simulate`; the same key gives the same spikes.
        num_samples: as in `simulate`.
        max_spikes: as in `simulate`.
        input_current: as in `simulate`.
        input_spikes: as in `simulate`.
        stop_after: as in `simulate`.
        solver: as in `simulate`.
        bridge: as in `simulate`.
        adjoint: as in `simulate`.
        saveat: a `diffrax.SaveAt` that says at which times states are kept.
        conditions: as in `simulate`, with `solution.grazing`.
        save_event_states: whether to keep the states on both sides of every spike.
        progress_meter: a diffrax progress meter, see [`roughsnn.eventsolve`][].
        throw: whether to raise an error when a trial fails; with `throw=False` look at
            `solution.result`.

    Returns:
        [`roughsnn.EventSolution`][] whose arrays have a leading axis over the trials.

    Raises:
        EventSolveError: as in `simulate`.
        TypeError: as in `simulate`.
        ValueError: as in `simulate`.
    """
    if not isinstance(model, AbstractNeuron):
        raise TypeError(
            f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}; for "
            "any other event SDE use `jax.vmap` of `roughsnn.eventsolve`."
        )
    t0, t1, dt0 = window(t0, t1, dt0)
    num_samples = whole_number("num_samples", num_samples, 0)
    max_spikes = whole_number("max_spikes", max_spikes, 0)
    stop_after = optional_whole_number("stop_after", stop_after, 1)
    if stop_after is not None and stop_after > max_spikes:
        raise ValueError(
            f"`stop_after` must be at most `max_spikes`, got stop_after={stop_after} and "
            f"max_spikes={max_spikes}."
        )
    check_policy(conditions)
    input_current = checked_current(model, input_current)
    inputs = None if input_spikes is None else Inputs.of(model, input_spikes, num_samples, t0)
    grid, input_current, saveat = _own_clock(model, TimeGrid(t0, t1, dt0), input_current, saveat)
    operands = (model, key, input_current, inputs)
    mesh = trial_mesh(num_samples, operands)
    # On several devices a failure inside `jit` is raised where it happens, not gathered first.
    at_once = throw and mesh is not None and is_traced(operands)
    solution = _simulate(
        model, grid, key, num_samples, max_spikes, input_current, inputs, stop_after, solver,
        bridge, adjoint, conditions, saveat, save_event_states, progress_meter, mesh, at_once,
    )  # fmt: skip
    solution = dataclasses.replace(solution, t0=t0, t1=t1)
    if at_once:
        return solution
    solution = whole_on_each_host(solution)
    return raise_unless_successful(solution) if throw else solution


@eqx.filter_jit
def _simulate(
    model, grid, key, num_samples, max_spikes, input_current, inputs, stop_after, solver,
    bridge, adjoint, conditions, saveat, save_event_states, progress_meter, mesh, at_once,
):  # fmt: skip
    t0, t1, dt0 = grid.t0, grid.t1, grid.dt0

    def one(operands, index):
        model, key, input_current, inputs = operands
        stored = adjoint is None or adjoint.stores_driver
        start, driver, marks = randomness(model, t0, t1, dt0, key, index, solver, bridge, stored)
        driver = driver if inputs is None else inputs.of_sample(index).beside(driver, grid)
        solution = eventsolve(
            model, t0, t1, dt0, model.initial_state(start), key=marks, driver=driver,
            max_events=max_spikes, args=input_current, stop_after=stop_after, solver=solver,
            adjoint=adjoint, conditions=conditions, saveat=saveat,
            save_event_states=save_event_states, progress_meter=progress_meter, throw=False,
        )  # fmt: skip
        if not at_once:
            return solution
        failed = (solution.result != RESULTS.successful) & (index < num_samples)
        return solution.result.error_if(solution, failed)

    return map_trials(one, (model, key, input_current, inputs), num_samples, mesh)


def _own_clock(model, grid: TimeGrid, input_current, saveat):
    """The window, the input current and the times asked for, by a clock that starts at zero where
    nothing asks for absolute time: such windows are one program, wherever they begin."""
    y0 = jax.eval_shape(model.initial_state, jr.key(0))
    y0 = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), y0)
    origin, moved = clock_of(model, grid, y0, input_current)
    subs = None if saveat is None else saveat.subs
    asks = isinstance(subs, dfx.SubSaveAt) and subs.fn is not dfx.SubSaveAt(t1=True).fn
    if asks or origin not in (None, 0.0):
        return grid, input_current, saveat
    ts = subs.ts if isinstance(subs, dfx.SubSaveAt) else None
    if ts is not None:
        saveat = eqx.tree_at(lambda s: s.subs.ts, saveat, since_start(ts, grid))
    return grid.from_zero(), moved, saveat


def randomness(model, t0, t1, dt0, key, index, solver, bridge, stored=True):
    """What trial number `index` draws: the key of its first state, its driver, the key of its
    marks."""
    start, noise, marks = (jr.fold_in(jr.fold_in(key, index), i) for i in range(3))
    if model.noise_shape is None:
        return start, None, marks
    driver = BrownianGrid(
        t0, t1, dt0, model.noise_shape, noise, bridge=bridge,
        levy_area=levy_area_for(dfx.Euler() if solver is None else solver), stored=stored,
    )  # fmt: skip
    return start, driver, marks


def checked_current(model: AbstractNeuron, input_current: Any) -> Any:
    """The input current, refused where it does not fit the model."""
    model.check_input(input_current)
    if input_current is None or callable(input_current):
        return input_current
    return real_array("input_current", input_current)


def spike_trains(solution: EventSolution, num_neurons: int, t0: float, t1: float) -> SpikeTrains:
    """The spike trains of a batch of solutions."""
    return SpikeTrains(
        solution.event_times,
        solution.event_indices,
        t0,
        t1,
        solution.result != RESULTS.successful,
        num_neurons=num_neurons,
        grazing=solution.grazing,
    )
