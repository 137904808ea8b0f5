"""Memory and time of a gradient: the stochastic adjoint beside plain reverse mode.

A recurrent network of 8 stochastic LIF neurons over 20,000 steps, in which about 2,000 spikes
happen. The gradient of a loss of all spike times with respect to every parameter and weight, once
by reverse mode through the scheme and once by the stochastic adjoint, from the same key and so
along the same path, float64. Memory is what the compiled gradient plans to use for its
intermediate values.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree

import roughsnn as rs

from ._measure import compare, paired_ratio
from ._study import Study, format_table

NEURONS = 8


def study(steps: int = 20_000, repeats: int = 3) -> Study:
    """Run the comparison.

    Args:
        steps: cells of the time grid, each of length 1e-3.
        repeats: timed runs of each gradient.
    """
    with jax.enable_x64(True):
        return _study(steps, repeats)


def _study(steps, repeats):
    neurons = rs.StochasticLIF(NEURONS, sigma=0.3, v_reset=0.5, tau_s=0.25)
    network = rs.SpikingNetwork(neurons, 0.05 * jr.normal(jr.key(1), (NEURONS, NEURONS)))
    room = steps // 5

    def gradient(adjoint):
        def loss(network):
            solution = rs.eventsolve(
                network, 0.0, steps * 1e-3, 1e-3, network.initial_state(jr.key(2)), key=jr.key(3),
                max_events=room, args=jnp.full(NEURONS, 1.5), adjoint=adjoint, throw=False,
            )  # fmt: skip
            times = jnp.where(jnp.isfinite(solution.event_times), solution.event_times, 0)
            return jnp.mean(jnp.sin(times)), solution.num_events

        def run(network):
            gradient, events = eqx.filter_grad(loss, has_aux=True)(network)
            return ravel_pytree(gradient)[0], events

        return run

    engines = {"reverse": rs.ReverseMode(), "adjoint": rs.StochasticAdjoint()}
    runs = {name: gradient(adjoint) for name, adjoint in engines.items()}
    values = {name: jax.jit(run)(network) for name, run in runs.items()}
    measured = compare({name: (run, (network,)) for name, run in runs.items()}, repeats=repeats)
    reference, events = (np.asarray(x) for x in values["reverse"])
    distance = np.linalg.norm(values["adjoint"][0] - reference) / np.linalg.norm(reference)
    memory = {name: m.temp_bytes / 1e6 for name, m in measured.items()}
    figures = {
        "steps": steps,
        "events": int(events),
        "memory_ratio": memory["adjoint"] / memory["reverse"],
        "time_ratio": paired_ratio(measured["adjoint"], measured["reverse"]),
        "relative_distance": float(distance),
    }
    # one path in both: sums of 20,000 terms in another order
    bounds = {
        "events": ">= 2000",
        "memory_ratio": "<= 0.1",
        "time_ratio": "<= 2",
        "relative_distance": "<= 1e-8",
    }
    rows = [
        [name, memory[name], 1e3 * m.wall_seconds, 1e3 * m.cpu_seconds, m.compile_seconds]
        for name, m in measured.items()
    ]
    table = format_table(["engine", "memory, MB", "wall, ms", "CPU, ms", "compile, s"], rows)
    return Study(figures, bounds, f"{steps} steps, {int(events)} events\n{table}")
