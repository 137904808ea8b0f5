"""What is asked of the cell engine, what all its forms have in common, and what became of it."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..cells import Listed, Rooms
from ..drivers import TimeGrid
from ..event_sde import AbstractTimeFunction
from ..neurons import AbstractNeuron
from ..protocol import Protocol, has_row_per_sample
from ._cell_inputs import InputList, listed_by_cell

# how often a neuron may fire in a cell at most
MOST_SPIKES = 32


class Need(eqx.Module):
    """What a group of neurons had to have room for, see `Response`; `lanes` is how many there are,
    of all samples."""

    inputs: Any
    arrivals: Any
    crowded: Any
    bursting: Any
    active: Any
    lanes: int = eqx.field(static=True)

    def exceeds(self, room: Rooms) -> bool:
        if room.spikes >= MOST_SPIKES and bool(jnp.any(self.bursting)):
            return False
        return bool(jnp.any(self.crowded) | jnp.any(self.bursting))

    def room(self, room: Rooms, slack: float = 1.25) -> Rooms:
        """Enough for this, and by a factor more."""

        def enough(needed):
            return max(1, math.ceil(slack * int(needed)))

        spikes = 2 * room.spikes if bool(jnp.any(self.bursting)) else room.spikes
        share = min(1.0, slack * int(self.active) / self.lanes)
        return Rooms(enough(self.inputs), enough(self.arrivals), spikes, share)


class Asked(eqx.Module):
    """What is asked for, by a clock that starts at zero where nothing depends on absolute time:
    such windows are one program, wherever they begin.

    Attributes:
        grid: the cells.
        current: the input current.
        inputs: the input spikes.
        noise: the law of the noise.
        max_spikes: for how many spikes there is room in a trial.
        stop_after: the number of the last spike that is kept.
    """

    grid: TimeGrid = eqx.field(static=True)
    current: Any
    inputs: Any
    noise: Any
    max_spikes: int = eqx.field(static=True)
    stop_after: int | None = eqx.field(static=True)

    @classmethod
    def of(cls, model: AbstractNeuron, protocol: Protocol, num_samples: int) -> "Asked":
        grid, current = protocol.grid, protocol.input_current
        if isinstance(current, AbstractTimeFunction):
            current = current.since(grid.t0)
        if not callable(current) or isinstance(current, AbstractTimeFunction):
            grid = grid.from_zero()
        inputs = protocol.inputs(model, num_samples)
        if inputs is not None:
            inputs = InputList(inputs.since, inputs.trains.neurons)
        return cls(
            grid, current, inputs, protocol.noise,
            protocol.max_spikes, protocol.stop_after,
        )  # fmt: skip

    def of_trials(self, index: Int[Array, " B"]) -> "Asked":
        """What is asked for in some of the trials."""
        current, inputs = self.current, self.inputs
        if has_row_per_sample(current):
            current = jnp.asarray(current)[index]
        if inputs is not None and inputs.since.ndim == 2:
            inputs = InputList(inputs.since[index], inputs.neurons[index])
        return Asked(self.grid, current, inputs, self.noise, self.max_spikes, self.stop_after)


class Problem(NamedTuple):
    """What all groups of neurons have in common.

    Attributes:
        neurons: all neurons.
        network: the network, if they are in one.
        start: their states at the start; for neurons that fire by an intensity of each sample.
        current: the input current by cells, see `current_by_cell`.
        noise: see `noise_by_cell`.
        weights: between all neurons, as a matrix.
        key: random key.
        asked: what is asked for, in these trials.
        index: the numbers of the trials.
    """

    neurons: Any
    network: Any
    start: Any
    current: Array
    noise: Any
    weights: Any
    key: Any
    asked: Asked
    index: Int[Array, " B"]

    @property
    def num_samples(self) -> int:
        return self.index.shape[0]

    @property
    def dtype(self):
        return jnp.result_type(self.start.v, self.start.i)

    @property
    def input_rows(self):
        return None if self.network is None else self.network.input_rows

    @property
    def num_input_rows(self) -> int:
        return 0 if self.network is None else self.network.num_input_rows

    def in_cells(self, time, own):
        """A time of a group of neurons in cells, `None` for none."""
        if time is None:
            return None
        time = time.astype(self.dtype) / self.asked.grid.dt0
        return time if time.ndim == 0 else time[own]

    def current_of(self, own):
        return self.current if self.current.shape[2] == 1 else self.current[:, :, own]

    def listed(self, first: int, room: int) -> Listed:
        """The input spikes, as sources from number `first` on."""
        return listed_by_cell(
            self.asked.inputs,
            self.asked.grid,
            self.num_input_rows,
            first,
            self.num_samples,
            room,
            self.dtype,
        )


class Group(NamedTuple):
    """What became of a group of neurons.

    Attributes:
        offsets: its spikes, by cells.
        need: what it had to have room for.
        early: whether a delay was shorter than a cell.
        finite: which samples have a finite state at the end.
        grazes: which have a spike without a derivative.
    """

    offsets: Float[Array, "T places B N"]
    need: Need
    early: Bool[Array, ""]
    finite: Bool[Array, " B"]
    grazes: Bool[Array, " B"]


class Outcome(NamedTuple):
    """What became of all neurons.

    Attributes:
        times: of the spikes, in order, padded with infinity.
        neurons: whose they are.
        count: how many there were.
        needs: what each group of neurons had to have room for.
        early: whether a delay was shorter than a cell.
        finite: which samples have a finite state at the end.
        grazes: which have a spike without a derivative.
    """

    times: Float[Array, "B S"]
    neurons: Int[Array, "B S"]
    count: Int[Array, " B"]
    needs: tuple[Any, ...]
    early: Bool[Array, ""]
    finite: Bool[Array, " B"]
    grazes: Bool[Array, " B"]
