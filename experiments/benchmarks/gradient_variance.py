"""How much gradients scatter where the threshold is steep: estimators beside differences.

One interval of a neuron as it is fitted to spontaneous spikes of a retinal ganglion cell, at low
and at high light, and at starts with every parameter 30 % off; time in mean intervals. Features
are the logarithm of the interval and a smooth indicator of its being short. The reference are
central differences, by a loop written apart, of means over the mark, in which the differences of
sampled intervals are held as well. Then a network of three neurons
with a steep threshold and a loss that is not a sum over spikes, by the removal of single spikes.

An estimate's standard deviation is that of one trial, in units of the derivative; for the law of
the intervals, whose paths come in pairs of opposite noise, that of a pair times the root
of two. The tail index is Hill's, of the largest 0.2 % of the estimates and at least 20: a
distribution with an index below 2 has no variance, below 1 no mean.

The largest of 56 distances from the differences is beyond three standard errors in a seventh of the
studies where there is no bias at all. So the worst of each conditional estimator is measured again,
with four times the trials and noise of its own, and that distance is what has to be within three;
a bias behind the first would be twice as many standard errors then. Besides, so large a distance
among so many, were they independent, must be as probable as one of three standard errors alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy import stats

import roughsnn as rs

from ._interval_differences import derivatives_of_intervals
from ._measure import compare, paired_ratio
from ._network_variance import network_part
from ._study import Study, format_table

PARAMETERS = ("drive", "log_leak", "log_sigma", "log_beta", "reset", "log_alpha", "log_tau_s")
FEATURES = ("log interval", "short interval")
CONDITIONAL = ("interval law", "conditional")
PATHS = {"interval law": 2}
"""Noise paths of one estimate, where it is a mean over several."""

AGAIN = 4
"""How many times the trials the worst distances are measured with, once more."""
_OFF = np.array([-0.3, np.log(1.3), np.log(1.3), np.log(0.7), 0.3, np.log(1.3), 0.0])


def _fitted(sigma: float, reset: float, off: bool = False) -> np.ndarray:
    """Parameters of a neuron, in the order of `PARAMETERS`: the drive is the drift at the threshold
    without leak, the reset the distance from there."""
    theta = np.array([1.225, np.log(0.05), np.log(sigma), np.log(20.0), reset, np.log(0.01), 0.0])
    change = _OFF.copy()
    change[[0, 4]] *= theta[[0, 4]]
    return theta + off * change


POINTS = {
    "low light": _fitted(0.9, 1.055),
    "low light, 30 % off": _fitted(0.9, 1.055, off=True),
    "high light": _fitted(1.8, 1.051),
    "high light, 30 % off": _fitted(1.8, 1.051, off=True),
}


def features(t):
    """The two features of intervals t."""
    return jnp.log(jnp.maximum(t, 0.02)), jax.nn.sigmoid((1 - t) / 0.1)


def neuron(theta) -> tuple[rs.ResettingStochasticLIF, Any]:
    """The neuron and its input current."""
    drive, leak, sigma, beta, reset, alpha, tau_s = (theta[i] for i in range(7))
    leak = jnp.exp(leak)
    intensity = rs.ExponentialIntensity(v_th=0.0, beta=jnp.exp(beta), tau_s=jnp.exp(tau_s))
    model = rs.ResettingStochasticLIF(
        1, mu1=leak, sigma=jnp.exp(sigma), reset_to=-reset, alpha=jnp.exp(alpha), mu2=1.0,
        intensity=intensity,
    )  # fmt: skip
    return model, drive / leak


def study(
    trials: int = 32768,
    others: int = 2048,
    differences: int = 131072,
    network_trials: int = 2048,
    network_differences: int = 65536,
    longest: float = 12.0,
    dt0: float = 0.01,
    block: int = 1024,
    rounds: int = 10,
    seed: int = 0,
) -> Study:
    """Run the comparison.

    Args:
        trials: trials of the conditional estimators at each point.
        others: trials of the other estimators.
        differences: trials of the central differences at each point.
        network_trials: trials of each estimator for the network.
        network_differences: trials of its central differences.
        longest: how far an interval is followed, in mean intervals; one that goes on counts as
            long as that.
        dt0: step.
        block: trials of one call.
        rounds: rounds of the measurement of time.
        seed: of all random numbers.
    """
    figures: dict[str, float] = {}
    rows = []
    worst = {name: Worst() for name in CONDITIONAL}
    estimators = _estimators(longest, dt0)

    def measured(point, names, key, times=1):
        """References and the estimates of each trial."""
        reference = derivatives_of_intervals(
            point, features, longest, dt0, times * differences, jr.fold_in(key, 0)
        )
        theta = jnp.asarray(point, jnp.result_type(float))
        found = {}
        for name in names:
            # the others cost more
            count = times * trials // PATHS.get(name, 1) if name in CONDITIONAL else others
            keys = jr.split(jr.fold_in(key, 1), count).reshape(-1, min(block, count))
            found[name] = np.concatenate([
                np.asarray(estimators[name](theta, some), float) for some in keys
            ])  # fmt: skip
        return reference, found

    for number, (name, point) in enumerate(POINTS.items()):
        key = jr.fold_in(jr.key(seed), number)
        ((truth, sampled), (truth_error, sampled_error)), found = measured(point, estimators, key)
        for f, feature in enumerate(FEATURES):
            for i, parameter in enumerate(PARAMETERS):
                row = [name, feature, parameter, f"{truth[f, i]:.4f} ± {truth_error[f, i]:.4f}"]
                row.append(f"{sampled[f, i]:.4f} ± {sampled_error[f, i]:.4f}")
                for estimator, values in found.items():
                    of_trials = values[:, f, i]
                    z = _distance(of_trials, truth[f, i], truth_error[f, i])
                    spread = np.sqrt(PATHS.get(estimator, 1)) * of_trials.std() / abs(truth[f, i])
                    tail = _hill(of_trials)
                    row.append(f"{z:+.1f}; {spread:.3g}; {tail:.2g}")
                    if estimator in worst:
                        worst[estimator].see(z, spread, tail, (name, f, i))
                    figures[f"{name}, {feature}, {parameter}: {estimator}, spread"] = float(spread)
                    figures[f"{name}, {feature}, {parameter}: {estimator}, z"] = float(z)
                rows.append(row)
    bounds = {}
    comparisons = len(POINTS) * len(FEATURES) * len(PARAMETERS)
    for number, (estimator, largest) in enumerate(worst.items()):
        name, f, i = largest.where
        key = jr.fold_in(jr.key(seed), 1000 + number)
        ((truth, _), (error, _)), found = measured(POINTS[name], [estimator], key, AGAIN)
        again = _distance(found[estimator][:, f, i], truth[f, i], error[f, i])
        chance = -np.expm1(comparisons * np.log1p(-2 * stats.norm.sf(largest.z)))
        figures[f"{estimator}: probability of so large a z among {comparisons}"] = float(chance)
        for figure, value, bound in (
            ("largest z", largest.z, "<= 3"),
            ("z of the worst, again", abs(again), "<= 3"),
            ("largest standard deviation", largest.spread, "<= 5"),
            ("smallest tail index", largest.tail, "> 3"),
        ):
            figures[f"{estimator}: {figure}"] = float(value)
            bounds[f"{estimator}: {figure}"] = bound
    cost = _cost(POINTS["low light"], longest, dt0, rounds)
    figures |= cost
    bounds |= {name: "<= 1.5" for name in cost if name.startswith("time of conditional")}
    of_network, network_table = network_part(network_trials, network_differences, seed)
    figures |= of_network
    bounds["network, spike removal: largest z"] = "<= 3"
    bounds["network: smallest ratio of variances"] = ">= 100"
    names = list(estimators)
    table = (
        f"{trials} trials of the conditional estimators, {others} of the others, {differences} "
        "of the differences, of means over the mark and of samples; for each estimator: distance "
        "from the differences in standard errors; "
        "standard deviation of one trial in units of the derivative; tail index\n"
        + format_table(["point", "feature", "parameter", "differences", "sampled", *names], rows)
        + "\n\n"
        + format_table(["cost of a gradient, 256 trials", ""], [[k, v] for k, v in cost.items()])
        + f"\n\n{network_table}"
    )
    return Study(figures, bounds, table)


@dataclasses.dataclass
class Worst:
    """The worst of an estimator over points, features and parameters.

    Attributes:
        z: largest distance from the differences in standard errors.
        where: point, feature and parameter of that.
        spread: largest standard deviation.
        tail: smallest tail index.
    """

    z: float = -1.0
    where: tuple[str, int, int] = ("", 0, 0)
    spread: float = 0.0
    tail: float = np.inf

    def see(self, z: float, spread: float, tail: float, where: tuple[str, int, int]) -> None:
        """One more comparison."""
        if abs(z) > self.z:
            self.z, self.where = float(abs(z)), where
        self.spread, self.tail = max(self.spread, spread), min(self.tail, tail)


def _distance(of_trials: np.ndarray, truth: float, truth_error: float) -> float:
    """Of a mean from a reference, in standard errors of both."""
    error = of_trials.std() / np.sqrt(len(of_trials))
    return float((of_trials.mean() - truth) / np.hypot(error, truth_error))


def _hill(values: np.ndarray, share: float = 0.002) -> float:
    """Hill's estimate of the tail index of the absolute values."""
    count = max(20, int(share * len(values)))
    largest = np.sort(np.abs(values))[::-1][: count + 1]
    if largest[-1] <= 0:
        return np.inf
    excess = float(np.mean(np.log(largest[:-1] / largest[-1])))
    return 1 / excess if excess > 0 else np.inf


