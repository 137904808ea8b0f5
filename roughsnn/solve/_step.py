"""One micro-step: from where a sample stands to the end of its grid cell, to its next event or to
the driver's next jump, or through such a jump.

All decisions (is there an event, when, of which component) are made without derivatives. The
event time is then given its derivative by the implicit function theorem on the very step that
leads to it, so that what is differentiated is exactly what was computed.
"""

from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from .._random import event_key
from ._locate import NO_EVENT, NONFINITE, Event, component, locate_event
from ._problem import (
    BACKLOG,
    DONE,
    IMMEDIATE,
    NOT_FINITE,
    TOO_MANY_EVENTS,
    Carry,
    Problem,
    freeze,
    where_rows,
    where_tree,
)

_OVERFLOW = -3

_FIRST_ORDER = (
    "An event solve has first derivatives only: a second derivative (jax.hessian, a gradient of a "
    "gradient) would miss how an event time moves its own derivative. Take central differences of "
    "the gradient, or Gauss--Newton (jax.jvp and jax.vjp of the residuals)."
)

# what the backward pass keeps beside where each step began, so that it never searches for an
# event, draws a mark or looks into the driver again
KEPT = ("event_time", "event_decision", "event_mark", "driver_piece")


class Known(eqx.Module):
    """What is known of a micro-step that is gone through a second time.

    - `clock`: where its event was, if it had one.
    - `decision`: as in `Event`, after all corrections.
    """

    clock: Float[Array, ""]
    decision: Int[Array, ""]


