"""The two networks by the clock: what each row of a table and each point of a sweep measures."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from roughsnn.sampling import (
    BalancedSampler,
    GaussianTarget,
    MetropolisNetwork,
    PiecewiseConstant,
    convergence_time,
    covariance_error,
    covariance_of,
    equicorrelated_covariance,
    marginal_wasserstein,
    random_readout,
    run_by_clock,
)

GEOMETRIES = ("naive", "natural")
SPIKES = ("one a step", "all due")
SWEPT = ("balanced one a step", "balanced all due", "metropolis")
TAU_READOUT = 20.0
TAU_LANGEVIN = 0.2
METROPOLIS_MEAN = 1.0
BALANCED_MEAN = 6.0
EARLY = 50
"""The first ms after the onset, which are looked at by themselves."""
SAMPLED_EVERY = 0.05
"""Moments are those of estimates so often, ms, or each step where steps are longer. In the natural
geometry estimates forget within some tenths of a ms; were they kept each ms only, the covariance of
a trial would be off by twice as much."""
GROUP = 20
"""Networks that run at once, for the memory that their estimates take."""


@eqx.filter_jit
def run_metropolis(keys, covariance, geometry, scale, neurons, dt0, steps, every, mean):
    """Estimates (repeats, times, p) of Metropolis networks with random directions, and how many
    spikes each network fired; compiled once for all covariances, geometries and scales.

    Args:
        keys: a key for each network.
        covariance: of the target.
        geometry: the matrix by which random directions are multiplied.
        scale: of the random directions.
        neurons: how many.
        dt0: the step, ms.
        steps: how many.
        every: of which one in so many is kept.
        mean: of the target over time.
    """

    def one(key):
        key_readout, key_run = jr.split(key)
        target = GaussianTarget(0.0, covariance)
        readout = geometry @ (scale * random_readout(key_readout, target.dim, neurons))
        network = MetropolisNetwork(target, readout, tau=TAU_READOUT, dt0=dt0)
        path = network.run(key_run, steps, every=every, mean=mean)
        return path.estimates, jnp.sum(path.num_spikes)

    return jax.vmap(one)(keys)


@eqx.filter_jit
def run_balanced(keys, covariance, noise_factor, neurons, dt0, steps, every, shift, most):
    """The same for the source's balanced networks, with this noise factor and at most so many
    spikes a step."""

    def one(key):
        key_readout, key_run = jr.split(key)
        target = GaussianTarget(0.0, covariance)
        network = BalancedSampler(
            target,
            random_readout(key_readout, target.dim, neurons, mirrored=False),
            noise_factor=noise_factor,
            cost=neurons**0.5,
            background=neurons**0.5,
            tau_readout=TAU_READOUT,
            tau_langevin=TAU_LANGEVIN,
            drift_at="readout",
        )
        path = run_by_clock(
            network, key_run, steps, dt0, every=every, shift=shift, max_spikes_per_step=most
        )
        return path.estimates, jnp.sum(path.num_spikes)

    return jax.vmap(one)(keys)


def directions(covariance, geometry: str):
    """The square root of the covariance in the natural geometry, the unit matrix in the naive."""
    if geometry == "natural":
        return GaussianTarget(0.0, covariance).root
    return jnp.eye(covariance.shape[0])


def balanced_covariance(dim: int, correlation: float):
    """(1 - rho) I + 3 rho 11', as in the source's code."""
    return equicorrelated_covariance(dim, correlation, common=3 * correlation)


def metropolis(settings, geometry: str, scale: str) -> dict[str, Any]:
    """A row of the Metropolis table: moments of the estimate from the onset on."""
    s = settings
    covariance = equicorrelated_covariance(s.metropolis_dim, s.metropolis_correlation)
    every = _every(s.metropolis_dt)
    options = (
        covariance, directions(covariance, geometry),
        jnp.asarray(1.0 if scale == "A" else s.metropolis_dim**-0.5), s.metropolis_neurons,
        s.metropolis_dt, round(s.window / s.metropolis_dt), every,
        _step_up(s.metropolis_dim, s.onset, METROPOLIS_MEAN),
    )  # fmt: skip
    return _row(
        s, run_metropolis, options, covariance, METROPOLIS_MEAN,
        neurons=s.metropolis_neurons, step=every * s.metropolis_dt,
    )  # fmt: skip


def balanced(settings, geometry: str, spikes: str) -> dict[str, Any]:
    """A row of the table of the balanced network."""
    s = settings
    neurons = s.neurons_per_dim * s.balanced_dim
    covariance = balanced_covariance(s.balanced_dim, s.balanced_correlation)
    every = _every(s.balanced_dt0)
    options = (
        covariance, directions(covariance, geometry), neurons,
        s.balanced_dt0, round(s.window / s.balanced_dt0), every,
        _step_up(s.balanced_dim, s.onset, BALANCED_MEAN), 1 if spikes == "one a step" else None,
    )  # fmt: skip
    return _row(
        s, run_balanced, options, covariance, BALANCED_MEAN,
        neurons=neurons, step=every * s.balanced_dt0,
    )  # fmt: skip


def _every(dt0: float) -> int:
    """Of how many steps one is kept: a whole number of what is kept makes a ms."""
    steps = round(1 / dt0)
    most = max(1, round(SAMPLED_EVERY / dt0))
    return next(n for n in range(most, 0, -1) if steps % n == 0)


def _step_up(dim: int, onset: float, mean: float) -> PiecewiseConstant:
    return PiecewiseConstant([onset], jnp.asarray([[0.0], [mean]]) * jnp.ones((1, dim)))


def _row(
    settings, compute, options, covariance, mean: float, neurons: int, step: float
) -> dict[str, Any]:
    """Each figure as its mean over repeats and its standard deviation over them; and the average
    over dimensions in time, each ms, from 50 ms before the onset on.

    Args:
        settings: the settings.
        compute: `run_metropolis` or `run_balanced`.
        options: its arguments after the keys.
        covariance: of the target.
        mean: of the target from the onset on.
        neurons: how many there are in a network.
        step: time between two estimates, ms.
    """
    s = settings
    keys = jr.split(jr.key(s.seed), s.repeats)
    figures: dict[str, list[float]] = {}
    courses = []
    for first in range(0, s.repeats, GROUP):
        estimates, spikes = compute(keys[first : first + GROUP], *options)
        found, course = _figures(
            estimates, covariance, mean, round(s.onset / step), round(EARLY / step), round(1 / step)
        )
        found["rate_hz"] = np.asarray(spikes) / neurons / s.window * 1000
        for name, values in found.items():
            figures.setdefault(name, []).extend(float(x) for x in np.asarray(values))
        courses.append(course)
    row: dict[str, Any] = {
        name: [float(np.mean(x)), float(np.std(x, ddof=1))] for name, x in figures.items()
    }
    early = np.asarray(figures["early_mean"])
    course = np.concatenate(courses).mean(0)
    return row | {
        "networks": s.repeats,
        "early_means": [float(x) for x in early],
        "course": [float(x) for x in course],
    }


def _figures(
    estimates, covariance, mean: float, onset: int, early: int, in_a_ms: int
) -> tuple[dict[str, Any], np.ndarray]:
    """The figures of each network, and its estimate over time averaged over dimensions."""
    after = estimates[:, onset:]
    beginning = after[:, :early]
    target = jnp.full(estimates.shape[-1], mean)
    cov = np.asarray(covariance_of(after))
    p = cov.shape[-1]
    diagonal = np.trace(cov, axis1=1, axis2=2) / p
    figures = {
        "mean": np.mean(after, axis=(1, 2)),
        "variance": diagonal,
        "covariance": (cov.sum((1, 2)) / p - diagonal) / (p - 1),
        "covariance_error": np.asarray(covariance_error(after, covariance)),
        "wasserstein": np.asarray(marginal_wasserstein(after, target, covariance)),
        "early_mean": np.mean(beginning, axis=(1, 2)),
        "early_wasserstein": np.asarray(marginal_wasserstein(beginning, target, covariance)),
    }
    shown = estimates[:, onset - early : onset + 2 * early].mean(2)[:, in_a_ms - 1 :: in_a_ms]
    return figures, np.asarray(shown)


# --- sweeps


def sweep_parts(settings, network: str) -> dict[str, Any]:
    """The points of the sweeps of a network, by name, as functions that measure them."""
    s = settings
    parts = {}
    for geometry in GEOMETRIES:
        if (network, geometry) == ("balanced one a step", "naive"):
            continue
        name = f"sweep {network} {geometry}"
        for dim in s.sweep_dims:
            correlation = (
                s.metropolis_correlation if network == "metropolis" else s.balanced_correlation
            )
            parts[f"{name} p={dim}"] = partial(
                time_to_converge, s, network, geometry, dim, correlation
            )
        for correlation in s.sweep_correlations:
            dim = s.metropolis_dim if network == "metropolis" else s.balanced_dim
            parts[f"{name} rho={correlation}"] = partial(
                time_to_converge, s, network, geometry, dim, correlation
            )
    return parts


def time_to_converge(settings, network: str, geometry: str, dim: int, correlation: float) -> float:
    """When the estimate has gone 1 - 1/e of the way to a new mean, ms: averaged over dimensions
    and networks, from silence. -1 where it does not within the window of 200 ms."""
    s = settings
    # in small groups, as each network has an inhibition of its own
    group = max(1, min(s.sweep_repeats, 640 // dim))
    groups = jr.split(jr.key(s.seed + 1), s.sweep_repeats)[: s.sweep_repeats // group * group]
    groups = groups.reshape(-1, group)
    if network == "metropolis":
        mean, dt0 = METROPOLIS_MEAN, s.metropolis_dt
        every = max(1, round(0.1 / dt0))
        covariance = equicorrelated_covariance(dim, correlation)
        options = (jnp.asarray(dim**-0.5), 10 * dim, dt0, round(200 / dt0 / every) * every, every,
                   _constant(dim, mean))  # fmt: skip
        compute = run_metropolis
    else:
        mean, dt0, window = BALANCED_MEAN, s.balanced_dt0, 20.0
        if geometry == "naive":
            # Euler's scheme is stable for the fastest direction of the naive geometry
            dt0, window = dt0 / max(1, round(2 * dt0 / (TAU_LANGEVIN * (1 - correlation)))), 200.0
        every = max(1, round(s.balanced_dt0 / dt0))
        covariance = balanced_covariance(dim, correlation)
        most = 1 if network == "balanced one a step" else None
        options = (s.neurons_per_dim * dim, dt0, round(window / dt0 / every) * every, every,
                   _constant(dim, mean), most)  # fmt: skip
        compute = run_balanced
    factor = directions(covariance, geometry)
    courses = [np.asarray(compute(keys, covariance, factor, *options)[0]) for keys in groups]
    course = jnp.asarray(np.concatenate(courses).mean((0, 2)))
    ts = dt0 * every * jnp.arange(1, course.shape[0] + 1, dtype=course.dtype)
    time = float(convergence_time(ts, course, mean))
    return time if np.isfinite(time) else -1.0


def _constant(dim: int, mean: float) -> PiecewiseConstant:
    return PiecewiseConstant([], jnp.full((1, dim), mean))