def _estimators(longest: float, dt0: float) -> dict[str, Callable]:
    """By name, functions of parameters and keys: with each key, of a trial of its own, the
    derivatives of each feature by each parameter."""
    edges = jnp.arange(round(longest / dt0) + 1) * dt0
    values = jnp.stack(features(edges), axis=-1)

    def by_law(theta, key):
        model, current = neuron(theta)
        law = rs.interval_law(
            model, longest, dt0, key=key, num_paths=PATHS["interval law"], input_current=current
        )
        return law.mean(values)

    def by(estimator):
        def both(theta, key):
            simulate = one_interval(longest, dt0, 1)
            found = [
                estimator(theta, simulate, _of_feature(f), key).gradient
                for f in range(len(FEATURES))
            ]
            return jnp.stack(found)

        return both

    functions = {
        "interval law": jax.jacfwd(by_law),
        "conditional": by(rs.Conditional()),
        "pathwise": by(rs.Pathwise()),
        "score function": by(rs.ScoreFunction(controls=0)),
    }
    return {name: jax.jit(jax.vmap(f, in_axes=(None, 0))) for name, f in functions.items()}


def one_interval(longest: float, dt0: float, samples: int) -> Callable:
    """A way to draw trials that end at their first spike."""

    def simulate(theta, key):
        model, current = neuron(theta)
        return rs.simulate_trials(
            model, 0.0, longest, dt0, key=key, num_samples=samples, max_spikes=1,
            stop_after=1, input_current=current, throw=False,
        )  # fmt: skip

    return simulate


