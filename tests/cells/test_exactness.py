"""Spikes and derivatives of networks computed cell by cell, against an event loop written apart and
against central differences.

Tolerances, in cells of double precision: 1e-10 for spike times (both sides bracket roots to about
1e-14), and 1e-6, relative, for derivatives by a central difference of step 1e-6, whose own error is
about 1e-9 where no spike grazes its threshold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.cells_exactness import (
    KINDS,
    NEURONS,
    SPIKES,
    Network,
    in_order,
    looped,
    random_network,
    simulated,
)
from roughsnn.cells import Rooms, computes_matrices

ROOMS = Rooms(SPIKES, 24, 6, 1.0)


def known(seed: int, kind: str):
    """A random network, the sources of its inputs, and the cells of these."""
    network, sources = random_network(np.random.default_rng(seed), kind)
    cells = jnp.asarray(np.floor(network.inputs), jnp.int32)
    traced = Network(*(jnp.asarray(x) for x in network))
    return network, traced, jnp.asarray(sources, jnp.int32), cells


# (those of lists that are left out are parts of another one, and are compared in the study)
@pytest.mark.parametrize("kind", [x for n, x in enumerate(KINDS) if n not in (9, 10)])
def test_spikes_and_every_derivative(kind):
    if "compiled" in kind and not computes_matrices(np.float64):
        pytest.skip("no C++ compiler is at hand")
    unused = {"delays": "recurrent", "refractory": "refractory", "noise": "noise"}

    def loss(network, sources, cells, happens, weights):
        offsets = simulated(network, sources, cells, kind, ROOMS).offsets
        return jnp.sum(jnp.where(happens, offsets * weights, 0))

    value, gradient = jax.jit(loss), jax.jit(jax.grad(loss))
    total = 0
    for seed in range(4):
        plain, network, sources, cells = known(seed, kind)
        response = simulated(network, sources, cells, kind, ROOMS)
        assert not (response.crowded[0] | response.bursting[0] | response.early)
        offsets = np.asarray(response.offsets)
        times, neurons, _ = in_order(offsets)
        expected, who = looped(plain, np.asarray(sources), kind)
        np.testing.assert_array_equal(neurons, who)
        np.testing.assert_allclose(times, expected, rtol=0, atol=1e-10)
        total += times.size
        happens = offsets <= 1
        rng = np.random.default_rng(seed)
        beside = sources, cells, happens, rng.normal(size=offsets.shape)
        slopes = gradient(network, *beside)
        for name in network._fields:
            if unused.get(name, "") not in kind:
                continue
            here = getattr(network, name)
            direction = rng.normal(size=here.shape)
            ends = [
                value(network._replace(**{name: here + step * direction}), *beside)
                for step in (1e-6, -1e-6)
            ]
            by_difference = (ends[0] - ends[1]) / 2e-6
            exact = jnp.sum(getattr(slopes, name) * direction)
            # the floor is the rounding of sums of some ten spikes, over the step
            np.testing.assert_allclose(exact, by_difference, rtol=1e-6, atol=2e-8, err_msg=name)
    assert total > 20


def test_results_do_not_depend_on_rooms_lanes_or_batch():
    """The same numbers to the last bits, however the work is cut up."""
    kind = "recurrent and refractory, rates of each"
    _, network, sources, cells = known(1, kind)
    first = simulated(network, sources, cells, kind, ROOMS)
    for rooms, copies in ((Rooms(SPIKES, 40, 7, 0.1), 1), (Rooms(SPIKES, 30, 6, 0.5), 3)):
        other = simulated(network, sources, cells, kind, rooms, copies)
        for copy in range(copies):
            np.testing.assert_allclose(
                other.offsets[:, : ROOMS.spikes, copy], first.offsets[:, :, 0], rtol=0, atol=1e-13
            )


def test_what_does_not_fit_is_flagged():
    _, network, sources, cells = known(0, "recurrent")
    network = network._replace(current=jnp.full(NEURONS, 8.0))
    assert simulated(network, sources, cells, "recurrent", Rooms(SPIKES, 40, 1, 1.0)).bursting[0]
    assert simulated(network, sources, cells, "recurrent", Rooms(SPIKES, 2, 9, 1.0)).crowded[0]
    early = network._replace(delays=jnp.asarray(0.5))
    assert simulated(early, sources, cells, "recurrent", Rooms(SPIKES, 40, 9, 1.0)).early
