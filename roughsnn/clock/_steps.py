"""One step of all neurons of one sample."""

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from .._random import event_key, normals
from ..drivers import LinearPiece, TimeGrid
from ..event_sde import AbstractTimeFunction
from ..networks import NEVER, SpikingNetwork, waiting
from ..neurons import AbstractNeuron
from ..solve import clock_of, differentiable_stages, levy_area_for, solver_for_noise

# half a step, or a little less: what was meant to be half is rounded up
HALF = 0.5 + 1e-4


class Steps(eqx.Module):
    """What all steps of a simulation on a grid share.

    Attributes:
        model: a neuron model or a network.
        solver: it takes the state from one end of a step to the other.
        grid: the steps.
        args: the input current.
    """

    model: AbstractNeuron
    solver: dfx.AbstractSolver
    grid: TimeGrid
    args: Any

    @property
    def network(self) -> SpikingNetwork | None:
        """The model, if it is a network."""
        return self.model if isinstance(self.model, SpikingNetwork) else None

    @property
    def core(self) -> Any:
        """The model without its delays, which are kept beside it here."""
        if self.network is None:
            return self.model
        return eqx.tree_at(
            lambda n: (n.axonal_delays, n.synaptic_delays), self.model, (None, None),
            is_leaf=lambda x: x is None,
        )  # fmt: skip

    @property
    def is_extended(self) -> bool:
        """Whether the state has more than that of the neurons; delays add nothing to it here."""
        return self.network is not None and self.core._is_extended

    @property
    def num_parts(self) -> int:
        """Into how many parts what arrives is told apart: conductances tell positive from negative
        weights."""
        if self.network is None:
            return 0
        return 1 if self.network.synapses is None else 2

    def parts(self, weights):
        """The parts of weights."""
        if self.num_parts == 1:
            return (weights,)
        return jnp.maximum(weights, 0), jnp.minimum(weights, 0)

    def time(self, cell, dtype):
        """The time at which a step begins."""
        return jnp.asarray(self.grid.t0, dtype) + self.grid.begin(cell, dtype)

    def advance(self, core, y, noise_key, cell):
        """The state at the end of a step, before anything has fired."""
        dtype = jnp.result_type(*jax.tree.leaves(y))
        # The solver's time is that since the start of the step, whose length is then exact.
        zero, width = jnp.zeros((), dtype), self.grid.width(cell, dtype)
        begin = self.time(cell, dtype)

        def drift(x, y, args):
            return core.drift(begin + x, y, args)

        def diffusion(x, y, args):
            return core.diffusion(begin + x, y, args)

        terms: Any = dfx.ODETerm(drift)
        if core.noise_shape is not None:
            slope = normals(noise_key, cell, core.noise_shape, dtype) / jnp.sqrt(width)
            terms = dfx.MultiTerm(terms, dfx.ControlTerm(diffusion, LinearPiece(slope)))
        args = self.args
        if isinstance(args, AbstractTimeFunction):
            args = args.within(begin, self.time(cell + 1, dtype))
        state = self.solver.init(terms, zero, width, y, args)
        return self.solver.step(terms, zero, width, y, args, state, made_jump=False)[0]

    def crossing(self, core, y, t_new):
        """The event function of the neurons at the end of a step, where it says that they fire, and
        which of them may (`None`: all)."""
        inner = y.neurons if self.is_extended else y
        neurons = self.network.neurons if self.network is not None else core
        margin = neurons.event(t_new, inner, self.args)
        reached = margin >= -_rounding(inner, margin.dtype)
        may_fire = None
        if self.is_extended and y.held_for is not None:
            # what is left now, and what was left when the step began
            left = y.held_for
            may_fire = ~waiting(left) | (left <= -HALF * self.grid.dt0)
        return margin, reached, may_fire

    def held(self, y, fires):
        """The state in which those that fire are in their refractory period."""
        if not self.is_extended or y.held_for is None:
            return y
        assert self.network is not None, "only a network has refractory periods"
        left = y.held_for
        rest = jnp.where(left <= (1 - HALF) * self.grid.dt0, NEVER, left)
        again = jnp.where(fires, self.network.refractory, rest)
        return y._replace(held_for=jax.lax.stop_gradient(again.astype(left.dtype)))

    def marks(self, core, mark_key, cell):
        """The mark of each neuron, should it fire in this step."""
        who = jnp.arange(core.num_neurons, dtype=jnp.int32)
        return jax.vmap(lambda n: core.mark(event_key(mark_key, n, cell)))(who)

    def receive(self, y, arriving):
        """The state after what arrives, part by part."""
        network = self.network
        assert network is not None, "nothing arrives where there is no network"
        if not self.is_extended:
            return network.neurons.receive(y, arriving[0])
        if network.synapses is None:
            return network._receive(y, arriving[0], None, None)
        return network._receive(y, None, *arriving)


def _rounding(state, dtype):
    """How far a potential that reaches its threshold may be below it by rounding."""
    v = getattr(state, "v", None)
    if v is None:
        return 0.0
    # (not of a potential that has become infinite)
    v = jax.lax.stop_gradient(v)
    return 8 * float(jnp.finfo(dtype).eps) * jnp.where(jnp.isfinite(v), jnp.abs(v), 0)


def chosen_solver(model: AbstractNeuron, solver: dfx.AbstractSolver | None, args: Any):
    """The solver of a simulation on the grid.

    Raises:
        ValueError: it needs Levy areas.
    """
    y0 = jax.eval_shape(model.initial_state, jr.key(0))
    y0 = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), y0)
    solver = solver_for_noise(model, y0, args) if solver is None else solver
    solver = differentiable_stages(solver)
    if levy_area_for(solver) is not dfx.BrownianIncrement and model.noise_shape is not None:
        raise ValueError(
            f"`solver` {type(solver).__name__} needs Levy areas, which a simulation on the grid "
            "does not draw: use diffrax.Euler() or diffrax.Heun()."
        )
    return solver


def on_own_clock(steps):
    """The steps by a clock that starts at zero where nothing asks for absolute time.

    Raises:
        ValueError: absolute time is asked for, and does not tell the steps apart.
    """
    y0 = jax.eval_shape(steps.core.initial_state, jr.key(0))
    y0 = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), y0)
    origin, args = clock_of(steps.core, steps.grid, y0, steps.args)
    if origin not in (None, 0.0):
        return steps
    return dataclasses.replace(steps, grid=steps.grid.from_zero(), args=args)
