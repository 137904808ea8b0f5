"""Time and memory of a gradient step beside a clock-driven surrogate-gradient step.

The two networks of Holberg & Salvi 2024 (one neuron; 4-16-2 neurons), batch 128, on the same time
grid and with the same noise. The competitor is the step that clock-driven libraries take, written
with `jax.lax.scan`: forward Euler, threshold on the grid, fast-sigmoid surrogate derivative.
Both sides simulate, evaluate a loss, differentiate it and update by RMSProp. What a loss of
signatures adds is seen beside the same step with a simple one, the mean of first spikes. The
network is computed from event to event, and (`network_cells`) cell by cell.

The loss of the signature kernel is taken over all pairs of trains (`network_kernel`), and over
those of each train with 8 others of each sample (`network_partners`), whose gradient has the same
mean; how much more it varies over draws of the noise is a figure beside.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs

from ._measure import compare, paired_ratio
from ._study import Study, format_table

BATCH = 128
# trains that each one meets, of each sample
PARTNERS = 8


def study(repeats: int = 30, draws: int = 48) -> Study:
    """Run the comparison.

    Args:
        repeats: rounds of timing, each with one run of every candidate.
        draws: draws of the noise with which the gradients of the kernel losses are compared.
    """
    measured = compare({**_one_neuron(), **_network()}, repeats)
    figures, rows = {}, []
    for name in (
        "one_neuron", "network", "network_cells", "network_signature", "network_partners",
        "network_kernel",
    ):  # fmt: skip
        ours = measured[name]
        other = measured["one_neuron_surrogate" if name == "one_neuron" else "network_surrogate"]
        figures[f"{name}_time_ratio"] = paired_ratio(ours, other)
        figures[f"{name}_memory_ratio"] = ours.temp_bytes / other.temp_bytes
        figures[f"{name}_compile_seconds"] = ours.compile_seconds
    for loss in ("signature", "partners", "kernel"):
        step, simple = measured[f"network_{loss}"], measured["network"]
        for clock in ("wall", "cpu"):
            figures[f"network_{loss}_over_simple_{clock}"] = paired_ratio(step, simple, clock)
    figures |= _scatter(draws)
    for name, m in measured.items():
        rows.append(
            [name, 1e3 * m.wall_seconds, 1e3 * m.cpu_seconds, m.temp_bytes / 1e6, m.compile_seconds]
        )
    header = ["gradient step", "wall ms", "CPU ms", "scratch MB", "compile s"]
    bounds = {
        "one_neuron_time_ratio": "<= 3",
        "one_neuron_memory_ratio": "<= 5",
        "network_time_ratio": "<= 3",
        "network_memory_ratio": "<= 5",
        "network_compile_seconds": "<= 15",
        "network_cells_time_ratio": "<= 2.5",
        "network_cells_compile_seconds": "<= 3.5",
        "network_signature_over_simple_wall": "<= 1.5",
        "network_partners_over_simple_wall": "<= 3",
        "network_kernel_over_simple_wall": "<= 3",
        "partners_gradient_variance_ratio": "<= 1.5",
        "partners_gradient_bias_in_errors": "<= 4",
    }
    return Study(figures, bounds, format_table(header, rows))


def _update_step(simulate, loss, parameters):
    optimiser = optax.rmsprop(1e-3, decay=0.7, momentum=0.3)

    def step(parameters, state, key):
        def objective(parameters):
            return loss(simulate(parameters, key))

        value, gradient = jax.value_and_grad(objective)(parameters)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(parameters, updates), state, value

    return step, optimiser.init(parameters)


def _one_neuron():
    neuron = rs.StochasticLIF(1, mu1=15.0, mu2=0.0, sigma=0.25)

    def simulate(current, key):
        return rs.simulate(
            neuron, 0.0, 5.0, 0.01, key=key, num_samples=BATCH, max_spikes=3, stop_after=3,
            input_current=current,
        )  # fmt: skip

    observed = simulate(jnp.asarray(1.5), jr.key(1))
    loss = rs.PairedTruncatedSignatureLoss(depth=3)
    # the first step of the experiment: few spikes, so every sample runs to the end of the window
    current = jnp.asarray(0.5635)
    ours, state = _update_step(simulate, lambda trains: loss(trains, observed), current)
    other = _surrogate(1, 5.0, mu1=15.0, mu2=0.0, v_reset=1.4)
    weights = jnp.zeros((1, 1))
    theirs, other_state = _update_step(other, _count_loss, (weights, current[None]))
    return {
        "one_neuron": (ours, (current, state, jr.key(2))),
        "one_neuron_surrogate": (theirs, ((weights, current[None]), other_state, jr.key(2))),
    }


def _network():
    simulate, weights, *others = network_simulation(rs.EventEngine())
    observed = simulate(0.5 * weights, jr.key(4))

    def by(loss):
        target = loss.target(observed)
        step, state = _update_step(simulate, lambda trains: loss(trains, target), weights)
        return step, (weights, state, jr.key(5))

    return {
        "network": network_by(rs.EventEngine()),
        "network_cells": network_by(rs.CellEngine()),
        "network_surrogate": network_surrogate(weights, *others),
        "network_signature": by(rs.ExpectedSignatureLoss(depth=3)),
        "network_partners": by(rs.SignatureMMDLoss(partners=PARTNERS)),
        "network_kernel": by(rs.SignatureMMDLoss()),
    }


def _scatter(draws: int) -> dict[str, float]:
    """How the gradient of the loss from some pairs varies beside that from all, and whether their
    means agree.

    The variance is the sum of those of all weights. The difference of both gradients, of the same
    trains, is judged along the mean gradient, in its own standard errors.
    """
    simulate, weights, *_ = network_simulation(rs.EventEngine())
    observed = simulate(0.5 * weights, jr.key(4))
    kernel = rs.SignatureKernel().fixed_for(observed)
    gradients = []
    for partners in (None, PARTNERS):
        loss = rs.SignatureMMDLoss(kernel, partners=partners)
        target = loss.target(observed)

        def objective(weights, key, loss=loss, target=target):
            return loss(simulate(weights, key), target)

        gradient = jax.jit(jax.grad(objective))
        found = [gradient(weights, jr.key(100 + draw)).reshape(-1) for draw in range(draws)]
        gradients.append(np.asarray(jnp.stack(found), np.float64))
    of_all, of_some = gradients
    variances = [np.sum(np.var(g, axis=0, ddof=1)) for g in gradients]
    direction = of_all.mean(axis=0)
    along = (of_some - of_all) @ direction
    error = along.std(ddof=1) / np.sqrt(draws)
    return {
        "partners_gradient_variance_ratio": float(variances[1] / variances[0]),
        "partners_gradient_bias_in_errors": float(abs(along.mean()) / error),
    }


def network_by(engine: rs.AbstractEngine):
    """The step of the network by an engine, for the mean of first spikes, and its arguments."""
    simulate, weights, *_ = network_simulation(engine)
    first = rs.FirstSpikesLoss(3)
    target = first.target(simulate(0.5 * weights, jr.key(4)))
    ours, state = _update_step(simulate, lambda trains: first(trains, target), weights)
    return ours, (weights, state, jr.key(5))


def network_surrogate(weights, current, connections):
    """The surrogate step of the network."""
    other = _surrogate(22, 1.0, mu1=6.0, mu2=5.0, v_reset=1.2, v0=1.1, i0=0.6, mask=connections)
    theirs, other_state = _update_step(other, _count_loss, (weights, current))
    return theirs, ((weights, current), other_state, jr.key(5))


def network_simulation(engine):
    """The network of 22 neurons by an engine: the simulation, its weights, current and
    connections."""
    k = 22
    connections = rs.layered_connections(4, 16, 2)
    neurons = rs.StochasticLIF(
        k, mu1=6.0, mu2=5.0, sigma=0.25 * jnp.eye(2), v_reset=1.2, v0=1.1, i0=0.6
    )
    weights = jr.uniform(jr.key(3), (k, k))
    current = jnp.zeros(k).at[:4].set(1.5)

    protocol = rs.Protocol(0.0, 1.0, 0.01, max_spikes=100, input_current=current)
    if isinstance(engine, rs.CellEngine):
        network = rs.SpikingNetwork(neurons, weights, connections)
        engine = engine.prepared(network, protocol, num_samples=BATCH, key=jr.key(4))

    def simulate(weights, key):
        network = rs.SpikingNetwork(neurons, weights, connections)
        return engine.spike_trains(network, protocol, key=key, num_samples=BATCH, throw=False)

    return simulate, weights, current, connections


def _count_loss(spikes):
    """Squared error of the mean spike counts."""
    return jnp.mean((jnp.mean(jnp.sum(spikes, 0), 0) - 3.0) ** 2)


@jax.custom_jvp
def _spike(x):
    return (x > 0).astype(x.dtype)


@_spike.defjvp
def _spike_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return _spike(x), x_dot / (1 + 10 * jnp.abs(x)) ** 2


def _surrogate(k, t1, *, mu1, mu2, v_reset, v0=0.0, i0=0.0, mask=None):
    """The clock-driven simulation: spikes (steps, batch, K) on the grid of step 0.01."""
    dt, sigma, steps = 0.01, 0.25, round(t1 / 0.01)

    def simulate(parameters, key):
        weights, current = parameters
        if mask is not None:
            weights = jnp.where(mask, weights, 0)
        noise = jr.normal(jr.fold_in(key, 0), (steps, BATCH, k, 2)) * jnp.sqrt(dt)
        levels = jnp.log(jr.uniform(jr.fold_in(key, 1), (steps + 1, BATCH, k), minval=1e-7))

        def step(state, inputs):
            v, i, s = state
            db, level = inputs
            intensity = jnp.exp(5 * jnp.minimum(v - 1, 10.0))
            v_next = v + mu1 * (i + current - v) * dt + sigma * db[..., 0]
            i_next = i - mu2 * i * dt + sigma * db[..., 1]
            s_next = s + intensity * dt
            z = _spike(s_next)
            i_next = i_next + z @ weights
            return (v_next - v_reset * z, i_next, jnp.where(z > 0, level - 0.03, s_next)), z

        start = (jnp.full((BATCH, k), v0), jnp.full((BATCH, k), i0), levels[-1] - 0.03)
        return jax.lax.scan(step, start, (noise, levels[:-1]))[1]

    return simulate
