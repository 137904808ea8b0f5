"""Run a balanced network step by step; spikes act at once, and weights may learn meanwhile."""

import math
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._checks import RealLike, finite_array, number, whole_number
from .._shown import is_known, shown
from ..spikes import SpikeTrains
from ..spikes.checks import refuse_if
from .network import BalancedNetwork
from .rules import AbstractLocalRule, CurrentRule, LocalSignals


class BalancedState(eqx.Module):
    """Where a network stands; a run goes on from there.

    Attributes:
        v: potentials.
        rates: filtered spike trains r.
        error: the error x - D r that feedback brings back; 0 where there are no targets.
    """

    v: Float[Array, " N"]
    rates: Float[Array, " N"]
    error: Float[Array, " J"]


class BalancedSolution(eqx.Module):
    """What a network did, at the end of each step, after the spikes in it.

    Attributes:
        network: the network, with what it has learned.
        state: the state at the end.
        v: potentials.
        rates: filtered spike trains r.
        readout: D r.
        spikes: where a neuron fired.
        slow_current: what slow connections brought in each step, W r.
        error_current: what feedback brought in each step, its gain times F (x - D r).
        dt0: length of a step.
    """

    network: BalancedNetwork
    state: BalancedState
    v: Float[Array, "steps N"]
    rates: Float[Array, "steps N"]
    readout: Float[Array, "steps J"]
    spikes: Bool[Array, "steps N"]
    slow_current: Float[Array, "steps N"]
    error_current: Float[Array, "steps N"]
    dt0: float = eqx.field(static=True)

    def __repr__(self) -> str:
        steps, neurons = self.spikes.shape
        lines = [f"balanced solution: {neurons} neurons, {steps} steps of {self.dt0:g}"]
        if is_known(self.spikes):
            counts = np.asarray(self.spikes).sum(axis=0)
            silent = f", {np.sum(counts == 0)} neurons silent" if np.any(counts == 0) else ""
            lines.append(f"{counts.sum()} spikes{silent}")
        for name in ("readout", "v", "rates", "slow_current", "error_current"):
            lines.append(f"{name}: {shown(getattr(self, name))}")
        return "\n".join(lines)

    def spike_trains(self, t0: RealLike = 0.0) -> SpikeTrains:
        """The spikes, each at the end of its step, in a window that starts at `t0`. Not inside
        `jit`."""
        t0 = number("t0", t0)
        # on the host: as arrays of JAX, each number of spikes would be compiled for
        steps, neurons = np.nonzero(np.asarray(self.spikes))
        length = self.spikes.shape[0] * self.dt0
        times = np.minimum((steps + 1) * self.dt0, length).astype(self.v.dtype)
        return SpikeTrains(
            jnp.asarray(times), jnp.asarray(neurons.astype(np.int32)), t0, t0 + length,
            num_neurons=self.v.shape[1],
        )  # fmt: skip


def resting_state(network: BalancedNetwork) -> BalancedState:
    """Potentials, filtered spike trains and error of 0."""
    dtype = network.fast.dtype
    silent = jnp.zeros(network.num_neurons, dtype)
    return BalancedState(silent, silent, jnp.zeros(network.num_signals, dtype))


