"""How networks learn, and the single neuron that learns its own reset."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.balance import (
    BalancedNetwork,
    BalancedState,
    VoltageRule,
    distance_to,
    resting_state,
    solve_balanced,
)

from .epochs import learn_in_epochs
from .networks import (
    Population,
    SignalLaw,
    SignalState,
    draw_signal,
    keys_of,
    law_of,
    optimal_networks,
    start_of_signal,
    weak_networks,
)
from .settings import UPDATE_EVERY, Settings

COLUMNS = ("loss", "mean_distance", "largest_distance", "rate", "active")
"""Measures of an epoch: mean loss, distance of the connections as a whole and of the worst, spikes
per neuron and unit of time, share of steps with a spike."""


class Learner(eqx.Module):
    """A network, its state, and that of its signal."""

    network: BalancedNetwork
    state: BalancedState
    signal: SignalState


@eqx.filter_jit
def beginners(law: SignalLaw, networks: BalancedNetwork) -> Learner:
    """Networks at rest, of all seeds."""

    def one(network):
        return Learner(network, resting_state(network), start_of_signal(law))

    return eqx.filter_vmap(one)(networks)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase of learning: its step, noise of potentials, time constant, and steps of an epoch."""

    dt0: float
    noise: float
    tau: float
    steps: int


def learn(
    settings: Settings, population: Population, checkpoints: rs.Checkpoints
) -> tuple[BalancedNetwork, np.ndarray]:
    """Networks of all seeds after learning, and the measures of each epoch."""
    optimal, law = optimal_networks(settings, population), law_of(settings, population)
    keys = keys_of(settings, 2_000_000)

    def epoch(learners, number):
        phase = settings.phase_of(number)
        now = settings.of_phase(phase)
        of_epoch = jax.vmap(jr.fold_in, in_axes=(0, None))(keys, number)
        learners, measures = _learn_an_epoch(
            learners, optimal.fast, of_epoch, law, settings.cost, settings.noise,
            Phase(now.dt0, now.noise, settings.taus[phase], now.steps),
        )  # fmt: skip
        return learners, np.asarray(measures, float)

    start = beginners(law, weak_networks(settings, population, optimal))
    learners, rows = learn_in_epochs(
        start, epoch, settings.epochs, COLUMNS, checkpoints, progress=settings.progress,
        advice="Take larger `taus`: they must exceed the mean of the squared filtered spike "
        "trains, summed over neurons.",
    )  # fmt: skip
    return learners.network, rows


@eqx.filter_jit
def _learn_an_epoch(
    learners: Learner,
    optima: Any,
    keys: Any,
    law: SignalLaw,
    cost: float,
    noise: float,
    phase: Phase,
) -> Any:
    """Learners after an epoch, with the noise that they are judged with, and its measures;
    compiled once for each phase."""

    def one(learner, optimum, key):
        for_signal, for_noise = jr.split(key)
        signal, inputs, x = draw_signal(law, learner.signal, for_signal, phase.steps, phase.dt0)
        solution = solve_balanced(
            with_noise(learner.network, phase.noise), inputs, phase.dt0, state=learner.state,
            rules=(VoltageRule(phase.tau),), update_every=UPDATE_EVERY, key=for_noise, throw=False,
        )  # fmt: skip
        loss = jnp.mean(
            jnp.sum((x - solution.readout) ** 2, axis=1) + cost * jnp.sum(solution.rates**2, axis=1)
        )
        distances = distance_to(solution.network.fast, optimum)
        rate = jnp.mean(solution.spikes, dtype=x.dtype) / phase.dt0
        active = jnp.mean(jnp.any(solution.spikes, axis=1), dtype=x.dtype)
        network = with_noise(solution.network, noise)
        return Learner(network, solution.state, signal), jnp.stack([loss, *distances, rate, active])

    return eqx.filter_vmap(one)(learners, optima, keys)


def with_noise(network: BalancedNetwork, noise: float) -> BalancedNetwork:
    """The same network with another noise of its potentials."""
    return BalancedNetwork(
        network.encoder, network.fast, slow=network.slow, threshold=network.threshold,
        decoder=network.decoder, leak=network.leak, noise=noise,
    )  # fmt: skip


def learn_autapse(settings: Settings, duration: float = 400.0) -> dict[str, np.ndarray]:
    """The autapse of a single neuron that represents a constant signal, from twice the optimum on;
    it has been firing for a while when learning begins.

    Returns:
        `time`, `weight`, `v` and `rate` at the end of each step; the optimum of the weight is 1.
    """
    before, steps = (round(time / settings.autapse_dt0) for time in (20.0, duration))
    seen = _run_autapse(
        settings.autapse_drive, settings.autapse_tau, settings.autapse_dt0, before, steps
    )
    weight, v, rate = (np.asarray(x, float) for x in seen)
    if not np.isfinite(weight[-1]) or abs(weight[-1]) > 100:
        raise rs.TrainingError(
            f"the autapse diverges, to {weight[-1]:.3g} times its optimum. Take a larger "
            "`autapse_tau`."
        )
    time = settings.autapse_dt0 * (1 + np.arange(steps))
    return {"time": time, "weight": weight, "v": v, "rate": rate}


@eqx.filter_jit
def _run_autapse(drive: float, tau: float, dt0: float, before: int, steps: int) -> Any:
    """Weight, potential and filtered spike train of a neuron that learns after so many steps."""
    network = BalancedNetwork(jnp.ones((1, 1)), jnp.full((1, 1), 2.0), threshold=jnp.full(1, 0.5))
    rule = VoltageRule(tau, fixed_resets=False)

    def step(carry, learns):
        network, state = carry
        solution = solve_balanced(
            network, jnp.full((1, 1), drive), dt0, state=state, rules=(rule,), throw=False
        )
        fast = jnp.where(learns, solution.network.fast, network.fast)
        network = eqx.tree_at(lambda net: net.fast, network, fast)
        return (network, solution.state), (fast[0, 0], solution.v[0, 0], solution.rates[0, 0])

    learns = jnp.arange(before + steps) >= before
    out = jax.lax.scan(step, (network, resting_state(network)), learns)[1]
    return tuple(x[before:] for x in out)
