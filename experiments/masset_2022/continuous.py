"""The balanced sampler in continuous time: its law from the onset on, and a posterior."""

from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.sampling import (
    BalancedSampler,
    GaussianTarget,
    LinearGaussianModel,
    equicorrelated_covariance,
    random_readout,
)

DIM, NEURONS, CORRELATION = 5, 50, 0.8
MEAN = 6.0
STEP = 0.05
"""Step of the solver, in units of the Langevin time constant; the unit of time here."""
TAU_READOUT = 100.0
TIMES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""When the law is looked at, since the onset."""
BATCH = 500


def sampler(target: GaussianTarget, neurons: int, spike_size: float, key) -> BalancedSampler:
    """A sampler in the natural geometry whose hidden state follows the Langevin equation exactly.

    Spikes have the same size in all directions, in standard deviations of the target."""
    directions = random_readout(key, target.dim, neurons, scale=spike_size, unit_norm=True)
    return BalancedSampler(
        target,
        target.root @ directions,
        noise_factor=target.root,
        metric=target.precision,
        threshold_factor=1.2,
        tau_readout=TAU_READOUT,
        tau_langevin=1.0,
        drift_at="state",
    )


def follow(model: BalancedSampler, keys, starts, shift, times, max_events: int) -> dict[str, Any]:
    """Trials from hidden states on: estimates and hidden states at some times, and how often the
    network fired until the last."""
    ts = jnp.asarray(times)

    def one(key, start):
        solution = rs.eventsolve(
            model, 0.0, float(times[-1]), STEP, model.initial_state(start), key=key, args=shift,
            max_events=max_events, solver=dfx.Heun(), adjoint=rs.NoGradient(), throw=False,
            saveat=dfx.SaveAt(ts=ts),
        )  # fmt: skip
        estimates = jax.vmap(model.estimate)(solution.ys)
        hidden = jax.vmap(model.hidden_state)(solution.ys)
        ended_well = solution.result == rs.RESULTS.successful
        return estimates, hidden, solution.num_events, ended_well

    solve = jax.jit(jax.vmap(one))
    size = min(BATCH, keys.shape[0])
    found = []
    for i in range(0, keys.shape[0] // size * size, size):
        found.append(jax.tree.map(np.asarray, solve(keys[i : i + size], starts[i : i + size])))
    estimates, hidden, events, ended_well = (np.concatenate(x) for x in zip(*found, strict=True))
    if not ended_well.all():
        raise rs.EventSolveError(
            f"{int((~ended_well).sum())} of {ended_well.size} trials had no room for their "
            f"{max_events} events; take a larger `spike_size`."
        )
    return {"estimates": estimates, "hidden": hidden, "events": float(events.mean())}


def deviations(samples, mean, covariance) -> tuple[np.ndarray, np.ndarray]:
    """Sample means, and sample variances and covariances, minus the true ones, in standard errors
    of independent normal samples."""
    n = samples.shape[0]
    variance = np.diag(covariance)
    of_mean = (samples.mean(0) - mean) / np.sqrt(variance / n)
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    of_covariance = (np.cov(samples.T) - covariance) / error
    return of_mean, of_covariance[np.triu_indices(len(variance))]


def law_since_onset(settings) -> dict[str, Any]:
    """All moments of the estimate after the mean steps up by 6 at time 0, from the stationary law
    at the mean 0 on: against the target, and against the Langevin equation's own law until then,
    whose mean is 6 (1 - exp(-t)) and whose covariance is that of the target throughout."""
    s = settings
    target = GaussianTarget(
        0.0, equicorrelated_covariance(DIM, CORRELATION, common=3 * CORRELATION)
    )
    key_model, key_start, key_run = jr.split(jr.key(s.seed + 2), 3)
    model = sampler(target, NEURONS, s.spike_size, key_model)
    n = s.continuous_trials
    starts = target.sample(key_start, n)
    shift = jnp.full(DIM, MEAN)
    room = round(60 * TIMES[-1] / s.spike_size**2)
    found = follow(model, jr.split(key_run, n), starts, shift, TIMES, room)
    covariance = np.asarray(target.covariance, np.float64)
    rows = []
    for i, time in enumerate(TIMES):
        mean = np.full(DIM, MEAN * (1 - np.exp(-time)))
        row = {"time": time}
        for name in ("estimates", "hidden"):
            samples = found[name][:, i].astype(np.float64)
            means, covariances = deviations(samples, mean, covariance)
            row |= {
                f"{name}_mean": float(samples.mean()),
                f"{name}_variance": float(np.diag(np.cov(samples.T)).mean()),
                f"{name}_worst_mean": float(np.abs(means).max()),
                f"{name}_worst_covariance": float(np.abs(covariances).max()),
            }
        rows.append(row)
    last = found["estimates"][:, -1].astype(np.float64)
    means, covariances = deviations(last, np.full(DIM, MEAN), covariance)
    return {
        "rows": rows,
        "worst_mean": float(np.abs(means).max()),
        "worst_covariance": float(np.abs(covariances).max()),
        "readout_error_variance": float(
            np.mean((found["estimates"][:, -1] - found["hidden"][:, -1]) ** 2)
        ),
        "variance": float(covariance[0, 0]),
        "trials": last.shape[0],
        "spikes_per_tau": found["events"] / TIMES[-1],
    }


HIDDEN, OBSERVED = 8, 4


def posterior(settings) -> dict[str, Any]:
    """What may have caused an observation: eight causes along a line, smooth by their prior, of
    which four noisy sums of neighbours are seen. The observation changes at time 0; the network
    samples from the posterior, of which its input is linear in the observation."""
    s = settings
    place = np.arange(HIDDEN)
    prior = GaussianTarget(
        0.0, jnp.asarray(np.exp(-0.5 * ((place[:, None] - place[None]) / 1.5) ** 2)
                         + 0.05 * np.eye(HIDDEN))
    )  # fmt: skip
    seen = np.zeros((OBSERVED, HIDDEN))
    for i in range(OBSERVED):
        seen[i, 2 * i : 2 * i + 2] = 1.0
    world = LinearGaussianModel(prior, seen, 0.2 * np.eye(OBSERVED))
    keys = jr.split(jr.key(s.seed + 3), 5)
    causes = np.asarray(prior.sample(keys[0], 2)) * np.array([[1.0], [1.5]])
    noise = np.asarray(jr.normal(keys[1], (2, OBSERVED))) * 0.2**0.5
    before, after = (
        world.posterior(jnp.asarray(seen @ x + e, prior.covariance.dtype))
        for x, e in zip(causes, noise, strict=True)
    )
    target = GaussianTarget(0.0, before.covariance)  # the same for every observation
    model = sampler(target, 10 * HIDDEN, max(s.spike_size, 0.5), keys[2])
    n = max(s.continuous_trials // 4, 10)
    starts = before.sample(keys[3], n)
    times = (0.5, 1.0, 2.0, 4.0, 8.0)
    found = follow(model, jr.split(keys[4], n), starts, after.mean, times, 8000)
    last = found["estimates"][:, -1].astype(np.float64)
    mean = np.asarray(after.mean, np.float64)
    covariance = np.asarray(after.covariance, np.float64)
    means, covariances = deviations(last, mean, covariance)
    return {
        "cause": causes[1].tolist(),
        "mean_before": np.asarray(before.mean).tolist(),
        "mean": mean.tolist(),
        "sd": np.sqrt(np.diag(covariance)).tolist(),
        "sampled_mean": last.mean(0).tolist(),
        "sampled_sd": last.std(0, ddof=1).tolist(),
        "times": list(times),
        "course": found["estimates"].mean(0).tolist(),
        "worst_mean": float(np.abs(means).max()),
        "worst_covariance": float(np.abs(covariances).max()),
        "trials": n,
    }
