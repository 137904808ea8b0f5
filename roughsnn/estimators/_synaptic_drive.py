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
        since = _up(since, grid) if by_clock else since
        # an input at the start of the window comes before it
        since = jnp.where((rows >= 0) & (since > 0), since, jnp.inf)
        arriving.append((since, jnp.maximum(rows, 0), network.input_rows))
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
    """When the spikes of the network arrive, whose they are, and the weights from row to column;
    with delays of single synapses, when they arrive at each neuron."""
    who = jnp.maximum(neurons, 0)
    weights = _as_matrix(network, network.effective_weights)
    arrival = jnp.where(neurons >= 0, times, jnp.inf)
    delays: Any = None
    if network.axonal_delays is not None:
        axonal = network.axonal_delays
        delays = axonal if axonal.ndim == 0 else axonal[who]
    if network.synaptic_delays is not None:
        synaptic = network.synaptic_delays
        if synaptic.ndim == 0:
            delays = synaptic + (0 if delays is None else delays)
        else:
            own = jnp.zeros_like(arrival) if delays is None else delays * jnp.ones_like(arrival)
            delays, arrival = _as_matrix(network, synaptic)[who] + own[:, None], arrival[:, None]
    if delays is not None:
        if by_clock:
            delays = jnp.floor(delays / grid.dt0 + _HALF) * grid.dt0
        arrival = arrival + jnp.maximum(delays, 0)
    return arrival, who, weights


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
    dtype = arriving[0][2].dtype
    widths = grid.widths(dtype)
    rate = rate.astype(dtype)
    total = jnp.zeros((grid.num_cells, k), dtype)
    mean, after = total, total
    for times, rows, weights in arriving:
        weights = part(weights.astype(dtype))
        times = times.astype(dtype)
        inside = times < grid.duration * (1 - 1e-9)
        cell, offset = grid.place(jnp.where(inside, times, 0))
        left = jnp.maximum(widths[cell] - offset, 0)
        if times.ndim == 1 and rate.ndim == 0:
            # the same for all neurons that a spike reaches: one product of rasters with the weights
            felt, later = _of_jump(rate, left, widths[cell])
            empty = jnp.zeros((grid.num_cells, weights.shape[0]), dtype)
            mean += empty.at[cell, rows].add(jnp.where(inside, felt, 0)) @ weights
            after += empty.at[cell, rows].add(jnp.where(inside, later, 0)) @ weights
            continue
        cell, left, inside = (
            jnp.broadcast_to(x.reshape(x.shape[0], -1), (x.shape[0], k))
            for x in (cell, left, inside)
        )
        own = jnp.broadcast_to(rate, (k,))[None]
        felt, later = _of_jump(own, left, widths[cell])
        sizes = jnp.where(inside, weights[rows], 0)
        post = jnp.broadcast_to(jnp.arange(k, dtype=jnp.int32)[None], sizes.shape)
        mean = mean.at[cell, post].add(sizes * felt)
        after = after.at[cell, post].add(sizes * later)
    rate = jnp.broadcast_to(rate, (k,))
    kept = jnp.exp(-rate[None] * widths[:, None])
    share = relative_growth(-rate[None] * widths[:, None])

    def step(value, given):
        kept, share, after = given
        return value * kept + after, value * share

    _, before = lax.scan(step, jnp.zeros(k, dtype), (kept, share, after))
    return before + mean


def _of_jump(rate, left, width):
    """The mean over a step, and the value at its end, of a unit that came with so much left."""
    return left * relative_growth(-rate * left) / width, jnp.exp(-rate * left)


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
