"""The two-sample test of spike trains: its level, and its power beside rates and intervals.

Four pairs of laws of spike trains on [0, 1], each pair differing in one respect: the rate; the
refractoriness at equal rate; the correlation of two neurons whose own laws are equal; the order in
which two neurons fire, their own laws again being equal. For each, two samples are drawn many
times, from one law (level) and from both (power), and told apart by permutation tests at 5 % with
three statistics, on the same samples and the same permutations: the default of `two_sample_test`,
whose kernels are `KernelEnsemble.for_trains` of the trains at hand; the distance of the mean spike
counts of the neurons; and the Kolmogorov-Smirnov distance of the intervals between the spikes of
each neuron, pooled. The margin of the first over the better of the others is judged by its standard
error over the repetitions, which are the same for all: a margin below zero by less than two of them
cannot be told from none, and is stated as such.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.signatures import KernelEnsemble
from roughsnn.signatures.permutations import (
    aggregated_statistics,
    permuted_labels,
    statistics_of_labels,
)

from ._study import Study, format_table

LEVEL = 0.05
NUM_NEURONS = 2
Spikes = tuple[np.ndarray, np.ndarray]


def study(
    level_repetitions: int = 2000,
    power_repetitions: int = 2000,
    trains: int = 30,
    permutations: int = 499,
    seed: int = 0,
) -> Study:
    """Measure level and power.

    Args:
        level_repetitions: pairs of samples of one law, for each law.
        power_repetitions: pairs of samples of two laws, for each pair of laws.
        trains: trains in each sample.
        permutations: of each test.
        seed: of everything random.
    """
    figures: dict[str, float] = {}
    bounds: dict[str, str] = {}
    rows = []
    started = time.monotonic()
    test = functools.partial(_p_values, trains, permutations)
    for number, (name, (first, second)) in enumerate(_LAWS.items()):
        random = np.random.default_rng([seed, number])
        key = jr.fold_in(jr.key(seed), number)
        level = test(first(random, (level_repetitions, 2 * trains)), jr.fold_in(key, 0))
        x = first(random, (power_repetitions, trains))
        y = second(random, (power_repetitions, trains))
        power = test(_together(x, y), jr.fold_in(key, 1))
        cells: list[object] = [name]
        for column, statistic in enumerate(_STATISTICS):
            # A p-value of exactly the level rejects.
            rejected = [np.mean(p[:, column] <= LEVEL + 1e-6) for p in (level, power)]
            figures[f"level_{statistic}_{name}"] = float(rejected[0])
            figures[f"power_{statistic}_{name}"] = float(rejected[1])
            cells += [f"{100 * share:.1f} %" for share in rejected]
        bounds[f"level_kernel_{name}"] = "between 0.04 and 0.06"
        others = max(_STATISTICS[1:], key=lambda other: figures[f"power_{other}_{name}"])
        outcomes = (power <= LEVEL + 1e-6).astype(float)
        margins = outcomes[:, 0] - outcomes[:, _STATISTICS.index(others)]
        margin, error = margins.mean(), margins.std(ddof=1) / len(margins) ** 0.5
        figures[f"power_margin_{name}"] = float(margin)
        figures[f"power_margin_error_{name}"] = float(error)
        bounds[f"power_margin_{name}"] = ">= 0"
        verdict = "" if margin >= 0 else ", within noise" if margin >= -2 * error else ", below"
        rows.append([*cells, f"{100 * margin:+.1f} ± {100 * error:.1f} over {others}{verdict}"])
    seconds = time.monotonic() - started
    figures["seconds"] = seconds
    header = [
        "laws",
        *(f"{s}: {w}" for s in _STATISTICS for w in ("level", "power")),
        "margin of power",
    ]
    table = (
        f"share of tests that reject at 5 %: {level_repetitions} repetitions for the level, "
        f"{power_repetitions} for the power, {trains} + {trains} trains, {permutations} "
        f"permutations, {seconds:.0f} s\n" + format_table(header, rows)
    )
    return Study(figures, bounds, table)


# ---- the laws


def _poisson(rate: float) -> Callable[..., Spikes]:
    """One neuron, firing at random."""
    return functools.partial(_renewal, dead_time=0.0, rate=rate)


def _refractory(rate: float, dead_time: float) -> Callable[..., Spikes]:
    """One neuron of the same rate that is silent for `dead_time` after each spike."""
    return functools.partial(_renewal, dead_time=dead_time, rate=rate)


def _renewal(random: np.random.Generator, shape: tuple, *, dead_time: float, rate: float) -> Spikes:
    """Stationary renewal process with intervals `dead_time + Exp`, of mean `1 / rate`."""
    mean = 1 / rate - dead_time
    room = int(rate + 8 * np.sqrt(rate)) + 8
    intervals = dead_time + mean * random.exponential(size=(*shape, room))
    # A share `dead_time * rate` of all times is dead; what is left of it is then uniform.
    dead = random.random(shape) < dead_time * rate
    rest = np.where(dead, dead_time * random.random(shape), 0.0)
    intervals[..., 0] = rest + mean * random.exponential(size=shape)
    times = np.cumsum(intervals, axis=-1)
    return _sorted(times, np.zeros(times.shape, int))


def _correlated(random: np.random.Generator, shape: tuple, *, shared: float, rate: float) -> Spikes:
    """Two Poisson neurons of one rate, of whose spikes a share comes from a common source."""
    parts = []
    for neuron in range(2):
        times = _homogeneous(random, shape, (1 - shared) * rate)
        parts.append((times, np.full(times.shape, neuron)))
    # The common source runs on before and after the window; the delays leave it Poisson.
    common = _homogeneous(random, shape, shared * rate, before=0.5, after=0.5)
    for neuron in range(2):
        times = common + 0.01 * random.standard_normal(common.shape)
        parts.append((times, np.full(times.shape, neuron)))
    return _sorted(*(np.concatenate(x, axis=-1) for x in zip(*parts, strict=True)))


def _followed(random: np.random.Generator, shape: tuple, *, delay: float, rate: float) -> Spikes:
    """A Poisson neuron, and another that fires after each of its spikes (before, if negative)."""
    leader = _homogeneous(random, shape, rate, before=0.5, after=0.5)
    follower = leader + delay * random.uniform(0.5, 1.5, size=leader.shape)
    times = np.concatenate([leader, follower], axis=-1)
    neurons = np.repeat([0, 1], leader.shape[-1])
    return _sorted(times, np.broadcast_to(neurons, times.shape))


def _homogeneous(random, shape, rate, before=0.0, after=0.0) -> np.ndarray:
    """Poisson times on [-before, 1 + after], unsorted, with `inf` for none."""
    length = 1 + before + after
    counts = random.poisson(rate * length, size=shape)
    times = length * random.random((*shape, int(counts.max(initial=0)))) - before
    return np.where(np.arange(times.shape[-1]) < counts[..., None], times, np.inf)


def _sorted(times: np.ndarray, neurons: np.ndarray) -> Spikes:
    """Those in the window, in order, no two at one time, and padded."""
    times = np.where((times >= 0) & (times < 1 - 1e-5), times, np.inf).astype(np.float32)
    order = np.argsort(times, axis=-1, kind="stable")
    times, neurons = (np.take_along_axis(x, order, axis=-1) for x in (times, neurons))
    # Single precision rounds some times to one; they are set apart by its smallest step.
    for i in range(1, times.shape[-1]):
        times[..., i] = np.maximum(times[..., i], np.nextafter(times[..., i - 1], np.float32(2)))
    times = np.where(times < 1, times, np.float32(np.inf))
    return times, np.where(np.isfinite(times), neurons, -1)


_LAWS: dict[str, tuple[Callable[..., Spikes], Callable[..., Spikes]]] = {
    "rate": (_poisson(5.0), _poisson(7.0)),
    "refractoriness": (_poisson(6.0), _refractory(6.0, 0.08)),
    "correlation": (
        functools.partial(_correlated, shared=0.0, rate=3.5),
        functools.partial(_correlated, shared=0.6, rate=3.5),
    ),
    "order": (
        functools.partial(_followed, delay=0.05, rate=3.5),
        functools.partial(_followed, delay=-0.05, rate=3.5),
    ),
}


# ---- the tests

_STATISTICS = ("kernel", "rates", "intervals")


def _together(x: Spikes, y: Spikes) -> Spikes:
    """Both samples of each repetition, one after the other, in the room of the fullest train."""
    room = max(x[0].shape[-1], y[0].shape[-1])

    def padded(values, fill):
        extra = [(0, 0), (0, 0), (0, room - values.shape[-1])]
        return np.pad(values, extra, constant_values=fill)

    def joined(a, b, fill):
        return np.concatenate([padded(a, fill), padded(b, fill)], axis=1)

    return joined(x[0], y[0], np.inf), joined(x[1], y[1], -1)


def _p_values(trains, permutations, spikes: Spikes, key) -> np.ndarray:
    """p-values of the three tests in each repetition, shape `(repetitions, 3)`."""
    times, neurons = spikes
    # Trim, so that few sizes are compiled.
    room = -(-int(np.isfinite(times).sum(-1).max(initial=1)) // 24) * 24
    times = _in_room(times, room, np.inf)
    neurons = _in_room(neurons, room, -1)
    keys = jr.split(key, len(times))
    return np.asarray(_tests(times, neurons, keys, trains, permutations))


def _in_room(values: np.ndarray, room: int, fill: float) -> np.ndarray:
    extra = max(room - values.shape[-1], 0)
    return np.pad(values, [(0, 0), (0, 0), (0, extra)], constant_values=fill)[..., :room]


@functools.partial(jax.jit, static_argnums=(3, 4))
def _tests(times, neurons, keys, trains, permutations):

    def repetition(sample):
        times, neurons, key = sample
        both = rs.SpikeTrains(times, neurons, 0.0, 1.0, num_neurons=NUM_NEURONS)
        counts = both.counts_by_neuron.astype(times.dtype)
        kernels = KernelEnsemble.for_trains(both)
        labels = permuted_labels(2 * trains, trains, permutations, key=key, dtype=times.dtype)
        statistics = jnp.stack([
            aggregated_statistics(
                kernels.grams(both), labels, trains, weights=kernels.weights
            )[0],
            statistics_of_labels(counts @ counts.T, labels, trains, "biased"),
            _interval_distances(both, labels),
        ])  # fmt: skip
        # Equal statistics, which counts often have, differ by rounding alone.
        slack = 1e-5 * jnp.max(jnp.abs(statistics), axis=1)
        reached = statistics[:, 1:] >= (statistics[:, 0] - slack)[:, None]
        return (1 + jnp.sum(reached, axis=1)) / (1 + permutations)

    return jax.lax.map(repetition, (times, neurons, keys))


def _interval_distances(both: rs.SpikeTrains, labels) -> jax.Array:
    """Kolmogorov-Smirnov distance of the intervals of the two samples, for each assignment."""
    intervals = []
    for neuron in range(both.num_neurons):
        times = both.select(neuron).times
        follows = jnp.isfinite(times[:, 1:])
        intervals.append(jnp.where(follows, times[:, 1:] - times[:, :-1], jnp.inf))
    intervals = jnp.concatenate(intervals, axis=1)
    flat = intervals.reshape(-1)
    order = jnp.argsort(flat)
    train = order // intervals.shape[1]
    exists = jnp.isfinite(flat[order])

    def distance(label):
        first = jnp.where(exists, label[train], 0)
        second = jnp.where(exists, 1 - label[train], 0)
        shares = [jnp.cumsum(x) / jnp.maximum(jnp.sum(x), 1) for x in (first, second)]
        return jnp.max(jnp.abs(shares[0] - shares[1]))

    return jax.vmap(distance)(labels)
