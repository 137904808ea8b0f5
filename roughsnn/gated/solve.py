"""Solve a network with gated synapses by a step that conserves charge."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..spikes import SpikeTrains
from ..spikes.checks import refuse_if
from ._clipping import clipped_trajectory
from ._trajectory import trajectory
from .network import GatedNetwork


class GatedSolution(eqx.Module):
    """What a network did, at the end of each step; the leading axes are those of the inputs.

    Attributes:
        ts: times since the start of the window, the ends of the steps.
        v: potentials, after the reset where a neuron fired.
        traces: synaptic traces of the P populations.
        readout: readout channels.
        spike_times: when each neuron fired within each step, since the start of the window, by
            linear interpolation; `inf` where it did not. They have derivatives with respect to the
            parameters.
        t0: start of the window.
        dt0: length of a step.
    """

    ts: Float[Array, " steps"]
    v: Float[Array, "*batch steps N"]
    traces: Float[Array, "*batch steps P N"]
    readout: Float[Array, "*batch steps K"]
    spike_times: Float[Array, "*batch steps N"]
    t0: float = eqx.field(static=True)
    dt0: float = eqx.field(static=True)

    @property
    def num_spikes(self) -> Float[Array, "*batch N"]:
        """How often each neuron fired."""
        return jnp.sum(jnp.isfinite(self.spike_times), axis=-2, dtype=self.v.dtype)

    def spike_trains(self, max_spikes: int) -> SpikeTrains:
        """The spikes, with room for `max_spikes` in each trial; `overflowed` marks where there
        were more."""
        *batch, steps, n = self.spike_times.shape
        times = self.spike_times.reshape(*batch, steps * n)
        # Stable: at equal times the neurons stay in order.
        order = jnp.argsort(jax.lax.stop_gradient(times), axis=-1, stable=True)[..., :max_spikes]
        count = jnp.sum(jnp.isfinite(times), axis=-1)
        times = jnp.take_along_axis(times, order, axis=-1)
        neurons = jnp.where(jnp.isfinite(times), (order % n).astype(jnp.int32), -1)
        # The last spike may lie beyond the end by a rounding.
        end = jnp.asarray(steps * self.dt0, times.dtype)
        excess = jnp.where(neurons >= 0, jnp.maximum(times - end, 0), 0)
        times = times - jax.lax.stop_gradient(excess)
        trains = SpikeTrains(
            times, neurons, self.t0, self.t0 + steps * self.dt0, count > max_spikes, num_neurons=n
        )
        return trains.pad_to(max_spikes)


def solve_gated(
    network: GatedNetwork,
    inputs: Float[ArrayLike, "*batch steps M"],
    dt0: float,
    *,
    v0: Float[ArrayLike, "... N"] | None = None,
    t0: float = 0.0,
    checkpoint_every: int | None = None,
    clip_trials: float | None = None,
    throw: bool = True,
) -> GatedSolution:
    r"""Solve a network over the steps of its inputs, from silent traces.

    A step is that of Euler, $v' = v + f(v, I)\,dt / \tau_v$, and the synapses receive
    the charge between the two potentials,

    $$
    r^p \to e^{-dt / \tau_p} r^p + G(v') - G(v),
    $$

    before a neuron with $v' \ge 1$ is reset, to $(v' - 1)$ times its
    [`reset_factor`][roughsnn.gated.AbstractGatedNeuron.reset_factor], where it would be had it been
    reset inside the step. So a full crossing delivers unit charge at any dt0, the solution is a
    continuous function of the parameters, and its derivatives by automatic differentiation, in
    either mode, are those of the discretised model, exactly.

    Args:
        network: the network.
        inputs: input channels, held constant over each step.
        dt0: the step, in the unit of time of the network; a python number.
        v0: initial potentials, by default 0.
        t0: start of the window, a python number.
        checkpoint_every: keep the state for the backward pass once in so many steps only, and
            compute the others anew. By default the state of every step is kept, and nothing else.
            The square root of the number of steps takes the least memory.
        clip_trials: limit each trial's error signal, in the backward pass, to so many times the
            median over the batch. Where the network is chaotic, the derivatives of a few trials
            grow exponentially with time and drown the others; the exact derivative is then of
            little use as a direction, and this is not it any more. By default off. Reverse mode
            only.
        throw: whether it is an error if a neuron would fire more than once in a step.

    Returns:
        the solution. What is not used of it costs nothing under `jit`.

    Raises:
        ValueError: inputs of the wrong shape, a step that is not positive; a neuron that moved so
            fast that it was beyond the threshold again after its reset (with `throw=True`): take a
            smaller dt0, or smaller weights.
    """
    dtype = network.bias.dtype
    inputs = jnp.asarray(inputs, dtype=dtype)
    channels, n = network.input_weights.shape
    if inputs.ndim < 2 or inputs.shape[-1] != channels:
        raise ValueError(
            f"`inputs` has shape {inputs.shape}; it must be (*batch, steps, {channels}), with one "
            "channel for each row of the network's input weights."
        )
    if not dt0 > 0:
        raise ValueError(f"`dt0` is {dt0}; the step must be positive.")
    *batch, steps, _ = inputs.shape
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"`checkpoint_every` is {checkpoint_every}; it must be 1 step or more.")
    if clip_trials is not None and not clip_trials > 0:
        raise ValueError(f"`clip_trials` is {clip_trials}; it must be positive.")
    v0 = jnp.zeros(n, dtype) if v0 is None else jnp.asarray(v0, dtype=dtype)
    size = math.prod(batch)
    v0 = jnp.broadcast_to(v0, (*batch, n)).reshape(size, n)
    # time first, as the loop goes; the batch is in the rows of matrix products
    inputs = jnp.moveaxis(inputs.reshape(size, steps, channels), 1, 0)
    starts = dt0 * jnp.arange(steps, dtype=dtype)
    if clip_trials is None:
        _, outputs = trajectory(network, inputs, dt0, v0, checkpoint_every)
    else:
        outputs = clipped_trajectory(network, inputs, dt0, v0, checkpoint_every, clip_trials)
    after, traces, delay = outputs["v"], outputs["traces"], outputs["delay"]
    readout = traces[network.read_from] @ network.readout
    if throw:
        readout = refuse_if(
            readout,
            jnp.any(after >= network.neuron.threshold),
            "A neuron was beyond its threshold again right after a reset: it should have fired "
            "more than once in a step. Take a smaller `dt0`, or smaller weights or inputs.",
        )
    spike_times = starts[:, None, None] + delay

    def public(x):
        return jnp.moveaxis(x, 0, 1).reshape(*batch, steps, *x.shape[2:])

    return GatedSolution(
        starts + dt0,
        public(after),
        public(jnp.stack(traces, axis=2)),
        public(readout),
        public(spike_times),
        float(t0),
        float(dt0),
    )
