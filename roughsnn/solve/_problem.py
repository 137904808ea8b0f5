"""What stays the same during one solve, and where one sample of it stands."""

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..drivers import AbstractGridDriver, TimeGrid
from ..event_sde import AbstractEventSDE, AbstractTimeFunction
from ._marcus import marcus_flow


class Seen(eqx.Module):
    """The event of a sample that comes nearest to grazing zero, without derivatives.

    Attributes:
        time: when it was.
        component: of which component, -1 while there was none.
        left: the state before it.
        speed: of the event function, along the step.
        order: by what the events are compared: the smallest is kept.
        clipped: whether the derivative of any event so far was clipped.
    """

    time: Float[Array, ""]
    component: Int[Array, ""]
    left: PyTree
    speed: Float[Array, ""]
    order: Float[Array, ""]
    clipped: Bool[Array, ""]


class Carry(eqx.Module):
    """Where one sample stands.

    Its time since the start of the window is `begin + offset`, with `begin` the start of its grid
    cell, a number without derivative, so that the time in the cell is as sharp in the last cell of
    a long window as in the first. `cell` is the number of that cell while it runs, and the number
    of cells plus one of the codes below once it has ended. `fired` is, for each component, twice
    the number of its events so far, plus one if it still has to fire at this very time. The others
    are `None` where a solve has no use for them: `jump` is the number of the driver's next jump and
    how much of it is done, `control` the length of the next step and the state of the step size
    controller,
    `fresh` the component whose state begins its step at a time that has a derivative, `seen` the
    event that is shown to the theorem's assumptions, and `passed` the same of the events after
    which the path went on, where `stop_after` makes a difference, `above` the components that have
    crossed zero and not yet fallen below it again, in an equation whose events do not reset.
    """

    begin: Float[Array, ""]
    offset: Float[Array, ""]
    y: PyTree
    cell: Int[Array, ""]
    driver_state: PyTree
    num_events: Int[Array, ""]
    fired: Int[Array, " K"]
    jump: tuple[Int[Array, ""], Float[Array, ""]] | None = None
    control: tuple[Float[Array, ""], PyTree] | None = None
    fresh: Bool[Array, " K"] | None = None
    seen: Seen | None = None
    passed: Seen | None = None
    above: Bool[Array, " K"] | None = None

    @property
    def since(self) -> Float[Array, ""]:
        """Time since the start of the window."""
        return self.begin + self.offset


class Path(eqx.Module):
    """Where the steps of a path begin: enough to go a part of any of them again."""

    begin: Float[Array, "*steps"]
    offset: Float[Array, "*steps"]
    y: PyTree
    cell: Int[Array, "*steps"]
    driver_state: PyTree

    @classmethod
    def of(cls, carry: Carry) -> "Path":
        return cls(carry.begin, carry.offset, carry.y, carry.cell, carry.driver_state)

    @property
    def since(self) -> Float[Array, "*steps"]:
        """Times since the start of the window."""
        return self.begin + self.offset


