"""What stays the same during one solve, and where one sample of it stands."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..drivers import AbstractGridDriver, TimeGrid
from ..event_sde import AbstractEventSDE
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

    `cell` is the number of its grid cell while it runs, and the number of cells plus one of the
    codes of `_step` once it has ended. `fired` is, for each component, twice the number of its
    events so far, plus one if it still has to fire at this very time. The others are `None` where
    a solve has no use for them: `jump` is the number of the driver's next jump and how much of it
    is done, `control` the length of the next step and the state of the step size controller,
    `fresh` the component whose state begins its step at a time that has a derivative, `seen` the
    event that is shown to the theorem's assumptions, and `passed` the same of the events after
    which the path went on, where `stop_after` makes a difference.
    """

    t: Float[Array, ""]
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

    def start(self) -> Carry:
        """Where every sample begins."""
        t = jnp.asarray(self.grid.t0, jnp.result_type(*jax.tree.leaves(self.y0)))
        e0 = self.sde.event(t, self.y0, self.args)
        zero = jnp.zeros((), jnp.int32)
        at_start = self.grid.num_cells + AT_START
        jump = control = None
        if self.jumps is not None:
            first = jnp.sum(self.jumps.times <= t, dtype=jnp.int32)
            jump = (first, jnp.zeros_like(t))
        if self.controller is not None:
            control = self._first_step(t)
        seen = None
        if self.look and self.conditions != "ignore":
            never = jnp.asarray(jnp.inf, e0.dtype)
            seen = Seen(t, zero - 1, freeze(self.y0), never, never, jnp.asarray(False))
        return Carry(
            t=t,
            y=self.y0,
            cell=jnp.where(jnp.any(e0 >= 0), at_start, 0).astype(jnp.int32),
            driver_state=None if self.driver is None else self.driver.start(zero),
            num_events=zero,
            fired=jnp.zeros(e0.shape, jnp.int32),
            jump=jump,
            control=control,
            fresh=jnp.zeros(e0.shape, bool) if self.local else None,
            seen=seen,
            passed=seen if self.stop_after is not None and self.stop_after > 1 else None,
        )

    def piece(self, carry: Carry, cell_end) -> dfx.AbstractPath | None:
        if self.driver is None:
            return None
        return self.driver.piece(carry.driver_state, carry.cell, carry.t, cell_end)

    def attempt(self, piece: dfx.AbstractPath | None, t, t_new, y) -> tuple[PyTree, PyTree]:
        """One step of the solver over [t, t_new], with the driver's own increment, and the
        estimate of its error (`None` from a solver that has none)."""
        terms = dfx.ODETerm(self.sde.drift)
        if piece is not None:
            terms = dfx.MultiTerm(terms, dfx.ControlTerm(self.sde.diffusion, piece))
        state = self.solver.init(terms, t, t_new, y, self.args)
        return self.solver.step(terms, t, t_new, y, self.args, state, made_jump=False)[:2]

    def advance(self, piece: dfx.AbstractPath | None, t, t_new, y) -> PyTree:
        """The end of that step."""
        return self.attempt(piece, t, t_new, y)[0]

    def advance_jump(self, size, t, u, u_new, y) -> PyTree:
        """The part of a jump of the driver between the fictitious times u and u_new."""
        return marcus_flow(self.sde, t, y, size, u_new - u, self.args, self.jumps.substeps)

    # --- adaptive steps, of an equation without noise

    def _first_step(self, t):
        h, state = self.controller.init(  # pyright: ignore[reportOptionalMemberAccess]
            dfx.ODETerm(self.sde.drift), t, jnp.asarray(self.grid.t1, t.dtype), self.y0,
            jnp.asarray(self.dt0, t.dtype), self.args, self.solver.func,
            self.solver.error_order(dfx.ODETerm(self.sde.drift)),
        )  # fmt: skip
        return lax.stop_gradient(h - t), lax.stop_gradient(jax.tree.map(jnp.asarray, state))

    def judge(self, carry: Carry, t_new):
        """Whether the controller keeps the step to `t_new`, and where it stands then."""
        t, y = carry.t, carry.y
        y_new, error = self.attempt(None, t, t_new, y)
        keep, _, t_after, _, state, _ = self.controller.adapt_step_size(  # pyright: ignore
            t, t_new, y, y_new, self.args, error,
            self.solver.error_order(dfx.ODETerm(self.sde.drift)), carry.control[1],  # pyright: ignore
        )  # fmt: skip
        begin = jnp.where(keep, t_new, t)
        return keep, (t_after - begin, jax.tree.map(jnp.asarray, state))


# how a sample ended
DONE, TOO_MANY_EVENTS, NOT_FINITE, IMMEDIATE, AT_START, BACKLOG = range(6)


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
