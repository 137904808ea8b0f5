"""All cells of neurons that fire by an intensity, one after the other, and their adjoint.

The search for spikes has no derivative: going backwards each cell is computed anew with its spikes
known, and that is differentiated.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._random import threefry2x32, uniform_from_words
from ._arrivals import Own
from ._escape import Firing, Potential, fire
from ._responses import lifted, response
from ._walk import NO_SPIKE


class Propagators(NamedTuple):
    """What a cell makes of potential and current, without arrivals and resets: numbers, or one for
    each neuron.

    Attributes:
        a: leak rate of the potential, per cell.
        b: decay rate of the current, per cell.
        keep: what is left of the potential in the middle and at the end of the cell.
        by_current: what a unit of current at the start has added to the potential there.
        keep_current: what is left of the current at the end.
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]
    keep: tuple[Float[Array, "..."], Float[Array, "..."]]
    by_current: tuple[Float[Array, "..."], Float[Array, "..."]]
    keep_current: Float[Array, "..."]

    @classmethod
    def of(cls, a: Float[Array, "..."], b: Float[Array, "..."]) -> "Propagators":
        half, full = (jnp.full_like(a, x) for x in (0.5, 1))
        return cls(
            a, b, (jnp.exp(-a * half), jnp.exp(-a)),
            (response(a, b, half), response(a, b, full)), jnp.exp(-b),
        )  # fmt: skip


class Drive(NamedTuple):
    """What comes from outside in each cell; axes of length 1 are shared.

    Attributes:
        middle: added to the potential by the middle of the cell.
        end: by its end.
        current: added to the current by the end of the cell.
    """

    middle: Float[Array, "*cells _ _"]
    end: Float[Array, "*cells _ _"]
    current: Float[Array, "*cells _ _"]


class Lags(eqx.Module):
    """Layers side by side, each of which is a cell behind the layer before it, so that it can feel
    the spikes of that layer in the same cell.

    Attributes:
        each: how many cells each neuron is behind.
    """

    each: tuple[int, ...] = eqx.field(static=True)

    @property
    def most(self) -> int:
        return max(self.each)

    def _chosen(self, rows):
        """For each neuron the row of its own lag."""
        lags, chosen = np.asarray(self.each), rows[0]
        for lag, row in enumerate(rows[1:], 1):
            mask = (lags == lag).reshape((1,) * (row.ndim - 1) + lags.shape)
            chosen = jnp.where(mask, row, chosen)
        return chosen

    def behind(self, values: Array, step: Int[Array, ""]) -> Array:
        """Of values of all cells, (T, ..., N), those of the cells that neurons are in."""
        last = values.shape[0] - 1
        rows = [values[jnp.clip(step - lag, 0, last)] for lag in range(self.most + 1)]
        return self._chosen(rows)

    def aligned(self, values: Array, num_cells: int) -> Array:
        """Of values of all steps, those of each cell."""
        return self._chosen([values[lag : lag + num_cells] for lag in range(self.most + 1)])

    def running(self, step: Int[Array, ""], num_cells: int) -> Bool[Array, " N"]:
        """Which neurons are inside their window."""
        cell = step - jnp.asarray(self.each, jnp.int32)
        return (cell >= 0) & (cell < num_cells)


class EscapeGiven(NamedTuple):
    """What the spikes of a group of neurons depend on.

    Attributes:
        firing: what decides when they fire.
        propagators: what a cell makes of potential and current.
        v: potentials at the start.
        i: currents.
        s: integrated intensities.
        drive: what comes from outside.
        weights: between the neurons themselves, with `delays` or `lags`; otherwise `None`.
        delays: of their own spikes, in cells, a number or one for each.
        lags: of neurons in layers; each layer feels the spikes of the one before it at once.
        alpha: what is taken off the logarithm of a mark.
    """

    firing: Firing
    propagators: Propagators
    v: Float[Array, "B N"]
    i: Float[Array, "B N"]
    s: Float[Array, "B N"]
    drive: Drive
    weights: Float[Array, "N N"] | None
    delays: Float[Array, "..."] | None
    lags: Lags | None
    alpha: Float[Array, "..."]


