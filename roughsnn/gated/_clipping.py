"""Gradients in which no trial drowns the others."""

import equinox as eqx
import jax
import jax.numpy as jnp

from ._trajectory import trajectory


def clipped_trajectory(network, inputs, dt0, v0, checkpoint_every, clip_trials):
    """`trajectory`, whose backward pass scales down the trials with outstanding errors.

    The error signal of a trial is the derivative of the cost with respect to the current of every
    neuron at every time; the gradient is linear in it. Where a trial is chaotic it grows
    exponentially with the length of the trial. Signals whose norm is above `clip_trials` times the
    median over the batch are scaled down to that, and values that are not finite count as 0.
    """

    @jax.custom_vjp
    def solve(network, inputs, v0):
        return trajectory(network, inputs, dt0, v0, checkpoint_every)[1]

    def forward(network, inputs, v0):
        # the same network with its whole external current as input
        n = network.num_neurons
        through = eqx.tree_at(
            lambda net: (net.input_weights, net.bias),
            network,
            (jnp.eye(n, dtype=v0.dtype), jnp.zeros(n, v0.dtype)),
        )

        def of_current(external, v0):
            return trajectory(through, external, dt0, v0, checkpoint_every)[1]

        path, backward = jax.vjp(of_current, network.external_current(inputs), v0)
        return path, (network, inputs, path["start_traces"], backward)

    def backward(kept, cotangent):
        network, inputs, traces, backward = kept
        error, to_v0 = backward(cotangent)
        error = jnp.where(jnp.isfinite(error), error, 0)
        norm = jnp.sqrt(jnp.sum(error**2, axis=(0, 2)))
        limit = clip_trials * jnp.median(norm)
        factor = jnp.where(norm > limit, limit / jnp.where(norm > 0, norm, 1), 1)
        error = error * factor[None, :, None]
        weights = tuple(
            jnp.einsum("tbk,tbj->kj", r, error) * (network.neuron.tau / tau)
            for r, tau in zip(traces, network.taus, strict=True)
        )
        gradient = eqx.tree_at(
            lambda net: (net.weights, net.input_weights, net.bias, net.readout),
            network,
            (
                weights,
                jnp.einsum("tbm,tbj->mj", inputs, error),
                jnp.sum(error, axis=(0, 1)),
                jnp.zeros_like(network.readout),
            ),
        )
        return gradient, error @ network.input_weights.T, to_v0 * factor[:, None]

    solve.defvjp(forward, backward)
    return solve(network, inputs, v0)
