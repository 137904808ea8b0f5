"""What networks do before and after learning, beside the optimum, and when neurons are removed."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.balance import BalancedNetwork, BalancedSolution, solve_balanced

from .epochs import one_of
from .learning import beginners
from .networks import Population, draw_signal
from .settings import Settings

WINDOW = 1000.0
"""Time for which statistics are taken."""
REMOVED = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Shares of the neurons that are removed."""
FEWEST_SPIKES = 10
"""Neurons with fewer spikes have no CV here."""


@dataclasses.dataclass(frozen=True)
class Activity:
    """What a network does on fresh signals: means over time, and over neurons."""

    loss: float
    squared_error: float
    rate: float
    cv: float
    fano: float
    firing_neurons: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a network; `removed` holds, for each share of removed neurons, the squared
    error of the learned network and its rate per neuron that is left."""

    population: str
    seed: int
    mean_distance_before: float
    mean_distance: float
    largest_distance: float
    before: Activity
    after: Activity
    optimal: Activity
    removed: tuple[tuple[float, float, float], ...]

    @property
    def loss_factor(self) -> float:
        """By how much learning lowers the loss."""
        return self.before.loss / self.after.loss

    @property
    def rate_over_optimal(self) -> float:
        """The rate over that of the optimum."""
        return self.after.rate / self.optimal.rate


def judge(
    settings: Settings,
    population: Population,
    weak: BalancedNetwork,
    learned: BalancedNetwork,
    optimal: BalancedNetwork,
    rows: np.ndarray,
) -> list[Outcome]:
    """The outcome of every seed."""
    activities = [activity_of(settings, population, net) for net in (weak, learned, optimal)]
    removals = [without(settings, population, learned, share) for share in REMOVED]
    off = jnp.sum((weak.fast - optimal.fast) ** 2, axis=(1, 2)) / jnp.sum(
        optimal.fast**2, axis=(1, 2)
    )
    return [
        Outcome(
            population.name, seed,
            float(off[i]), float(rows[-1, i, 1]), float(rows[-1, i, 2]),
            *(activity[i] for activity in activities),
            tuple(
                (share, float(errors[i]), float(rates[i]))
                for share, (errors, rates) in zip(REMOVED, removals, strict=True)
            ),
        )
        for i, seed in enumerate(settings.seeds)
    ]  # fmt: skip


def respond(
    settings: Settings,
    population: Population,
    networks: BalancedNetwork,
    duration: float,
    seed: int = 3_000_000,
    burn_in: float = 20.0,
) -> tuple[Any, BalancedSolution]:
    """Signals and solutions of all networks on fresh signals, after a while for getting there."""
    keys = jnp.stack([jr.key(seed + s) for s in settings.seeds])
    start = beginners(settings, population, networks)
    first, later = (round(time / settings.dt) for time in (burn_in, duration))

    return _run(settings, population, start, keys, first, later)


@eqx.filter_jit
def _run(settings: Settings, population: Population, start: Any, keys: Any, *lengths: int) -> Any:
    """Signals and solutions of the last of several stretches of time; compiled once for all."""

    def one(learner, key):
        signal, state, seen = learner.signal, learner.state, None
        for number, steps in enumerate(lengths):
            for_signal, for_noise = (jr.fold_in(key, 2 * number + i) for i in range(2))
            signal, inputs, x = draw_signal(settings, population, signal, for_signal, steps)
            solution = solve_balanced(
                learner.network, inputs, settings.dt, state=state, key=for_noise, throw=False
            )
            state, seen = solution.state, (x, solution)
        return seen

    return eqx.filter_vmap(one)(start, keys)


def activity_of(
    settings: Settings, population: Population, networks: BalancedNetwork
) -> list[Activity]:
    """The activity of the network of each seed."""
    x, solution = respond(settings, population, networks, WINDOW)
    error = np.asarray(jnp.mean(jnp.sum((x - solution.readout) ** 2, axis=-1), axis=-1))
    price = settings.cost * np.asarray(jnp.mean(jnp.sum(solution.rates**2, axis=-1), axis=-1))
    found = []
    for i in range(len(settings.seeds)):
        trains = one_of(solution, i).spike_trains()
        # lengths of a few kinds, so that statistics are compiled a few times
        trains = trains.pad_to(2 ** math.ceil(math.log2(trains.max_spikes + 1)))
        often = np.asarray(trains.counts_by_neuron) >= FEWEST_SPIKES
        cv = np.asarray(rs.cv(trains))[often]
        fano = np.asarray(rs.fano_factor(trains, num_bins=50))[often]
        found.append(
            Activity(
                float(error[i] + price[i]), float(error[i]),
                float(np.mean(rs.spike_rates(trains))),
                float(np.mean(cv)) if often.any() else float("nan"),
                float(np.mean(fano)) if often.any() else float("nan"),
                int(often.sum()),
            )
        )  # fmt: skip
    return found


def without(
    settings: Settings, population: Population, networks: BalancedNetwork, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Squared error, and rate of a neuron that is left, of networks of which a share of the neurons
    can fire no more; nothing is learned anew."""
    left = population.neurons - round(share * population.neurons)
    silenced = silence(networks, population.neurons - left)
    x, solution = respond(settings, population, silenced, 200.0)
    error = jnp.mean(jnp.sum((x - solution.readout) ** 2, axis=-1), axis=-1)
    rate = (
        jnp.mean(solution.spikes, axis=(1, 2), dtype=x.dtype)
        * population.neurons
        / left
        / settings.dt
    )
    return np.asarray(error), np.asarray(rate)


def silence(networks: BalancedNetwork, number: int) -> BalancedNetwork:
    """The networks with so many neurons, the first ones, beyond the reach of their thresholds."""
    n = networks.threshold.shape[-1]
    away = jnp.arange(n) < number
    threshold = jnp.where(away[None], 1e9, networks.threshold)
    return eqx.tree_at(lambda net: net.threshold, networks, threshold)


def removal_over_time(
    settings: Settings, population: Population, network: BalancedNetwork, share: float
) -> tuple[np.ndarray, np.ndarray, rs.SpikeTrains]:
    """Signal, readout and spikes of a network of which neurons are removed halfway through."""
    steps = round(20.0 / settings.dt)
    one = dataclasses.replace(settings, seeds=settings.seeds[:1])
    networks = jax.tree.map(lambda x: x[None] if eqx.is_array(x) else x, network)
    learner = one_of(beginners(one, population, networks), 0)
    signal, state, keys = learner.signal, learner.state, jr.split(jr.key(5), 6)
    removed = one_of(silence(networks, round(share * population.neurons)), 0)
    parts = []
    for number, net in enumerate((network, network, removed)):
        signal, inputs, x = draw_signal(settings, population, signal, keys[2 * number], steps)
        solution = eqx.filter_jit(solve_balanced)(
            net, inputs, settings.dt, state=state, key=keys[2 * number + 1]
        )
        state = solution.state
        parts.append((x, solution))
    x, readout = (
        np.concatenate(pair) for pair in zip(*((x, s.readout) for x, s in parts[1:]), strict=True)
    )
    both = eqx.tree_at(
        lambda s: s.spikes, parts[1][1], jnp.concatenate([s.spikes for _, s in parts[1:]])
    )
    return x, readout, both.spike_trains()
