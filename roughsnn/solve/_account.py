"""The end of a micro-step: the transition at an event, and where the sample stands after it."""

from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

from .._random import event_key
from ._assumptions import relative_to
from ._locate import NONFINITE, component
from ._problem import (
    BACKLOG,
    DONE,
    IMMEDIATE,
    NOT_FINITE,
    TOO_MANY_EVENTS,
    Carry,
    Problem,
    Seen,
    freeze,
    where_tree,
)

OVERFLOW = -3

# what `conditions="clip"` takes the speed of an event function for at least, in units of that with
# which it would come to rest as far above zero as the transition takes it below
CLIP = 0.1

# what the backward pass keeps beside where each step began, so that it never searches for an
# event, draws a mark or looks into the driver again
KEPT = ("event_time", "event_decision", "event_mark", "driver_piece")


def kept(tree, name: str):
    """The tree, with its arrays kept for the backward pass. They are computed once, which the
    barrier sees to: the hash behind a mark must not be done anew for every component."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    arrays = jax.tree.map(lambda x: checkpoint_name(x, name), lax.optimization_barrier(arrays))
    return eqx.combine(arrays, rest)


def is_recorded(sde, index: Int[Array, ""]):
    return True if sde.num_recorded is None else index < sde.num_recorded


class Moved(eqx.Module):
    """Where a micro-step has led, before the transition: what `account` needs to know of it."""

    decision: Int[Array, ""]
    clock: Float[Array, ""]
    moves: Bool[Array, ""]
    # since the start of the cell
    offset: Float[Array, ""]
    y_next: Any
    residual: Float[Array, ""]
    cell_end: Float[Array, ""]
    piece: Any
    tied: Bool[Array, " K"]
    jumping: Bool[Array, ""] | None = None
    control: Any = None
    # of the event function along the step, and that with which it would come to rest, where the
    # event is looked at for the theorem's assumptions
    speed: Float[Array, ""] | None = None
    to_rest: Float[Array, ""] | None = None
    # the values of the event function there
    values: Float[Array, " K"] | None = None


def seen_now(problem: Problem, moved: Moved, begin, index) -> Seen:
    """What is seen of the event of a step, in the cell that begins at `begin`."""
    speed = order = moved.speed
    clipped = jnp.asarray(False)
    if moved.to_rest is not None:
        order = relative_to(moved.to_rest, speed)
        clipped = order < CLIP
    time = problem.time(begin, moved.offset)
    return freeze(Seen(time, index, moved.y_next, speed, order, clipped))


def account(problem: Problem, carry: Carry, moved: Moved) -> tuple[Carry, dict[str, Any]]:
    """The transition at an event, and where the sample stands after it."""
    sde, args, cells = problem.sde, problem.args, problem.grid.num_cells
    num = carry.fired.shape[0]
    x, y, running = carry.offset, carry.y, carry.cell < cells
    decision, clock, moves = moved.decision, moved.clock, moved.moves
    x_next, y_next, residual = moved.offset, moved.y_next, moved.residual
    t_next = problem.time(carry.begin, x_next)
    cell_end, piece, jumping, control = moved.cell_end, moved.piece, moved.jumping, moved.control
    is_event = decision >= 0
    has_own_time = is_event & (decision < num)
    index = jnp.where(decision < num, decision, decision - num)
    one_hot = jnp.arange(num, dtype=jnp.int32) == index

    # transition
    number = component(carry.fired, index) >> 1
    mark = kept(sde.mark(event_key(problem.key, index, number)), "event_mark")
    y_jumped = sde.transition(t_next, y_next, index, mark, args)
    e_jumped = sde.event(t_next, lax.stop_gradient(y_jumped), args)
    immediate = is_event & (component(e_jumped, index) >= 0)
    above = carry.above
    if above is not None:
        # one that crosses is above zero until it is seen below; it does not fire again meanwhile
        immediate = jnp.asarray(False)
        assert moved.values is not None
        below = moves & ~is_event & (moved.values < 0)
        above = (above & ~below) | (one_hot & is_event)

    # keep account
    recorded = is_event & is_recorded(sde, index)
    num_events = carry.num_events + recorded.astype(jnp.int32)
    jump, waiting = carry.jump, jnp.asarray(False)
    if jump is not None:
        assert jumping is not None
        through = moves & jumping & ~is_event
        number_of_jump = jump[0] + through.astype(jnp.int32)
        done = jnp.where(jumping & is_event, clock, jnp.where(through, 0, jump[1]))
        jump = (number_of_jump, done)
        waiting = problem.jumps.is_due(number_of_jump, carry.cell, lax.stop_gradient(x_next))
    # an event at the very end of the last cell is followed by a step of length zero, in which
    # others can still happen with it
    last_event = is_event & (carry.cell == cells - 1)
    at_end = moves & (lax.stop_gradient(x_next) >= cell_end) & ~last_event & ~waiting
    cell = carry.cell + at_end.astype(jnp.int32)
    begin = jnp.where(at_end, problem.grid.begin(cell, x.dtype), carry.begin)
    ends = jnp.asarray(False)
    if problem.stop_after is not None:
        ends = recorded & (num_events >= problem.stop_after)
        cell = jnp.where(ends, cells + DONE, cell)
    overflowed = sde.overflowed(y_jumped)
    if overflowed is not None:
        cell = jnp.where(is_event & overflowed, cells + BACKLOG, cell)
    cell = jnp.where(immediate, cells + IMMEDIATE, cell)
    cell = jnp.where(decision == NONFINITE, cells + NOT_FINITE, cell)
    cell = jnp.where(decision == OVERFLOW, cells + TOO_MANY_EVENTS, cell)
    cell = jnp.where(running, cell, carry.cell)
    driver_state = carry.driver_state
    if problem.driver is not None and jax.tree.leaves(driver_state):
        left = problem.driver.left(driver_state, piece, x, x_next, cell_end)
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
        assert fresh_rows is not None
        fresh_rows = jnp.where(is_event, one_hot & has_own_time, fresh_rows & ~moves)
    seen, passed = carry.seen, carry.passed
    if seen is not None and moved.speed is not None:
        now = has_own_time & is_recorded(sde, index)
        now = now if jumping is None else now & ~jumping
        this = seen_now(problem, moved, carry.begin, index)
        clipped = seen.clipped | (now & this.clipped)
        seen = where_tree(now & (this.order <= seen.order), this, seen)
        seen = eqx.tree_at(lambda s: s.clipped, seen, clipped)
        if passed is not None:
            passed = where_tree(now & ~ends & (this.order <= passed.order), this, passed)
    new = Carry(
        begin=begin,
        # zero at the start of a cell, with the derivative of an event at the end of the last one
        offset=jnp.where(at_end, x_next - cell_end, jnp.where(moves, x_next, x)),
        y=where_tree(is_event, y_jumped, where_tree(moves, y_next, y)),
        cell=cell,
        driver_state=driver_state,
        num_events=num_events,
        fired=(carry.fired & -2)
        + jnp.where(is_event, 2 * one_hot.astype(jnp.int32) + moved.tied.astype(jnp.int32), 0),
        jump=jump,
        control=control,
        fresh=fresh_rows,
        seen=seen,
        passed=passed,
        above=above,
    )
    record = dict(
        # 0 for a sample that had ended, 1 for a step without a recorded event, 2 + k for one of
        # component k
        outcome=jnp.where(recorded, 2 + index, jnp.where(running, 1, 0)),
        time=carry.begin + x_next,
        residual=jnp.where(has_own_time, jnp.abs(lax.stop_gradient(residual)), 0),
        y_left=y_next,
        y_right=y_jumped,
        decision=decision,
        clock=lax.stop_gradient(clock),
    )
    return new, record