class Marks(NamedTuple):
    """Where the marks of spikes come from: the two words of the key of each sample, and the number
    of each neuron in its model."""

    high: Array
    low: Array
    neurons: Int[Array, " N"]

    def of(self, number: Int[Array, "B N"], dtype) -> Float[Array, "B N"]:
        """The logarithms of the marks of each neuron's spike of this number."""
        keys = (jnp.broadcast_to(x[:, None], number.shape) for x in (self.high, self.low))
        neurons = jnp.broadcast_to(self.neurons[None], number.shape).astype(jnp.uint32)
        words = threefry2x32(tuple(keys), (neurons, number.astype(jnp.uint32)))  # pyright: ignore
        return jnp.log(uniform_from_words(*words)).astype(dtype)


class EscapeResponse(eqx.Module):
    """Spikes of a group of neurons.

    Attributes:
        offsets: of each cell, place, sample and neuron; `NO_SPIKE` in a free place.
        bursting: samples in which a neuron had more spikes in a cell than there is room for.
        early: whether a delay was shorter than a cell.
        finite: whether the state of each sample is finite at the end.
        slowest: of each sample, the least speed of an integrated intensity at a spike, per cell.
    """

    offsets: Float[Array, "T places B N"]
    bursting: Bool[Array, " B"]
    early: Bool[Array, ""]
    finite: Bool[Array, " B"]
    slowest: Float[Array, " B"]


class _Carry(NamedTuple):
    v: Array
    i: Array
    s: Array
    held: Array | None


def phases_of(
    a: Float[Array, ""], b: Float[Array, ""], offsets: Float[Array, "places B S"]
) -> Drive:
    """What a unit of weight from each source adds where spikes arrive at `offsets`, 2 for none."""
    arrives = offsets <= 1
    # (the response after no time at all is none)
    to_middle = jnp.where(arrives, jnp.maximum(0.5 - offsets, 0), 0)
    to_end = jnp.where(arrives, 1 - offsets, 0)
    felt = (
        response(a, b, to_middle), response(a, b, to_end),
        jnp.where(arrives, jnp.exp(-b * to_end), 0),
    )  # fmt: skip
    return Drive(*(jnp.sum(x, axis=0) for x in felt))


def felt_by_phases(phases: Drive, weights: Float[Array, "S N"]) -> Drive:
    """What all sources together add."""
    return Drive(*(x @ weights for x in phases))


def felt_by_pairs(
    a: Float[Array, " N"],
    b: Float[Array, " N"],
    weights: Float[Array, "S N"],
    offsets: Float[Array, "places B S"],
) -> Drive:
    """The same for neurons with rates of their own: a response for each pair."""
    offsets = offsets[..., None]
    a, b, rows = lifted(a, 4), lifted(b, 4), weights[None, None]
    arrives = offsets <= 1
    middle = jnp.where(arrives, jnp.maximum(0.5 - offsets, 0), 0)
    end = jnp.where(arrives, 1 - offsets, 0)
    decayed = jnp.where(arrives, jnp.exp(-b * end), 0)
    felt = response(a, b, middle), response(a, b, end), decayed
    return Drive(*(jnp.sum(x * rows, axis=(0, 2)) for x in felt))


def _arriving(sent, rest):
    """The offsets at which the neurons' own spikes arrive in a cell.

    `sent` are their offsets in the cells from which some arrive in this one, and in those before
    them; `rest` is the rest of the delays after whole cells. Without it they arrive where they
    were.
    """
    if rest is None:
        return sent
    rest = lifted(rest, 3)
    late, over = sent[0] + rest, sent[1] + rest - 1
    late = jnp.where((sent[0] <= 1) & (late < 1), late, NO_SPIKE)
    over = jnp.where((sent[1] <= 1) & (over >= 0), over, NO_SPIKE)
    return jnp.concatenate([late, over])


