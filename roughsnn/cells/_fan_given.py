"""What the spikes of a network whose synapses are a list depend on, and what is known of them."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._cell import Rates, State
from ._fans import Fans

# so many neurons, or rows of synapses, are taken side by side at least, and at most
_FEWEST, _MOST = 16, 4096


class FanRooms(eqx.Module):
    """For how much there is room in a network whose synapses are a list; static.

    Attributes:
        inputs: input spikes in one cell of one sample.
        arrivals: spikes that arrive at one neuron in one cell.
        spikes: spikes of one neuron in one cell.
        back: how many cells a spike may be under way, and two.
        events: spikes that arrive at neurons which are looked at side by side.
        lanes: how many neurons are looked at side by side; more take more rounds.
        rows: how many rows of synapses are taken side by side; more take more rounds.
        samples: for how many samples `events`, `lanes` and `rows` are.
    """

    inputs: int = eqx.field(static=True)
    arrivals: int = eqx.field(static=True)
    spikes: int = eqx.field(static=True)
    back: int = eqx.field(static=True)
    events: int = eqx.field(static=True)
    lanes: int = eqx.field(static=True)
    rows: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def of(self, samples: int) -> "FanRooms":
        """As much room for each of another number of samples, and more for their events, whose sum
        fluctuates more over fewer samples."""
        if samples in (self.samples, 0):
            return self
        share = samples / self.samples
        lanes, rows = (in_one_round(share * n) for n in (self.lanes, self.rows))
        events = self.events * lanes / self.lanes
        events = math.ceil(events + 4 * math.sqrt(events) + self.arrivals)
        events = min(events, lanes * self.arrivals)
        return FanRooms(
            self.inputs, self.arrivals, self.spikes, self.back, events, lanes, rows, samples
        )


def in_one_round(wanted: float) -> int:
    """How many neurons, or rows of synapses, are taken side by side where this many are there."""
    return min(_MOST, _FEWEST * max(1, math.ceil(wanted / _FEWEST)))


class FanGiven(NamedTuple):
    """What the spikes depend on.

    Attributes:
        rates: the parameters of the neurons.
        start: potentials and currents at the start.
        current: the input current, of shape (T, B, N), where an axis of length 1 is shared.
        weights: of the synapses.
        delays: of the synapses, in cells; a number, or one for each.
        inputs: when inputs arrive, (T, K, B), ascending; 1 in a free place.
        refractory: for how long the potential stays at the reset after a spike, in cells, a number
            or one for each neuron; zero for no time at all.
        noise: see `Given`.
    """

    rates: Rates
    start: State
    current: Float[Array, "..."]
    weights: Float[Array, " E"]
    delays: Float[Array, "..."]
    inputs: Float[Array, "T K B"]
    refractory: Float[Array, "..."]
    noise: Float[Array, "T B N"] | None


class FanWiring(eqx.Module):
    """Between whom the synapses are.

    Attributes:
        sent: the synapses by the sources that they lead from, neurons and (behind all neurons)
            inputs.
        into: by the neurons that they lead to.
        inputs: from which source each input comes, (T, K, B); `num_sources` in a free place.
        num_sources: how many neurons and inputs there are.
        num_records: for how many records there is room, see `Records`.
    """

    sent: Fans
    into: Fans
    inputs: Int[Array, "T K B"]
    num_sources: int = eqx.field(static=True)
    num_records: int = eqx.field(static=True)


class Records(NamedTuple):
    """Neurons in whose cell something has happened, in the order of the cells.

    Attributes:
        lane: which of all neurons of all samples.
        offsets: of its spikes; `NO_SPIKE` in a free place.
        speeds: slopes of its potential just before them.
        release_offsets: see `Released`; likewise the next ones.
        release_speeds: as it says.
        drops: as it says.
    """

    lane: Int[Array, " C"]
    offsets: tuple[Float[Array, " C"], ...]
    speeds: tuple[Float[Array, " C"], ...]
    release_offsets: tuple[Float[Array, " C"], ...]
    release_speeds: tuple[Float[Array, " C"], ...]
    drops: tuple[Float[Array, " C"], ...]


class FanNeed(NamedTuple):
    """What a run had to have room for, see `FanRooms`; `active` and `rows` are means of a cell."""

    arrivals: Int[Array, ""]
    events: Int[Array, ""]
    back: Int[Array, ""]
    active: Float[Array, ""]
    rows: Float[Array, ""]


class Order(NamedTuple):
    """Spikes in the order of their times, sample by sample.

    Attributes:
        places: where among the offsets of all records each of them is.
        begins: where those of each sample begin, and the last ones end.
    """

    places: Int[Array, " S"]
    begins: Int[Array, " B_and_1"]


class FanResponse(NamedTuple):
    """Spikes of a network.

    Attributes:
        offsets: of each place and record; `NO_SPIKE` in a free place.
        speeds: the slope of the potential just before each spike, per cell.
        lanes: of which of all neurons of all samples each record is.
        cells: in which cell.
        crowded: samples in which more arrived at a neuron in a cell than there is room for.
        bursting: samples in which a neuron had more spikes in a cell than there is room for.
        spilled: whether more happened than there is room for records.
        finite: whether the potentials and currents of each sample are finite at the end.
        slowest: of each sample, the least speed of a spike over a (|v_th| + |v_th - v_to|).
        need: what there had to be room for.
        order: the spikes in their order, where that is known.
    """

    offsets: Float[Array, "places C"]
    speeds: Float[Array, "places C"]
    lanes: Int[Array, " C"]
    cells: Int[Array, " C"]
    crowded: Bool[Array, " B"]
    bursting: Bool[Array, " B"]
    spilled: Bool[Array, ""]
    finite: Bool[Array, " B"]
    slowest: Float[Array, " B"]
    need: FanNeed
    order: Order | None


class FanKept(NamedTuple):
    """What the adjoint needs.

    Attributes:
        records: what has happened.
        firsts: the number of the first record of each cell, and of the one past the last.
        held: which potentials are held at the end of the window.
        states: potentials and currents at the start of each cell, where they are asked for.
    """

    records: Records
    firsts: Int[Array, " T_and_1"]
    held: Bool[Array, " L"]
    states: Any


def of_neurons(parameter, neurons):
    """A number that all neurons share, or those of some of them."""
    return parameter if jnp.ndim(parameter) == 0 else parameter[neurons]
