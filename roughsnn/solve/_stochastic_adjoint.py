"""The stochastic adjoint: events and keys are kept, the path is run through again backwards."""

import math
from typing import Any, ClassVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int, PyTree

from .._checks import IntLike, count_field
from ._adjoints import AbstractEventAdjoint, Settings
from ._guard import guard_derivatives
from ._locate import NO_EVENT
from ._output import collect
from ._problem import Carry, Path, Problem
from ._saved import most_times_in, put, saved_output, slots, states_of, take, times_asked
from ._step import Known, micro_step


class StochasticAdjoint(AbstractEventAdjoint):
    r"""The adjoint equations of an event SDE, run backwards along the same path.

    With $p = \partial L / \partial y$, between events

    $$-dp = D\mu^\top p\, dt + \sum_i D\sigma_i^\top p \circ dX^i,$$

    and at an event at $\tau$ of component k, with $\mu^\pm$ the drift on its two sides,

    $$p^- = DT_k^\top p^+ - \frac{\nabla E_k}{\nabla E_k \mu^-}
    \Big( \frac{\partial L}{\partial \tau} - p^+ \cdot (\mu^+ - DT_k\, \mu^-) \Big),$$

    which is the transpose of the recursion in the theorem on pathwise gradients (Holberg & Salvi
    2024) and EventProp with noise (Wunderlich & Pehle 2021). Each step is transposed exactly, so
    that the result is the derivative of the scheme, the same as that of
    [`roughsnn.ReverseMode`][] to rounding.

    The forward pass keeps the events, and the state once every `chunk` steps. It draws the
    Brownian motion from its key where it is needed. The backward pass runs through the chunks from
    the last to the first: once forwards with the events that are known, without searching for
    them, and then backwards. Memory grows with the number of events and with the square root of
    that of the steps; the time is that of one more forward pass.

    In a batch made by `jax.vmap`, the derivative with respect to what all samples share is held
    for each sample and added up at the end. Forward-mode differentiation does not apply.
    `saveat.steps` and adaptive steps do not either.

    Attributes:
        chunk: steps in a chunk; by default the square root of the number of steps.
    """

    chunk: IntLike | None = count_field("chunk", None)

    stores_driver: ClassVar[bool] = False
    adapts: ClassVar[bool] = False

    def check(self, sde, subs, save_event_states):
        if sde.num_recorded is not None:
            raise ValueError(
                "`adjoint` StochasticAdjoint goes back by the recorded events alone, and "
                f"{type(sde).__name__} has silent ones (delays, refractory periods): use "
                "roughsnn.ReverseMode() or ForwardMode()."
            )
        if subs is not None and subs.steps:
            raise ValueError(
                "`saveat.steps` keeps the state of every step, which `adjoint` StochasticAdjoint "
                "is there to avoid: use SaveAt(ts=...), or roughsnn.ReverseMode()."
            )

    def solve(self, inputs, settings):
        length = settings.max_steps
        chunk = math.isqrt(length - 1) + 1 if self.chunk is None else min(self.chunk, length)
        problem = settings.problem(inputs)
        first = problem.start()
        events, last, num_steps, ts, ys = _solve(inputs, settings, chunk)
        records = dict(
            outcome=jnp.where(events.step >= 0, 2 + events.code % first.fired.shape[0], 0),
            time=events.time,
            residual=events.residual,
        )
        if events.y_left is not None:
            records |= dict(y_left=events.y_left, y_right=events.y_right)
        saved = saved_output(settings, problem, first, last, ts, ys)
        solution = collect(
            problem, settings.subs, first, last, records, settings.max_steps, num_steps, saved
        )
        return guard_derivatives(inputs, settings, solution, (last.seen, last.passed))


class _Events(eqx.Module):
    """The events in their order, padded: `step` with -1; or what one step says of its own."""

    time: Float[Array, "*n"]
    clock: Float[Array, "*n"]
    code: Int[Array, "*n"]
    step: Int[Array, "*n"]
    residual: Float[Array, "*n"]
    y_left: PyTree
    y_right: PyTree


class _Static(eqx.Module):
    value: Any = eqx.field(static=True)


