"""Four gradient engines against each other and against central differences.

Recurrent networks of 8 neurons drawn at random (weights of both signs, parameters of its own for
every neuron), float64. Without noise the loss of spike times and states is differentiated with
respect to all parameters, weights and input currents by every engine, and along a random direction
by central differences of fourth order. With noise the engines run along one Brownian path.
"""

import functools

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

import roughsnn as rs

from ._study import Study, format_table

NEURONS = 8
ENGINES = {
    "reverse": rs.ReverseMode(),
    "stochastic adjoint": rs.StochasticAdjoint(),
    "forward": rs.ForwardMode(),
    "traces, full": rs.EligibilityTraces("full"),
}


def study(networks: int = 200, batch: int = 20) -> Study:
    """Run the comparison.

    Args:
        networks: how many random networks.
        batch: how many are solved side by side.
    """
    with jax.enable_x64(True):
        figures, bounds, rows = {}, {}, []
        for sigma, solver, dt0 in ((None, dfx.Dopri8(), 0.1), (0.4, dfx.Euler(), 0.02)):
            found = [
                _compare(jnp.arange(i, min(i + batch, networks)), sigma, solver, dt0)
                for i in range(0, networks, batch)
            ]
            engines = {n: float(np.max([f[0][n] for f in found])) for n in list(ENGINES)[1:]}
            noise = "no noise" if sigma is None else f"sigma {sigma}"
            tag = "" if sigma is None else "_with_noise"
            for name, error in engines.items():
                rows.append([noise, f"{name} against reverse", error, networks])
            figures[f"largest_difference{tag}"] = max(engines.values())
            bounds[f"largest_difference{tag}"] = "<= 1e-8"
            if sigma is None:
                errors = np.concatenate([f[1] for f in found])
                kept = np.isfinite(errors)
                rows.append([noise, "reverse against differences", errors[kept].max(), kept.sum()])
                figures["largest_difference_error"] = float(errors[kept].max())
                bounds["largest_difference_error"] = "<= 1e-8"
                figures["networks_compared"] = int(kept.sum())
                events = np.concatenate([f[2] for f in found])
                figures["spikes_median"] = float(np.median(events))
    header = ["", "comparison", "largest relative error", "networks"]
    return Study(figures, bounds, format_table(header, rows))


def _network(seed, sigma):
    keys = jr.split(jr.key(seed), 6)
    n = NEURONS
    neurons = rs.StochasticLIF(
        n,
        sigma=sigma,
        mu1=jr.uniform(keys[0], (n,), minval=5.0, maxval=20.0),
        mu2=jr.uniform(keys[1], (n,), minval=3.0, maxval=8.0),
        v_reset=jr.uniform(keys[2], (n,), minval=0.8, maxval=1.6),
        alpha=jr.uniform(keys[3], (n,), minval=0.01, maxval=0.1),
    )
    weights = 0.2 * jr.normal(keys[4], (n, n))
    return rs.SpikingNetwork(neurons, weights), 0.9 + 0.5 * jr.uniform(keys[5], (n,))


@functools.cache
def _functions(sigma, solver, dt0):
    like = _network(0, sigma)
    unravel = ravel_pytree(like)[1]

    def loss(flat, seed, adjoint):
        network, current = unravel(flat)
        key = jr.fold_in(jr.key(10), seed)
        solution = rs.eventsolve(
            network, 0.0, 0.8, dt0, network.initial_state(key), key=key, max_events=64,
            args=current, solver=solver, adjoint=adjoint, throw=False,
        )  # fmt: skip
        times = jnp.where(jnp.isfinite(solution.event_times), solution.event_times, 0)
        value = jnp.sum(jnp.sin(3 * times)) + jnp.sum(solution.final_state.i**2)
        return value, solution.num_events

    def of(adjoint):
        return jax.jit(jax.vmap(jax.grad(functools.partial(loss, adjoint=adjoint), has_aux=True)))

    value = jax.jit(jax.vmap(functools.partial(loss, adjoint=rs.ReverseMode())))
    return value, {name: of(adjoint) for name, adjoint in ENGINES.items()}


def _compare(seeds, sigma, solver, dt0):
    value, gradients = _functions(sigma, solver, dt0)
    flat = jnp.stack([ravel_pytree(_network(seed, sigma))[0] for seed in seeds])
    got = {name: f(flat, seeds) for name, f in gradients.items()}
    reference, events = got["reverse"]
    scale = jnp.max(jnp.abs(reference), axis=1)
    between = {
        name: np.max(np.max(np.abs(g - reference), axis=1) / scale)
        for name, (g, _) in got.items()
        if name != "reverse"
    }
    if sigma is not None:
        return between, None, np.asarray(events)
    directions = jr.normal(jr.key(11), flat.shape)
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    h = 1e-4
    at = {i: value(flat + i * h * directions, seeds) for i in (-2, -1, 1, 2)}
    f = {i: v for i, (v, _) in at.items()}
    difference = (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)
    errors = np.abs(jnp.sum(reference * directions, axis=1) - difference) / scale
    # where a spike enters or leaves the window between the two sides the loss itself jumps
    same = np.all([(n == events) & (n < 64) for _, n in at.values()], axis=0)
    return between, np.where(same, errors, np.nan), np.asarray(events)