class Problem(eqx.Module):
    """What stays the same during one solve."""

    sde: AbstractEventSDE
    solver: dfx.AbstractSolver
    driver: AbstractGridDriver | None
    jumps: Any
    controller: dfx.AbstractStepSizeController | None
    grid: TimeGrid
    y0: PyTree
    args: Any
    key: PRNGKeyArray
    max_events: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)
    # length of a step taken only for its shape, by a sample that does not move
    dt0: float = eqx.field(static=True)
    # whether to look at an event, for the assumptions of the theorem
    look: bool = eqx.field(static=True, default=False)
    # what happens where an event breaks one of them, see `eventsolve`
    conditions: str = eqx.field(static=True, default="ignore")
    # whether an event is kept from moving the states of other components in time
    local: bool = eqx.field(static=True, default=False)
    # what the functions of the equation take for the time at which the window starts; `None`
    # where none of them asks for the time
    origin: float | None = eqx.field(static=True, default=None)

    def time(self, begin, offset) -> Float[Array, "*n"]:
        """The time that the functions of the equation are given. The end of a cell and the start
        of the next are one number, also where `begin + offset` is rounded."""
        if self.origin is None:
            return begin + offset
        grid, dtype = self.grid, offset.dtype
        cell = jnp.round(begin / jnp.asarray(grid.dt0, dtype)).astype(jnp.int32)
        width = grid.width(cell, dtype)
        since = jnp.where(
            offset >= width, grid.begin(cell + 1, dtype) + (offset - width), begin + offset
        )
        return jnp.asarray(self.origin, dtype) + since

    def in_cell(self, cell: Int[Array, ""]) -> "Problem":
        """The problem for the steps in a cell of the grid, which end when it does at the latest."""
        if self.controller is not None or not isinstance(self.args, AbstractTimeFunction):
            return self
        dtype = jnp.result_type(*jax.tree.leaves(self.y0))
        begin = self.grid.begin(cell, dtype)
        ends = (self.time(begin, x) for x in (jnp.zeros((), dtype), self.grid.width(cell, dtype)))
        return dataclasses.replace(self, args=self.args.within(*ends))

    def events_of(self, carry: Carry) -> Float[Array, " K"]:
        """The values of the event function where a sample stands."""
        return self.sde.event(self.time(carry.begin, carry.offset), carry.y, self.args)

    @property
    def turns(self) -> bool:
        """Whether a component of the event function may rise and fall within a step, along a path
        that is smooth there."""
        return not self.sde.event_rises and (self.driver is None or self.driver.is_smooth)

    def start(self) -> Carry:
        """Where every sample begins."""
        now = jnp.zeros((), jnp.result_type(*jax.tree.leaves(self.y0)))
        time = self.time(now, now)
        e0 = self.sde.event(time, self.y0, self.args)
        zero = jnp.zeros((), jnp.int32)
        cells = self.grid.num_cells
        cell = zero
        if self.sde.resets:
            cell = jnp.where(jnp.any(e0 >= 0), cells + AT_START, cell)
        if self.controller is None:
            cell = jnp.where(step_is_too_long(self.sde, self.dt0), cells + LONG_STEP, cell)
        jump = control = None
        if self.jumps is not None:
            jump = (self.jumps.num_at_start(), now)
        if self.controller is not None:
            control = self._first_step(now)
        seen = None
        if self.look and self.conditions != "ignore":
            never = jnp.asarray(jnp.inf, e0.dtype)
            seen = Seen(time, zero - 1, freeze(self.y0), never, never, jnp.asarray(False))
        return Carry(
            begin=now,
            offset=now,
            y=self.y0,
            cell=cell.astype(jnp.int32),
            driver_state=None if self.driver is None else self.driver.start(zero),
            num_events=zero,
            fired=jnp.zeros(e0.shape, jnp.int32),
            jump=jump,
            control=control,
            fresh=jnp.zeros(e0.shape, bool) if self.local else None,
            seen=seen,
            passed=seen if self.stop_after is not None and self.stop_after > 1 else None,
            above=None if self.sde.resets else e0 >= 0,
        )

    def piece(self, carry: Carry, cell_end) -> dfx.AbstractPath | None:
        if self.driver is None:
            return None
        return self.driver.piece(carry.driver_state, carry.cell, carry.offset, cell_end)

    def attempt(self, piece: dfx.AbstractPath | None, begin, x, x_new, y):
        """One step of the solver over [x, x_new] in the cell that begins at `begin`, with the
        driver's own increment, and the estimate of its error (`None` from a solver that has
        none)."""

        def drift(x, y, args):
            return self.sde.drift(self.time(begin, x), y, args)

        def diffusion(x, y, args):
            return self.sde.diffusion(self.time(begin, x), y, args)

        terms = dfx.ODETerm(drift)
        if piece is not None:
            terms = dfx.MultiTerm(terms, dfx.ControlTerm(diffusion, piece))
        state = self.solver.init(terms, x, x_new, y, self.args)
        return self.solver.step(terms, x, x_new, y, self.args, state, made_jump=False)[:2]

    def advance(self, piece: dfx.AbstractPath | None, begin, x, x_new, y) -> PyTree:
        """The end of that step."""
        return self.attempt(piece, begin, x, x_new, y)[0]

    def advance_jump(self, size, t, u, u_new, y) -> PyTree:
        """The part of a jump of the driver between the fictitious times u and u_new, at the time
        `t` that the functions of the equation are given."""
        return marcus_flow(self.sde, t, y, size, u_new - u, self.args, self.jumps.substeps)

    # --- adaptive steps, of an equation without noise

    def _drift_term(self, begin) -> dfx.ODETerm:
        return dfx.ODETerm(lambda x, y, args: self.sde.drift(self.time(begin, x), y, args))

    def _first_step(self, now):
        term = self._drift_term(now)
        h, state = self.controller.init(  # pyright: ignore[reportOptionalMemberAccess]
            term, now, jnp.asarray(self.grid.duration, now.dtype), self.y0,
            jnp.asarray(self.dt0, now.dtype), self.args, self.solver.func,
            self.solver.error_order(term),
        )  # fmt: skip
        return lax.stop_gradient(h - now), lax.stop_gradient(jax.tree.map(jnp.asarray, state))

    def judge(self, carry: Carry, t_new):
        """Whether the controller keeps the step to `t_new`, and where it stands then."""
        t, y = carry.offset, carry.y
        y_new, error = self.attempt(None, carry.begin, t, t_new, y)
        keep, _, t_after, _, state, _ = self.controller.adapt_step_size(  # pyright: ignore
            t, t_new, y, y_new, self.args, error,
            self.solver.error_order(self._drift_term(carry.begin)),
            carry.control[1],  # pyright: ignore[reportOptionalSubscript]
        )  # fmt: skip
        begin = jnp.where(keep, t_new, t)
        return keep, (t_after - begin, jax.tree.map(jnp.asarray, state))


# how a sample ended
DONE, TOO_MANY_EVENTS, NOT_FINITE, IMMEDIATE, AT_START, BACKLOG, LONG_STEP = range(7)

# the longest step, in units of the shortest time constant of a model: beyond it an explicit method
# leaps over the equilibrium, and soon diverges, where the solution decays
_LONGEST_STEP = 1.0 + 1e-5


def step_is_too_long(sde: AbstractEventSDE, dt0: float) -> Bool[Array, ""]:
    """Whether a step is longer than the shortest time constant of a model, where that is known."""
    rate = sde.fastest_rate
    return jnp.asarray(False) if rate is None else rate * dt0 > _LONGEST_STEP


def where_tree(pred, a, b):
    return jax.tree.map(lambda x, y: jnp.where(pred, x, y), a, b)


def where_rows(rows: Bool[Array, " K"], a, b):
    """`a` in the given components, `b` in the others, along the first axis."""
    return jax.tree.map(
        lambda x, y: jnp.where(rows.reshape(rows.shape + (1,) * (x.ndim - 1)), x, y), a, b
    )


def freeze(tree):
    """The tree, without derivatives."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)