def _own_drive(given: EscapeGiven, sent, rest) -> Drive:
    """What the neurons' own spikes add in a cell."""
    a, b, arriving = given.propagators.a, given.propagators.b, _arriving(sent, rest)
    if a.ndim == 0:
        return felt_by_phases(phases_of(a, b, arriving), given.weights)
    return felt_by_pairs(a, b, given.weights, arriving)


def _cell(given: EscapeGiven, running, carry: _Carry, drive: Drive, levels, known=None):
    """One cell: the state at its end, and the spikes in it. `running` tells which neurons are
    inside their window, `None` for all."""
    by, (v, i, s, held) = given.propagators, carry
    middle, end = (
        lifted(keep, 2) * v + lifted(felt, 2) * i + added
        for keep, felt, added in zip(by.keep, by.by_current, drive[:2], strict=True)
    )
    out = fire(given.firing, Potential(v, middle, end), s, held, levels, known)
    after = _Carry(end + out.reset, lifted(by.keep_current, 2) * i + drive.current, out.s, out.held)
    if running is None:
        return after, out
    running = running[None]
    after = jax.tree.map(lambda x, y: jnp.where(running, x, y), after, carry)
    offsets = jnp.where(running[None], out.offsets, NO_SPIKE)
    return after, out._replace(offsets=offsets, more=out.more & running)


def _begin(given: EscapeGiven) -> _Carry:
    held = None if given.firing.refractory is None else jnp.zeros_like(given.s)
    return _Carry(given.v, given.i, given.s, held)


def _forward(given: EscapeGiven, marks: Marks, places: int):
    given = lax.stop_gradient(given)
    num_cells, lags = given.drive.end.shape[0], given.lags
    (num_samples, num_neurons), dtype = given.s.shape, given.s.dtype
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    number = jnp.zeros((num_samples, num_neurons), jnp.int32)
    # of all cells where spikes are delayed, of the step before where layers lag
    history, blank = None, jnp.full((places, num_samples, num_neurons), NO_SPIKE, dtype)
    if own is not None:
        history = jnp.full((num_cells, *blank.shape), NO_SPIKE, dtype)
    elif lags is not None:
        history = blank
    alpha = lifted(given.alpha, 2)

    def step(carry, x):
        state, number, history, bursting, slowest = carry
        cell, drive = x
        running = None
        if lags is not None:
            running = lags.running(cell, num_cells)
            drive = Drive(*(lags.behind(x, cell) for x in given.drive))
        if history is not None:
            sent = history if own is None else own.sent(history, cell)
            felt = _own_drive(given, sent, None if own is None else own.rest)
            drive = _sum(drive, felt)
        levels = jnp.stack([marks.of(number + m, dtype) - alpha for m in range(places)])
        after, out = _cell(given, running, state, drive, levels)
        number = number + jnp.sum(out.offsets <= 1, axis=0, dtype=jnp.int32)
        if own is not None and history is not None:
            history = history.at[cell].set(out.offsets)
        elif history is not None:
            history = out.offsets
        slow = jnp.where(out.offsets <= 1, out.speeds, jnp.inf)
        for each in slow:
            slowest = jnp.minimum(slowest, each)
        carry = after, number, history, bursting | out.more, slowest
        return carry, (out.offsets, state._replace(s=None))

    none = jnp.zeros((num_samples, num_neurons), bool)
    infinite = jnp.full((num_samples, num_neurons), jnp.inf, dtype)
    carry, kept = lax.scan(step, (_begin(given), number, history, none, infinite), _steps(given))
    offsets = kept[0] if lags is None else lags.aligned(kept[0], num_cells)
    state, _, _, bursting, slowest = carry
    finite = jnp.all(jnp.isfinite(state.v) & jnp.isfinite(state.i), axis=1)
    early = jnp.asarray(False) if given.delays is None else jnp.any(given.delays < 1)
    bursting, slowest = jnp.any(bursting, axis=1), jnp.min(slowest, axis=1, initial=jnp.inf)
    return EscapeResponse(offsets, bursting, early, finite, slowest), kept


