"""What synapses bring to each neuron in each step, as a function of their weights, with the spikes
as they are: what a rule multiplies with the perturbation of the same quantity (eligibility)."""

from typing import Any

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._exponentials import relative_growth
from ..drivers import TimeGrid
from ..networks import SparseConnections, SpikingNetwork

# half a step, or a little less: what was meant to be half is rounded up
_HALF = 0.5 + 1e-4


def synaptic_drive(
    network: SpikingNetwork, times: Any, neurons: Any, inputs: Any, grid: TimeGrid, by_clock: bool
) -> tuple[Float[Array, "steps K"], ...]:
    """The mean over each step of the synaptic current, or of both conductances, of one trial.

    Args:
        network: the network.
        times: of the spikes, since the start of the window.
        neurons: whose they are; -1 for none.
        inputs: times and rows of input spikes, or `None`.
        grid: the steps.
        by_clock: whether spikes act at the ends of steps only.
    """
    arriving = [_recurrent(network, times, neurons, grid, by_clock)]
    if inputs is not None:
        since, rows = inputs
        weights = network.input_weights[jnp.maximum(rows, 0)]  # pyright: ignore
        weights = jnp.where((rows >= 0)[:, None], weights, 0)
        since = _up(since, grid) if by_clock else since
        # an input at the start of the window comes before it
        arriving.append((jnp.where(since > 0, since, jnp.inf)[:, None], weights))
    if network.synapses is None:
        rate = network.neurons.mu2  # pyright: ignore[reportAttributeAccessIssue]
        return (_in_steps(arriving, lambda w: w, rate, grid, network.num_neurons),)
    rates = network.synapses.mu_e, network.synapses.mu_i
    parts = (lambda w: jnp.maximum(w, 0)), (lambda w: jnp.maximum(-w, 0))
    return tuple(
        _in_steps(arriving, part, rate, grid, network.num_neurons)
        for part, rate in zip(parts, rates, strict=True)
    )


def _recurrent(network: SpikingNetwork, times, neurons, grid: TimeGrid, by_clock: bool):
    """When the spikes of the network arrive at each neuron, and how strongly."""
    k, who = network.num_neurons, jnp.maximum(neurons, 0)
    weights = jnp.where(
        (neurons >= 0)[:, None], _as_matrix(network, network.effective_weights)[who], 0
    )
    delays: Any = None
    if network.axonal_delays is not None:
        axonal = network.axonal_delays
        delays = (axonal if axonal.ndim == 0 else axonal[:, None]) * jnp.ones((k, k), weights.dtype)
    if network.synaptic_delays is not None:
        synaptic = network.synaptic_delays
        matrix = synaptic if synaptic.ndim == 0 else _as_matrix(network, synaptic)
        delays = matrix * jnp.ones((k, k), weights.dtype) + (0 if delays is None else delays)
    arrival = jnp.where(neurons >= 0, times, jnp.inf)[:, None]
    if delays is not None:
        if by_clock:
            delays = jnp.floor(delays / grid.dt0 + _HALF) * grid.dt0
        arrival = arrival + jnp.maximum(delays, 0)[who]
    return arrival, weights


def _as_matrix(network: SpikingNetwork, values: Array) -> Array:
    connections = network.connections
    if not isinstance(connections, SparseConnections):
        return values
    k = network.num_neurons
    return jnp.zeros((k, k), values.dtype).at[connections.pre, connections.post].set(values)


def _up(since, grid: TimeGrid):
    """The end of the step in which a time lies."""
    number = since / grid.dt0
    slack = jnp.maximum(4 * float(jnp.finfo(since.dtype).eps) * number, 1e-9)
    return jnp.where(jnp.isfinite(since), jnp.ceil(number - slack) * grid.dt0, since)


def _in_steps(arriving: list, part: Any, rate, grid: TimeGrid, k: int):
    """The mean over each step of a quantity that jumps at arrivals and decays at a rate."""
    dtype = arriving[0][1].dtype
    widths = grid.widths(dtype)
    rate = jnp.broadcast_to(rate, (k,)).astype(dtype)
    after = jnp.zeros((grid.num_cells, k), dtype)
    mean = jnp.zeros((grid.num_cells, k), dtype)
    for times, weights in arriving:
        times = jnp.broadcast_to(times, weights.shape).astype(dtype)
        inside = times < grid.duration * (1 - 1e-9)
        cell, offset = grid.place(jnp.where(inside, times, 0))
        left = jnp.maximum(widths[cell] - offset, 0)
        sizes = jnp.where(inside, part(weights), 0)
        post = jnp.broadcast_to(jnp.arange(k, dtype=jnp.int32)[None], sizes.shape)
        felt = left * relative_growth(-rate[None] * left) / widths[cell]
        after = after.at[cell, post].add(sizes * jnp.exp(-rate[None] * left))
        mean = mean.at[cell, post].add(sizes * felt)
    kept = jnp.exp(-rate[None] * widths[:, None])
    share = relative_growth(-rate[None] * widths[:, None])

    def step(value, given):
        kept, share, after = given
        return value * kept + after, value * share

    _, before = lax.scan(step, jnp.zeros(k, dtype), (kept, share, after))
    return before + mean


def weighted_drive(
    network: SpikingNetwork, trains: Any, inputs: Any, grid: TimeGrid, by_clock: bool, weights: Any
) -> Float[Array, ""]:
    """The sum over trials, steps and neurons of what synapses bring, times given weights."""

    def one(times, neurons, inputs, weights):
        drive = synaptic_drive(network, times, neurons, inputs, grid, by_clock)
        return sum(jnp.sum(d * w) for d, w in zip(drive, weights, strict=True))

    shared = inputs is None or inputs[0].ndim == 1
    axes = (0, 0, None if shared else 0, 0)
    return jnp.sum(jax.vmap(one, in_axes=axes)(trains.times, trains.neurons, inputs, weights))