def _of_feature(number: int) -> rs.MeanLoss:
    def loss(trains):
        first = jnp.where(trains.mask[..., 0], trains.times[..., 0], trains.durations)
        return features(first)[number]

    return rs.MeanLoss(loss)


def _cost(
    point: np.ndarray, longest: float, dt0: float, rounds: int, samples: int = 256
) -> dict[str, float]:
    """Time of a gradient in all parameters, in units of that of the pathwise one."""
    theta = jnp.asarray(point, jnp.result_type(float))
    edges = jnp.arange(round(longest / dt0) + 1) * dt0
    values = jnp.stack(features(edges), axis=-1)

    def law(theta, key):
        model, current = neuron(theta)
        return rs.interval_law(
            model, longest, dt0, key=key, num_paths=samples, input_current=current
        ).mean(values)

    def by(estimator):
        simulate = one_interval(longest, dt0, samples)
        return lambda theta, key: estimator(theta, simulate, _of_feature(0), key).gradient

    args = (theta, jr.key(0))
    candidates = {
        "pathwise": (by(rs.Pathwise()), args),
        "conditional": (by(rs.Conditional()), args),
        "interval law, Jacobian of both features": (jax.jacfwd(law), args),
    }
    measured = compare(candidates, rounds)
    return {
        f"time of {name} beside pathwise": paired_ratio(measured[name], measured["pathwise"], "cpu")
        for name in candidates
        if name != "pathwise"
    }
