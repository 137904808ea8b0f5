"""Loss and gradient by the cell engine beside a surrogate-gradient step of the same network.

Four networks of LIF neurons in float32: 4-16-2, 100-128-10 and 700-256-20 in layers, and 1000
recurrent neurons with a delay of one cell. The competitor is a clock-driven step with the same
exact propagators, written as one `jax.lax.scan` for each layer, with the product of inputs and
weights taken out of the loop, and SuperSpike's derivative; its loss is the mean time of output
spikes on the grid. The clock engine computes the same with its own gradient, by Euler's scheme and
from the lists of input spikes; its ratio is reported without a bound. A neuron fires in at most
some 3 % of the cells on all sides. Every round times each candidate once. The first two networks
are also computed by the event engine, on the same grid with Heun's scheme.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ._measure import compare, paired_ratio
from ._study import Study, format_table
from .gradient_step_speed import network_by, network_simulation, network_surrogate

LEAK, DECAY = 0.05, 0.1


class Case(NamedTuple):
    """A network and its inputs; time is in cells."""

    inputs: int
    sizes: tuple[int, ...]
    cells: int
    batch: int
    # input spikes of a sample, and the scale of the weights from inputs and between neurons
    spikes: int
    gain: float
    inner: float
    bound: float
    recurrent: bool = False


CASES = {
    "4-16-2": Case(4, (16, 2), 100, 128, 20, 1.0, 1.0, 5.0),
    "100-128-10": Case(100, (128, 10), 100, 128, 500, 0.35, 1.0, 5.0),
    "700-256-20": Case(700, (256, 20), 250, 32, 3000, 0.2, 1.0, 2.5),
    "recurrent 1000": Case(100, (1000,), 1000, 8, 5000, 0.35, 0.05, 0.6, recurrent=True),
}


# these are also computed from event to event, and by how much faster cells have to be
EVENTS = {"4-16-2": 5, "100-128-10": 20}


def study(
    repeats: int = 15, cases: tuple[str, ...] = tuple(CASES), stochastic: bool = True
) -> Study:
    """Time both sides of each case.

    Args:
        repeats: rounds of timing; the recurrent network is timed in a third of them.
        cases: which networks.
        stochastic: time the 22 stochastic neurons of `gradient-step-speed` as well.
    """
    figures, bounds, rows = {}, {}, []
    for name in cases:
        case = CASES[name]
        candidates, share = _candidates(case)
        measured = compare(candidates, max(3, repeats // 3) if case.recurrent else repeats)
        ours, other = measured["cells"], measured["surrogate"]
        label = name.replace(" ", "-")
        figures[f"{label}_time_ratio"] = paired_ratio(ours, other)
        figures[f"{label}_memory_ratio"] = ours.temp_bytes / other.temp_bytes
        figures[f"{label}_compile_seconds"] = ours.compile_seconds
        figures[f"{label}_clock_engine_time_ratio"] = paired_ratio(measured["clock"], other)
        bounds[f"{label}_time_ratio"] = f"<= {case.bound}"
        bounds[f"{label}_memory_ratio"] = "<= 3"
        bounds[f"{label}_compile_seconds"] = "<= 12"
        for kind, m in measured.items():
            rows.append(
                [name, kind, 1e3 * m.wall_seconds, m.temp_bytes / 2**20, m.compile_seconds,
                 100 * share[kind]]
            )  # fmt: skip
    for name in EVENTS:
        if name not in cases:
            continue
        candidates, share = _candidates(CASES[name], events=True)
        measured = compare(candidates, 3)
        label = f"{name}_events_over_cells"
        figures[label] = paired_ratio(measured["events"], measured["cells"])
        bounds[label] = f">= {EVENTS[name]}"
        for kind, m in measured.items():
            rows.append(
                [f"{name} again", kind, 1e3 * m.wall_seconds, m.temp_bytes / 2**20,
                 m.compile_seconds, 100 * share[kind]]
            )  # fmt: skip
    if stochastic:
        measured = compare(_stochastic(), repeats)
        other = measured["surrogate"]
        for kind, m in measured.items():
            if kind != "surrogate":
                figures[f"stochastic_{kind}_time_ratio"] = paired_ratio(m, other)
            rows.append(
                ["4-16-2, stochastic", kind, 1e3 * m.wall_seconds, m.temp_bytes / 2**20,
                 m.compile_seconds, float("nan")]
            )  # fmt: skip
        bounds["stochastic_cells_time_ratio"] = "<= 2"
    header = ["network", "loss and gradient", "ms", "scratch MiB", "compile s", "lanes firing %"]
    return Study(figures, bounds, format_table(header, rows))


def _stochastic():
    """The update step of a network of 22 stochastic neurons by cells, by events, by a surrogate."""
    return {
        "cells": network_by(rs.CellEngine()),
        "events": network_by(rs.EventEngine()),
        "surrogate": network_surrogate(*network_simulation(rs.EventEngine())[1:]),
    }


def _candidates(case: Case, events: bool = False):
    """The cell engine beside the surrogate or the event engine, and the share of neurons that fire
    in a cell on each side."""
    rng = np.random.default_rng(0)
    trials = []
    for _ in range(case.batch):
        count = rng.poisson(case.spikes)
        times = np.sort(rng.uniform(0, case.cells, count)).astype(np.float32)
        trials.append((times, rng.integers(0, case.inputs, count)))
    spikes = rs.SpikeTrains.from_lists(
        trials, t0=0.0, t1=float(case.cells), num_neurons=case.inputs
    )
    model = _network(case, rng)
    room = (30 if case.recurrent else 8) * sum(case.sizes)
    protocol = rs.Protocol(0.0, float(case.cells), 1.0, max_spikes=room, input_spikes=spikes)
    engine = rs.CellEngine("ignore").prepared(model, protocol, num_samples=case.batch, slack=1.0)
    outputs = sum(case.sizes) - case.sizes[-1]

    def exact(weights, spikes, engine=engine):
        given = eqx.tree_at(lambda p: p.input_spikes, protocol, spikes)
        network = eqx.tree_at(lambda m: (m.weights, m.input_weights), model, weights)
        trains = engine.spike_trains(
            network, given, key=jr.key(0), num_samples=case.batch, throw=False
        )
        kept = trains.neurons >= outputs
        return jnp.sum(jnp.where(kept, trains.times, 0)) / case.batch, jnp.sum(trains.mask)

    raster = np.zeros((case.cells, case.batch, case.inputs), np.float32)
    for sample, (times, neurons) in enumerate(trials):
        np.add.at(raster, (times.astype(int), sample, neurons), 1)
    raster = jnp.asarray(raster)

    def surrogate(weights, raster):
        fired = _by_clock(case, *weights, raster)
        time = jnp.arange(case.cells, dtype=jnp.float32)[:, None, None]
        return jnp.sum(time * fired[-1]) / case.batch, sum(jnp.sum(x) for x in fired)

    by_clock = rs.ClockEngine(surrogate=rs.SuperSpike(), reset="attached", max_delay=1.0)
    ends = jnp.arange(1, case.cells + 1, dtype=jnp.float32)[None, :, None]

    def clock(weights, spikes):
        given = eqx.tree_at(lambda p: p.input_spikes, protocol, spikes)
        network = eqx.tree_at(lambda m: (m.weights, m.input_weights), model, weights)
        trains = by_clock.spike_trains(
            network, given, key=jr.key(0), num_samples=case.batch, throw=False
        )
        assert trains.presence is not None
        fired = trains.presence.values
        return jnp.sum(ends * fired[..., outputs:]) / case.batch, jnp.sum(fired)

    weights = model.weights, model.input_weights
    candidates, share = {}, {}
    lanes = case.cells * case.batch * sum(case.sizes)
    sides = [("cells", exact, spikes), ("surrogate", surrogate, raster), ("clock", clock, spikes)]
    if events:
        by_events = partial(exact, engine=rs.EventEngine(conditions="ignore"))
        sides[1:] = [("events", by_events, spikes)]
    for name, loss, inputs in sides:
        candidates[name] = (jax.value_and_grad(loss, has_aux=True), (weights, inputs))
        share[name] = float(eqx.filter_jit(loss)(weights, inputs)[1]) / lanes
    return candidates, share


def _network(case: Case, rng: Any) -> rs.SpikingNetwork:
    size = sum(case.sizes)
    neurons = rs.LIF(size, mu1=LEAK, mu2=DECAY)
    inputs = np.zeros((case.inputs, size), np.float32)
    if case.recurrent:
        present = rng.random((size, size)) < 0.1
        weights = case.inner * rng.normal(size=(size, size)) * present
        inputs = case.gain * rng.random((case.inputs, size)) * (rng.random(inputs.shape) < 0.1)
        return rs.SpikingNetwork(neurons, weights, input_weights=inputs, axonal_delays=1.0)
    hidden = case.sizes[0]
    scale = case.gain / np.sqrt(case.spikes / case.cells * 10)
    inputs[:, :hidden] = scale * (rng.normal(size=(case.inputs, hidden)) + 0.5)
    weights = np.zeros((size, size), np.float32)
    weights[:hidden, hidden:] = 3 * rng.normal(size=(hidden, size - hidden)) / np.sqrt(hidden)
    connections = rs.layered_connections(*case.sizes)
    return rs.SpikingNetwork(neurons, weights, connections, input_weights=inputs)


# ---- the competitor


@jax.custom_jvp
def _fires(above):
    return (above >= 0).astype(above.dtype)


@_fires.defjvp
def _(primals, tangents):
    (above,), (moved,) = primals, tangents
    return _fires(above), moved / (1 + 10 * jnp.abs(above)) ** 2


def _by_clock(case: Case, weights, input_weights, raster):
    """Spikes of each layer on the grid, (cells, samples, neurons)."""
    keep_v, keep_i = np.exp(-LEAK), np.exp(-DECAY)
    felt = LEAK * (np.exp(-LEAK) - np.exp(-DECAY)) / (DECAY - LEAK)

    def step(state, arriving, back):
        v, i, fired = state
        v = keep_v * v + felt * i
        i = keep_i * i + arriving + (0 if back is None else fired @ back)
        fired = _fires(v - 1)
        return (v - fired, i, fired), fired

    layers, begin, source = [], 0, raster
    for size in case.sizes:
        own = slice(begin, begin + size)
        arriving = raster @ input_weights[:, own]
        if layers:
            arriving = arriving + source @ weights[begin - source.shape[2] : begin, own]
        back = weights if case.recurrent else None
        zero = jnp.zeros((raster.shape[1], size), raster.dtype)
        _, source = lax.scan(lambda s, x, b=back: step(s, x, b), (zero, zero, zero), arriving)
        layers.append(source)
        begin += size
    return layers
