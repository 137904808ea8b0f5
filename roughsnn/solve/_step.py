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
from ._account import CLIP, OVERFLOW, Moved, account, is_recorded, kept
from ._assumptions import comes_to_rest, speed_to_rest
from ._locate import NO_EVENT, Event, component, locate_event
from ._problem import Carry, Problem, freeze, where_rows, where_tree
from ._refusal import refuse_derivatives

# What a first derivative is made of, which itself has no derivative here.
first_order = refuse_derivatives(
    "An event solve has first derivatives only: a second derivative (jax.hessian, a gradient of a "
    "gradient) would miss how an event time moves its own derivative. Take central differences of "
    "the gradient, or Gauss--Newton (jax.jvp and jax.vjp of the residuals)."
)


class Known(eqx.Module):
    """What is known of a micro-step that is gone through a second time.

    - `clock`: where its event was, if it had one.
    - `decision`: as in `Event`, after all corrections.
    """

    clock: Float[Array, ""]
    decision: Int[Array, ""]


def pick(one_hot: Bool[Array, " K"], values: Array) -> Array:
    """The value of one component: a masked sum, since the transpose of indexing is a scatter."""
    return jnp.sum(jnp.where(one_hot, values, 0))


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


class Stretch(eqx.Module):
    """What a micro-step runs over, by a clock that is the time since the start of the cell, or the
    fictitious time of a jump.

    - `begin`: when the cell begins; `offset`, `y`: where the sample stands.
    - `start`, `end`: the readings of the clock at both ends.
    - `jumping`, `size`: whether this is a jump of the driver, and its size.
    """

    problem: Problem
    piece: Any
    begin: Float[Array, ""]
    offset: Float[Array, ""]
    y: Any
    start: Float[Array, ""]
    end: Float[Array, ""]
    jumping: Bool[Array, ""] | None
    size: Any

    def place(self, clock):
        """The time since the start of the cell."""
        return clock if self.jumping is None else jnp.where(self.jumping, self.offset, clock)

    def time(self, clock):
        """The time that the functions of the equation are given."""
        return self.problem.time(self.begin, self.place(clock))

    def state(self, clock):
        problem = self.problem
        if self.jumping is None:
            return problem.advance(self.piece, self.begin, self.offset, clock, self.y)
        # each of the two runs over a dummy interval where the other one is asked for
        away = lax.stop_gradient(self.offset) + problem.dt0
        x_new = jnp.where(self.jumping, away, clock)
        moved = problem.advance(self.piece, self.begin, self.offset, x_new, self.y)
        u, u_new = (jnp.where(self.jumping, x, 0) for x in (self.start, clock))
        inputs = (self.size, problem.time(self.begin, self.offset), u, u_new, self.y)
        jumped = lax.cond(
            eqxi.unvmap_any(self.jumping),
            lambda a: problem.advance_jump(*a),
            lambda a: a[-1],
            inputs,
        )
        return where_tree(self.jumping, jumped, moved)

    def reach(self, clock):
        """The state and the values of the event function at the end of a step to `clock`."""
        y = self.state(clock)
        return y, self.problem.sde.event(self.time(clock), y, self.problem.args)


def _speed_to_rest(problem: Problem, carry: Carry, time, y, index):
    """The speed at an event with which the event function would come to rest, see there."""
    sde, args = freeze((problem.sde, problem.args))
    time, y = freeze((time, y))
    mark = sde.mark(event_key(problem.key, index, component(carry.fired, index) >> 1))
    right = sde.transition(time, y, index, mark, args)
    return freeze(speed_to_rest(sde, args, time, index, y, right))


def _divisor(problem: Problem, speed, to_rest):
    """What a derivative is divided by at an event: the speed of the event function. Where that is
    no more than zero the event has no derivative. Unless this is ignored, it gets 0, so that a
    sample that is left out downstream meets no 0 times infinity."""
    if problem.conditions == "ignore":
        return speed
    if to_rest is not None:
        speed = jnp.maximum(speed, CLIP * to_rest)
    # its square, too, must have an inverse
    least = jnp.sqrt(jnp.finfo(speed.dtype).tiny)
    return jnp.where(speed > least, speed, jnp.inf)


def micro_step(
    problem: Problem, carry: Carry, known: Known | None = None
) -> tuple[Carry, dict[str, Any]]:
    problem = problem.in_cell(carry.cell)
    sde, args, grid = problem.sde, problem.args, problem.grid
    x, y, cells = carry.offset, carry.y, grid.num_cells
    num = carry.fired.shape[0]
    running = carry.cell < cells
    # a sample that has ended steps over a dummy interval, so that no division by a length of zero
    # can reach the gradient of the others
    width = grid.width(carry.cell, x.dtype)
    cell_end = jnp.where(running, width, lax.stop_gradient(x) + problem.dt0)
    target = cell_end
    if carry.control is not None:
        target = jnp.minimum(target, lax.stop_gradient(x) + carry.control[0])
    jumping, size, start, end = None, None, x, target
    if carry.jump is not None:
        jump_cell, jump_offset, size = problem.jumps.at(carry.jump[0])
        jumping = running & problem.jumps.is_due(carry.jump[0], carry.cell, x)
        # the jump is where this stretch ends, derivative and all
        ahead = running & (jump_cell == carry.cell) & (jump_offset <= target)
        target = jnp.where(ahead, jump_offset, target)
        start, end = jnp.where(jumping, carry.jump[1], x), jnp.where(jumping, 1.0, target)
    piece = kept(problem.piece(carry, cell_end), "driver_piece")
    accepted, control = jnp.asarray(True), None
    if carry.control is not None:
        accepted, control = freeze(freeze(problem).judge(freeze(carry), lax.stop_gradient(target)))
        accepted = accepted if jumping is None else accepted | jumping
    stretch = Stretch(problem, piece, carry.begin, x, y, start, end, jumping, size)

    # decide, without derivatives
    if known is None:
        tied = (carry.fired & 1) == 1
        # (frozen on the way out as well, for parameters that a function closes over)
        event = freeze(locate_event(freeze(stretch), tied, running & accepted, carry.above))
        full = carry.num_events >= problem.max_events
        too_many = full & (event.decision >= 0) & is_recorded(sde, event.decision % num)
        decision = jnp.where(too_many, OVERFLOW, event.decision)
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
        still = eqx.tree_at(lambda s: (s.offset, s.start), stretch, lax.stop_gradient((x, start)))

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
    speed = component(e_dot, index)
    to_rest = None
    if problem.conditions == "clip" and comes_to_rest(sde):
        to_rest = _speed_to_rest(problem, carry, stretch.time(clock), y_next, index)
    slope = jnp.where(has_own_time, _divisor(problem, speed, to_rest), 1)
    early = jnp.where(has_own_time, residual, 0)
    clock = moved_by_event(clock, jnp.ones_like(clock), early, slope)
    x_next = stretch.place(clock)
    shifted = jax.tree.map(lambda x, x_dot: moved_by_event(x, x_dot, early, slope), y_next, y_dot)
    y_next = where_rows(one_hot, shifted, y_next) if problem.local else shifted

    moved = Moved(
        decision, clock, moves, x_next, y_next, residual, cell_end, piece, event.tied, jumping,
        control, speed, to_rest, e_next,
    )  # fmt: skip
    return account(problem, carry, moved)
