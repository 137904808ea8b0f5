"""Spikes and gradients of the cell engine beside an event loop and central differences.

Random networks of LIF neurons in float64, with equal and unequal rates, rates of each neuron,
recurrent ones with a delay of all, of each neuron or of each synapse, refractory periods, inputs
that come at the same time or where a cell begins, silent neurons, several spikes in a cell, and
potentials that rise and fall within one. Spike times are compared with an event loop in NumPy that
is written apart, and the derivative of every spike, along a random direction of all parameters at
once, with a central difference.

Then random networks of neurons that fire by an intensity, with noise of potential and current, in
layers, with delays and refractory periods: the integrated intensity is a functional of potentials
at three points of each cell, which a second loop in NumPy computes in its own way.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from roughsnn import SparseConnections
from roughsnn.cells import (
    FanGiven,
    FanRooms,
    FanWiring,
    Given,
    InputSpikes,
    MatrixGiven,
    Rates,
    Rooms,
    State,
    Wiring,
    fans_of,
    listed_inputs,
    respond,
    respond_by_fans,
    respond_by_matrices,
)

from ._event_loop import spikes_of
from ._intensity_cases import KINDS as KINDS_BY_INTENSITY
from ._intensity_judged import Judged, judge_by_intensity
from ._study import Study, format_table

CELLS, NEURONS, INPUTS, SPIKES, ROOM = 16, 4, 3, 14, 96
KINDS = (
    "plain", "equal rates", "rates of each", "recurrent", "recurrent, rates of each",
    "refractory", "recurrent and refractory, rates of each", "noise",
    "noise, recurrent and refractory, rates of each", "recurrent by list",
    "recurrent by list, delays of synapses, rates of each",
    "noise, recurrent by list and refractory, delays of synapses, rates of each",
    "compiled, equal rates", "compiled, recurrent", "compiled, in layers",
    "compiled, noise, recurrent and refractory, rates of each",
    "compiled, noise, in layers and refractory, rates of each",
)  # fmt: skip
# step of differences, which is shorter where a spike is slower than this, in thresholds a cell
_STEP, _SLOW = 1e-6, 0.03
# of two layers, all of whose neurons have inputs
_LAYERS = (NEURONS // 2, NEURONS - NEURONS // 2)
_IN_LAYERS = np.arange(NEURONS)[:, None] < _LAYERS[0]
_IN_LAYERS = _IN_LAYERS & (np.arange(NEURONS)[None] >= _LAYERS[0])


class Network(NamedTuple):
    """A random network; times in cells. Delays are not used where neurons have no synapses with one
    another, nor refractory periods and noise unless its kind says so."""

    a: Any
    b: Any
    threshold: Any
    reset: Any
    current: Any
    weights: Any
    v0: Any
    i0: Any
    inputs: Any
    delays: Any
    refractory: Any
    noise: Any


def random_network(rng: np.random.Generator, kind: str) -> tuple[Network, np.ndarray]:
    """A network, and which input each of the input spikes belongs to."""
    each = (NEURONS,) if "of each" in kind else ()
    synapses = (NEURONS, NEURONS) if "of synapses" in kind else each
    a, b = rng.uniform(0.05, 0.9, (2, *each))
    if kind == "equal rates":
        b = a
    own = NEURONS if "recurrent" in kind or "in layers" in kind else 0
    weights = rng.normal(0.3, 1.0, (own + INPUTS, NEURONS))
    # (a network that excites itself much runs away)
    weights[:own] = rng.normal(-0.2, 0.5, (own, NEURONS))
    if "in layers" in kind:
        weights[:own] = np.where(_IN_LAYERS, rng.normal(0.5, 1.0, (own, NEURONS)), 0)
    inputs = rng.uniform(0, CELLS, SPIKES)
    # some come together, some where a cell begins
    inputs[1] = inputs[0]
    inputs[2:4] = np.maximum(np.floor(inputs[2:4]), 1)
    network = Network(
        a, b, np.full(each, 1.0), rng.uniform(-0.5, 0.3, each), rng.uniform(-0.5, 1.2, NEURONS),
        weights, rng.uniform(-0.5, 0.5, NEURONS), rng.normal(size=NEURONS), np.sort(inputs),
        rng.uniform(1, 4, synapses), rng.uniform(0.2, 2.5, each),
        rng.normal(0, 0.4, (CELLS, NEURONS)),
    )  # fmt: skip
    return network, rng.integers(0, INPUTS, SPIKES)


@partial(jax.jit, static_argnums=(3, 4, 5))
def simulated(network: Network, sources, cells, kind: str, rooms: Rooms, copies: int = 1):
    """The response of equal samples."""
    rows = network.weights.shape[0]
    if "compiled" in kind:
        return _by_matrices(network, sources, cells, kind, rooms, copies)
    # the cell of an input is told, so that a difference does not move it into another one
    offsets = network.inputs - cells.astype(network.inputs.dtype)
    listed = listed_inputs(
        *(jnp.tile(x[None], (copies, 1)) for x in (cells, offsets, rows - INPUTS + sources)),
        CELLS, rows, rooms.inputs,
    )  # fmt: skip
    if "by list" in kind:
        return _by_list(network, listed, kind, rooms, copies)
    given = Given(
        Rates(network.a, network.b, network.threshold, network.reset),
        State(*(jnp.tile(x[None], (copies, 1)) for x in (network.v0, network.i0))),
        network.current[None, None], network.weights, listed.offsets,
        network.delays if "recurrent" in kind else None,
        network.refractory if "refractory" in kind else None,
        _lasting(network, copies) if "noise" in kind else None,
    )  # fmt: skip
    return respond(given, listed.sources, rooms)


class Response(NamedTuple):
    """Of the response of a network whose synapses are a list what the others have too."""

    offsets: Any
    speeds: Any
    crowded: Any
    bursting: Any
    early: Any


def _by_list(network: Network, listed, kind: str, rooms: Rooms, copies: int) -> Response:
    """The same with a list of synapses, whose delays inputs do not have."""
    dtype = network.weights.dtype
    number = NEURONS * NEURONS
    delays = network.delays if network.delays.ndim == 2 else network.delays[..., None]
    delays = jnp.broadcast_to(delays, (NEURONS, NEURONS)).reshape(-1)
    early = jnp.any(delays < 1)
    delays = jnp.concatenate([delays, jnp.zeros(INPUTS * NEURONS, dtype)])
    given = FanGiven(
        Rates(network.a, network.b, network.threshold, network.reset),
        State(*(jnp.tile(x[None], (copies, 1)) for x in (network.v0, network.i0))),
        network.current[None, None], network.weights.reshape(-1), delays, listed.offsets,
        network.refractory if "refractory" in kind else jnp.zeros((), dtype),
        _lasting(network, copies) if "noise" in kind else None,
    )  # fmt: skip
    pre, post = np.divmod(np.arange(number), NEURONS)
    sent, into = fans_of(SparseConnections(pre, post, NEURONS), INPUTS)
    sources = NEURONS + INPUTS
    wiring = FanWiring(sent, into, listed.sources, sources, 2 * ROOM * copies)
    # few lanes and rows, so that there are several rounds
    lanes = max(2, int(rooms.share * NEURONS * copies))
    room = FanRooms(
        rooms.inputs, rooms.arrivals, rooms.spikes, 8, rooms.arrivals * lanes, lanes, 3 * lanes,
        copies,
    )  # fmt: skip
    found = respond_by_fans(given, wiring, room)
    sample, neuron = found.lanes // NEURONS, found.lanes % NEURONS
    places = jnp.arange(rooms.spikes)[:, None]
    at = found.cells[None], places, sample[None], neuron[None]
    shape = (CELLS, rooms.spikes, copies, NEURONS)
    return Response(
        jnp.full(shape, 2.0, dtype).at[at].set(found.offsets, mode="drop"),
        jnp.ones(shape, dtype).at[at].set(found.speeds, mode="drop"),
        found.crowded | found.spilled, found.bursting, early,
    )  # fmt: skip


def _by_matrices(network: Network, sources, cells, kind: str, rooms: Rooms, copies: int):
    """The same by compiled code, whose spikes are a list in their order."""
    weights, delays = network.weights[:-INPUTS], None
    sizes, children = (NEURONS,), ((),)
    if "in layers" in kind:
        sizes, children = _LAYERS, ((1,), ())
    elif "recurrent" in kind:
        delays = network.delays
    offsets = network.inputs - cells.astype(network.inputs.dtype)
    cells, offsets, sources = (jnp.tile(x[None], (copies, 1)) for x in (cells, offsets, sources))
    given = MatrixGiven(
        Rates(network.a, network.b, network.threshold, network.reset),
        State(*(jnp.tile(x[None], (copies, 1)) for x in (network.v0, network.i0))),
        network.current[None, None], weights if weights.shape[0] else None,
        network.weights[-INPUTS:], offsets, delays,
        network.refractory if "refractory" in kind else jnp.zeros((), offsets.dtype),
        _lasting(network, copies) if "noise" in kind else None,
    )  # fmt: skip
    wiring = Wiring(sizes, children, CELLS, 1.0, rooms.spikes, ROOM)
    found = respond_by_matrices(given, InputSpikes(cells, sources), wiring)
    # the number of each spike among those of its neuron in its cell
    earlier = np.tri(ROOM, k=-1, dtype=bool)[None]
    key = found.cells * NEURONS + found.neurons
    place = jnp.sum((key[:, :, None] == key[:, None]) & earlier, axis=2)
    exists = jnp.arange(ROOM, dtype=jnp.int32)[None] < found.count[:, None]
    cell = jnp.where(exists, found.cells, CELLS)
    at = cell, place, jnp.arange(copies)[:, None], found.neurons
    offsets = jnp.full((CELLS, rooms.spikes, copies, NEURONS), 2.0, offsets.dtype)
    offsets = offsets.at[at].set(found.offsets, mode="drop")
    early = jnp.asarray(False) if delays is None else jnp.any(delays < 1)
    speeds = jnp.ones_like(offsets).at[at].set(found.speeds, mode="drop")
    return Response(offsets, speeds, found.count > ROOM, found.bursting, early)


def _lasting(network: Network, copies: int):
    """Where currents tend to while the noise of a cell lasts."""
    decay = jnp.broadcast_to(network.b, (1, 1, NEURONS))
    return jnp.repeat(network.noise[:, None] / decay, copies, axis=1)


@partial(jax.jit, static_argnums=(4, 5))
def slopes(network: Network, sources, cells, places, kind: str, rooms: Rooms):
    """The derivative of the spikes at these places in all that the network is made of."""

    def offsets(network):
        found = simulated(network, sources, cells, kind, rooms).offsets
        return found.reshape(-1).at[places].get(mode="fill", fill_value=0)

    _, pull = jax.vjp(offsets, network)
    return jax.vmap(lambda one: pull(one)[0])(jnp.eye(places.size))


def looped(network: Network, sources, kind: str):
    """Times and neurons of the spikes by the event loop."""
    full = [np.broadcast_to(x, (NEURONS,)) for x in (*network[:4], network.refractory)]
    delays = (
        network.delays
        if np.ndim(network.delays) == 2
        else np.broadcast_to(network.delays, (NEURONS,))
    )
    first = network.weights.shape[0] - INPUTS
    weights: dict[Any, Any] = {("in", n): network.weights[first + n] for n in range(INPUTS)}
    if network.weights.shape[0] > INPUTS:
        weights |= {n: network.weights[n] for n in range(NEURONS)}
    found = spikes_of(
        *full[:4], network.current, weights, list(zip(network.inputs, sources, strict=True)),
        v0=network.v0, i0=network.i0, duration=float(CELLS),
        delays=delays if "recurrent" in kind else None,
        refractory=full[4] if "refractory" in kind else None,
        noise=network.noise if "noise" in kind else None,
    )  # fmt: skip
    return np.array([t for t, _ in found]), np.array([n for _, n in found], int)


def in_order(offsets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, neurons and places of the spikes of the first sample, sorted by time."""
    cell, place, neuron = np.nonzero(offsets[:, :, 0] <= 1)
    times = cell + offsets[cell, place, 0, neuron]
    order = np.lexsort((neuron, times))
    flat = np.ravel_multi_index((cell, place, np.zeros_like(cell), neuron), offsets.shape)
    return times[order], neuron[order], flat[order]