def _steps(given: EscapeGiven):
    """The steps and, where all neurons are in the same cell, what comes from outside in each."""
    num_cells = given.drive.end.shape[0]
    if given.lags is None:
        return jnp.arange(num_cells, dtype=jnp.int32), given.drive
    return jnp.arange(num_cells + given.lags.most, dtype=jnp.int32), None


def respond_by_intensity(given: EscapeGiven, marks: Marks, places: int) -> EscapeResponse:
    """The spikes of a group of neurons, differentiable in all that they depend on; `places` is for
    how many spikes of a neuron there is room in a cell."""
    return _respond(given, marks, places)


@eqx.filter_custom_vjp
def _respond(given, marks, places):
    return _forward(given, marks, places)[0]


@_respond.def_fwd
def _(perturbed, given, marks, places):
    return _forward(given, marks, places)


@_respond.def_bwd
def _(kept, cotangents, perturbed, given, marks, places):
    return _backward(kept, cotangents.offsets, given)


def _sum(first: Drive, second: Drive) -> Drive:
    return Drive(*(x + y for x, y in zip(first, second, strict=True)))


def _summed_to(values, like):
    """Derivatives in what was broadcast from the shape of `like`."""
    axes = tuple(n for n in range(like.ndim) if like.shape[n] < values.shape[n])
    return jnp.sum(values, axis=axes, keepdims=True) if axes else values


class _Totals(NamedTuple):
    """Derivatives that are summed up over cells: in what is shared by all of them, in the rates of
    the responses to the neurons' own spikes and in their weights, in the rests of delays, and in
    what is taken off the logarithm of a mark."""

    shared: Any
    a: Array | None
    b: Array | None
    weights: Array | None
    rest: Array | None
    alpha: Array


