"""Gradients of a recurrent network of 100 neurons with delays, against central differences.

100 stochastic LIF neurons without noise between spikes, 10 % connected, every synapse with its own
weight and delay, one second. The loss is a smooth function of all spike times; its gradient in all
weights and delays by reverse-mode differentiation is held against central differences along random
directions. Then sparse against dense connectivity, and a relabelling of the neurons.

Steps are cut at every spike and at every arrival, some 3100 times. Where two of these times change
places, or one crosses a grid point, the solution of the equation is smooth, but that of a scheme
of low order is not: which step is cut first matters by the error of the scheme. With Tsit5 such
kinks are below the bound. Euler's are shown beside it: there the difference quotient has the error
of the kinks between its two ends, and the gradient that of the scheme.
"""

import time

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

import roughsnn as rs

from ._study import Study, format_table

DT = 0.01
# two steps for every direction, none chosen by how well it agrees; the larger error counts
STEPS = (1e-5, 1e-6)


class HalfMarks(rs.StochasticLIF):
    """Every mark is 1/2, so that neurons differ by their parameters alone."""

    def mark(self, key):
        return jnp.asarray(0.5)


class _Problem:
    """The network, its parameters, and the loss of its spike times."""

    def __init__(self, size: int, max_spikes: int):
        self.size, self.max_spikes = size, max_spikes
        self.connections = rs.random_connections(size, key=jr.key(0), probability=0.1)
        rng = np.random.default_rng(0)
        edges = len(self.connections)
        inhibitory = np.asarray(self.connections.pre) >= 0.8 * size
        weights = np.where(inhibitory, -1.0, 0.15) * rng.uniform(0.5, 1.5, edges)
        delays = rng.uniform(0.005, 0.03, edges)
        self.parameters = (jnp.asarray(weights), jnp.asarray(delays))
        self.flat, self.unravel = ravel_pytree(self.parameters)
        self.current = jnp.asarray(rng.uniform(1.0, 1.4, size))
        self.start = jnp.asarray(rng.uniform(0, 1, size))
        self.population = HalfMarks(size, sigma=None, v0=self.start)
        self.rng = rng

    def network(self, parameters, connections, population):
        weights, delays = parameters
        return rs.SpikingNetwork(
            population, weights, connections, synaptic_delays=delays, max_pending=768
        )

    def solve(self, network, current, start, solver):
        y0 = network.initial_state(jr.key(1))
        s = jnp.log(jnp.full(self.size, 0.5)) - self.population.alpha
        y0 = eqx.tree_at(lambda y: (y.neurons.v, y.neurons.s), y0, (start, s))
        return rs.eventsolve(
            network, 0.0, 1.0, DT, y0, key=jr.key(2), max_events=self.max_spikes, args=current,
            solver=solver,
        )  # fmt: skip

    def trains(self, parameters, solver, connections=None):
        connections = self.connections if connections is None else connections
        network = self.network(parameters, connections, self.population)
        return self.solve(network, self.current, self.start, solver)

    def loss(self, flat, solver):
        """The loss, and what it is of."""
        trains = self.trains(self.unravel(flat), solver)
        times = trains.event_times
        return jnp.sum(jnp.where(jnp.isfinite(times), jnp.sin(5 * times), 0)), trains

    def order(self, flat, trains) -> list[tuple]:
        """All spikes and arrivals in their order, each with the cell of the grid that it is in."""
        delays = np.asarray(self.unravel(flat)[1])
        count, pre = int(trains.num_events), np.asarray(self.connections.pre)
        times = np.asarray(trains.event_times)[:count]
        neurons = np.asarray(trains.event_indices)[:count]
        found = []
        for t, k in zip(times, neurons, strict=True):
            own = np.flatnonzero(pre == k)
            found.append((t, "spike", int(k)))
            found += [(t + delays[e], "arrival", int(e)) for e in own if t + delays[e] < 1]
        return [(*what, int(t / DT)) for t, *what in sorted(found)]


def study(neurons: int = 100, directions: int = 20, max_spikes: int = 600) -> Study:
    """Run the comparison.

    Args:
        neurons: size of the network.
        directions: random directions of the central differences.
        max_spikes: room for spikes.
    """
    with jax.enable_x64(True):
        return _study(_Problem(neurons, max_spikes), directions)