class Outcome(NamedTuple):
    """What was found of one network.

    Attributes:
        spikes: how many there were.
        time: the largest difference of a spike time, in cells; infinite for other spikes.
        slope: the largest difference of a derivative from a central difference, relative to the
            larger of it and one, of spikes faster than 1e-3 a cell. The step is 1e-6, and less in
            a network with a slow spike; the difference is the one of that step, of one ten or a
            hundred times smaller, or extrapolated from that and one ten times larger, whichever is
            nearest: a large step takes spikes across arrivals, where the second derivative jumps,
            and a small one feels rounding.
        slow: how many spikes are slower.
        unmatched: how many spikes are gained or lost within every step, so that no difference is
            theirs.
        orders: for spikes that differ by more than 1e-6 from the difference of a step ten times
            larger, how much less they differ from that of the plain step, as a power.
        form: the largest difference between copies in a batch, and between rooms.
    """

    spikes: int
    time: float
    slope: float
    slow: int
    unmatched: int
    orders: list[float]
    form: float


def judge(rng: np.random.Generator, kind: str) -> Outcome | None:
    """Compare one network; `None` if it fires more often than there is room for."""
    rooms, other = Rooms(SPIKES, 24, 6, 1.0), Rooms(SPIKES + 1, 40, 7, 0.2)
    network, sources = random_network(rng, kind)
    cells = jnp.asarray(np.floor(network.inputs), jnp.int32)
    sources = jnp.asarray(sources, jnp.int32)
    traced = Network(*(jnp.asarray(x) for x in network))
    response = simulated(traced, sources, cells, kind, rooms)
    offsets = np.asarray(response.offsets)
    times, neurons, places = in_order(offsets)
    if bool(response.bursting[0] | response.crowded[0]) or times.size > ROOM:
        return None
    expected, who = looped(network, np.asarray(sources), kind)
    same = times.size == expected.size and bool((neurons == who).all())
    time = float(np.max(np.abs(times - expected), initial=0)) if same else np.inf
    again = simulated(traced, sources, cells, kind, other, 3)
    copies = np.asarray(again.offsets)[:, : offsets.shape[1]]
    form = float(np.max(np.abs(copies - offsets)))
    if times.size == 0:
        return Outcome(0, time, 0.0, 0, 0, [], form)

    padded = jnp.asarray(np.pad(places, (0, ROOM - places.size), constant_values=offsets.size))
    rows = slopes(traced, sources, cells, padded, kind, rooms)
    direction = Network(*(jnp.asarray(rng.normal(size=np.shape(x))) for x in network))
    parts = [
        np.asarray(jnp.sum(row.reshape(ROOM, -1) * d.reshape(1, -1), axis=1))
        for row, d in zip(rows, direction, strict=True)
    ]
    exact = np.sum(parts, axis=0)[: places.size]

    def difference(step):
        ends = []
        for sign in (1, -1):
            moved = Network(*(x + sign * step * d for x, d in zip(traced, direction, strict=True)))
            found = simulated(moved, sources, cells, kind, rooms)
            ends.append(_with_places(np.asarray(found.offsets)))
        # matched by neuron and number, as a spike may pass into the next cell
        first = _with_places(offsets)
        by_spike = {}
        for key in first:
            if key in ends[0] and key in ends[1]:
                by_spike[first[key][1]] = (ends[0][key][0] - ends[1][key][0]) / (2 * step)
        return np.array([by_spike.get(place, np.nan) for place in places])

    scale = np.maximum(np.abs(exact), 1)
    speeds = np.asarray(response.speeds).reshape(-1)[places]
    # a spike that crosses at a speed has a Taylor series up to the square of that speed
    step = _STEP * min(1.0, float(speeds.min()) / _SLOW) ** 2
    found = [difference(size * step) for size in (10, 1, 0.1, 0.01)]
    coarse, fine, finer, finest = (np.abs(x - exact) / scale for x in found)
    # without the part that falls like the square of the step
    better = np.abs((100 * found[1] - found[0]) / 99 - exact) / scale
    gap = np.fmin.reduce([fine, better, finer, finest])
    fast, unmatched = speeds > 1e-3, np.isnan(gap)
    slope = float(np.max(gap[fast & ~unmatched], initial=0))
    bent = np.isfinite(fine) & (coarse > 1e-6) & (fine > 0)
    orders = np.log10(coarse[bent] / fine[bent])
    slow, lost = int((~fast).sum()), int(unmatched.sum())
    return Outcome(times.size, time, slope, slow, lost, list(orders), form)


