"""`Trials`: spike trains together with where each trial ended and how it came about."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._shown import shown
from .networks import SpikingNetwork
from .neurons import AbstractNeuron
from .protocol import Protocol
from .solve import EventSolution
from .spikes import SpikeTrains

__all__ = ["Trials", "shortfall"]


class Trials(eqx.Module):
    r"""Simulated trials of an intensity model: their spike trains and where each of them ended.

    A trial ends at $t_1$, or at its last spike with `stop_after`. With $\Lambda_k$ the intensity
    of neuron k integrated since its last spike, the neuron fires when $\Lambda_k$ reaches
    $\alpha_k - \log u$, that is when its residual $s_k = \Lambda_k - \alpha_k + \log u$ reaches 0.

    Model, protocol, engine and key are those that the trials came about with: enough to walk along
    each of them once more, or to draw them another way.

    Attributes:
        trains: the spike trains.
        residuals: $s_k < 0$ of each neuron at the end of the trial, differentiable.
        excess: $\Lambda_k - \alpha_k$ there, without derivative. Where it is positive the neuron
            could have fired at the end of the trial, and did not by chance.
        stopped: whether the trial ended at its last spike, as `stop_after` asks for.
        failed: whether it failed; a failed trial takes no part in any correction.
        model: the model.
        protocol: what was done to it.
        engine: how that was computed.
        key: the random key.
    """

    trains: SpikeTrains
    residuals: Float[Array, "samples K"]
    excess: Float[Array, "samples K"]
    stopped: Bool[Array, " samples"]
    failed: Bool[Array, " samples"]
    model: AbstractNeuron
    protocol: Protocol
    engine: Any
    key: PRNGKeyArray

    def __len__(self) -> int:
        return len(self.trains)

    def __repr__(self) -> str:
        return (
            f"trials: {self.trains!r}\nstopped at their last spike: {shown(self.stopped)}, failed: "
            f"{shown(self.failed)}\nresiduals at the end: {shown(self.residuals)}"
        )


def dead_intensity(model: AbstractNeuron) -> Array:
    """The intensity that must build up in each neuron before it can fire; a model that has none is
    refused with the reason."""
    alpha = model.dead_intensity
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
    return alpha


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
    solution = rs.simulate_solution(
        model, 0.0, 1.0, 0.05, key=key, num_samples=2, max_spikes=100, input_current=1.2,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, 50)),
    )
    silent = ~jnp.any(solution.event_indices[..., None] == jnp.arange(model.num_neurons), axis=1)
    penalty = jnp.mean(jnp.where(silent, rs.shortfall(model, solution, 1.2), 0))
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
