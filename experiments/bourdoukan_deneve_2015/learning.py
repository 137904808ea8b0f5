"""How networks are taught: epochs from rest, with feedback that is lowered from phase to phase."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs
from experiments.bourdoukan_2012.epochs import learn_in_epochs, stacked
from roughsnn.balance import (
    AbstractLocalRule,
    BalancedNetwork,
    BalancedSolution,
    CurrentRule,
    SpikeVoltageRule,
    distance_to,
    optimal_network,
    recovered_dynamics,
    solve_balanced,
)

from .settings import UPDATE_EVERY, Settings
from .systems import System, draw_inputs

COLUMNS = (
    "error", "feedback_share", "rate", "active", "matrix_error", "slow_distance", "mean_distance"
)  # fmt: skip
"""Measures of an epoch: squared error over the signal's, size of the feedback over that of the slow
currents, spikes per second and neuron, share of steps with a spike, distance of the recovered
matrix, squared distances of slow and of fast connections."""


def encoder_of(settings: Settings, system: System, key: PRNGKeyArray) -> Float[Array, "N J"]:
    """Directions of spikes: nearly evenly spread over a circle, else at random over the sphere."""
    n, j = settings.neurons_per_signal * system.dimension, system.dimension
    if j == 2:
        angle = 2 * jnp.pi * (jnp.arange(n, dtype=float) + jr.uniform(key, (n,))) / n
        rows = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    else:
        rows = jr.normal(key, (n, j))
        rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    return settings.spike_size * rows


def ideal_networks(settings: Settings, system: System) -> BalancedNetwork:
    """The network that the theory gives, for each seed."""
    return stacked(
        [
            optimal_network(
                encoder_of(settings, system, jr.key(seed)),
                cost=settings.cost, dynamics=system.matrix, leak=settings.leak,
            )
            for seed in settings.seeds
        ]
    )  # fmt: skip


def untaught_networks(
    settings: Settings, ideal: BalancedNetwork, learn_fast: bool
) -> BalancedNetwork:
    """Networks without slow connections; where fast ones learn, with weak ones between neurons."""
    start = eqx.tree_at(lambda net: net.slow, ideal, jnp.zeros_like(ideal.slow))
    if not learn_fast:
        return start
    weak = jnp.where(jnp.eye(ideal.fast.shape[-1])[None] > 0, 1.0, settings.weak_start)
    return eqx.tree_at(lambda net: net.fast, start, ideal.fast * weak)


def teach(
    settings: Settings, system: System, learn_fast: bool, checkpoints: rs.Checkpoints
) -> tuple[BalancedNetwork, np.ndarray]:
    """Networks of all seeds after learning, and the measures of each epoch."""
    ideal = ideal_networks(settings, system)
    keys = jnp.stack([jr.key(seed + 1_000_000) for seed in settings.seeds])
    programs: dict[int, object] = {}

    def program(phase: int):
        rates = settings.slow_rates_both if learn_fast else settings.slow_rates
        rules: list[AbstractLocalRule] = [CurrentRule(rates[phase])]
        if learn_fast and settings.fast_rates[phase] > 0:
            rules.append(SpikeVoltageRule(settings.fast_rates[phase]))

        @eqx.filter_jit
        @eqx.filter_vmap
        def one(network, ideal, key):
            inputs, targets = draw_inputs(system, key, settings.steps, settings.dt)
            solution = solve_balanced(
                network, inputs, settings.dt, targets=targets, rules=rules, throw=False,
                feedback=settings.feedback[phase], update_every=UPDATE_EVERY,
            )  # fmt: skip
            return solution.network, _measures(system, solution, targets, ideal)

        return one

    def epoch(networks, number):
        phase = settings.phase_of(number)
        if phase not in programs:
            programs[phase] = program(phase)
        of_epoch = jax.vmap(lambda key: jr.fold_in(key, number))(keys)
        networks, measures = programs[phase](networks, ideal, of_epoch)  # type: ignore[operator]
        return networks, np.asarray(measures, float)

    return learn_in_epochs(
        untaught_networks(settings, ideal, learn_fast),
        epoch,
        sum(settings.epochs),
        COLUMNS,
        checkpoints,
        progress=settings.progress,
        advice="Take smaller `slow_rates` or `fast_rates`, or less `feedback`.",
    )


def _measures(
    system: System,
    solution: BalancedSolution,
    targets: Float[Array, "steps J"],
    ideal: BalancedNetwork,
) -> Float[Array, " columns"]:
    network = solution.network
    error = jnp.sum((targets - solution.readout) ** 2) / jnp.sum(targets**2)
    share = jnp.sqrt(jnp.mean(solution.error_current**2) / jnp.mean(solution.slow_current**2))
    rate = jnp.mean(solution.spikes, dtype=error.dtype) / solution.dt
    active = jnp.mean(jnp.any(solution.spikes, axis=1), dtype=error.dtype)
    slow = jnp.sum((network.slow - ideal.slow) ** 2) / jnp.sum(ideal.slow**2)
    fast, _ = distance_to(network.fast, ideal.fast)
    return jnp.stack([error, share, rate, active, matrix_error(system, network), slow, fast])


def matrix_error(system: System, network: BalancedNetwork) -> Float[Array, ""]:
    """Distance of the recovered matrix from A + lambda I, relative to the size of the latter."""
    difference = recovered_dynamics(network) - jnp.asarray(system.matrix, network.slow.dtype)
    whole = system.matrix + network.leak * np.eye(system.dimension)
    return jnp.linalg.norm(difference) / float(np.linalg.norm(whole))
