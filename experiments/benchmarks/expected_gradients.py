"""The gradient of an expected loss: three estimators against closed forms and differences.

Losses that jump when a spike crosses the end of the window. The derivative of the mean loss is
known in closed form where the spikes are a renewal process in operational time: with n-th spike
where the integrated intensity is n alpha + Gamma(n), E N_T = sum_n P(Gamma(n) < Lambda(T) - n
alpha). Where there is noise it is found by brute force, the central difference of the mean loss
with common random numbers. Estimates are means over blocks of trials, and their standard errors
come from the spread of the blocks.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.special import gammainc

import roughsnn as rs

from ._study import Study, format_table

ESTIMATORS = {
    "pathwise": rs.Pathwise(),
    "with boundary": rs.PathwiseWithBoundary(),
    "score function": rs.ScoreFunction(),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """An expected loss as a function of a few parameters.

    Attributes:
        point: the parameters by name.
        simulate: parameters, key and number of trials to trials.
        loss: what is averaged.
        step: half the width of the central difference of each parameter.
        exact: derivatives in closed form, where there are any.
    """

    point: dict[str, float]
    simulate: Callable[[Any, Any, int], rs.Trials]
    loss: rs.MeanLoss
    step: dict[str, float]
    exact: dict[str, float] | None = None


def study(trials: int = 1_000_000, block: int = 1000, seed: int = 0) -> Study:
    """Run the comparison.

    Args:
        trials: trials of each case, for every estimator.
        block: trials of a block, which is simulated at once.
        seed: of all random numbers.
    """
    cases = {
        "renewal": _renewal(),
        "known current": _known_current(),
        "one neuron": _one_neuron(),
        "network": _network(),
    }
    figures, rows, spread = {}, [], []
    largest = dict.fromkeys(("with boundary", "score function"), 0.0)
    smallest, overflowed = np.inf, 0.0
    with jax.enable_x64(True):
        for number, (name, case) in enumerate(cases.items()):
            key = jr.fold_in(jr.key(seed), number)
            blocks = _run(case, max(2, trials // block), block, key)
            overflowed = max(overflowed, float(blocks.pop("overflowed").mean()))
            means = {k: v.mean(0) for k, v in blocks.items()}
            errors = {k: v.std(0, ddof=1) / np.sqrt(len(v)) for k, v in blocks.items()}
            for i, parameter in enumerate(case.point):
                truth, truth_error = means["difference"][i], errors["difference"][i]
                if case.exact is not None:
                    truth, truth_error = case.exact[parameter], 0.0
                    figures[f"{name}: d/d{parameter}, difference, z"] = float(
                        abs(means["difference"][i] - truth) / errors["difference"][i]
                    )
                row = [name, parameter, _plus_minus(truth, truth_error)]
                for k in ESTIMATORS:
                    error = np.hypot(errors[k][i], truth_error)
                    # an estimate that never varies is as far off as can be
                    z = min(abs(means[k][i] - truth) / error if error > 0 else np.inf, 1e9)
                    row += [
                        _plus_minus(means[k][i], errors[k][i]),
                        f"{z:.1f}" if z < 1e9 else "inf",
                    ]
                    figures[f"{name}: d/d{parameter}, {k}, z"] = float(z)
                    if k == "pathwise":
                        smallest = min(smallest, z)
                    else:
                        largest[k] = max(largest[k], float(z))
                rows.append(row)
                spread.append(
                    [name, parameter]
                    + [
                        float(errors[k][i] ** 2 * len(blocks[k]) * block)
                        for k in (*ESTIMATORS, "difference")
                    ]
                )
    figures["largest z, with boundary"] = largest["with boundary"]
    figures["largest z, score function"] = largest["score function"]
    figures["smallest z, pathwise"] = float(smallest)
    figures["share of trials without room for all spikes"] = overflowed
    header = ["case", "parameter", "derivative of the mean loss"]
    for k in ESTIMATORS:
        header += [k, "z"]
    table = (
        f"{trials} trials a case; z: distance in standard errors of the difference\n"
        + format_table(header, rows)
        + "\n\nvariance of one trial\n"
        + format_table(["case", "parameter", *ESTIMATORS, "difference"], spread)
    )
    bounds = {
        "largest z, with boundary": "<= 3",
        "largest z, score function": "<= 3",
        "smallest z, pathwise": "> 3",
        "share of trials without room for all spikes": "<= 0",
    }
    return Study(figures, bounds, table)


def _plus_minus(value: float, error: float) -> str:
    return f"{value:.5f} ± {error:.5f}" if error else f"{value:.5f}"


def _run(case: Case, blocks: int, size: int, key) -> dict[str, np.ndarray]:
    """The derivative by each parameter, from each block, by each estimator."""
    names = list(case.point)
    point = {name: jnp.asarray(float(case.point[name])) for name in names}

    def loss_at(point, key):
        return case.loss(case.simulate(point, key, size).trains)

    @jax.jit
    def one_block(key):
        def simulate(point, key):
            return case.simulate(point, key, size)

        out = {}
        for name, estimator in ESTIMATORS.items():
            estimate = estimator(point, simulate, case.loss, key)
            out[name] = jnp.stack([estimate.gradient[n] for n in names])
            out["overflowed"] = jnp.mean(estimate.generated.overflowed, dtype=float)
        differences = []
        for n in names:
            h = case.step[n]
            above, below = (loss_at({**point, n: point[n] + x}, key) for x in (h, -h))
            differences.append((above - below) / (2 * h))
        return out | {"difference": jnp.stack(differences)}

    found = [one_block(jr.fold_in(key, i)) for i in range(blocks)]
    return {k: np.stack([np.asarray(x[k]) for x in found]) for k in found[0]}


def _count(trains: rs.SpikeTrains):
    return trains.counts.astype(trains.times.dtype)


def _trace(trains: rs.SpikeTrains):
    """Square of what a synapse with a time constant of 0.3 would feel of the spikes at the end."""
    since = jnp.where(trains.mask, trains.durations[..., None] - trains.times, jnp.inf)
    return jnp.square(jnp.sum(jnp.exp(-since / 0.3), axis=-1))


def _renewal(window: float = 1.0, alpha: float = 0.3, tau_s: float = 0.4) -> Case:
    """Constant intensity: intervals tau_s (alpha + Exp(1))."""

    def simulate(p, key, size):
        neuron = rs.StochasticLIF(
            1, mu1=1.0, mu2=1.0, beta=0.0, sigma=None, alpha=p["alpha"], tau_s=p["tau_s"]
        )
        return rs.simulate_trials(
            neuron, 0.0, window, 0.2, key=key, num_samples=size, max_spikes=12, throw=False
        )

    def mean(tau_s, alpha):
        return _mean_count(window / tau_s, alpha)

    exact = {
        "tau_s": _derivative(lambda x: mean(x, alpha), tau_s),
        "alpha": _derivative(lambda x: mean(tau_s, x), alpha),
    }
    return Case(
        {"tau_s": tau_s, "alpha": alpha},
        simulate,
        rs.MeanLoss(_count),
        {"tau_s": 0.01, "alpha": 0.01},
        exact,
    )


def _known_current(window: float = 1.0, alpha: float = 0.2) -> Case:
    """No noise and no reset: the potential is known, and the spikes renew in operational time.

    It is known as Euler's method has it, but for its steps being cut at spikes, which changes the
    derivative by less than 1e-4 of itself.
    """
    mu1, beta, current, dt0 = 5.0, 2.0, 1.5, 0.01

    def simulate(p, key, size):
        neuron = rs.StochasticLIF(
            1, mu1=mu1, beta=p["beta"], sigma=None, v_reset=0.0, alpha=alpha, v0=current
        )
        return rs.simulate_trials(
            neuron, 0.0, window, dt0, key=key, num_samples=size, max_spikes=14,
            input_current=p["current"], throw=False,
        )  # fmt: skip

    def mean(c, beta):
        steps = np.arange(round(window / dt0))
        v = c + (current - c) * (1 - mu1 * dt0) ** steps
        return _mean_count(dt0 * np.sum(np.exp(beta * (v - 1))), alpha)

    exact = {
        "current": _derivative(lambda x: mean(x, beta), current),
        "beta": _derivative(lambda x: mean(current, x), beta),
    }
    return Case(
        {"current": current, "beta": beta},
        simulate,
        rs.MeanLoss(_count),
        {"current": 0.02, "beta": 0.04},
        exact,
    )


def _one_neuron(window: float = 0.6) -> Case:
    """A stochastic leaky integrate-and-fire neuron with noise."""

    def simulate(p, key, size):
        neuron = rs.StochasticLIF(
            1, mu1=10.0, sigma=p["sigma"], v_reset=1.0, beta=p["beta"], tau_s=0.3, alpha=p["alpha"]
        )
        return rs.simulate_trials(
            neuron, 0.0, window, 0.04, key=key, num_samples=size, max_spikes=12,
            input_current=p["current"], throw=False,
        )  # fmt: skip

    return Case(
        {"current": 1.2, "sigma": 0.5, "beta": 3.0, "alpha": 0.1},
        simulate,
        rs.MeanLoss(_trace),
        {"current": 0.02, "sigma": 0.05, "beta": 0.1, "alpha": 0.02},
    )


def _network(window: float = 0.5) -> Case:
    """Three neurons in a ring, excited and inhibited, with noise in potential and current."""
    pattern = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [-0.5, 0.0, 0.0]])
    sigma = np.array([[0.4, 0.0], [0.1, 0.2]])

    def simulate(p, key, size):
        neurons = rs.StochasticLIF(
            3, mu1=10.0, mu2=5.0, sigma=p["noise"] * sigma, v_reset=1.0, beta=3.0, tau_s=0.3,
            alpha=0.1,
        )  # fmt: skip
        network = rs.SpikingNetwork(neurons, p["weight"] * pattern)
        return rs.simulate_trials(
            network, 0.0, window, 0.025, key=key, num_samples=size, max_spikes=16,
            input_current=p["current"] * jnp.array([1.0, 0.7, 0.7]), throw=False,
        )  # fmt: skip

    def last_neuron(trains):
        return _trace(trains.select([1, 2]))

    return Case(
        {"weight": 0.7, "current": 1.2, "noise": 1.0},
        simulate,
        rs.MeanLoss(last_neuron),
        {"weight": 0.05, "current": 0.02, "noise": 0.1},
    )


def _mean_count(operational_time: float, alpha: float) -> float:
    n = np.arange(1, 200)
    return float(np.sum(gammainc(n, np.maximum(operational_time - n * alpha, 0.0))))


def _derivative(f: Callable[[float], float], x: float, h: float = 1e-5) -> float:
    return (f(x + h) - f(x - h)) / (2 * h)
