"""The cells of a window, one after the other."""

from typing import NamedTuple

import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._arrivals import Own, own_arrivals
from ._cell import (
    Arrivals,
    Felt,
    Found,
    Hold,
    Rates,
    Rooms,
    State,
    felt_by_products,
    felt_by_rows,
    negative_by_products,
    step,
)
from ._responses import lifted
from ._walk import NO_SPIKE

# so many cells share the products of their arrivals with the weights
_CHUNK = 16


class Given(NamedTuple):
    """What the spikes of a group of neurons depend on.

    Attributes:
        rates: the parameters of the neurons.
        start: potentials and currents at the start.
        current: the input current, of shape (T, B, N), where an axis of length 1 is shared.
        weights: row for row, of the neurons themselves (if they have synapses with one another)
            and of the inputs.
        inputs: when inputs arrive, (T, K, B), ascending; 1 in a free place.
        delays: of the neurons' own spikes, in cells, a number or one for each; `None` where they
            have no synapses with one another.
        refractory: for how long the potential stays at the reset after a spike, in cells, a number
            or one for each; `None` for no time at all.
        noise: what the noise adds to the currents in each cell, evenly, over the decay rate b:
            where a current tends to, while the noise lasts.
    """

    rates: Rates
    start: State
    current: Float[Array, "..."]
    weights: Float[Array, "sources N"]
    inputs: Float[Array, "T K B"]
    delays: Float[Array, "..."] | None
    refractory: Float[Array, "..."] | None = None
    noise: Float[Array, "T B N"] | None = None


class Response(NamedTuple):
    """Spikes of a group of neurons.

    Attributes:
        offsets: of each cell, place, sample and neuron; `NO_SPIKE` in a free place.
        speeds: the slope of the potential just before each spike, per cell.
        crowded: samples in which more arrived in a cell than there is room for.
        bursting: samples in which a neuron had more spikes in a cell than there is room for.
        early: whether a delay was shorter than a cell.
        most_active: how many neurons were looked at in the busiest cell.
        most_arrivals: how many spikes arrived in the busiest cell of a sample.
        finite: whether the potentials and currents of each sample are finite at the end.
        slowest: of each sample, the least speed of a spike over a (|v_th| + |v_th - v_to|).
    """

    offsets: Float[Array, "T places B N"]
    speeds: Float[Array, "T places B N"]
    crowded: Bool[Array, " B"]
    bursting: Bool[Array, " B"]
    early: Bool[Array, ""]
    most_active: Int[Array, ""]
    most_arrivals: Int[Array, ""]
    finite: Bool[Array, " B"]
    slowest: Float[Array, " B"]


class Kept(NamedTuple):
    """What the adjoint needs of every cell."""

    found: Found
    # for how long neurons are held at the start of the cell
    held: Array | None
    arrivals: Arrivals
    # where in the list of what could arrive each arrival was; `None` without own synapses
    places: Array | None
    states: State


