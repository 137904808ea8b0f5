"""The exact gradient by the adjoint equations, run backwards in time."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from ._trajectory import trajectory
from .network import GatedNetwork


def adjoint_gradient(
    network: GatedNetwork,
    inputs: Float[ArrayLike, "batch steps M"],
    dt0: float,
    running_cost: Callable[[Array, Array, PyTree], Array],
    targets: PyTree = None,
    *,
    v0: Float[ArrayLike, "... N"] | None = None,
) -> tuple[Float[Array, ""], GatedNetwork]:
    r"""The cost $C = \int l\,dt$, a mean over the batch, and its gradient by the adjoint equations.

    With $p^p$ the costate of the traces and $p^v$ that of the potential plus $\sum_p g p^p$, a
    change of variable that removes the derivative of the gate,

    $$
    -\frac{dp^v}{dt} = \frac{f_v}{\tau_v} p^v - g(v) \sum_p \frac{dp^p}{dt}, \qquad
    -\frac{dp^p}{dt} = -\frac{p^p}{\tau_p} + \frac{w^p f_I p^v}{\tau_p}
    + \frac{\partial l}{\partial r^p},
    $$

    from 0 at the end. Where a neuron was reset, $p^v$ is multiplied by $f(0, I) / f(1, I)$, which
    is 1 for non-leaky and theta neurons. The gradient is
    $\partial C / \partial b = \int f_I p^v dt / \tau_v$,
    $\partial C / \partial u = \int x f_I p^v dt / \tau_v$,
    $\partial C / \partial w^p = \int r^p f_I p^v dt / \tau_p$ and
    $\partial C / \partial o = \int r\,(\partial l / \partial \text{readout})\,dt$: what came in
    at a synapse, times the error that the receiving neuron carries.
    (Huh & Sejnowski 2018, in the notation of `GatedNetwork`.)

    It is the gradient of the network in continuous time, solved with an error in proportion to
    dt0; automatic differentiation of [`solve_gated`][roughsnn.gated.solve_gated] gives that of the
    discretised network. They meet as dt0 goes to 0.

    Args:
        network: the network.
        inputs: input channels, held constant over each step.
        dt0: the step; a python number.
        running_cost: the function l of readout (K,), traces (P, N) and target of one trial at one
            time.
        targets: what the cost compares with: a pytree of arrays with the leading axes
            (batch, steps).
        v0: initial potentials, by default 0.

    Returns:
        the cost, and the gradient in the form of a network.
    """
    dtype = network.bias.dtype
    inputs = jnp.moveaxis(jnp.asarray(inputs, dtype=dtype), 1, 0)
    size = inputs.shape[1]
    n, neuron = network.num_neurons, network.neuron
    v0 = jnp.zeros(n, dtype) if v0 is None else jnp.asarray(v0, dtype=dtype)
    _, path = trajectory(network, inputs, dt0, jnp.broadcast_to(v0, (size, n)))
    traces = jnp.stack(path["traces"], axis=2)
    readout = traces[:, :, network.read_from] @ network.readout
    targets = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), targets)
    over_batch_and_time = jax.vmap(jax.vmap(jax.value_and_grad(running_cost, argnums=(0, 1))))
    cost, (by_readout, by_traces) = over_batch_and_time(readout, traces, targets)
    # what the readout weights hand on to the traces that they read
    by_traces = by_traces.at[:, :, network.read_from].add(by_readout @ network.readout.T)
    matrices = network.couplings

    def backwards(costates, at):
        p_v, p_traces = costates
        v, current, fired, by_traces = at
        # behind a reset; elsewhere a harmless current
        factor = neuron.reset_factor(jnp.where(fired, current, neuron.threshold + 1))
        p_v = jnp.where(fired, factor * p_v, p_v)
        error = neuron.speed_by_current(v) * p_v / neuron.tau
        new_traces = tuple(
            p + dt0 * (error @ matrix.T - p / tau + by_traces[:, i])
            for i, (p, matrix, tau) in enumerate(zip(p_traces, matrices, network.taus, strict=True))
        )
        rise = sum(new - old for new, old in zip(new_traces, p_traces, strict=True))
        p_v = p_v + dt0 * neuron.speed_by_v(v, current) / neuron.tau * p_v
        p_v = p_v + network.gate.density(v) * rise
        return (p_v, new_traces), error

    at = (path["start_v"], path["current"], jnp.isfinite(path["delay"]), by_traces)
    none = jnp.zeros((size, n), dtype)
    start = (none, (none,) * network.num_populations)
    _, error = jax.lax.scan(backwards, start, at, reverse=True)

    scale = dt0 / size
    to_weights = tuple(
        jnp.einsum("tbk,tbj->kj", r, error) * (scale * neuron.tau / tau)
        for r, tau in zip(path["start_traces"], network.taus, strict=True)
    )
    gradient = eqx.tree_at(
        lambda net: (net.weights, net.input_weights, net.bias, net.readout),
        network,
        (
            to_weights,
            jnp.einsum("tbm,tbj->mj", inputs, error) * scale,
            jnp.sum(error, axis=(0, 1)) * scale,
            jnp.einsum("tbn,tbk->nk", traces[:, :, network.read_from], by_readout) * scale,
        ),
    )
    return jnp.sum(cost) * scale, gradient
