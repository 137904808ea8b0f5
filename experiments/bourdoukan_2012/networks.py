"""The networks, weak and optimal, and the signals that they are to represent."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roughsnn.balance import BalancedNetwork, optimal_network

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


@dataclasses.dataclass(frozen=True)
class SignalLaw:
    """How signals are drawn: their number, mean size, standard deviation about the mean, and the
    correlation time of the input."""

    signals: int
    size: float
    wander: float
    correlation: float


def law_of(settings: Settings, population: Population) -> SignalLaw:
    """The law of the signals of a network."""
    return SignalLaw(
        population.signals, settings.size, settings.wander, settings.correlation
    )  # fmt: skip


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

    @eqx.filter_jit
    @eqx.filter_vmap
    def optimum(key):
        encoder = encoder_of(settings, population, key)
        return optimal_network(encoder, cost=settings.cost, noise=settings.noise)

    return optimum(keys_of(settings, 0))


def weak_networks(
    settings: Settings, population: Population, optimal: BalancedNetwork
) -> BalancedNetwork:
    """Networks whose neurons nearly ignore each other; resets are optimal."""
    n = population.neurons

    @eqx.filter_jit
    @eqx.filter_vmap
    def weakened(fast, key):
        weak = jnp.where(jnp.eye(n) > 0, 1.0, settings.weak_start * jr.uniform(key, (n, n)))
        return fast * weak

    fast = weakened(optimal.fast, keys_of(settings, 1_000_000))
    return eqx.tree_at(lambda net: net.fast, optimal, fast)


def keys_of(settings: Settings, offset: int) -> PRNGKeyArray:
    """A key for each seed, other ones for each offset."""
    return jnp.stack([jr.key(seed + offset) for seed in settings.seeds])


class SignalState(eqx.Module):
    """Where a signal stands: its value and the input's distance from its mean."""

    x: Float[Array, " J"]
    input: Float[Array, " J"]


def start_of_signal(law: SignalLaw) -> SignalState:
    """The signal at its mean."""
    return SignalState(jnp.full(law.signals, law.size / law.signals**0.5), jnp.zeros(law.signals))


def draw_signal(
    law: SignalLaw, state: SignalState, key: PRNGKeyArray, steps: int, dt0: float
) -> tuple[SignalState, Float[Array, "steps J"], Float[Array, "steps J"]]:
    """The state after some steps, the input, and the signal at the end of each step: the input, an
    Ornstein-Uhlenbeck process about a mean, filtered with the leak."""
    tau = law.correlation
    mean = start_of_signal(law).x
    kept, decay = np.exp(-dt0 / tau), np.exp(-dt0)
    # the variance of the filtered process is that of the input times tau / (1 + tau)
    size = law.wander * np.sqrt((1 + tau) / tau) * np.sqrt(1 - kept**2)
    kicks = size * jr.normal(key, (steps, law.signals))

    def step(state, kick):
        around = kept * state.input + kick
        x = decay * state.x + (1 - decay) * (mean + around)
        return SignalState(x, around), (mean + around, x)

    state, (inputs, signal) = jax.lax.scan(step, state, kicks)
    return state, inputs, signal
