"""How a solve is differentiated: the engines behind the argument `adjoint`."""

import abc
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ..drivers import TimeGrid, jumps_of
from ._guard import guard_derivatives
from ._loop import solve_directly
from ._output import collect
from ._problem import Problem
from ._solution import EventSolution


class Settings(eqx.Module):
    """What a solve needs that has no derivative."""

    solver: dfx.AbstractSolver
    grid: TimeGrid
    key: PRNGKeyArray
    controller: Any
    subs: Any
    meter: dfx.AbstractProgressMeter
    max_events: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    # whether that is less than a solve may need
    limited: bool = eqx.field(static=True)
    save_event_states: bool = eqx.field(static=True)
    conditions: str = eqx.field(static=True)
    # what the functions of the equation take for the time at which the window starts
    origin: float | None = eqx.field(static=True)

    @property
    def keep_path(self) -> bool:
        return self.subs is not None and (self.subs.ts is not None or bool(self.subs.steps))

    @property
    def keep_states(self) -> bool:
        return self.save_event_states

    def problem(self, inputs, local: bool = False, look: bool = True) -> Problem:
        sde, y0, args, driver = inputs
        grid, dtype = self.grid, jnp.result_type(*jax.tree.leaves(y0))
        if self.controller is not None:
            grid = grid.in_one_cell()
        return Problem(
            sde=sde, solver=self.solver, driver=driver, jumps=jumps_of(driver, dtype),
            controller=self.controller, grid=grid, y0=y0, args=args, key=self.key,
            max_events=self.max_events, stop_after=self.stop_after, dt0=self.grid.dt0, local=local,
            look=look, conditions=self.conditions, origin=self.origin,
        )  # fmt: skip


class AbstractEventAdjoint(eqx.Module):
    """How [`roughsnn.eventsolve`][] is differentiated."""

    # whether Brownian increments are drawn up front
    stores_driver: ClassVar[bool] = True
    # whether steps may be of adaptive size
    adapts: ClassVar[bool] = True

    @abc.abstractmethod
    def solve(self, inputs: tuple, settings: Settings) -> EventSolution:
        """The solution for `inputs` = (sde, y0, args, driver), with its derivatives."""

    def check(self, sde, subs, save_event_states: bool) -> None:
        """Refuses what the engine cannot do."""
        return


def direct_solution(inputs, settings: Settings, local: bool = False):
    """The solution as JAX differentiates it, and the events to judge its derivative by."""
    problem = settings.problem(inputs, local)
    first, last, records = solve_directly(
        problem, settings.keep_states, settings.keep_path, settings.max_steps, settings.meter
    )
    solution = collect(problem, settings.subs, first, last, records, settings.max_steps)
    return solution, (last.seen, last.passed)


class ReverseMode(AbstractEventAdjoint):
    """Automatic differentiation through the scheme, the default.

    The backward pass keeps where each step began, and computes the step anew. It never searches
    for an event again. Memory grows with the number of steps; for one that does not, see
    [`roughsnn.StochasticAdjoint`][]. Forward-mode differentiation (`jax.jvp`, `jax.jacfwd`) works
    as well.
    """

    def solve(self, inputs, settings):
        return guard_derivatives(inputs, settings, *direct_solution(inputs, settings))
