"""Networks of single synapses by compiled code beside JAX: the same numbers, and who computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.cells_exactness import SPIKES, simulated
from roughsnn.cells import Rooms, is_compiled
from tests.cells.test_exactness import known

ROOMS = Rooms(SPIKES, 24, 6, 1.0)
KIND = "noise, recurrent by list and refractory, delays of synapses, rates of each"


@pytest.fixture
def compiled(monkeypatch):
    if not is_compiled(np.float64):
        pytest.skip("no C++ compiler is at hand")
    return lambda choice: monkeypatch.setenv("ROUGHSNN_COMPILED", choice)


@pytest.mark.parametrize("copies", [1, 3])
def test_compiled_code_and_jax_compute_the_same(compiled, copies):
    """Spikes to roundings of a cell, and derivatives in all that they depend on, and in all but the
    rates (for which less is kept), to roundings of sums."""
    _, network, sources, cells = known(2, KIND)
    rng = np.random.default_rng(0)

    def run():
        found = jax.jit(lambda n: simulated(n, sources, cells, KIND, ROOMS, copies))(network)
        happens = found.offsets <= 1
        weights = jnp.asarray(rng.normal(size=found.offsets.shape[:2] + (1, 1)))

        def loss(network):
            offsets = simulated(network, sources, cells, KIND, ROOMS, copies).offsets
            return jnp.sum(jnp.where(happens, jnp.sin(offsets) * weights, 0))

        def but_rates(some):
            return loss(network._replace(**some))

        some = {n: x for n, x in network._asdict().items() if n not in ("a", "b")}
        return found, jax.jit(jax.grad(but_rates))(some), jax.jit(jax.grad(loss))(network)

    results = []
    for choice in ("compiled", "jax"):
        compiled(choice)
        rng = np.random.default_rng(0)
        results.append(run())
    (ours, some, whole), (theirs, their_some, their_whole) = results
    assert int(jnp.sum(ours.offsets <= 1)) > 10
    np.testing.assert_allclose(ours.offsets, theirs.offsets, rtol=0, atol=1e-12)
    for name, value in their_some.items():
        np.testing.assert_allclose(some[name], value, rtol=1e-9, atol=1e-10, err_msg=name)
        same = getattr(whole, name)
        np.testing.assert_allclose(some[name], same, rtol=1e-9, atol=1e-10, err_msg=name)
    for name in ("a", "b"):
        pair = getattr(whole, name), getattr(their_whole, name)
        np.testing.assert_allclose(*pair, rtol=1e-9, atol=1e-10, err_msg=name)


def test_who_computes_is_said_by_a_variable(monkeypatch):
    monkeypatch.setenv("ROUGHSNN_COMPILED", "fortran")
    with pytest.raises(
        ValueError, match="ROUGHSNN_COMPILED is 'fortran'; it must be one of 'auto'"
    ):
        is_compiled(np.float64)
    monkeypatch.setenv("ROUGHSNN_COMPILED", "jax")
    assert not is_compiled(np.float64)
