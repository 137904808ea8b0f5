"""The same cells by compiled code, where it can be had: see `_fan_forward.py`."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._native import Native
from ._cell import Rates, State
from ._fan_given import FanGiven, FanKept, FanNeed, FanRooms, FanWiring, Order, Records
from ._fan_lanes import Sent, sent_by
from ._fans import WIDTH, Delays, Fans
from ._responses import summed_to

_SOURCES = Path(__file__).with_name("compiled")
_WHAT = "networks of single synapses cell by cell"
_FORWARD, _BACKWARD = "roughsnn_fan_forward", "roughsnn_fan_backward"
_NATIVE = {
    _FORWARD: Native(_WHAT, _SOURCES / "fan_forward.cc", (_FORWARD,)),
    _BACKWARD: Native(_WHAT, _SOURCES / "fan_backward.cc", (_BACKWARD,)),
}


class Walked(NamedTuple):
    """What has become of a network at the end of its window.

    Attributes:
        records: what has happened, with free places at the end.
        cells: in which cell each was.
        firsts: the number of the first record of each cell, and how many there are.
        order: the spikes in their order, where that is known.
        left: for how long each neuron is held still.
        state: potentials and currents.
        crowded: see `FanResponse`; likewise `bursting`.
        need: what there had to be room for.
        states: potentials and currents at the start of each cell, where they are asked for.
    """

    records: Records
    cells: Int[Array, " C"]
    firsts: Int[Array, " T_and_1"]
    order: Order | None
    left: Float[Array, "B N"]
    state: State
    crowded: Bool[Array, " B"]
    bursting: Bool[Array, " B"]
    need: FanNeed
    states: State | None


def compiled_target(dtype, *, backward: bool) -> str | None:
    """What XLA calls the compiled code; none where JAX is to compute."""
    function = _BACKWARD if backward else _FORWARD
    return _NATIVE[function].target(function, dtype)


def is_compiled(dtype) -> bool:
    """Whether networks of single synapses are computed by compiled code."""
    return compiled_target(dtype, backward=False) is not None


def walked_by_compiled(
    target: str, given: FanGiven, wiring: FanWiring, rooms: FanRooms, sent: Sent, length: int,
    keeps_states: bool,
) -> Walked:  # fmt: skip
    """The cells of a window; `length` is how many records there is room for."""
    dtype = given.start.v.dtype
    num_cells, _, num_samples = given.inputs.shape
    num_neurons, places = given.start.v.shape[1], rooms.spikes
    into = wiring.into
    reaching = Sent(
        into, given.weights[into.synapses], Delays.of(given.delays).ordered(into.synapses)
    )

    def reals(*shape: int):
        return jax.ShapeDtypeStruct(shape, dtype)

    def ints(*shape: int):
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    kept = (num_cells, num_samples, num_neurons) if keeps_states else (0,)
    of_all = reals(num_samples, num_neurons)
    of_spikes, of_releases = reals(places, length), reals(places + 1, length)
    records = ints(length), ints(length), of_spikes, of_spikes, *(3 * [of_releases])
    order = ints(num_cells + 1), ints(wiring.num_records), ints(num_samples + 1)
    ends = of_all, of_all, of_all, ints(num_samples), reals(4), reals(*kept), reals(*kept)
    call = jax.ffi.ffi_call(target, (*records, *order, *ends), vmap_method="sequential")
    noise = jnp.zeros(0, dtype) if given.noise is None else given.noise
    out = call(
        *(x.reshape(-1) for x in (*given.rates, given.refractory)), *given.start,
        given.current, noise, *_listed(sent), *_listed(reaching), given.inputs, wiring.inputs,
        num_sources=wiring.num_sources, places=places, back=rooms.back,
        num_records=wiring.num_records, width=WIDTH,
    )  # fmt: skip
    lane, cells, *rows = out[:7]
    firsts, order, begins, left, v, i, bursting, need, states_v, states_i = out[7:]
    most, events, active, taken = need
    back = jnp.max(sent.delays.whole, initial=0).astype(jnp.int32) + 2
    return Walked(
        Records(lane, *(tuple(x) for x in rows)), cells, firsts, Order(order, begins), left,
        State(v, i), jnp.zeros(num_samples, bool), bursting > 0,
        FanNeed(most.astype(jnp.int32), events.astype(jnp.int32), back, active, taken),
        State(states_v, states_i) if keeps_states else None,
    )  # fmt: skip


def _listed(sent: Sent) -> tuple[Array, ...]:
    fans: Fans = sent.fans
    whole, rest = (jnp.reshape(x, -1) for x in sent.delays)
    return fans.starts, fans.others, sent.weights, whole, rest


def backward_by_compiled(
    target: str, kept: FanKept, from_offsets, perturbed: FanGiven, given: FanGiven,
    wiring: FanWiring, rooms: FanRooms,
) -> FanGiven:  # fmt: skip
    """The derivative of a loss in all that the spikes depend on; arguments as of `backward`."""
    rates, dtype, records = given.rates, given.start.v.dtype, kept.records
    sent = sent_by(given, wiring)
    if from_offsets is None:
        from_offsets = jnp.zeros((rooms.spikes, records.lane.shape[0]), dtype)
    num_samples, num_neurons = given.start.v.shape
    nothing = jnp.zeros(0, dtype)
    states = (nothing, nothing) if kept.states is None else kept.states

    def like(x, asked=True):
        return jax.ShapeDtypeStruct(x.shape if asked else (0,), dtype)

    in_cells = given.current.shape[0], num_samples, num_neurons
    call = jax.ffi.ffi_call(
        target,
        (
            *(like(x.reshape(-1)) for x in (*rates, given.refractory)),
            like(sent.weights, perturbed.weights),
            like(given.delays.reshape(-1), perturbed.delays), *(like(x) for x in given.start),
            jax.ShapeDtypeStruct(in_cells if perturbed.current else (0,), dtype),
            like(given.inputs, perturbed.inputs),
            like(nothing if given.noise is None else given.noise),
        ),
        vmap_method="sequential",
    )  # fmt: skip
    a, b, threshold, reset, refractory, weights, delays, v, i, current, inputs, noise = call(
        rates.a.reshape(-1), rates.b.reshape(-1), *_listed(sent), records.lane,
        *(jnp.stack(rows) for rows in records[1:]), from_offsets, kept.firsts,
        kept.held.astype(jnp.int32), given.inputs, wiring.inputs, *states,
        given.current, nothing if given.noise is None else given.noise, samples=num_samples,
        neurons=num_neurons, num_sources=wiring.num_sources, places=rooms.spikes, back=rooms.back,
    )  # fmt: skip
    order = sent.fans.synapses
    if not perturbed.weights:
        weights = jnp.zeros_like(sent.weights)
    if not perturbed.delays:
        delays = jnp.zeros_like(given.delays)
    elif given.delays.ndim:
        delays = jnp.zeros_like(given.delays).at[order].set(delays)
    return FanGiven(
        Rates(
            a.reshape(rates.a.shape), b.reshape(rates.b.shape),
            threshold.reshape(rates.threshold.shape), reset.reshape(rates.reset.shape),
        ),
        State(v, i),
        summed_to(current, given.current) if perturbed.current else jnp.zeros_like(given.current),
        jnp.zeros_like(weights).at[order].set(weights), delays.reshape(given.delays.shape),
        inputs if perturbed.inputs else None, refractory.reshape(given.refractory.shape),
        None if given.noise is None else noise,
    )  # fmt: skip