def kept(tree, name: str):
    """The tree, with its arrays kept for the backward pass. They are computed once, which the
    barrier sees to: the hash behind a mark must not be done anew for every component."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    arrays = jax.tree.map(lambda x: checkpoint_name(x, name), lax.optimization_barrier(arrays))
    return eqx.combine(arrays, rest)


def pick(one_hot: Bool[Array, " K"], values: Array) -> Array:
    """The value of one component: a masked sum, since the transpose of indexing is a scatter."""
    return jnp.sum(jnp.where(one_hot, values, 0))


def _is_recorded(sde, index: Int[Array, ""]):
    return True if sde.num_recorded is None else index < sde.num_recorded


@jax.custom_jvp
def moved_by_event(x, x_dot, residual, slope):
    """`x`, with the derivative dx + x_dot d tau, d tau = -dE / E_dot, where `residual` is E and
    `slope` E_dot. Without a derivative there is nothing to compute."""
    return x


@moved_by_event.defjvp
def _(primals, tangents):
    x, x_dot, _, slope = primals
    dx, _, d_residual, _ = tangents
    x_dot, slope = first_order((x_dot, slope))
    shift = -d_residual / slope
    return x, dx + x_dot * shift.astype(x.dtype)


@jax.custom_jvp
def first_order(tree):
    """What a first derivative is made of, which itself has no derivative here."""
    return tree


@first_order.defjvp
def _(primals, tangents):
    raise NotImplementedError(_FIRST_ORDER)


class _Stretch(eqx.Module):
    """What a micro-step runs over, by a clock that is time, or the fictitious time of a jump."""

    problem: Problem
    piece: Any
    t: Float[Array, ""]
    y: Any
    start: Float[Array, ""]
    end: Float[Array, ""]
    jumping: Bool[Array, ""] | None
    size: Any

    def time(self, clock):
        return clock if self.jumping is None else jnp.where(self.jumping, self.t, clock)

    def state(self, clock):
        problem = self.problem
        if self.jumping is None:
            return problem.advance(self.piece, self.t, clock, self.y)
        # each of the two runs over a dummy interval where the other one is asked for
        away = lax.stop_gradient(self.t) + problem.dt0
        t_new = jnp.where(self.jumping, away, clock)
        moved = problem.advance(self.piece, self.t, t_new, self.y)
        u, u_new = (jnp.where(self.jumping, x, 0) for x in (self.start, clock))
        inputs = (self.size, self.t, u, u_new, self.y)
        jumped = lax.cond(
            eqxi.unvmap_any(self.jumping),
            lambda a: problem.advance_jump(*a),
            lambda a: a[-1],
            inputs,
        )
        return where_tree(self.jumping, jumped, moved)

    def reach(self, clock):
        y = self.state(clock)
        return y, self.problem.sde.event(self.time(clock), y, self.problem.args)


def micro_step(
    problem: Problem, carry: Carry, known: Known | None = None
) -> tuple[Carry, dict[str, Any]]:
    sde, args, grid = problem.sde, problem.args, problem.grid
    t, y, cells = carry.t, carry.y, grid.num_cells
    num = carry.fired.shape[0]
    running = carry.cell < cells
    # a sample that has ended steps over a dummy interval, so that no division by a length of zero
    # can reach the gradient of the others
    cell_end = jnp.where(running, grid.end(carry.cell, t.dtype), lax.stop_gradient(t) + problem.dt0)
    target = cell_end
    if carry.control is not None:
        target = jnp.minimum(target, lax.stop_gradient(t) + carry.control[0])
    jumping, size, start, end = None, None, t, target
    if carry.jump is not None:
        t_jump, size = problem.jumps.at(carry.jump[0])
        jumping = running & (t_jump <= t)
        # the jump is where this stretch ends, derivative and all
        target = jnp.where(running & (t_jump <= target), t_jump, target)
        start, end = jnp.where(jumping, carry.jump[1], t), jnp.where(jumping, 1.0, target)
    piece = kept(problem.piece(carry, cell_end), "driver_piece")
    accepted, control = jnp.asarray(True), None
    if carry.control is not None:
        accepted, control = freeze(freeze(problem).judge(freeze(carry), lax.stop_gradient(target)))
        accepted = accepted if jumping is None else accepted | jumping
    stretch = _Stretch(problem, piece, t, y, start, end, jumping, size)

    # decide, without derivatives
    if known is None:
        tied = (carry.fired & 1) == 1
        # (frozen on the way out as well, for parameters that a function closes over)
        event = freeze(locate_event(freeze(stretch), tied, running & accepted))
        full = carry.num_events >= problem.max_events
        too_many = full & (event.decision >= 0) & _is_recorded(sde, event.decision % num)
        decision = jnp.where(too_many, _OVERFLOW, event.decision)
        decision = jnp.where(running & accepted, decision, NO_EVENT)
    else:
        decision = known.decision
        event = Event(known.clock, decision, jnp.zeros(num, bool))
    decision = checkpoint_name(decision, "event_decision")
    is_event = decision >= 0
    # an event set off by another's transition happens when that one does, derivative and all
    clock = jnp.where(is_event, checkpoint_name(event.time, "event_time"), end)
    clock = jnp.where(decision >= num, start, clock)
    moves = running & accepted & (decision >= NO_EVENT)

    # step, with derivatives. A sample that does not move steps from where the solve began: what
    # its own state has become, which may be anything, must not reach the gradient of others.
    y_from = where_tree(moves, y, freeze(problem.y0))
    stretch = eqx.tree_at(lambda s: s.y, stretch, y_from)
    if problem.local:
        still = eqx.tree_at(lambda s: (s.t, s.start), stretch, lax.stop_gradient((t, start)))

        def reach(clock):
            y_next = where_rows(carry.fresh, stretch.state(clock), still.state(clock))
            return y_next, sde.event(stretch.time(clock), y_next, args)
    else:
        reach = stretch.reach
    (y_next, e_next), (y_dot, e_dot) = jax.jvp(reach, (clock,), (jnp.ones_like(clock),))
    # all other events have a time of their own, with d tau = -dE / E_dot
    has_own_time = is_event & (decision < num)
    index = jnp.where(decision < num, decision, decision - num)
    one_hot = jnp.arange(num, dtype=jnp.int32) == index
    residual = pick(one_hot, e_next)
    slope = component(e_dot, index)
    slope = jnp.where(has_own_time & (slope != 0), slope, 1)
    early = jnp.where(has_own_time, residual, 0)
    clock = moved_by_event(clock, jnp.ones_like(clock), early, slope)
    t_next = stretch.time(clock)
    shifted = jax.tree.map(lambda x, x_dot: moved_by_event(x, x_dot, early, slope), y_next, y_dot)
    y_next = where_rows(one_hot, shifted, y_next) if problem.local else shifted

    # jump
    number = component(carry.fired, index) >> 1
    mark = kept(sde.mark(event_key(problem.key, index, number)), "event_mark")
    y_jumped = sde.transition(t_next, y_next, index, mark, args)
    e_jumped = sde.event(t_next, lax.stop_gradient(y_jumped), args)
    immediate = is_event & (component(e_jumped, index) >= 0)

    # keep account
    is_recorded = is_event & _is_recorded(sde, index)
    num_events = carry.num_events + is_recorded.astype(jnp.int32)
    jump, waiting = carry.jump, jnp.asarray(False)
    if jump is not None:
        through = moves & jumping & ~is_event
        number_of_jump = jump[0] + through.astype(jnp.int32)
        done = jnp.where(jumping & is_event, clock, jnp.where(through, 0, jump[1]))
        jump = (number_of_jump, done)
        waiting = problem.jumps.at(number_of_jump)[0] <= lax.stop_gradient(t_next)
    # an event at the very end of the last cell is followed by a step of length zero, in which
    # others can still happen with it
    last_event = is_event & (carry.cell == cells - 1)
    at_end = moves & (lax.stop_gradient(t_next) >= cell_end) & ~last_event & ~waiting
    cell = carry.cell + at_end.astype(jnp.int32)
    if problem.stop_after is not None:
        cell = jnp.where(is_recorded & (num_events >= problem.stop_after), cells + DONE, cell)
    overflowed = sde.overflowed(y_jumped)
    if overflowed is not None:
        cell = jnp.where(is_event & overflowed, cells + BACKLOG, cell)
    cell = jnp.where(immediate, cells + IMMEDIATE, cell)
    cell = jnp.where(decision == NONFINITE, cells + NOT_FINITE, cell)
    cell = jnp.where(decision == _OVERFLOW, cells + TOO_MANY_EVENTS, cell)
    cell = jnp.where(running, cell, carry.cell)
    driver_state = carry.driver_state
    if problem.driver is not None and jax.tree.leaves(driver_state):
        left = problem.driver.left(driver_state, piece, t, t_next, cell_end)
        fresh = problem.driver.start(jnp.minimum(cell, cells - 1))
        cut = is_event
        if jumping is not None:
            cut = moves & ~jumping
        driver_state = where_tree(cell > carry.cell, fresh, where_tree(cut, left, driver_state))
    if control is not None:
        stays = ~running if jumping is None else ~running | jumping
        control = where_tree(stays, carry.control, control)
    fresh_rows = carry.fresh
    if problem.local:
        fresh_rows = jnp.where(is_event, one_hot & has_own_time, fresh_rows & ~moves)
    seen = carry.seen
    if seen is not None:
        now = has_own_time & _is_recorded(sde, index)
        now = now if jumping is None else now & ~jumping
        seen = where_tree(now, freeze((t_next, index, y_next)), seen)
    new = Carry(
        t=jnp.where(moves, t_next, t),
        y=where_tree(is_event, y_jumped, where_tree(moves, y_next, y)),
        cell=cell,
        driver_state=driver_state,
        num_events=num_events,
        fired=(carry.fired & -2)
        + jnp.where(is_event, 2 * one_hot.astype(jnp.int32) + event.tied.astype(jnp.int32), 0),
        jump=jump,
        control=control,
        fresh=fresh_rows,
        seen=seen,
    )
    record = dict(
        # 0 for a sample that had ended, 1 for a step without a recorded event, 2 + k for one of
        # component k
        outcome=jnp.where(is_recorded, 2 + index, jnp.where(running, 1, 0)),
        time=t_next,
        residual=jnp.where(has_own_time, jnp.abs(lax.stop_gradient(residual)), 0),
        y_left=y_next,
        y_right=y_jumped,
        decision=decision,
        clock=lax.stop_gradient(clock),
    )
    return new, record
