"""Gradients of a recurrent network of 100 neurons with delays, against central differences.

100 stochastic LIF neurons without noise between spikes, 10 % connected, every synapse with its own
weight and delay, one second. The loss is a smooth function of all spike times; its gradient in all
weights and delays by reverse-mode differentiation is held against central differences along random
directions. Then sparse against dense connectivity, and a relabelling of the neurons.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

import roughsnn as rs

from ._study import Study, format_table

DT = 0.01


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that neurons differ by their parameters alone."""

    def mark(self, key):
        return jnp.asarray(0.5)


def study(neurons: int = 100, directions: int = 20, max_spikes: int = 3000) -> Study:
    """Run the comparison.

    Args:
        neurons: size of the network.
        directions: random directions of the central differences.
        max_spikes: room for spikes.
    """
    with jax.enable_x64(True):
        return _study(neurons, directions, max_spikes)


def _study(size, directions, max_spikes):
    connections = rs.random_connections(size, key=jr.key(0), probability=0.1)
    rng = np.random.default_rng(0)
    edges = len(connections)
    inhibitory = np.asarray(connections.pre) >= 0.8 * size
    weights = np.where(inhibitory, -1.0, 0.15) * rng.uniform(0.5, 1.5, edges)
    parameters = (jnp.asarray(weights), jnp.asarray(rng.uniform(0.005, 0.03, edges)))
    current, start = jnp.asarray(rng.uniform(1.0, 1.4, size)), jnp.asarray(rng.uniform(0, 1, size))
    population = HalfMarks(size, sigma=None, v0=start)

    def solve(network, current, start):
        y0 = network.initial_state(jr.key(1))
        s = jnp.log(jnp.full(size, 0.5)) - population.alpha
        y0 = eqx.tree_at(lambda y: (y.neurons.v, y.neurons.s), y0, (start, s))
        return rs.eventsolve(
            network, 0.0, 1.0, DT, y0, key=jr.key(2), max_events=max_spikes, args=current
        )

    def trains(parameters, connections=connections):
        weights, delays = parameters
        network = rs.SpikingNetwork(
            population, weights, connections, synaptic_delays=delays, max_pending=768
        )
        return solve(network, current, start)

    def loss(parameters):
        times = trains(parameters).event_times
        return jnp.sum(jnp.where(jnp.isfinite(times), jnp.sin(5 * times), 0))

    began = time.perf_counter()
    gradient = ravel_pytree(jax.jit(jax.grad(loss))(parameters))[0]
    seconds = time.perf_counter() - began
    flat, unravel = ravel_pytree(parameters)
    compiled = jax.jit(lambda x: loss(unravel(x)))
    first = jax.jit(trains)(parameters)
    errors, plain, rows = [], [], []
    for number in range(directions):
        direction = rng.normal(size=flat.size)
        direction = jnp.asarray(direction / np.linalg.norm(direction))
        # two steps, and the extrapolation that takes the term in their square away: one rule for
        # every direction, so that no step is chosen by how well it agrees
        large, small = (
            float((compiled(flat + h * direction) - compiled(flat - h * direction)) / (2 * h))
            for h in (1e-6, 1e-7)
        )
        extrapolated = (100 * small - large) / 99
        exact = float(gradient @ direction)
        scale = max(abs(exact), 1.0)
        errors.append(abs(extrapolated - exact) / scale)
        plain.append(abs(small - exact) / scale)
        rows.append([number, exact, large, small, plain[-1], errors[-1]])

    def matrix(values):
        return jnp.full((size, size), 0.01).at[connections.pre, connections.post].set(values)

    mask = connections.mask
    dense = jax.jit(lambda p: trains(p, mask))(tuple(map(matrix, parameters)))
    same = bool(
        jnp.array_equal(dense.event_times, first.event_times)
        & jnp.array_equal(dense.event_indices, first.event_indices)
    )

    order = rng.permutation(size)
    place = np.argsort(order)
    relabelled = rs.SpikingNetwork(
        eqx.tree_at(lambda m: m.v0, population, start[order]), parameters[0],
        rs.SparseConnections(place[connections.pre], place[connections.post], size),
        synaptic_delays=parameters[1], max_pending=768,
    )  # fmt: skip
    moved = jax.jit(solve)(relabelled, current[order], start[order])
    finite = np.isfinite(first.event_times)
    named = np.where(finite, place[np.asarray(first.event_indices)], -1)
    relabelling = float(
        np.max(np.abs(np.where(finite, first.event_times - moved.event_times, 0)))
        if np.array_equal(named, moved.event_indices)
        else np.inf
    )
    figures = {
        "gradient_error": max(errors),
        "gradient_error_without_extrapolation": max(plain),
        "directions_beyond_bound": float(np.sum(np.array(errors) > 1e-6)),
        "dense_differs": float(not same),
        "relabelling_error": relabelling,
        "spikes": float(first.num_events),
        "gradient_seconds_with_compilation": seconds,
    }
    bounds = {"gradient_error": "<= 1e-6", "dense_differs": "<= 0", "relabelling_error": "<= 1e-12"}
    header = ["direction", "gradient", "difference, 1e-6", "difference, 1e-7", "its error", "error"]
    note = f"{size} neurons, {edges} synapses, {int(first.num_events)} spikes in one second"
    return Study(figures, bounds, f"{note}\n{format_table(header, rows)}")