def solve_balanced(
    network: BalancedNetwork,
    inputs: Float[ArrayLike, "..."],
    dt0: float,
    *,
    targets: Float[ArrayLike, "..."] | None = None,
    feedback: float | Float[Array, ""] = 0.0,
    state: BalancedState | None = None,
    rules: Sequence[AbstractLocalRule] = (),
    update_every: int = 1,
    firing: Literal["one", "all"] = "one",
    key: PRNGKeyArray | None = None,
    throw: bool = True,
) -> BalancedSolution:
    r"""Run a network over the steps of its inputs.

    Between spikes a step is exact for what is held over it, the input and the feedback
    $K F (x - \hat x)$:

    $$
    V \to e^{-\lambda dt} (V + W r\, dt) + \frac{1 - e^{-\lambda dt}}{\lambda} F (c + K (x -
    \hat x)) + \text{noise}, \qquad r \to e^{-\lambda dt} r .
    $$

    Then spikes act, in no time. In one step fires either at most one neuron, the one that is
    farthest above its threshold, or all that are above it. In continuous time two neurons never
    fire together, since the first inhibits the second; so one is right, as long as steps are so
    short that few of them want more. All at once are many redundant spikes where neurons are alike.

    Batches are by `jax.vmap`. What is not used of the solution costs nothing under `jit`.

    Args:
        network: the network.
        inputs: the input c, held constant over each step, shape (steps, J).
        dt0: the step, in the unit of time of the network; a python number.
        targets: the signal x at the end of each step, shape (steps, J), which feedback and
            `CurrentRule` need.
        feedback: gain K of the feedback, at most 1 / dt0; may be traced.
        state: where to begin, by default [`resting_state`][roughsnn.balance.resting_state].
        rules: how connections learn, one after another; by default they do not.
        update_every: steps after which weights take on what rules have collected since. Rules are
            slow, and a product of matrices for so many steps is faster than as many small sums, and
            loses less to rounding in single precision. Divides the number of steps.
        firing: who fires in a step.
        key: of the noise; needed where the network has noise.
        throw: whether it is an error if potentials or weights are not finite at the end.

    Returns:
        the solution.

    Raises:
        ValueError: arguments of the wrong shape, not finite or out of range; steps longer than
            1 / leak or 1 / feedback; feedback, or a `CurrentRule`,
            without targets; potentials or weights that are not finite (with `throw=True`), as
            happens where a learning rate is too large.
    """
    dtype = network.fast.dtype
    inputs = _signals_of("inputs", inputs, network)
    steps = inputs.shape[0]
    dt0 = number("dt0", dt0, positive=True)
    update_every = whole_number("update_every", update_every, 1)
    if steps % update_every:
        raise ValueError(
            f"`update_every` is {update_every} and there are {steps} steps; it must divide them."
        )
    if firing not in ("one", "all"):
        raise ValueError(f"`firing` is {firing!r}; it must be 'one' or 'all'.")
    if isinstance(rules, AbstractLocalRule) or not all(
        isinstance(rule, AbstractLocalRule) for rule in rules
    ):
        raise TypeError(
            "`rules` must be a list or tuple of local rules, such as `[VoltageRule(tau)]`."
        )
    if dt0 * network.leak > 1:
        raise ValueError(
            f"`dt0` is {dt0:g}, longer than the time constant 1 / leak = {1 / network.leak:g}: let "
            "it be well below that."
        )
    if not isinstance(feedback, jax.core.Tracer) and dt0 * np.max(feedback) > 1:
        raise ValueError(
            f"`feedback` is {feedback}, so large that an error is overshot within one step of "
            f"dt0={dt0:g}: let it be at most 1 / dt0, or take shorter steps."
        )
    if targets is None:
        if any(isinstance(r, CurrentRule) for r in rules) or _is_not_zero(feedback):
            raise ValueError(
                "`targets` is missing: feedback and `CurrentRule` need the signal that is to be "
                "read out, at the end of each step."
            )
    else:
        targets = _signals_of("targets", targets, network)
        if targets.shape != inputs.shape:
            raise ValueError(
                f"`targets` has shape {targets.shape}; it must have that of `inputs`, "
                f"{inputs.shape}."
            )
    if network.noise > 0 and key is None:
        raise ValueError("`key` is missing: the network has noise.")
    state = resting_state(network) if state is None else state

    blocks = steps // update_every
    decay = math.exp(-network.leak * dt0)
    held = -math.expm1(-network.leak * dt0) / network.leak
    kicks = None
    if network.noise > 0:
        # the exact spread of an Ornstein-Uhlenbeck process over a step
        spread = network.noise * math.sqrt(-math.expm1(-2 * network.leak * dt0) / 2 / network.leak)
        kicks = spread * jr.normal(key, (blocks, update_every, network.num_neurons), dtype)

    def in_blocks(x):
        return None if x is None else x.reshape(blocks, update_every, *x.shape[1:])

    feedback = jnp.asarray(feedback, dtype)

    def block(carry, given):
        network, state = carry
        transposed = network.fast.T

        def step(state, given):
            c, target, kick = given
            seen = network.encoder @ state.error
            slow = network.slow @ state.rates
            v = decay * (state.v + dt0 * slow) + held * (network.encoder @ c + feedback * seen)
            if kick is not None:
                v = v + kick
            excess = v - network.threshold
            if firing == "one":
                first = jnp.argmax(excess)
                fired = (jnp.arange(network.num_neurons) == first) & (excess > 0)
                inhibition = jnp.where(excess[first] > 0, transposed[first], 0)
            else:
                fired = excess > 0
                inhibition = fired.astype(dtype) @ transposed
            rates = decay * state.rates + fired.astype(dtype)
            readout = network.decoder @ rates
            error = jnp.zeros_like(readout) if target is None else target - readout
            after = BalancedState(v - inhibition, rates, error)
            return after, (after, state, v, readout, fired, slow, seen)

        state, out = jax.lax.scan(step, state, given)
        after, before, crest, readout, fired, slow, seen = out
        signals = LocalSignals(before.v, crest, before.rates, fired.astype(dtype), seen, dt0)
        for rule in rules:
            network = rule.change(network, signals)
        return (network, state), (after.v, after.rates, readout, fired, slow, feedback * seen)

    given = (in_blocks(inputs), in_blocks(targets), kicks)
    (network, state), out = jax.lax.scan(block, (network, state), given)
    v, rates, readout, fired, slow, seen = (x.reshape(steps, *x.shape[2:]) for x in out)
    solution = BalancedSolution(network, state, v, rates, readout, fired, slow, seen, dt0)
    if throw:
        sums = jnp.sum(state.v) + jnp.sum(network.fast) + jnp.sum(network.slow)
        solution = refuse_if(
            solution,
            ~jnp.isfinite(sums),
            "Potentials or weights of a balanced network are not finite. Take a smaller learning "
            "rate (a larger `tau` of a `VoltageRule`), less `feedback`, or a smaller `dt0`.",
        )
    return solution


def _signals_of(
    name: str, value: Float[ArrayLike, "..."], network: BalancedNetwork
) -> Float[Array, "steps J"]:
    array = finite_array(name, value).astype(network.fast.dtype)
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != network.num_signals:
        raise ValueError(
            f"`{name}` has shape {array.shape}; it must be (steps, {network.num_signals}), with a "
            "column for each column of the encoder."
        )
    return array


def _is_not_zero(value: float | Float[Array, ""]) -> bool:
    return isinstance(value, jax.core.Tracer) or bool(value != 0)
