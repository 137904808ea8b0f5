"""`simulate`: spike trains of a neuron or a network, in one line.

The functions here put their arguments into a [`roughsnn.Protocol`][] and a
[`roughsnn.EventEngine`][]; hold those where a protocol is used more than once.
"""

from typing import Any

import diffrax as dfx
from jaxtyping import PRNGKeyArray

from ._checks import IntLike, RealLike, whole_number
from .drivers import AbstractNoise
from .engines import AbstractEngine, EventEngine, fastest_engine
from .neurons import AbstractNeuron
from .protocol import Protocol
from .solve import AbstractEventAdjoint, Conditions, EventSolution
from .spikes import SpikeTrains
from .trials import Trials

__all__ = ["simulate", "simulate_solution", "simulate_trials"]


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
    noise: AbstractNoise | None = None,
    adjoint: AbstractEventAdjoint | None = None,
    conditions: Conditions = "refuse",
    progress_meter: dfx.AbstractProgressMeter | None = None,
    engine: AbstractEngine | str | None = None,
    throw: bool = True,
) -> SpikeTrains:
    """Draw independent samples of the spike trains of a model on the window [t0, t1].

    For potentials and states, use [`roughsnn.simulate_solution`][].

    Args:
        model: a neuron model or a network.
        t0: start of the window, in the model's unit of time; a known number, as are `t1` and
            `dt0`, which are not traced.
        t1: end of the window.
        dt0: step of the solver, or length of a cell.
        key: random key. Sample i depends on the key and on i alone, not on `num_samples`.
        num_samples: how many trials. They are shared out among all devices.
        max_spikes: room for spikes, of all neurons together, in each trial. It costs memory, not
            time; one spike more is an error.
        input_current: a number, an array of shape (K,), one of shape (num_samples, K) with a row
            for each sample, or a function of time that returns a number or an array of shape (K,),
            for instance [`roughsnn.CurrentOnGrid`][], values on a grid of times; it drives the
            potential. Default: none.
        input_spikes: [`roughsnn.SpikeTrains`][] that drive a network with `input_weights`: one
            trial for all samples, or a batch of `num_samples`. Each of its spikes cuts a step;
            one at t0 has no effect, as the trial begins after it.
        stop_after: end each trial at its n-th spike (of all neurons together).
        solver: a diffrax solver, by default that of the model (`diffrax.Heun()` for neurons with a
            hard threshold), or `diffrax.Euler()`.
        noise: the law of the noise, such as [`roughsnn.FractionalNoise`][] or a sum of laws; by
            default [`roughsnn.BrownianNoise`][].
        adjoint: how the spikes are differentiated, see [`roughsnn.eventsolve`][]; by default
            [`roughsnn.ReverseMode`][]. [`roughsnn.NoGradient`][] samples at the least cost.
        conditions: what happens where a trial is differentiated that has no derivative, because a
            spike only grazes its threshold: `"refuse"`, `"leave-out"`, `"clip"` or `"ignore"`, see
            [`roughsnn.eventsolve`][]. `trains.grazing` says which trials these are.
        progress_meter: a diffrax progress meter, see [`roughsnn.eventsolve`][].
        engine: how to compute it, such as [`roughsnn.CellEngine`][]; none of solver, adjoint,
            conditions and progress meter may be given beside it. By default, or with `"fastest"`,
            it is what [`roughsnn.fastest_engine`][] chooses and tells: the cell engine for a
            network of LIF neurons that it computes, else the event engine, as inside a JAX
            transformation that hides the network. With one of the four arguments above it is a
            [`roughsnn.EventEngine`][].
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
    protocol = Protocol(
        t0, t1, dt0, max_spikes=max_spikes, stop_after=stop_after, input_current=input_current,
        input_spikes=input_spikes, noise=noise,
    )  # fmt: skip
    num_samples = whole_number("num_samples", num_samples, 0)
    if isinstance(engine, str) and engine != "fastest":
        raise ValueError(f'`engine` must be an engine or "fastest", got {engine!r}.')
    chosen = (solver, adjoint, conditions, progress_meter) != (None, None, "refuse", None)
    if engine is None and chosen:
        engine = EventEngine(solver, adjoint, conditions, progress_meter)
    elif chosen:
        raise ValueError(
            f"`engine` is given ({_named(engine)}), and `solver`, `adjoint`, `conditions` and "
            "`progress_meter` belong to an engine: give them to it, and leave them out here."
        )
    if engine is None or engine == "fastest":
        engine = fastest_engine(model, protocol, num_samples=num_samples)
    return engine.spike_trains(model, protocol, key=key, num_samples=num_samples, throw=throw)


def _named(engine) -> str:
    return engine if isinstance(engine, str) else type(engine).__name__


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
    noise: AbstractNoise | None = None,
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
        noise: as in `simulate`.
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
    protocol = Protocol(
        t0, t1, dt0, max_spikes=max_spikes, stop_after=stop_after, input_current=input_current,
        input_spikes=input_spikes, noise=noise,
    )  # fmt: skip
    engine = EventEngine(solver, adjoint, conditions, progress_meter)
    return engine.solve(
        model, protocol, key=key, num_samples=whole_number("num_samples", num_samples, 0),
        saveat=saveat, save_event_states=save_event_states, throw=throw,
    )  # fmt: skip


def simulate_trials(
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
    noise: AbstractNoise | None = None,
    adjoint: AbstractEventAdjoint | None = None,
    conditions: Conditions = "refuse",
    progress_meter: dfx.AbstractProgressMeter | None = None,
    throw: bool = True,
) -> Trials:
    """As [`roughsnn.simulate`][], with what an estimator of the gradient of an expected loss needs.

    Use it, or a [`roughsnn.Simulation`][], as the `simulate` of [`roughsnn.fit`][] with
    `estimator=PathwiseWithBoundary()` or `ScoreFunction()`. The same key gives the same spikes as
    `simulate`.

    Args:
        model: an intensity model: a neuron model with `dead_intensity`, or a network of such
            neurons.
        t0: as in `simulate`.
        t1: as in `simulate`.
        dt0: as in `simulate`.
        key: as in `simulate`.
        num_samples: as in `simulate`.
        max_spikes: as in `simulate`.
        input_current: as in `simulate`.
        input_spikes: as in `simulate`.
        stop_after: as in `simulate`.
        solver: as in `simulate`.
        noise: as in `simulate`.
        adjoint: as in `simulate`.
        conditions: as in `simulate`.
        progress_meter: as in `simulate`.
        throw: as in `simulate`.

    Raises:
        EventSolveError: as in `simulate`.
        TypeError: as in `simulate`; a model that does not fire by an intensity.
        ValueError: as in `simulate`; a network with delays or refractory periods.
    """
    protocol = Protocol(
        t0, t1, dt0, max_spikes=max_spikes, stop_after=stop_after, input_current=input_current,
        input_spikes=input_spikes, noise=noise,
    )  # fmt: skip
    engine = EventEngine(solver, adjoint, conditions, progress_meter)
    return engine.trials(
        model, protocol, key=key, num_samples=whole_number("num_samples", num_samples, 0),
        throw=throw,
    )  # fmt: skip
