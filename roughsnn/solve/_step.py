"""One micro-step: from where a sample stands to the end of its grid cell or to its next event.

All decisions (is there an event, when, of which component) are made without derivatives. The
event time is then given its derivative by the implicit function theorem on the very step that
leads to it, so that what is differentiated is exactly what was computed.
"""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from .._random import event_key
from ..drivers import AbstractGridDriver, TimeGrid
from ..event_sde import AbstractEventSDE
from ._locate import NO_EVENT, NONFINITE, component, locate_event

_OVERFLOW = -3

# how a sample ended
DONE, TOO_MANY_EVENTS, NOT_FINITE, IMMEDIATE, AT_START = range(5)

# what the backward pass keeps beside where each step began, so that it never searches for an
# event, draws a mark or looks into the driver again
KEPT = ("event_time", "event_decision", "event_mark", "driver_piece")


class Carry(eqx.Module):
    """Where one sample stands.

    `cell` is the number of its grid cell while it runs, and the number of cells plus one of the
    codes above once it has ended. `fired` is, for each component, twice the number of its events
    so far, plus one if it still has to fire at this very time.
    """

    t: Float[Array, ""]
    y: PyTree
    cell: Int[Array, ""]
    driver_state: PyTree
    num_events: Int[Array, ""]
    fired: Int[Array, " K"]


class Problem(eqx.Module):
    """What stays the same during one solve."""

    sde: AbstractEventSDE
    solver: dfx.AbstractSolver
    driver: AbstractGridDriver | None
    grid: TimeGrid
    args: Any
    key: PRNGKeyArray
    max_events: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)

    def piece(self, carry: Carry, cell_end) -> dfx.AbstractPath | None:
        if self.driver is None:
            return None
        return self.driver.piece(carry.driver_state, carry.cell, carry.t, cell_end)

    def advance(self, piece: dfx.AbstractPath | None, t, t_new, y) -> PyTree:
        """One step of the solver over [t, t_new], with the driver's own increment."""
        terms = dfx.ODETerm(self.sde.drift)
        if piece is not None:
            terms = dfx.MultiTerm(terms, dfx.ControlTerm(self.sde.diffusion, piece))
        state = self.solver.init(terms, t, t_new, y, self.args)
        return self.solver.step(terms, t, t_new, y, self.args, state, made_jump=False)[0]


def where_tree(pred, a, b):
    return jax.tree.map(lambda x, y: jnp.where(pred, x, y), a, b)


def freeze(tree):
    """The tree, without derivatives."""
    return jax.tree.map(lambda x: lax.stop_gradient(x) if eqx.is_inexact_array(x) else x, tree)


