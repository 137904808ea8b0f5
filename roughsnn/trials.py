"""`simulate_trials`: spike trains together with what estimators of gradients need beyond them."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._checks import IntLike, RealLike, optional_whole_number, whole_number, window
from ._shown import shown
from .networks import SpikingNetwork
from .neurons import AbstractNeuron
from .simulate import randomness, simulate_solution, spike_trains
from .solve import RESULTS, EventSolution
from .solve._guard import Conditions
from .spikes import SpikeTrains

__all__ = ["Recipe", "Trials", "shortfall", "simulate_trials"]


class Recipe(eqx.Module):
    """How a sample of trials came about: enough to walk along each of them once more.

    The attributes are the arguments of [`roughsnn.simulate`][] of the same name.
    """

    model: AbstractNeuron
    input_current: Any
    key: PRNGKeyArray
    solver: dfx.AbstractSolver | None
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    dt0: float = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    bridge: str = eqx.field(static=True)


class Trials(eqx.Module):
    r"""Simulated trials of an intensity model: their spike trains and where each of them ended.

    A trial ends at $t_1$, or at its last spike with `stop_after`. With $\Lambda_k$ the intensity
    of neuron k integrated since its last spike, the neuron fires when $\Lambda_k$ reaches
    $\alpha_k - \log u$, that is when its residual $s_k = \Lambda_k - \alpha_k + \log u$ reaches 0.

    Attributes:
        trains: the spike trains.
        residuals: $s_k < 0$ of each neuron at the end of the trial, differentiable.
        excess: $\Lambda_k - \alpha_k$ there, without derivative. Where it is positive the neuron
            could have fired at the end of the trial, and did not by chance.
        stopped: whether the trial ended at its last spike, as `stop_after` asks for.
        failed: whether it failed; a failed trial takes no part in any correction.
        recipe: the model, input and random key behind the trials.
    """

    trains: SpikeTrains
    residuals: Float[Array, "samples K"]
    excess: Float[Array, "samples K"]
    stopped: Bool[Array, " samples"]
    failed: Bool[Array, " samples"]
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.trains)

    def __repr__(self) -> str:
        return (
            f"trials: {self.trains!r}\nstopped at their last spike: {shown(self.stopped)}, failed: "
            f"{shown(self.failed)}\nresiduals at the end: {shown(self.residuals)}"
        )


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
    stop_after: IntLike | None = None,
    solver: dfx.AbstractSolver | None = None,
    bridge: str = "linear",
    conditions: Conditions = "refuse",
    throw: bool = True,
) -> Trials:
    """As [`roughsnn.simulate`][], with what an estimator of the gradient of an expected loss needs.

    Use it in the `simulate` of [`roughsnn.fit`][] with `estimator=PathwiseWithBoundary()` or
    `ScoreFunction()`. The same key gives the same spikes as `simulate`.

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
        stop_after: as in `simulate`.
        solver: as in `simulate`.
        bridge: as in `simulate`.
        conditions: as in `simulate`.
        throw: as in `simulate`.

    Raises:
        EventSolveError: as in `simulate`.
        TypeError: as in `simulate`; a model that does not fire by an intensity.
        ValueError: as in `simulate`; a network with delays or refractory periods.
    """
    # what is no neuron model at all is refused by `simulate_solution`
    alpha = model.dead_intensity if isinstance(model, AbstractNeuron) else jnp.zeros(1)
    neurons = model.neurons if isinstance(model, SpikingNetwork) else None
    if alpha is None and neurons is not None and neurons.dead_intensity is not None:
        raise ValueError(
            f"`model` is a {type(model).__name__} with delays or refractory periods: arrivals and "
            "the ends of those periods are events between its spikes, and the corrected estimators "
            "(PathwiseWithBoundary, ScoreFunction) go from spike to spike. Train it by the "
            "pathwise gradient, which is exact for such networks: `roughsnn.simulate` with the "
            "default estimator, Pathwise(), and a loss that does not jump where a spike leaves the "
            "window. For a corrected estimator build the network without `axonal_delays`, "
            "`synaptic_delays` and `refractory`."
        )
    if alpha is None:
        raise TypeError(
            f"`model` is a {type(model).__name__}, which does not say that it fires by an "
            "intensity: its `dead_intensity` is None. The trials of such a model are what "
            "`roughsnn.simulate` gives; the corrections of a pathwise gradient need a hazard."
        )
    t0, t1, dt0 = window(t0, t1, dt0)
    num_samples = whole_number("num_samples", num_samples, 0)
    stop_after = optional_whole_number("stop_after", stop_after, 1)
    solution = simulate_solution(
        model, t0, t1, dt0, key=key, num_samples=num_samples, max_spikes=max_spikes,
        input_current=input_current, stop_after=stop_after, solver=solver, bridge=bridge,
        conditions=conditions, save_event_states=True, throw=throw,
    )  # fmt: skip

    def event(since, y):
        # an intensity is integrated in the state, which alone says how far it has come
        return model.event(since, y, input_current)

    residuals = jax.vmap(event)(solution.final_time, solution.final_state)

    def start(index):
        first, _, _ = randomness(model, t0, t1, dt0, key, index, solver, bridge)
        return event(jnp.zeros((), solution.final_time.dtype), model.initial_state(first))

    first = jax.vmap(start)(jnp.arange(num_samples, dtype=jnp.int32))
    levels = lax.stop_gradient(_levels(event, first, solution, model.num_neurons))
    stopped = jnp.zeros(num_samples, dtype=bool)
    if stop_after is not None:
        stopped = solution.num_events >= stop_after
    return Trials(
        spike_trains(solution, model.num_neurons, t0, t1),
        residuals,
        lax.stop_gradient(residuals - alpha[None, :]) - levels,
        stopped,
        solution.result != RESULTS.successful,
        Recipe(model, input_current, key, solver, t0, t1, dt0, stop_after, bridge),
    )


def shortfall(
    model: AbstractNeuron, solution: EventSolution, input_current: Any = None
) -> Float[Array, "samples K"]:
    r"""How far each neuron stays below firing where it comes nearest to it: a loss term for silent
    neurons, whose spike times do not exist and so have no gradient.

    $$ s_k = -\max_t E_k(t, y_t) $$

    over the times at which the solution was saved: for a neuron with a threshold, the distance of
    its highest potential from it; for one that fires by an intensity, the integrated intensity
    that is missing. It has a gradient whether the neuron fires or not, along the path without
    the event: at the time of the maximum, which itself needs none. A neuron that fires is at zero
    between two saved times, so that what is left of its shortfall is due to the grid: mask it.

    ```python
    solution = rs.simulate_solution(model, ..., saveat=diffrax.SaveAt(ts=jnp.linspace(t0, t1, 50)))
    silent = ~jnp.any(solution.event_indices[..., None] == jnp.arange(model.num_neurons), axis=1)
    penalty = jnp.mean(jnp.where(silent, rs.shortfall(model, solution), 0))
    ```

    Args:
        model: the model that was simulated.
        solution: what [`roughsnn.simulate_solution`][] gave with `saveat`; every trial that has not
            ended early.
        input_current: the input current of the simulation.

    Raises:
        ValueError: the solution has no states, as `saveat` was left out.
    """
    if solution.ts is None:
        raise ValueError(
            "`solution` has no states to look at: give `saveat=diffrax.SaveAt(ts=...)` to "
            "`roughsnn.simulate_solution`."
        )

    def one(times, states):
        values = jax.vmap(lambda t, y: model.event(t, y, input_current))(times, states)
        # after the end of a trial there is no state
        reached = jnp.all(jnp.isfinite(values), axis=1, keepdims=True)
        return -jnp.max(jnp.where(reached, values, -jnp.inf), axis=0)

    return jax.vmap(one)(solution.ts, solution.ys)


def _levels(
    event, first: Float[Array, "samples K"], solution: EventSolution, num_neurons: int
) -> Float[Array, "samples K"]:
    """Where the residual of each neuron began after its last spike, or at the start."""

    def one(first, times, indices, states):
        after = jax.vmap(event)(times, states)
        own = indices[:, None] == jnp.arange(num_neurons, dtype=indices.dtype)[None, :]
        number = jnp.arange(indices.shape[0], dtype=jnp.int32)
        last = jnp.max(jnp.where(own, number[:, None], -1), axis=0, initial=-1)
        columns = jnp.arange(num_neurons, dtype=jnp.int32)
        padded = jnp.concatenate([first[None], after])
        return padded[last + 1, columns]

    return jax.vmap(one)(
        first,
        solution.event_times,
        solution.event_indices,
        solution.event_ys_right,
    )
