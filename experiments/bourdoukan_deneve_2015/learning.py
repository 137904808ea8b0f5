"""How networks are taught: epochs from rest, with feedback that is lowered from phase to phase."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import roughsnn as rs
from roughsnn.balance import (
    AbstractLocalRule,
    BalancedNetwork,
    BalancedSolution,
    CurrentRule,
    SpikeVoltageRule,
    distance_to,
    matched_decoder,
    optimal_network,
    recovered_dynamics,
    solve_balanced,
)

from ..bourdoukan_2012.epochs import learn_in_epochs, stacked
from .settings import UPDATE_EVERY, Settings
from .systems import System, draw_inputs

COLUMNS = (
    "error", "feedback_share", "rate", "active", "matrix_error", "slow_distance", "mean_distance"
)  # fmt: skip
"""Measures of an epoch: squared error over the signal's, size of the feedback over that of the slow
currents, spikes per second and neuron, share of steps with a spike, distance of the recovered
matrix, squared distances of slow and of fast connections."""


def encoder_of(settings: Settings, system: System, key: PRNGKeyArray) -> Float[Array, "N J"]:
    """Directions of spikes, nearly evenly spread, no two of them opposite.

    Of two opposite neurons each excites the other by nearly as much as a spike resets it, and the
    least error of a learned weight is enough for them to fire in turns. On a circle an odd number
    of even directions has no two that are opposite; on spheres, points that are drawn at random
    repel each other and each other's opposites.
    """
    n, j = settings.neurons_per_signal * system.dimension, system.dimension
    if j == 2:
        n += 1 - n % 2
        angle = 2 * jnp.pi * (jnp.arange(n, dtype=float) + jr.uniform(key, (n,))[:1]) / n
        rows = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    else:
        rows = spread_out(jr.normal(key, (n, j)))
    return settings.spike_size * rows


def spread_out(rows: Float[Array, "N J"], steps: int = 400) -> Float[Array, "N J"]:
    """Points on a sphere after they have repelled each other, and less strongly each other's
    opposites, by forces that are inverse to the cube of the distance."""

    def on_sphere(rows):
        return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)

    def energy(rows):
        cosine = on_sphere(rows) @ on_sphere(rows).T
        apart = jnp.triu(jnp.ones_like(cosine), 1)
        return jnp.sum(apart * (1 / (1.001 - cosine) + 0.5 / (1.001 + cosine)))

    def step(i, rows):
        force = -jax.grad(energy)(rows)
        size = jnp.max(jnp.linalg.norm(force, axis=1))
        return on_sphere(rows + 0.1 * (1 - i / steps) * force / size)

    return jax.lax.fori_loop(0, steps, step, on_sphere(rows))


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


def with_matched_decoders(networks: BalancedNetwork) -> BalancedNetwork:
    """Networks of all seeds with the decoders that belong to their fast connections."""
    return eqx.tree_at(
        lambda net: net.decoder, networks, eqx.filter_vmap(matched_decoder)(networks)
    )


def teach(
    settings: Settings, system: System, learn_fast: bool, checkpoints: rs.Checkpoints
) -> tuple[BalancedNetwork, np.ndarray]:
    """Networks of all seeds after learning, and the measures of each epoch.

    Slow connections learn from the same signals whether or not fast ones have learned before, so
    that the two differ by the fast connections and not by chance."""
    ideal = ideal_networks(settings, system)
    keys = jnp.stack([jr.key(seed + 1_000_000) for seed in settings.seeds])
    phases = settings.phases(learn_fast)
    phase_of = [phase for phase in phases for _ in range(phase.epochs)]
    first_slow = settings.first_slow_epoch(learn_fast)

    def epoch(networks, number):
        phase = phase_of[number]
        if settings.decoder == "matched" and number == first_slow:
            networks = with_matched_decoders(networks)
        signal = (number - first_slow) % len(phase_of)
        of_epoch = jax.vmap(jr.fold_in, in_axes=(0, None))(keys, signal)
        learns = phase.fast_rate > 0
        networks, measures = _learn_an_epoch(
            networks, ideal, of_epoch, system, settings.steps, settings.dt0,
            jnp.asarray(phase.feedback), jnp.asarray(phase.slow_rate),
            jnp.asarray(phase.fast_rate) if learns else None,
            jnp.asarray(settings.fast_size if learns else 1.0), settings.cost,
        )  # fmt: skip
        return networks, np.asarray(measures, float)

    return learn_in_epochs(
        untaught_networks(settings, ideal, learn_fast),
        epoch,
        len(phase_of),
        COLUMNS,
        checkpoints,
        progress=settings.progress,
        advice="Take smaller `slow_rates`, `fast_rates` or `fast_size`, or less `feedback`.",
    )


@eqx.filter_jit
def _learn_an_epoch(
    networks: BalancedNetwork,
    ideal: BalancedNetwork,
    keys: Any,
    system: System,
    steps: int,
    dt0: float,
    feedback: Any,
    slow_rate: Any,
    fast_rate: Any,
    size: Any,
    cost: float,
) -> Any:
    """Networks of all seeds after an epoch, and its measures; compiled twice for a system, with
    and without fast connections that learn."""
    rules: list[AbstractLocalRule] = [CurrentRule(slow_rate)]
    if fast_rate is not None:
        rules.append(SpikeVoltageRule(fast_rate, cost=cost))

    def one(network, ideal, key):
        inputs, targets = (size * x for x in draw_inputs(system, key, steps, dt0))
        solution = solve_balanced(
            network, inputs, dt0, targets=targets, rules=rules, throw=False,
            feedback=feedback, update_every=UPDATE_EVERY,
        )  # fmt: skip
        return solution.network, _measures(system, solution, targets, ideal)

    return eqx.filter_vmap(one)(networks, ideal, keys)


def _measures(
    system: System,
    solution: BalancedSolution,
    targets: Float[Array, "steps J"],
    ideal: BalancedNetwork,
) -> Float[Array, " columns"]:
    network = solution.network
    error = jnp.sum((targets - solution.readout) ** 2) / jnp.sum(targets**2)
    share = jnp.sqrt(jnp.mean(solution.error_current**2) / jnp.mean(solution.slow_current**2))
    rate = jnp.mean(solution.spikes, dtype=error.dtype) / solution.dt0
    active = jnp.mean(jnp.any(solution.spikes, axis=1), dtype=error.dtype)
    slow = jnp.sum((network.slow - ideal.slow) ** 2) / jnp.sum(ideal.slow**2)
    fast, _ = distance_to(network.fast, ideal.fast)
    return jnp.stack([error, share, rate, active, matrix_error(system, network), slow, fast])


def matrix_error(system: System, network: BalancedNetwork) -> Float[Array, ""]:
    """Distance of the recovered matrix from A + lambda I, relative to the size of the latter."""
    difference = recovered_dynamics(network) - jnp.asarray(system.matrix, network.slow.dtype)
    whole = system.matrix + network.leak * np.eye(system.dimension)
    return jnp.linalg.norm(difference) / float(np.linalg.norm(whole))
