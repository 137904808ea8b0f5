"""Spikes and derivatives of networks computed cell by cell, against an event loop written apart and
against central differences.

Tolerances, in cells of double precision: 1e-10 for spike times (both sides bracket roots to about
1e-14), and 1e-6, relative, for derivatives by a central difference of step 1e-6, whose own error is
about 1e-9 where no spike grazes its threshold."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks._event_loop import spikes_of
from roughsnn.cells import Given, Rates, Rooms, State, listed_inputs, respond

CELLS, NEURONS, INPUTS, SPIKES = 16, 4, 3, 12
ROOMS = Rooms(inputs=5, arrivals=12, spikes=6, share=1.0)


class Network(NamedTuple):
    """A random network; times in cells."""

    a: np.ndarray
    b: np.ndarray
    threshold: np.ndarray
    reset: np.ndarray
    current: np.ndarray
    weights: np.ndarray
    v0: np.ndarray
    i0: np.ndarray
    inputs: np.ndarray
    delays: np.ndarray


def random_network(seed: int, kind: str) -> tuple[Network, np.ndarray]:
    """A network and the sources of its input spikes, the times of which are sorted."""
    rng = np.random.default_rng(seed)
    per_neuron = (NEURONS,) if "each" in kind else ()
    a, b = rng.uniform(0.05, 0.9, (2, *per_neuron))
    if "equal" in kind:
        b = a
    rows = INPUTS + (NEURONS if "recurrent" in kind else 0)
    weights = rng.normal(0.3, 1.0, (rows, NEURONS))
    # (a network that excites itself much runs away)
    weights[:-INPUTS] = rng.normal(-0.2, 0.5, weights[:-INPUTS].shape)
    network = Network(
        a, b, np.full(per_neuron, 1.0), rng.uniform(-0.5, 0.3, per_neuron),
        rng.uniform(-0.5, 1.2, NEURONS), weights, rng.uniform(-0.5, 0.5, NEURONS),
        rng.normal(size=NEURONS), np.sort(rng.uniform(0, CELLS, SPIKES)),
        rng.uniform(1, 4, per_neuron),
    )  # fmt: skip
    return network, rng.integers(0, INPUTS, SPIKES)


def simulated(network, sources, cells, recurrent: bool, rooms=ROOMS):
    """The response of one sample."""
    rows = network.weights.shape[0]
    first = rows - INPUTS
    listed = listed_inputs(
        jnp.asarray(cells, jnp.int32)[None], (network.inputs - cells)[None],
        jnp.asarray(first + sources, jnp.int32)[None], CELLS, rows, rooms.inputs,
    )  # fmt: skip
    given = Given(
        Rates(network.a, network.b, network.threshold, network.reset),
        State(network.v0[None], network.i0[None]), network.current[None, None], network.weights,
        listed.offsets, network.delays if recurrent else None,
    )  # fmt: skip
    return respond(given, listed.sources, rooms)


def in_order(offsets):
    """Spikes (time, neuron) of the one sample."""
    cell, place, neuron = np.nonzero(offsets[:, :, 0] <= 1)
    times = cell + offsets[cell, place, 0, neuron]
    return sorted(zip(times, neuron, strict=True))


def looped(network, sources, recurrent: bool):
    """The same by the event loop."""
    full = {name: np.broadcast_to(x, (NEURONS,)) for name, x in network._asdict().items()
            if name in ("a", "b", "threshold", "reset", "delays")}  # fmt: skip
    first = network.weights.shape[0] - INPUTS
    weights = {("in", n): network.weights[first + n] for n in range(INPUTS)}
    if recurrent:
        weights |= {n: network.weights[n] for n in range(NEURONS)}
    return spikes_of(
        full["a"], full["b"], full["threshold"], full["reset"], network.current, weights,
        list(zip(network.inputs, sources, strict=True)), v0=network.v0, i0=network.i0,
        duration=float(CELLS), delays=full["delays"],
    )  # fmt: skip


KINDS = ("plain", "equal", "each", "recurrent", "recurrent each", "recurrent equal")


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_and_every_derivative(kind):
    recurrent = "recurrent" in kind
    run = jax.jit(simulated, static_argnums=(3,))

    def loss(network, sources, cells, happens, weights):
        offsets = simulated(network, sources, cells, recurrent).offsets
        return jnp.sum(jnp.where(happens, offsets * weights, 0))

    value, gradient = jax.jit(loss), jax.jit(jax.grad(loss))
    total = 0
    for seed in range(4):
        network, sources = random_network(seed, kind)
        cells = np.floor(network.inputs)
        network = Network(*(jnp.asarray(x) for x in network))
        response = run(network, sources, cells, recurrent)
        assert not (response.crowded[0] | response.bursting[0] | response.early)
        offsets = np.asarray(response.offsets)
        found = in_order(offsets)
        expected = looped(Network(*(np.asarray(x) for x in network)), sources, recurrent)
        assert [n for _, n in found] == [n for _, n in expected]
        np.testing.assert_allclose(
            [t for t, _ in found], [t for t, _ in expected], rtol=0, atol=1e-10
        )
        total += len(found)
        happens = offsets <= 1
        rng = np.random.default_rng(seed)
        beside = sources, cells, happens, rng.normal(size=offsets.shape)
        slopes = gradient(network, *beside)
        for name in network._fields if recurrent else network._fields[:-1]:
            direction = rng.normal(size=getattr(network, name).shape)
            ends = [
                value(
                    network._replace(**{name: getattr(network, name) + step * direction}), *beside
                )
                for step in (1e-6, -1e-6)
            ]
            by_difference = (ends[0] - ends[1]) / 2e-6
            exact = jnp.sum(getattr(slopes, name) * direction)
            # the floor is the rounding of sums of some ten spikes, over the step
            np.testing.assert_allclose(exact, by_difference, rtol=1e-6, atol=2e-8, err_msg=name)
    assert total > 20


def test_results_do_not_depend_on_rooms_or_lanes():
    """The same numbers to the last bits, however the work is cut up."""
    network, sources = random_network(1, "recurrent each")
    cells = np.floor(network.inputs)
    network = Network(*(jnp.asarray(x) for x in network))
    first = simulated(network, sources, cells, True)
    for rooms in (Rooms(12, 40, 5, 0.1), Rooms(6, 14, 3, 1.0)):
        other = simulated(network, sources, cells, True, rooms)
        places = min(first.offsets.shape[1], other.offsets.shape[1])
        np.testing.assert_allclose(
            other.offsets[:, :places], first.offsets[:, :places], rtol=0, atol=1e-13
        )


def test_what_does_not_fit_is_flagged():
    network, sources = random_network(0, "recurrent")
    cells = np.floor(network.inputs)
    network = Network(*(jnp.asarray(x) for x in network))
    network = network._replace(current=jnp.full(NEURONS, 8.0))
    assert simulated(network, sources, cells, True, Rooms(12, 40, 1, 1.0)).bursting[0]
    assert simulated(network, sources, cells, True, Rooms(12, 2, 9, 1.0)).crowded[0]
    early = network._replace(delays=jnp.asarray(0.5))
    assert simulated(early, sources, cells, True, Rooms(12, 40, 9, 1.0)).early