def _differences(problem: _Problem, solver, directions):
    """The gradient, and for each direction its product with it and, for each step, the difference
    quotient and whether the order of events is another at its two ends."""
    gradient = jax.jit(jax.grad(lambda x: problem.loss(x, solver)[0]))(problem.flat)
    value = jax.jit(lambda x: problem.loss(x, solver))  # compiled where it is first called
    rows = []
    for direction in directions:
        row = [float(gradient @ direction)]
        for h in STEPS:
            ends = [problem.flat + sign * h * direction for sign in (1, -1)]
            (above, first), (below, second) = map(value, ends)
            orders = [problem.order(*x) for x in zip(ends, (first, second), strict=True)]
            row += [float(above - below) / (2 * h), orders[0] != orders[1]]
        rows.append(row)
    return np.asarray(gradient), rows


def _errors(rows) -> np.ndarray:
    """The error of each difference, relative to the derivative where that is above one."""
    exact = np.array([[row[0]] for row in rows])
    differences = np.array([[row[1], row[3]] for row in rows])
    return np.abs(differences - exact) / np.maximum(np.abs(exact), 1)


def _study(problem: _Problem, count: int) -> Study:
    size, connections, rng = problem.size, problem.connections, problem.rng
    directions = rng.normal(size=(count, problem.flat.size))
    directions = jnp.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    solver, began = dfx.Tsit5(), time.perf_counter()
    gradient, rows = _differences(problem, solver, directions)
    seconds = time.perf_counter() - began
    euler_gradient, euler_rows = _differences(problem, dfx.Euler(), directions)
    heun_gradient, _ = _differences(problem, dfx.Heun(), ())
    errors, euler_errors = _errors(rows), _errors(euler_rows)
    changed = np.array([[row[2], row[4]] for row in euler_rows])
    first = jax.jit(lambda p: problem.trains(p, solver))(problem.parameters)

    def matrix(values):
        return jnp.full((size, size), 0.01).at[connections.pre, connections.post].set(values)

    mask = connections.mask
    dense = jax.jit(lambda p: problem.trains(p, solver, mask))(
        tuple(map(matrix, problem.parameters))
    )
    same = bool(
        jnp.array_equal(dense.event_times, first.event_times)
        & jnp.array_equal(dense.event_indices, first.event_indices)
    )

    order = rng.permutation(size)
    place = np.argsort(order)
    relabelled = problem.network(
        problem.parameters,
        rs.SparseConnections(place[connections.pre], place[connections.post], size),
        eqx.tree_at(lambda m: m.v0, problem.population, problem.start[order]),
    )
    moved = jax.jit(lambda n, c, v: problem.solve(n, c, v, solver))(
        relabelled, problem.current[order], problem.start[order]
    )
    finite = np.isfinite(first.event_times)
    named = np.where(finite, place[np.asarray(first.event_indices)], -1)
    relabelling = float(
        np.max(np.abs(np.where(finite, first.event_times - moved.event_times, 0)))
        if np.array_equal(named, moved.event_indices)
        else np.inf
    )
    euler_off, heun_off = (
        float(np.linalg.norm(other - gradient) / np.linalg.norm(gradient))
        for other in (euler_gradient, heun_gradient)
    )
    figures = {
        "gradient_error": float(errors.max()),
        "directions_beyond_bound": float(np.sum(errors.max(axis=1) > 1e-6)),
        "dense_differs": float(not same),
        "relabelling_error": relabelling,
        "euler_difference_error": float(euler_errors.max()),
        "euler_difference_error_without_kinks": float(
            euler_errors[~changed].max() if np.any(~changed) else np.nan
        ),
        "euler_gradient_off": euler_off,
        "heun_gradient_off": heun_off,
        "spikes": float(first.num_events),
        "seconds_with_compilation": seconds,
    }
    bounds = {"gradient_error": "<= 1e-6", "dense_differs": "<= 0", "relabelling_error": "<= 1e-12"}
    header = ["direction", "gradient"]
    for name in ("Tsit5", "Euler"):
        header += [f"{name}, error at {h:g}" for h in STEPS] + [f"{name}, order changed"]
    table = []
    for n, row in enumerate(rows):
        line = [n, row[0]]
        for e, r in ((errors, row), (euler_errors, euler_rows[n])):
            line += [*e[n], " ".join("yes" if x else "no" for x in (r[2], r[4]))]
        table.append(line)
    edges = len(connections)
    note = f"{size} neurons, {edges} synapses, {int(first.num_events)} spikes in one second"
    return Study(figures, bounds, f"{note}\n{format_table(header, table)}")