def _solve(inputs, settings: Settings, chunk: int):
    """The events, the last carry, the number of steps, and states at the times asked for."""
    arrays, static = eqx.partition((inputs, settings), eqx.is_array)
    smooth, other = eqx.partition(arrays, eqx.is_inexact_array)

    @jax.custom_vjp
    def run(smooth, other):
        return _forward(eqx.combine(smooth, other, static), chunk)[0]

    def fwd(smooth, other):
        moved = tuple(x.perturbed for x in jax.tree.leaves(smooth, is_leaf=_is_primal))
        smooth, other = (
            jax.tree.map(lambda x: x.value, tree, is_leaf=_is_primal) for tree in (smooth, other)
        )
        out, checkpoints, failure = _forward(eqx.combine(smooth, other, static), chunk)
        return out, (smooth, other, out[0], checkpoints, failure, _Static(moved))

    def bwd(kept, cotangents):
        smooth, other, events, checkpoints, failure, moved = kept
        leaves, treedef = jax.tree.flatten(smooth)
        is_moved = jax.tree.unflatten(treedef, moved.value)
        theta, rest = eqx.partition(smooth, is_moved)

        def everything(theta):
            return eqx.combine(theta, rest, other, static)

        gradient = _backward(
            everything, theta, events, checkpoints, failure, chunk, _materialised(cotangents)
        )
        gradient = treedef.flatten_up_to(gradient)
        filled = [
            jnp.zeros_like(x) if g is None else g for x, g in zip(leaves, gradient, strict=True)
        ]
        return jax.tree.unflatten(treedef, filled), None

    run.defvjp(fwd, bwd, symbolic_zeros=True)
    return run(smooth, other)


def _is_primal(x):
    return hasattr(x, "perturbed")


def _materialised(cotangents):
    def fill(x):
        return jnp.zeros(x.shape, x.dtype) if isinstance(x, SymbolicZero) else x

    return jax.tree.map(fill, cotangents, is_leaf=lambda x: isinstance(x, SymbolicZero))


# --- forwards