def _backward(kept: Any, from_offsets, given: EscapeGiven) -> EscapeGiven:
    """The derivative of a loss in all that the spikes depend on, from the last cell to the
    first."""
    (offsets, states), lags = kept, given.lags
    num_cells, (_, _, num_samples, num_neurons) = given.drive.end.shape[0], offsets.shape
    if from_offsets is None:
        from_offsets = jnp.zeros((num_cells, *offsets.shape[1:]), offsets.dtype)
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    has_own, by_phases = given.weights is not None, given.propagators.a.ndim == 0
    before = None
    if lags is not None:
        blank = jnp.full_like(offsets[:1], NO_SPIKE)
        before = jnp.concatenate([blank, offsets[:-1]])
    shared = given._replace(
        v=None, i=None, s=None, drive=None, weights=None, delays=None, alpha=None
    )
    shared, static = eqx.partition(shared, eqx.is_inexact_array)
    zero = jnp.zeros((num_samples, num_neurons), offsets.dtype)
    alpha = jnp.broadcast_to(lifted(given.alpha, 2), zero.shape)
    a, b, weights = given.propagators.a, given.propagators.b, given.weights
    rest = None if own is None else own.rest

    def felt(a, b, weights, sent, rest):
        arriving = _arriving(sent, rest)
        if by_phases:
            return phases_of(a, b, arriving)
        return felt_by_pairs(a, b, weights, arriving)

    def step(carry, x):
        from_state, from_history, total = carry
        (cell, drive), known, state, from_own, sent = x
        running = None
        if own is not None:
            sent = own.sent(offsets, cell)
            from_own = lax.dynamic_index_in_dim(from_history, cell, 0, keepdims=False)
        elif lags is not None:
            running = lags.running(cell, num_cells)
            drive = Drive(*(lags.behind(x, cell) for x in given.drive))
            from_own = lags.behind(from_offsets, cell)
            from_own = jnp.where(running, from_own, 0) + from_history
        driven = drive
        if has_own:
            arrived, pull_felt = jax.vjp(felt, a, b, None if by_phases else weights, sent, rest)
            driven = _sum(drive, felt_by_phases(arrived, weights) if by_phases else arrived)

        def moved(shared, state, drive, alpha):
            whole = eqx.combine(shared, static)
            # values of the integrated intensity have no part in derivatives
            levels = jnp.broadcast_to(-alpha[None], known.shape)
            after, out = _cell(whole, running, state, drive, levels, known)
            return after, out.offsets

        state = _Carry(state.v, state.i, -jnp.ones_like(state.v), state.held)
        _, pull = jax.vjp(moved, shared, state, driven, alpha)
        by_shared, from_state, by_drive, by_alpha = pull((from_state, from_own))
        total = total._replace(
            shared=jax.tree.map(jnp.add, total.shared, by_shared), alpha=total.alpha + by_alpha
        )
        pairs = None
        if has_own:
            by_felt = by_drive
            if by_phases and weights is not None:
                pairs = arrived, by_drive
                by_felt = felt_by_phases(by_drive, weights.T)
            by_a, by_b, by_weights, by_sent, by_rest = pull_felt(by_felt)
            more = dict(a=by_a, b=by_b, weights=by_weights, rest=by_rest)
            total = total._replace(
                **{name: getattr(total, name) + x for name, x in more.items() if x is not None}
            )
            from_history = by_sent if own is None else _returned(own, from_history, cell, by_sent)
        if lags is None:
            by_drive = Drive(*map(_summed_to, by_drive, drive))
        return (from_state, from_history, total), (by_drive, pairs)

    from_history = None
    if has_own:
        from_history = from_offsets if own is not None else jnp.zeros_like(offsets[0])
    zeros = jax.tree.map(jnp.zeros_like, (shared, a, b, weights, rest))
    if by_phases:
        zeros = (*zeros[:3], None, zeros[4])
    held = None if given.firing.refractory is None else zero
    carry = _Carry(zero, zero, zero, held), from_history, _Totals(*zeros, zero)
    beside = None if lags is not None or own is not None else from_offsets
    (from_state, _, total), (by_drive, pairs) = lax.scan(
        step, carry, (_steps(given), offsets, states, beside, before), reverse=True
    )
    if lags is not None:
        aligned = (lags.aligned(x, num_cells) for x in by_drive)
        by_drive = Drive(*map(_summed_to, aligned, given.drive))
    if pairs is not None:
        # products over all cells at once are cheaper than one in each
        products = (
            rows.reshape(-1, num_neurons).T @ columns.reshape(-1, num_neurons)
            for rows, columns in zip(*pairs, strict=True)
        )
        total = total._replace(weights=sum(products))
    by = total.shared
    propagators = by.propagators._replace(
        a=by.propagators.a + total.a, b=by.propagators.b + total.b
    )
    each = jnp.sum(total.alpha, axis=0)
    return by._replace(
        propagators=propagators, v=from_state.v, i=from_state.i, s=from_state.s, drive=by_drive,
        weights=total.weights, delays=total.rest, alpha=each if given.alpha.ndim else jnp.sum(each),
    )  # fmt: skip


def _returned(own: Own, from_history, cell, by_sent):
    """Derivatives in the spikes that were sent, put where these are."""
    num_cells, neuron = from_history.shape[0], jnp.arange(own.num_neurons, dtype=jnp.int32)
    for back, values in enumerate(by_sent):
        source = cell - own.whole - back
        source = jnp.where(source >= 0, source, num_cells)
        if source.ndim == 0:
            from_history = from_history.at[source].add(values, mode="drop")
        else:
            values = jnp.moveaxis(values, -1, 0)
            from_history = from_history.at[source, :, :, neuron].add(values, mode="drop")
    return from_history
