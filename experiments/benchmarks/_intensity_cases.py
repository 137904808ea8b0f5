"""Random networks of neurons that fire by an intensity, with input spikes and noise, and their
spikes by a loop that is written apart."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn._random import event_key, key_of_marks, uniform_from_key
from roughsnn.cells import Rooms, layout_of
from roughsnn.protocol import trial_keys

from ._intensity_loop import spikes_by_intensity

SIZES, INPUTS, CELLS, WIDTH = (2, 2, 1), 2, 24, 0.05
COUNT, DURATION, SPIKES, ROOM = sum(SIZES), CELLS * WIDTH, 9, 96
KINDS = {
    "layers": (),
    "layers, rates of each, refractory periods": ("each", "refractory"),
    "a synapse past a layer": ("skips",),
    "delays of each, a refractory period": ("delays", "refractory"),
    "rates of each, a delay": ("each", "delays"),
}


class Case(NamedTuple):
    """A network, what is done to it, and the random key of the trial."""

    model: rs.SpikingNetwork
    protocol: rs.Protocol
    key: Any

    def engine(self) -> rs.CellEngine:
        """With room for two spikes of a neuron in a cell."""
        layout = layout_of(self.model)
        return rs.CellEngine("ignore", layout, (Rooms(SPIKES, 64, 2, 1.0),) * len(layout.groups))


def random_case(rng: np.random.Generator, kind: str) -> Case:
    """A random network of a kind."""
    what = KINDS[kind]
    each = (COUNT,) if "each" in what else ()
    mu1, mu2 = rng.uniform(1.5, 5.0, (2, *each))
    if each:
        # closed forms have another limit there
        mu2[2] = mu1[2]
    neurons = rs.StochasticLIF(
        COUNT, mu1=mu1, mu2=mu2, sigma=rng.normal(0, 0.4, (2, 2)), v_reset=rng.uniform(0.5, 1.2),
        beta=rng.uniform(1.0, 4.0), tau_s=rng.uniform(0.3, 0.8), alpha=rng.uniform(0.03, 0.1),
        v0=rng.uniform(0, 1, COUNT), i0=rng.normal(0.3, 0.5, COUNT),
    )  # fmt: skip
    connections = np.array(rs.layered_connections(*SIZES))
    connections[0, -1] = "skips" in what
    given = {}
    if "delays" in what:
        given["axonal_delays"] = rng.uniform(1.1, 3.5, () if each else COUNT) * WIDTH
    if "refractory" in what:
        given["refractory"] = rng.uniform(0.2, 2.5, each) * WIDTH
    model = rs.SpikingNetwork(
        neurons, rng.normal(0.5, 1.0, (COUNT, COUNT)), connections,
        input_weights=rng.normal(0.5, 1.0, (INPUTS, COUNT)), **given,
    )  # fmt: skip
    times = np.sort(rng.uniform(0, DURATION, SPIKES))
    spikes = rs.SpikeTrains.from_lists(
        [(times, rng.integers(0, INPUTS, SPIKES))], t0=0.0, t1=DURATION, num_neurons=INPUTS
    )
    protocol = rs.Protocol(
        0.0, DURATION, WIDTH, max_spikes=ROOM, input_spikes=spikes,
        input_current=jnp.asarray(rng.uniform(0.3, 1.2, COUNT)),
    )  # fmt: skip
    return Case(model, protocol, jr.key(int(rng.integers(2**31))))


def looped(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Times and neurons of the trial by the loop, with the noise and the marks of its key."""
    model, neurons, full = case.model, case.model.neurons, np.ones(COUNT)
    start, path, marks = trial_keys(case.key, 0)
    grid = rs.BrownianGrid(0.0, DURATION, WIDTH, (COUNT, 2), path)
    dv, di = np.einsum("cd,tnd->ctn", np.asarray(neurons.sigma), np.asarray(grid.increments))
    rates = _rates(neurons)
    # so many spikes of one neuron are far more than there are
    keys = jax.vmap(lambda n: jax.vmap(lambda m: event_key(key_of_marks(marks), n, m))(
        jnp.arange(ROOM, dtype=jnp.int32)))(jnp.arange(COUNT, dtype=jnp.int32))  # fmt: skip
    levels = np.log(jax.vmap(jax.vmap(uniform_from_key))(keys)) - float(neurons.alpha)

    def in_cells(time):
        return None if time is None else np.asarray(time) / WIDTH * full

    rows = {n: np.asarray(model.effective_weights)[n] for n in range(COUNT)}
    rows |= {("in", n): np.asarray(model.input_weights)[n] for n in range(INPUTS)}
    trains: Any = case.protocol.input_spikes
    inputs = zip(np.asarray(trains.times[0]) / WIDTH, map(int, trains.neurons[0]), strict=True)
    first = neurons.initial_state(start)
    found = spikes_by_intensity(
        WIDTH * np.asarray(neurons.mu1) * full, WIDTH * np.asarray(neurons.mu2) * full,
        np.asarray(case.protocol.input_current), dv, di, rows, list(inputs),
        v0=first.v, i0=first.i, s0=first.s, drop=float(neurons.v_reset) * full, intensity=rates,
        level=lambda n, number: levels[n, number], delays=in_cells(model.axonal_delays),
        refractory=in_cells(model.refractory),
    )  # fmt: skip
    return np.array([t * WIDTH for t, _ in found]), np.array([n for _, n in found], int)


def _rates(neurons) -> Callable[[int, float], float]:
    beta, threshold, tau = (float(x) for x in (neurons.beta, neurons.v_th, neurons.tau_s))
    return lambda _, v: WIDTH * np.exp(beta * (v - threshold)) / tau
