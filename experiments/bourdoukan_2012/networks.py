"""The networks, weak and optimal, and the signals that they are to represent."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roughsnn.balance import BalancedNetwork, optimal_network

from .epochs import stacked
from .settings import Settings


@dataclasses.dataclass(frozen=True)
class Population:
    """Which network: its name, neurons and signals."""

    name: str
    neurons: int
    signals: int


def populations(settings: Settings) -> tuple[Population, Population]:
    """The homogeneous and the heterogeneous network."""
    return (
        Population("homogeneous", settings.homogeneous_neurons, 1),
        Population("heterogeneous", settings.neurons, settings.signals),
    )


def encoder_of(settings: Settings, population: Population, key) -> Float[Array, "N J"]:
    """Directions of the neurons, of length 1: one and the same, at random within an angle, or, of
    more than two signals, with random positive components.

    No two are opposite, or at right angles, so that no connection of the optimum is 0.
    """
    n, j = population.neurons, population.signals
    if j == 1:
        return jnp.ones((n, 1))
    if j == 2:
        half = settings.spread / 2
        angle = jnp.deg2rad(jr.uniform(key, (n,), minval=45 - half, maxval=45 + half))
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    rows = jr.uniform(key, (n, j), minval=0.1, maxval=1.0)
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


def optimal_networks(settings: Settings, population: Population) -> BalancedNetwork:
    """The optimum of each seed."""
    return stacked(
        [
            optimal_network(
                encoder_of(settings, population, jr.key(seed)),
                cost=settings.cost,
                noise=settings.noise,
            )
            for seed in settings.seeds
        ]
    )


def weak_networks(
    settings: Settings, population: Population, optimal: BalancedNetwork
) -> BalancedNetwork:
    """Networks whose neurons nearly ignore each other; resets are optimal."""
    n = population.neurons
    weak = jnp.stack([jr.uniform(jr.key(seed + 1_000_000), (n, n)) for seed in settings.seeds])
    weak = jnp.where(jnp.eye(n)[None] > 0, 1.0, settings.weak_start * weak)
    return eqx.tree_at(lambda net: net.fast, optimal, optimal.fast * weak)


class SignalState(eqx.Module):
    """Where a signal stands: its value and the input's distance from its mean."""

    x: Float[Array, " J"]
    input: Float[Array, " J"]


def start_of_signal(settings: Settings, population: Population) -> SignalState:
    """The signal at its mean."""
    mean = jnp.full(population.signals, settings.size / population.signals**0.5)
    return SignalState(mean, jnp.zeros(population.signals))


def draw_signal(
    settings: Settings, population: Population, state: SignalState, key: PRNGKeyArray, steps: int
) -> tuple[SignalState, Float[Array, "steps J"], Float[Array, "steps J"]]:
    """The state after some steps, the input, and the signal at the end of each step: the input, an
    Ornstein-Uhlenbeck process about a mean, filtered with the leak."""
    dt, tau = settings.dt, settings.correlation
    mean = start_of_signal(settings, population).x
    kept, decay = np.exp(-dt / tau), np.exp(-dt)
    # the variance of the filtered process is that of the input times tau / (1 + tau)
    size = settings.wander * np.sqrt((1 + tau) / tau) * np.sqrt(1 - kept**2)
    kicks = size * jr.normal(key, (steps, population.signals))

    def step(state, kick):
        around = kept * state.input + kick
        x = decay * state.x + (1 - decay) * (mean + around)
        return SignalState(x, around), (mean + around, x)

    state, (inputs, signal) = jax.lax.scan(step, state, kicks)
    return state, inputs, signal