def _forward(everything, chunk: int):
    inputs, settings = everything
    problem = settings.problem(inputs)
    grid, first, n = problem.grid, problem.start(), problem.max_events
    ts = times_asked(settings, first.offset.dtype)
    width = most_times_in(chunk, settings)

    def filled(value, dtype):
        return jnp.full(n, value, dtype)

    like_y = jax.tree.map(lambda x: jnp.zeros((n, *x.shape), x.dtype), first.y)
    events = _Events(
        time=filled(jnp.inf, first.offset.dtype),
        clock=filled(0, first.offset.dtype),
        code=filled(0, jnp.int32),
        step=filled(-1, jnp.int32),
        residual=filled(0, jax.eval_shape(problem.events_of, first).dtype),
        y_left=like_y if settings.save_event_states else None,
        y_right=like_y if settings.save_event_states else None,
    )
    ys = None
    if ts is not None:
        ys = jax.tree.map(lambda x: jnp.full((*ts.shape, *x.shape), jnp.nan, x.dtype), first.y)

    def one(carry, number):
        new, record = micro_step(problem, carry)
        event = _Events(
            time=record["time"], clock=record["clock"], code=record["decision"], step=number,
            residual=record["residual"],
            y_left=record["y_left"] if settings.save_event_states else None,
            y_right=record["y_right"] if settings.save_event_states else None,
        )  # fmt: skip
        path = None if ts is None else Path.of(carry)
        return new, (event, carry.cell < grid.num_cells, path)

    def run(state):
        carry, events, ys, num_steps, failure, begin = state
        numbers = begin + jnp.arange(chunk, dtype=jnp.int32)
        new, (found, ran, path) = lax.scan(one, carry, numbers)
        happened = found.code >= 0
        place = jnp.where(happened, carry.num_events + jnp.cumsum(happened, dtype=jnp.int32) - 1, n)
        events = jax.tree.map(lambda b, x: b.at[place].set(x, mode="drop"), events, found)
        failed = found.code < NO_EVENT
        failure = tuple(
            jnp.where(jnp.any(failed), x[jnp.argmax(failed)], old)
            for x, old in zip((found.step, found.code), failure, strict=True)
        )
        if ts is not None:
            within, place = slots(ts, carry.since, new.since, width)
            states = states_of(problem, ts, place, path)
            ys = jax.tree.map(lambda b, x: put(b, x, within, place), ys, states)
        return new, events, ys, num_steps + jnp.sum(ran, dtype=jnp.int32), failure, begin + chunk

    def chunk_step(state, _):
        carry, bar = state[0], state[-1]
        running = carry.cell < grid.num_cells
        new = lax.cond(
            eqxi.unvmap_any(running), run, lambda s: (*s[:-1], s[-1] + chunk), state[:-1]
        )
        share = lax.stop_gradient(new[0].since) / grid.duration
        ended = new[0].cell >= grid.num_cells
        bar = settings.meter.step(bar, jnp.where(ended, 1, share))
        return (*new, bar), _bare(carry)

    zero = jnp.zeros((), jnp.int32)
    state = (first, events, ys, zero, (zero - 1, zero), zero, settings.meter.init())
    num_chunks = -(-settings.max_steps // chunk)
    state, checkpoints = lax.scan(chunk_step, state, None, length=num_chunks)
    last, events, ys, num_steps, failure, _, bar = state
    settings.meter.close(bar)
    return (events, last, num_steps, ts, ys), checkpoints, failure


def _bare(carry: Carry) -> Carry:
    """A carry without what the derivative does not need."""
    shown = (None, None)
    return eqx.tree_at(lambda c: (c.seen, c.passed), carry, shown, is_leaf=lambda x: x is None)


# --- backwards


def _backward(everything, theta, events: _Events, checkpoints, failure, chunk, cotangents):
    """The gradient with respect to `theta`, chunk by chunk from the last to the first."""
    ct_events, ct_last, _, _, ct_ys = cotangents

    def problem_of(theta) -> Problem:
        inputs, settings = everything(theta)
        return settings.problem(inputs, look=False)

    problem = problem_of(theta)
    settings = everything(theta)[1]
    n = events.time.shape[0]
    ts = times_asked(settings, events.time.dtype)
    width = most_times_in(chunk, settings)
    num_chunks = jax.tree.leaves(checkpoints)[0].shape[0]

    steps = jnp.where(events.step >= 0, events.step, jnp.iinfo(jnp.int32).max)

    def event_at(number):
        """The event that this step has, if it has one; and its place."""
        place = jnp.searchsorted(steps, number).astype(jnp.int32)
        place = jnp.minimum(place, max(n - 1, 0))
        if n == 0:
            decision, clock = jnp.asarray(NO_EVENT, jnp.int32), jnp.zeros((), ct_last.offset.dtype)
        else:
            here = events.step[place] == number
            decision = jnp.where(here, events.code[place], NO_EVENT)
            clock = events.clock[place]
        decision = jnp.where(failure[0] == number, failure[1], decision)
        return Known(clock, decision), place

    def chunk_step(state, inputs):
        checkpoint, begin = inputs
        running = checkpoint.cell < problem.grid.num_cells
        back = lax.cond(
            eqxi.unvmap_any(running),
            lambda s: transpose(s, checkpoint, begin),
            lambda s: s,
            state,
        )
        return back, None

    def transpose(state, checkpoint, begin):
        ct_carry, gradient = state
        numbers = begin + jnp.arange(chunk, dtype=jnp.int32)
        known, places = jax.vmap(event_at)(numbers)

        def replay(carry, known):
            return _bare(micro_step(problem, carry, known)[0]), carry

        end, carries = lax.scan(replay, checkpoint, known)
        smooth, fixed = eqx.partition(carries, eqx.is_inexact_array)
        from_path = jax.tree.map(jnp.zeros_like, smooth)
        if ts is not None:
            within, at = slots(ts, checkpoint.since, end.since, width)
            ct_states = jax.tree.map(lambda x: take(x, within, at), ct_ys)

            def saved(theta, smooth):
                path = Path.of(eqx.combine(smooth, fixed))
                return states_of(problem_of(theta), ts, at, path)

            _, pull = jax.vjp(saved, theta, smooth)
            from_theta, from_path = pull(ct_states)
            gradient = jax.tree.map(jnp.add, gradient, from_theta)

        def back(state, step):
            ct_carry, gradient = state
            smooth, fixed, known, place, ct_here = step

            def forward(theta, smooth):
                new, record = micro_step(problem_of(theta), eqx.combine(smooth, fixed), known)
                out = eqx.filter(_bare(new), eqx.is_inexact_array)
                return out, (record["time"], record["y_left"], record["y_right"])

            _, pull = jax.vjp(forward, theta, smooth)
            happened = known.decision >= 0

            def of_event(ct, like):
                if n == 0 or ct is None:
                    return jax.tree.map(jnp.zeros_like, like)
                return jax.tree.map(lambda x: jnp.where(happened, x[place], 0), ct)

            y = smooth.y
            ct_out = (
                of_event(ct_events.time, smooth.offset),
                of_event(ct_events.y_left, y),
                of_event(ct_events.y_right, y),
            )
            more, ct_carry = pull((ct_carry, ct_out))
            ct_carry = jax.tree.map(jnp.add, ct_carry, ct_here)
            return (ct_carry, jax.tree.map(jnp.add, gradient, more)), None

        path = (smooth, fixed, known, places, from_path)
        return lax.scan(back, (ct_carry, gradient), path, reverse=True)[0]

    ct_last = eqx.filter(_bare(ct_last), eqx.is_inexact_array)
    gradient = jax.tree.map(jnp.zeros_like, theta)
    begins = jnp.arange(num_chunks, dtype=jnp.int32) * chunk
    (ct_first, gradient), _ = lax.scan(
        chunk_step, (ct_last, gradient), (checkpoints, begins), reverse=True
    )

    def start(theta):
        return eqx.filter(problem_of(theta).start(), eqx.is_inexact_array)

    _, pull = jax.vjp(start, theta)
    return jax.tree.map(jnp.add, gradient, pull(ct_first)[0])
