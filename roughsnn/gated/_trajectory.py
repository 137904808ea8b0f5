"""The loop over the steps of a network with gated synapses."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .network import GatedNetwork


def trajectory(
    network: GatedNetwork,
    inputs: Float[Array, "steps batch M"],
    dt0: float,
    v0: Float[Array, "batch N"],
    checkpoint_every: int | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The loop over steps, time first: the final carry, and what each step hands out.

    Each step hands out the potential after it (`v`), the traces after it (`traces`, a tuple), how
    long after its start each neuron fired (`delay`, infinite if not), and the current, the
    potential and the traces at its start (`current`, `start_v`, `start_traces`).
    """
    neuron, gate = network.neuron, network.gate
    matrices = network.couplings
    decays = [math.exp(-dt0 / tau) for tau in network.taus]

    # Kept for the backward pass is the state at each step; the step itself is computed anew.
    @jax.checkpoint
    def step(carry, external):
        v, share, traces = carry
        current = external
        for trace, matrix in zip(traces, matrices, strict=True):
            current = current + trace @ matrix
        new = v + (dt0 / neuron.tau) * neuron.speed(v, current)
        new_share = gate.cumulative(new)
        fires = new >= neuron.threshold
        charge = new_share - share
        new_traces = tuple(r * d + charge for r, d in zip(traces, decays, strict=True))
        # a harmless current where nothing fires, or 0 / 0 spoils the derivative
        factor = neuron.reset_factor(jnp.where(fires, current, neuron.threshold + 1))
        after = jnp.where(fires, neuron.reset + (new - neuron.threshold) * factor, new)
        rise = jnp.where(fires, new - v, 1)
        delay = jnp.where(fires, dt0 * (neuron.threshold - v) / rise, jnp.inf)
        outputs = {
            "v": after, "traces": new_traces, "delay": delay,
            "current": current, "start_v": v, "start_traces": traces,
        }  # fmt: skip
        return (after, jnp.where(fires, 0, new_share), new_traces), outputs

    carry = (v0, gate.cumulative(v0), (jnp.zeros_like(v0),) * network.num_populations)

    def steps(carry, inputs):
        # the currents of all steps by one matrix product
        return jax.lax.scan(step, carry, network.external_current(inputs))

    if checkpoint_every is None:
        return steps(carry, inputs)

    segment = jax.checkpoint(steps)
    whole = inputs.shape[0] // checkpoint_every * checkpoint_every
    shape = (-1, checkpoint_every, *inputs.shape[1:])
    carry, first = jax.lax.scan(segment, carry, inputs[:whole].reshape(shape))
    carry, last = segment(carry, inputs[whole:])

    def join(first, last):
        return jnp.concatenate([first.reshape(-1, *last.shape[1:]), last])

    return carry, jax.tree.map(join, first, last)
