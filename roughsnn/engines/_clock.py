"""The engine that goes by the clock."""

import dataclasses
from typing import Any, Literal, get_args

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._checks import IntLike, RealLike, number, optional_whole_number
from .._host_errors import refused_on_host
from ..clock import (
    HALF,
    Blocks,
    SurrogateSteps,
    arriving_inputs,
    blocks_of,
    chosen_solver,
    covered,
    input_steps,
    listed_spikes,
    never_by_time,
    on_own_clock,
    run_trial,
)
from ..devices import map_trials, trial_mesh
from ..drivers import BrownianNoise
from ..networks import SparseConnections
from ..neurons import AbstractNeuron
from ..protocol import Protocol, checked_current, current_of_sample, has_row_per_sample, trial_keys
from ..simulate_on_grid import simulate_on_grid
from ..solve import RESULTS, EventSolveError, step_is_too_long
from ..spikes import Presence, SpikeTrains
from ..spikes.checks import carry, is_traced
from ..surrogates import AbstractSurrogate
from ._base import AbstractEngine

Reset = Literal["attached", "detached"]


def _optional_time(value: Any) -> float | None:
    return None if value is None else number("max_delay", value, least=0)


class ClockEngine(AbstractEngine):
    r"""Spikes at the ends of steps, without derivatives or with surrogate ones.

    In each step $[t_j, t_{j+1}]$ the state of all neurons goes one step of the solver; every neuron
    whose event function $x$ is then not negative fires at $t_{j+1}$, once, $s = 1\{x \ge 0\}$; what
    it sends arrives after its delay in whole steps. The cost is that of the steps, however many
    spikes there are.

    *Without a surrogate* it is [`roughsnn.simulate_on_grid`][]: for large networks, on the host.

    *With a surrogate* it works inside `jit`, `vmap`, `grad` and [`roughsnn.fit`][], where the
    derivative of every spike is

    $$ \mathrm d s = h(x)\,\mathrm d x $$

    with the surrogate derivative $h$. It is not the gradient of the loss, which is zero almost
    everywhere on a grid, nor in general that of any other function; it is a direction that trains.
    The trains have a `presence`, the raster of $s$ with these derivatives, which losses that count
    or filter spikes, or look at the first, take by themselves; a loss of the spike *times* is
    refused when it is differentiated. Delays and refractory periods act in whole steps, and have no
    derivative; nor have the times of input spikes.

    By Euler's scheme a `LIF` with $\mu = (1 - e^{-\Delta / \tau}) / \Delta$ is the discrete neuron
    $v \to e^{-\Delta/\tau} v + (1 - e^{-\Delta/\tau}) (i + c)$ of the literature exactly.

    For neurons that fire by an intensity, $x$ is the integrated intensity $\Lambda - \alpha + \log
    u$ with the mark u of each spike drawn: the surrogate smooths a random threshold.

    Attributes:
        solver: a diffrax solver, by default `diffrax.Euler()`.
        surrogate: the derivative of a spike, such as [`roughsnn.SuperSpike`][]; `None` for none.
        reset: with a surrogate, whether the effect of a spike on its own neuron, its reset, is
            differentiated (`"attached"`) or taken as it is (`"detached"`), which keeps the error
            from growing on its way back through the spikes of a neuron. What a spike sends to
            others is always differentiated.
        max_delay: with a surrogate, the longest delay that a network may have, in the unit of time;
            needed where its delays are only known inside a JAX transformation, as in `fit`.
        checkpoint_every: with a surrogate, keep the state of the neurons only before every so many
            steps, and compute the others again in the backward pass: less memory, and a half more
            time. The square root of the number of steps needs least.
        blocks: with a surrogate, where the matrix of weights has synapses, see `prepared`.

    Raises:
        TypeError: `surrogate` is none.
        ValueError: a setting outside its range, or one without a surrogate.

    References: Neftci, Mostafa & Zenke (2019), IEEE Signal Process. Mag. 36:51, for surrogate
    gradients; Zenke & Vogels (2021), Neural Comput. 33:899, for the reset; Gygax & Zenke (2025),
    Neural Comput. 37:886, for what they are and are not the gradient of.
    """

    solver: dfx.AbstractSolver | None = None
    surrogate: AbstractSurrogate | None = None
    reset: Reset = eqx.field(static=True, default="detached")
    max_delay: RealLike | None = eqx.field(static=True, default=None, converter=_optional_time)
    checkpoint_every: IntLike | None = eqx.field(
        static=True, default=None,
        converter=lambda x: optional_whole_number("checkpoint_every", x, 1),
    )  # fmt: skip
    blocks: Blocks = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.reset not in get_args(Reset):
            raise ValueError(f'`reset` must be "attached" or "detached", got {self.reset!r}.')
        surrogate = self.surrogate
        if surrogate is not None and not isinstance(surrogate, AbstractSurrogate):
            raise TypeError(
                "`surrogate` must be a surrogate derivative such as roughsnn.SuperSpike(), got "
                f"{type(surrogate).__name__}."
            )

    def at_step(self, step: Any) -> "ClockEngine":
        """The engine of a training step, in which a surrogate with a schedule has its width."""
        if self.surrogate is None:
            return self
        return ClockEngine(
            self.solver, self.surrogate.at(step), self.reset, self.max_delay, self.checkpoint_every,
            self.blocks,
        )  # fmt: skip

    def prepared(self, model: AbstractNeuron) -> "ClockEngine":
        """An engine that knows between which neurons this model has synapses, which takes less time
        for a network in layers: only those products are computed. It is for networks with the same
        mask of connections or fewer; a list of synapses is taken as it is.

        Args:
            model: the model, outside of any JAX transformation.
        """
        connections = getattr(model, "connections", None)
        if is_traced(connections):
            raise ValueError(
                "`model` is only known inside a JAX transformation here: prepare the engine "
                "outside of it."
            )
        masked = connections is not None and not isinstance(connections, SparseConnections)
        blocks = blocks_of(connections) if masked else None
        return dataclasses.replace(self, blocks=blocks)

    def spike_trains(self, model, protocol, *, key, num_samples, throw=True):
        if protocol.stop_after is not None:
            raise ValueError(
                f"`stop_after` is {protocol.stop_after}; a simulation on the grid ends at `t1`. "
                "Leave it out, or use roughsnn.EventEngine()."
            )
        if protocol.noise is not None and protocol.noise != BrownianNoise():
            raise ValueError(
                f"`noise` is {protocol.noise!r}; a simulation on the grid draws Brownian motion "
                "with straight lines inside a step. Leave it out, or use roughsnn.EventEngine()."
            )
        if self.surrogate is None:
            if is_traced((model, protocol, key)):
                raise ValueError(
                    "`engine` is a ClockEngine without a surrogate, which runs on the host and not "
                    "inside a JAX transformation (such as the step of roughsnn.fit). Give it one, "
                    "ClockEngine(surrogate=roughsnn.SuperSpike())."
                )
            return simulate_on_grid(
                model, protocol.t0, protocol.t1, protocol.dt0, key=key, num_samples=num_samples,
                input_current=protocol.input_current, input_spikes=protocol.input_spikes,
                solver=self.solver,
            )  # fmt: skip
        return self._with_surrogate(model, protocol, key, num_samples, throw)

    def _with_surrogate(self, model, protocol: Protocol, key, num_samples: int, throw: bool):
        if not isinstance(model, AbstractNeuron):
            raise TypeError(
                f"`model` must be a neuron model or a SpikingNetwork, got {type(model).__name__}."
            )
        current = checked_current(model, protocol.input_current, num_samples)
        inputs = protocol.inputs(model, num_samples)
        numbers = None if inputs is None else input_steps(inputs, protocol.grid)
        operands = (model, key, current, inputs, numbers)
        elsewhere = self._elsewhere(model)
        longest = self._steps(model, protocol, current).longest_lag()
        depth = 0
        if longest is None:
            pass
        elif self.max_delay is None:
            if is_traced(longest):
                raise ValueError(
                    "`engine` does not know how long delays can be, as the network is only known "
                    "inside a JAX transformation here (such as the step of roughsnn.fit). Say it: "
                    "ClockEngine(..., max_delay=...)."
                )
            depth = int(longest) + 1
        else:
            depth = int(np.floor(self.max_delay / protocol.dt0 + HALF)) + 1
        mesh = trial_mesh(num_samples, operands)
        trains, wrong = _run(self, operands, protocol, num_samples, depth, mesh)
        if self.blocks is not None:
            trains = eqx.tree_at(lambda t: t.overflowed, trains, trains.overflowed | elsewhere)
        wrong["too long"] = step_is_too_long(model, protocol.dt0)
        wrong["elsewhere"] = elsewhere
        wrong["late"] = jnp.asarray(False) if longest is None else longest >= depth
        return _refused(trains, wrong, self.max_delay) if throw else trains

    def _elsewhere(self, model) -> Bool[Array, ""]:
        """Whether the model has synapses of which the engine does not know.

        Raises:
            ValueError: another kind of model than the engine was prepared for.
        """
        if self.blocks is None:
            return jnp.asarray(False)
        k, mask = model.num_neurons, getattr(model, "connections", None)
        fits = all(block.to[1] <= k and block.since[1] <= k for block in self.blocks)
        if not fits or mask is None or isinstance(mask, SparseConnections):
            raise ValueError(
                "`engine` was prepared for a network with another mask of connections than "
                "`model` has: prepare it for this one, `engine.prepared(model)`."
            )
        return jnp.any(mask & ~covered(self.blocks, k))

    def _steps(self, model, protocol: Protocol, current, depth: int = 0) -> SurrogateSteps:
        args = current[0] if has_row_per_sample(current) else current
        return SurrogateSteps(
            model, chosen_solver(model, self.solver, args), protocol.grid, args,
            surrogate=self.surrogate, attached=self.reset == "attached", depth=depth,
            blocks=self.blocks,
        )  # fmt: skip


