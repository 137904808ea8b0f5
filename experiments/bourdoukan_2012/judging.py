"""What networks do before and after learning, beside the optimum, and when neurons are removed."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.balance import BalancedNetwork, solve_balanced

from .learning import Learner, beginners
from .networks import Population, SignalLaw, draw_signal, keys_of, law_of
from .settings import Settings

WINDOW = 1000.0
"""Time for which statistics are taken."""
REMOVED_FOR = 200.0
"""Time for which networks without some of their neurons are looked at."""
STRETCH = 20.0
"""Time that is run at once; longer ones are multiples of it."""
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


class Stretch(NamedTuple):
    """What networks of all seeds did in a stretch of time: signals, readouts, potentials, filtered
    spike trains and spikes, of shape (seeds, steps, signals or neurons)."""

    x: Any
    readout: Any
    v: Any
    rates: Any
    spikes: Any


def respond(
    settings: Settings,
    population: Population,
    networks: BalancedNetwork,
    duration: float,
    *,
    seed: int = 3_000_000,
    later: BalancedNetwork | None = None,
) -> Iterator[Stretch]:
    """What networks do on fresh signals for so long, in stretches of `STRETCH` time units, after
    another such stretch for getting there; halfway through, others may take their place."""
    law, keys = law_of(settings, population), keys_of(settings, seed)
    learners = beginners(law, networks)
    number, steps = round(duration / STRETCH), round(STRETCH / settings.dt0)
    for i in range(1 + number):
        if later is not None and i == 1 + number // 2:
            learners = eqx.tree_at(lambda learner: learner.network, learners, later)
        of_stretch = jax.vmap(jr.fold_in, in_axes=(0, None))(keys, i)
        learners, seen = _run(learners, of_stretch, law, settings.dt0, steps)
        if i > 0:
            yield jax.tree.map(np.asarray, seen)


@eqx.filter_jit
def _run(learners: Learner, keys: Any, law: SignalLaw, dt0: float, steps: int) -> Any:
    """A stretch of time of all networks; compiled once for all that have the same shapes."""

    def one(learner, key):
        for_signal, for_noise = jr.split(key)
        signal, inputs, x = draw_signal(law, learner.signal, for_signal, steps, dt0)
        solution = solve_balanced(
            learner.network, inputs, dt0, state=learner.state, key=for_noise, throw=False
        )
        seen = Stretch(x, solution.readout, solution.v, solution.rates, solution.spikes)
        return Learner(learner.network, solution.state, signal), seen

    return eqx.filter_vmap(one)(learners, keys)


def trains_of(spikes: np.ndarray, dt0: float) -> rs.SpikeTrains:
    """Spike trains, one for each seed, of spikes of shape (seeds, steps, neurons)."""
    end = spikes.shape[1] * dt0
    found = [np.nonzero(one) for one in spikes]
    busiest = max(len(steps) for steps, _ in found)
    return rs.SpikeTrains.from_lists(
        [(np.minimum((steps + 1) * dt0, end), neurons) for steps, neurons in found],
        t0=0.0, t1=end, num_neurons=spikes.shape[2],
        # room of a few sizes, so that statistics are compiled a few times
        max_spikes=2 ** math.ceil(math.log2(busiest + 1)),
    )  # fmt: skip


def activity_of(
    settings: Settings, population: Population, networks: BalancedNetwork
) -> list[Activity]:
    """The activity of the network of each seed."""
    error = price = np.zeros(())
    spikes = []
    for seen in respond(settings, population, networks, WINDOW):
        error = error + np.mean(np.sum((seen.x - seen.readout) ** 2, axis=2), axis=1, dtype=float)
        price = price + np.mean(np.sum(seen.rates**2, axis=2), axis=1, dtype=float)
        spikes.append(seen.spikes)
    error, price = error / len(spikes), settings.cost * price / len(spikes)
    trains = trains_of(np.concatenate(spikes, axis=1), settings.dt0)
    cv, fano, rate, counts = (np.asarray(x) for x in _statistics(trains))
    often = counts >= FEWEST_SPIKES
    return [
        Activity(
            float(error[i] + price[i]), float(error[i]), float(rate[i].mean()),
            *(float(np.mean(values[i], where=often[i])) for values in (cv, fano)),
            int(often[i].sum()),
        )
        for i in range(len(settings.seeds))
    ]  # fmt: skip


@eqx.filter_jit
def _statistics(trains: rs.SpikeTrains) -> Any:
    """CV, Fano factor, rate and number of spikes of each neuron, train by train."""

    def one(train):
        fano = rs.fano_factor(train, num_bins=50)
        return rs.cv(train), fano, rs.spike_rates(train), train.counts_by_neuron

    return jax.vmap(one, in_axes=(trains.vmap_axes,))(trains)


def without(
    settings: Settings, population: Population, networks: BalancedNetwork, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Squared error, and rate of a neuron that is left, of networks of which a share of the neurons
    can fire no more; nothing is learned anew."""
    left = population.neurons - round(share * population.neurons)
    silenced = silence(networks, population.neurons - left)
    errors, rates = [], []
    for seen in respond(settings, population, silenced, REMOVED_FOR):
        errors.append(np.mean(np.sum((seen.x - seen.readout) ** 2, axis=2), axis=1, dtype=float))
        rates.append(np.mean(seen.spikes, axis=(1, 2)) * population.neurons / left / settings.dt0)
    return np.mean(errors, axis=0), np.mean(rates, axis=0)


def silence(networks: BalancedNetwork, number: int) -> BalancedNetwork:
    """The networks with so many neurons, the first ones, beyond the reach of their thresholds."""
    n = networks.threshold.shape[-1]
    away = jnp.arange(n) < number
    threshold = jnp.where(away[None], 1e9, networks.threshold)
    return eqx.tree_at(lambda net: net.threshold, networks, threshold)


def removal_over_time(
    settings: Settings, population: Population, networks: BalancedNetwork, share: float
) -> tuple[np.ndarray, np.ndarray, rs.SpikeTrains]:
    """Signal, readout and spikes of the first seed's network, of which neurons are removed halfway
    through."""
    removed = silence(networks, round(share * population.neurons))
    seen = respond(settings, population, networks, 2 * STRETCH, seed=5_000_000, later=removed)
    both = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *seen)
    return both.x[0], both.readout[0], trains_of(both.spikes[:1], settings.dt0)[0]