def kept(tree, name: str):
    """The tree, with its arrays kept for the backward pass. They are computed once, which the
    barrier sees to: the hash behind a mark must not be done anew for every component."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    arrays = jax.tree.map(lambda x: checkpoint_name(x, name), lax.optimization_barrier(arrays))
    return eqx.combine(arrays, rest)


def pick(one_hot: Bool[Array, " K"], values: Array) -> Array:
    """The value of one component: a masked sum, since the transpose of indexing is a scatter."""
    return jnp.sum(jnp.where(one_hot, values, 0))


def micro_step(problem: Problem, carry: Carry) -> tuple[Carry, dict[str, Any]]:
    sde, args, grid = problem.sde, problem.args, problem.grid
    t, y, cells = carry.t, carry.y, grid.num_cells
    running = carry.cell < cells
    # a sample that has ended steps over a dummy interval, so that no division by a length of zero
    # can reach the gradient of the others
    cell_end = jnp.where(running, grid.end(carry.cell, t.dtype), lax.stop_gradient(t) + grid.dt0)
    piece = kept(problem.piece(carry, cell_end), "driver_piece")

    # decide, without derivatives
    tied = (carry.fired & 1) == 1
    # (frozen on the way out as well, for parameters that a function closes over)
    event = freeze(locate_event(*freeze((problem, piece, t, y)), cell_end, tied))
    full = carry.num_events >= problem.max_events
    decision = jnp.where(full & (event.decision >= 0), _OVERFLOW, event.decision)
    t_next = checkpoint_name(event.time, "event_time")
    decision = checkpoint_name(jnp.where(running, decision, NO_EVENT), "event_decision")
    is_event = decision >= 0
    num = carry.fired.shape[0]
    # an event set off by another's transition happens when that one does, derivative and all
    t_next = jnp.where(decision >= num, t, t_next)
    moves = running & (decision >= NO_EVENT)

    # step, with derivatives
    def reach(t_new):
        y_new = problem.advance(piece, t, t_new, y)
        return y_new, sde.event(t_new, y_new, args)

    (y_next, e_next), (y_dot, e_dot) = jax.jvp(reach, (t_next,), (jnp.ones_like(t_next),))
    # all other events have a time of their own, with d tau = -dE / E_dot. The correction is zero
    # but for its derivative.
    has_own_time = is_event & (decision < num)
    index = jnp.where(decision < num, decision, decision - num)
    one_hot = jnp.arange(num, dtype=jnp.int32) == index
    residual = pick(one_hot, e_next)
    slope = component(lax.stop_gradient(e_dot), index)
    slope = jnp.where(has_own_time & (slope != 0), slope, 1)
    shift = jnp.where(has_own_time, (lax.stop_gradient(residual) - residual) / slope, 0)
    t_next = t_next + shift.astype(t.dtype)
    y_next = jax.tree.map(lambda x, x_dot: x + x_dot * shift.astype(x.dtype), y_next, y_dot)

    # jump
    number = component(carry.fired, index) >> 1
    mark = kept(sde.mark(event_key(problem.key, index, number)), "event_mark")
    y_jumped = sde.transition(t_next, y_next, index, mark, args)
    e_jumped = sde.event(t_next, lax.stop_gradient(y_jumped), args)
    immediate = is_event & (component(e_jumped, index) >= 0)

    # keep account
    num_events = carry.num_events + is_event.astype(jnp.int32)
    # an event at the very end of the last cell is followed by a step of length zero, in which
    # others can still happen with it
    last_event = is_event & (carry.cell == cells - 1)
    cell = carry.cell + ((lax.stop_gradient(t_next) >= cell_end) & ~last_event).astype(jnp.int32)
    if problem.stop_after is not None:
        cell = jnp.where(is_event & (num_events >= problem.stop_after), cells + DONE, cell)
    cell = jnp.where(immediate, cells + IMMEDIATE, cell)
    cell = jnp.where(decision == NONFINITE, cells + NOT_FINITE, cell)
    cell = jnp.where(decision == _OVERFLOW, cells + TOO_MANY_EVENTS, cell)
    cell = jnp.where(running, cell, carry.cell)
    driver_state = carry.driver_state
    if problem.driver is not None and jax.tree.leaves(driver_state):
        left = problem.driver.left(driver_state, piece, t, t_next, cell_end)
        fresh = problem.driver.start(jnp.minimum(cell, cells - 1))
        driver_state = where_tree(
            cell > carry.cell, fresh, where_tree(is_event, left, driver_state)
        )
    new = Carry(
        t=jnp.where(moves, t_next, t),
        y=where_tree(is_event, y_jumped, where_tree(moves, y_next, y)),
        cell=cell,
        driver_state=driver_state,
        num_events=num_events,
        fired=(carry.fired & -2)
        + jnp.where(is_event, 2 * one_hot.astype(jnp.int32) + event.tied.astype(jnp.int32), 0),
    )
    record = dict(
        # 0 for a sample that had ended, 1 for a step without event, 2 + k for one of component k
        outcome=jnp.where(is_event, 2 + index, jnp.where(running, 1, 0)),
        time=t_next,
        residual=jnp.where(has_own_time, jnp.abs(lax.stop_gradient(residual)), 0),
        y_left=y_next,
        y_right=y_jumped,
    )
    return new, record
