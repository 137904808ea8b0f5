"""All cells of neurons that fire by an intensity, one after the other."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._random import threefry2x32, uniform_from_words
from ._arrivals import Own
from ._escape import Firing, Potential, fire
from ._escape_felt import (
    Drive,
    Propagators,
    added,
    arriving_offsets,
    felt_by_pairs,
    felt_by_phases,
    phases_of,
)
from ._responses import lifted
from ._walk import NO_SPIKE


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


class Carry(NamedTuple):
    v: Array
    i: Array
    s: Array
    held: Array | None


def own_drive(given: EscapeGiven, sent, rest) -> Drive:
    """What the neurons' own spikes add in a cell."""
    a, b, arriving = given.propagators.a, given.propagators.b, arriving_offsets(sent, rest)
    if a.ndim == 0:
        return felt_by_phases(phases_of(a, b, arriving), given.weights)
    return felt_by_pairs(a, b, given.weights, arriving)


def one_cell(given: EscapeGiven, running, carry: Carry, drive: Drive, levels, known=None):
    """One cell: the state at its end, and the spikes in it. `running` tells which neurons are
    inside their window, `None` for all."""
    by, (v, i, s, held) = given.propagators, carry
    middle, end = (
        lifted(keep, 2) * v + lifted(felt, 2) * i + added
        for keep, felt, added in zip(by.keep, by.by_current, drive[:2], strict=True)
    )
    out = fire(given.firing, Potential(v, middle, end), s, held, levels, known)
    after = Carry(end + out.reset, lifted(by.keep_current, 2) * i + drive.current, out.s, out.held)
    if running is None:
        return after, out
    running = running[None]
    after = jax.tree.map(lambda x, y: jnp.where(running, x, y), after, carry)
    offsets = jnp.where(running[None], out.offsets, NO_SPIKE)
    return after, out._replace(offsets=offsets, more=out.more & running)


def begin_of(given: EscapeGiven) -> Carry:
    held = None if given.firing.refractory is None else jnp.zeros_like(given.s)
    return Carry(given.v, given.i, given.s, held)


def forward_by_intensity(given: EscapeGiven, marks: Marks, places: int):
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
            felt = own_drive(given, sent, None if own is None else own.rest)
            drive = added(drive, felt)
        levels = jnp.stack([marks.of(number + m, dtype) - alpha for m in range(places)])
        after, out = one_cell(given, running, state, drive, levels)
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
    carry, kept = lax.scan(
        step, (begin_of(given), number, history, none, infinite), steps_of(given)
    )
    offsets = kept[0] if lags is None else lags.aligned(kept[0], num_cells)
    state, _, _, bursting, slowest = carry
    finite = jnp.all(jnp.isfinite(state.v) & jnp.isfinite(state.i), axis=1)
    early = jnp.asarray(False) if given.delays is None else jnp.any(given.delays < 1)
    bursting, slowest = jnp.any(bursting, axis=1), jnp.min(slowest, axis=1, initial=jnp.inf)
    return EscapeResponse(offsets, bursting, early, finite, slowest), kept


def steps_of(given: EscapeGiven):
    """The steps and, where all neurons are in the same cell, what comes from outside in each."""
    num_cells = given.drive.end.shape[0]
    if given.lags is None:
        return jnp.arange(num_cells, dtype=jnp.int32), given.drive
    return jnp.arange(num_cells + given.lags.most, dtype=jnp.int32), None
