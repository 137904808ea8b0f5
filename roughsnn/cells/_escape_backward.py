"""The adjoint of all cells of neurons that fire by an intensity, from the last to the first.

The search for spikes has no derivative: each cell is computed anew with its spikes known, and that
is differentiated.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array

from ._arrivals import Own
from ._escape_felt import Drive, added, arriving_offsets, felt_by_pairs, felt_by_phases, phases_of
from ._escape_forward import Carry, EscapeGiven, one_cell, steps_of
from ._responses import lifted, summed_to
from ._walk import NO_SPIKE


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


def backward_by_intensity(kept: Any, from_offsets, given: EscapeGiven) -> EscapeGiven:
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
        arriving = arriving_offsets(sent, rest)
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
            driven = added(drive, felt_by_phases(arrived, weights) if by_phases else arrived)

        def moved(shared, state, drive, alpha):
            whole = eqx.combine(shared, static)
            # values of the integrated intensity have no part in derivatives
            levels = jnp.broadcast_to(-alpha[None], known.shape)
            after, out = one_cell(whole, running, state, drive, levels, known)
            return after, out.offsets

        state = Carry(state.v, state.i, -jnp.ones_like(state.v), state.held)
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
            by_drive = Drive(*map(summed_to, by_drive, drive))
        return (from_state, from_history, total), (by_drive, pairs)

    from_history = None
    if has_own:
        from_history = from_offsets if own is not None else jnp.zeros_like(offsets[0])
    zeros = jax.tree.map(jnp.zeros_like, (shared, a, b, weights, rest))
    if by_phases:
        zeros = (*zeros[:3], None, zeros[4])
    held = None if given.firing.refractory is None else zero
    carry = Carry(zero, zero, zero, held), from_history, _Totals(*zeros, zero)
    beside = None if lags is not None or own is not None else from_offsets
    (from_state, _, total), (by_drive, pairs) = lax.scan(
        step, carry, (steps_of(given), offsets, states, beside, before), reverse=True
    )
    if lags is not None:
        aligned = (lags.aligned(x, num_cells) for x in by_drive)
        by_drive = Drive(*map(summed_to, aligned, given.drive))
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
