"""How networks learn, and the single neuron that learns its own reset."""

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
    SignalState,
    draw_signal,
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


def beginners(settings: Settings, population: Population, networks: BalancedNetwork) -> Learner:
    """Networks at rest, of all seeds."""
    number = len(settings.seeds)
    signal = jax.tree.map(
        lambda x: jnp.broadcast_to(x[None], (number, *x.shape)),
        start_of_signal(settings, population),
    )
    return Learner(networks, eqx.filter_vmap(resting_state)(networks), signal)


def learn(
    settings: Settings, population: Population, checkpoints: rs.Checkpoints
) -> tuple[BalancedNetwork, np.ndarray]:
    """Networks of all seeds after learning, and the measures of each epoch."""
    optimal = optimal_networks(settings, population)
    keys = jnp.stack([jr.key(seed + 2_000_000) for seed in settings.seeds])
    programs: dict[int, Any] = {}

    def program(phase: int) -> Any:
        now, rules = settings.of_phase(phase), (VoltageRule(settings.taus[phase]),)

        @eqx.filter_jit
        @eqx.filter_vmap
        def one(learner, optimal, key):
            for_signal, for_noise = jr.split(key)
            signal, inputs, x = draw_signal(now, population, learner.signal, for_signal, now.steps)
            solution = solve_balanced(
                with_noise(learner.network, now.noise), inputs, now.dt, state=learner.state,
                rules=rules, update_every=UPDATE_EVERY, key=for_noise, throw=False,
            )  # fmt: skip
            loss = jnp.mean(
                jnp.sum((x - solution.readout) ** 2, axis=1)
                + now.cost * jnp.sum(solution.rates**2, axis=1)
            )
            distances = distance_to(solution.network.fast, optimal.fast)
            rate = jnp.mean(solution.spikes, dtype=x.dtype) / now.dt
            active = jnp.mean(jnp.any(solution.spikes, axis=1), dtype=x.dtype)
            network = with_noise(solution.network, settings.noise)
            measures = jnp.stack([loss, *distances, rate, active])
            return Learner(network, solution.state, signal), measures

        return one

    def epoch(learners, number):
        phase = settings.phase_of(number)
        if phase not in programs:
            programs[phase] = program(phase)
        of_epoch = jax.vmap(lambda key: jr.fold_in(key, number))(keys)
        learners, measures = programs[phase](learners, optimal, of_epoch)
        return learners, np.asarray(measures, float)

    start = beginners(settings, population, weak_networks(settings, population, optimal))
    learners, rows = learn_in_epochs(
        start, epoch, settings.epochs, COLUMNS, checkpoints, progress=settings.progress,
        advice="Take larger `taus`: they must exceed the mean of the squared filtered spike "
        "trains, summed over neurons.",
    )  # fmt: skip
    return learners.network, rows


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
    one = jnp.ones((1, 1))
    network = BalancedNetwork(one, 2 * one, threshold=jnp.full(1, 0.5))
    steps = round(duration / settings.autapse_dt)
    drive = settings.autapse_drive
    before = solve_balanced(
        network, jnp.full((round(20 / settings.autapse_dt), 1), drive), settings.autapse_dt
    )

    @jax.jit
    def run(network):
        def step(carry, _):
            network, state = carry
            solution = solve_balanced(
                network, jnp.full((1, 1), drive), settings.autapse_dt,
                state=state, rules=(VoltageRule(settings.autapse_tau, fixed_resets=False),),
                throw=False,
            )  # fmt: skip
            seen = solution.network.fast[0, 0], solution.v[0, 0], solution.rates[0, 0]
            return (solution.network, solution.state), seen

        return jax.lax.scan(step, (network, before.state), length=steps)[1]

    weight, v, rate = (np.asarray(x, float) for x in run(network))
    if not np.isfinite(weight[-1]) or abs(weight[-1]) > 100:
        raise rs.TrainingError(
            f"the autapse diverges, to {weight[-1]:.3g} times its optimum. Take a larger "
            "`autapse_tau`."
        )
    time = settings.autapse_dt * (1 + np.arange(steps))
    return {"time": time, "weight": weight, "v": v, "rate": rate}