def _with_places(offsets) -> dict[tuple[int, int], tuple[float, int]]:
    """By neuron and number of the spike, when it is and where it lies."""
    times, neurons, places = in_order(offsets)
    count: dict[int, int] = {}
    found = {}
    for time, neuron, place in zip(times, neurons, places, strict=True):
        number = count.get(neuron, 0)
        count[neuron] = number + 1
        found[(neuron, number)] = (time, place)
    return found


def study(networks: int = 1000, networks_by_intensity: int = 200, seed: int = 0) -> Study:
    """Compare random networks.

    Args:
        networks: how many with a hard threshold, of all kinds together.
        networks_by_intensity: how many that fire by an intensity.
        seed: of the networks.
    """
    rng = np.random.default_rng(seed)
    outcomes: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
    left_out = 0
    with jax.enable_x64(True):
        for n in range(networks):
            kind = KINDS[n % len(KINDS)]
            outcome = judge(rng, kind)
            if outcome is None:
                left_out += 1
            else:
                outcomes[kind].append(outcome)
        judged, lost = _by_intensity(rng, networks_by_intensity)
    rows = []
    for kind, found in outcomes.items():
        orders = [order for x in found for order in x.orders]
        rows.append(
            [kind, len(found), sum(x.spikes for x in found), max(x.time for x in found),
             max(x.slope for x in found), sum(x.slow for x in found), len(orders),
             float(np.median(orders)) if orders else float("nan"), max(x.form for x in found)]
        )  # fmt: skip
    every = [x for found in outcomes.values() for x in found]
    orders = [order for x in every for order in x.orders]
    figures = {
        "networks": float(len(every)),
        "spikes": float(sum(x.spikes for x in every)),
        "time_difference": max(x.time for x in every),
        "slope_difference": max(x.slope for x in every),
        "form_difference": max(x.form for x in every),
        "spikes_off_by_large_step": float(len(orders)),
        "order_of_difference": float(np.median(orders)) if orders else float("nan"),
        "spikes_without_difference": float(sum(x.unmatched for x in every)),
        "running_away": float(left_out),
    }
    by_intensity = [x for found in judged.values() for x in found]
    if by_intensity:
        figures |= {
            "networks_by_intensity": float(len(by_intensity)),
            "spikes_by_intensity": float(sum(x.spikes for x in by_intensity)),
            "time_difference_by_intensity": max(x.time for x in by_intensity),
            "slope_difference_by_intensity": max(x.slope for x in by_intensity),
            "spikes_without_difference_by_intensity": float(sum(x.unmatched for x in by_intensity)),
            "overflowing_by_intensity": float(lost),
        }
    for kind, found in judged.items():
        row = [len(found), sum(x.spikes for x in found), max((x.time for x in found), default=0.0)]
        slope = max((x.slope for x in found), default=0.0)
        rows.append([f"by intensity: {kind}", *row, slope, 0, 0, float("nan"), 0.0])
    bounds = {
        "time_difference": "<= 1e-10",
        "slope_difference": "<= 1e-6",
        "form_difference": "<= 1e-12",
        "order_of_difference": ">= 1.8",
    }
    if by_intensity:
        bounds["time_difference_by_intensity"] = "<= 1e-10"
        bounds["slope_difference_by_intensity"] = "<= 1e-6"
    header = [
        "networks",
        "number",
        "spikes",
        "time",
        "slope",
        "slow spikes",
        "off",
        "order",
        "form",
    ]
    return Study(figures, bounds, format_table(header, rows))


def _by_intensity(rng, networks: int) -> tuple[dict[str, list[Judged]], int]:
    """Networks that fire by an intensity, by kind, and how many had more spikes than there is room
    for."""
    judged: dict[str, list[Judged]] = {kind: [] for kind in KINDS_BY_INTENSITY}
    lost = 0
    for n in range(networks):
        kind = list(judged)[n % len(judged)]
        outcome = judge_by_intensity(rng, kind)
        if outcome is None:
            lost += 1
        else:
            judged[kind].append(outcome)
    return judged, lost