@eqx.filter_jit
def _run(engine: ClockEngine, operands, protocol: Protocol, num_samples: int, depth: int, mesh):
    """The trains, and what is wrong with them, by name."""
    grid = protocol.grid

    def one(operands, index):
        model, key, current, inputs, numbers = operands
        steps = engine._steps(model, protocol, current, depth)
        steps = on_own_clock(
            eqx.tree_at(
                lambda s: s.args, steps, current_of_sample(current, index),
                is_leaf=lambda x: x is None,
            )
        )  # fmt: skip
        keys = trial_keys(key, index)
        arriving = None
        if inputs is not None:
            own = numbers if numbers.ndim == 1 else numbers[index]
            rows = inputs.trains.neurons
            rows = rows if rows.ndim == 1 else rows[index]
            arriving = arriving_inputs(
                steps, own, rows, model.initial_state(keys[0]),
                all_trials=numbers.ndim == inputs.trains.neurons.ndim == 1,
            )  # fmt: skip
        spikes, fires, finite = run_trial(steps, keys, arriving, engine.checkpoint_every)
        dtype = spikes.dtype
        times, who, count = listed_spikes(fires, grid, protocol.max_spikes, dtype)
        return spikes, never_by_time(times, spikes), who, count, finite

    spikes, times, who, count, finite = map_trials(one, operands, num_samples, mesh)
    ends = grid.begin(jnp.arange(1, grid.num_cells + 1, dtype=jnp.int32), times.dtype)
    too_many = count > protocol.max_spikes
    trains = SpikeTrains(
        times, who, protocol.t0, protocol.t1, too_many | ~finite,
        num_neurons=operands[0].num_neurons, presence=Presence(spikes, ends),
    )  # fmt: skip
    return trains, {"infinite": jnp.any(~finite), "overflowed": jnp.any(too_many)}


def _refused(trains: SpikeTrains, wrong: dict[str, Any], max_delay: float | None) -> SpikeTrains:
    """The trains, or an error that says what is wrong and what to do."""
    messages = {
        "too long": RESULTS[RESULTS.step_too_long],
        "elsewhere": "`model` has synapses between neurons that had none when the engine was "
        "prepared: prepare it again, `engine.prepared(model)`.",
        "late": f"A delay is longer than `max_delay` = {max_delay} of the engine: increase it.",
        "infinite": "The state became infinite or NaN. Check the parameters and the inputs, or "
        "decrease `dt0`.",
        "overflowed": f"More spikes happened than `max_spikes` = {trains.max_spikes} has room for. "
        "Increase it, or pass `throw=False`, with which the list of spikes is cut off and flagged "
        "and their presence is whole.",
    }
    failed = None
    for name, message in messages.items():
        if not is_traced(wrong[name]):
            if bool(wrong[name]):
                raise EventSolveError(message)
            continue
        this = refused_on_host(wrong[name], message)
        failed = this if failed is None else failed | this
    return trains if failed is None else carry(trains, failed)