def forward(given: Given, sources, rooms: Rooms):
    given = lax.stop_gradient(given)
    num_cells, _, num_samples = given.inputs.shape
    num_rows, num_neurons = given.weights.shape
    rates, dtype = given.rates, given.start.v.dtype
    padded = jnp.pad(given.weights, ((0, 1), (0, 0)))
    own = None if given.delays is None else Own.of(given.delays, num_neurons)
    by_products = own is None and share_rates(rates)
    chunks = Chunks.of(num_cells)
    unit = lifted(rates.a, 3) * lifted(
        jnp.abs(rates.threshold) + jnp.abs(rates.threshold - rates.reset), 3
    )

    def cell_step(carry, x):
        state, held, history, crowded, bursting, most, slowest = carry
        cell, offsets, source, noise, felt = x
        arrivals, places = Arrivals(offsets, source), None
        if own is not None:
            arrivals, places, count = own_arrivals(
                own, history, cell, arrivals, num_rows, rooms.arrivals
            )
            crowded = crowded | (count > rooms.arrivals)
            most = (most[0], jnp.maximum(most[1], jnp.max(count, initial=0)))
        if felt is None:
            felt = felt_by_rows(rates, padded, arrivals)
        current = of_cell(given.current, cell)
        hold = None if held is None else Hold(given.refractory, held)
        inner, current = inside_noise(state, current, noise)
        after, left, found = step(rates, inner, hold, current, padded, arrivals, felt, rooms)
        if noise is not None:
            after = after._replace(i=after.i + noise)
        # a last chunk goes on past the window
        inside = cell < num_cells
        slow = jnp.where((found.offsets <= 1) & inside, found.speeds / unit, jnp.inf)
        slowest = jnp.minimum(slowest, jnp.min(slow, axis=(0, 2), initial=jnp.inf))
        most = (jnp.where(inside, jnp.maximum(most[0], found.active), most[0]), most[1])
        if own is not None:
            history = history.at[cell].set(found.offsets, mode="drop")
        bursting = bursting | (found.more & inside)
        carry = (after, left, history, crowded, bursting, most, slowest)
        return carry, Kept(found, held, arrivals, places, state)

    def chunk_step(carry, x):
        cells, offsets, source, noise = x
        felt = None
        if by_products:
            to_v, to_i = felt_by_products(rates, padded, offsets, source)
            felt = Felt(to_v, to_i, negative_by_products(padded, offsets, source))
        return lax.scan(cell_step, carry, (cells, offsets, source, noise, felt))

    none = jnp.zeros(num_samples, bool)
    shape = (num_cells, rooms.spikes, num_samples, num_neurons)
    carry = (
        given.start, None if given.refractory is None else jnp.zeros_like(given.start.v),
        None if own is None else jnp.full(shape, NO_SPIKE, dtype), none, none,
        (jnp.int32(0), jnp.int32(0)), jnp.full(num_samples, jnp.inf, dtype),
    )  # fmt: skip
    noise = None if given.noise is None else chunks.split(given.noise, 0)
    split = chunks.cells, chunks.split(given.inputs, 1), chunks.split(sources, num_rows), noise
    carry, kept = lax.scan(chunk_step, carry, split)
    state, _, history, crowded, bursting, most, slowest = carry
    finite = jnp.all(jnp.isfinite(state.v) & jnp.isfinite(state.i), axis=1)
    if own is None:
        history = chunks.joined(kept.found.offsets)
    early = jnp.asarray(False) if given.delays is None else jnp.any(given.delays < 1)
    speeds = chunks.joined(kept.found.speeds)
    return Response(history, speeds, crowded, bursting, early, *most, finite, slowest), kept


class Chunks(NamedTuple):
    """The cells in chunks; the last one may go on past the window.

    Attributes:
        cells: their numbers, (chunks, cells of a chunk).
        num_cells: how many there are in the window.
    """

    cells: Array
    num_cells: int

    @classmethod
    def of(cls, num_cells: int) -> "Chunks":
        number = -(-num_cells // _CHUNK)
        length = -(-num_cells // number)
        return cls(jnp.arange(number * length, dtype=jnp.int32).reshape(number, length), num_cells)

    def split(self, values, fill):
        """Values of all cells, by chunks."""
        number, length = self.cells.shape
        widths = ((0, number * length - self.num_cells), *((0, 0) for _ in values.shape[1:]))
        values = jnp.pad(values, widths, constant_values=fill)
        return values.reshape(number, length, *values.shape[1:])

    def joined(self, values):
        """Values by chunks, of the cells of the window."""
        number, length = self.cells.shape
        return values.reshape(number * length, *values.shape[2:])[: self.num_cells]


def share_rates(rates: Rates) -> bool:
    return rates.a.ndim == 0 and rates.b.ndim == 0


def inside_noise(state: State, current, noise):
    """State and input current of a cell in which the noise is a straight line: that is a part of
    the input current which the synaptic current has less at the start, and again at the end."""
    if noise is None:
        return state, current
    return state._replace(i=state.i - noise), current + noise


def of_cell(current: Float[Array, "..."], cell: Int[Array, ""]) -> Float[Array, "..."]:
    """The input current in a cell."""
    return current[jnp.minimum(cell, current.shape[0] - 1)]
