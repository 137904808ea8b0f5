"""Trials on four simulated devices are those on one."""

import os
import subprocess
import sys

_PROGRAM = """
import jax

jax.config.update("jax_enable_x64", True)
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import roughsnn as rs

neuron = rs.StochasticLIF(sigma=0.25)
loss = rs.FirstSpikesLoss(2, missing="horizon")
observed = rs.SpikeTrains.from_lists([[[0.25, 0.5]], [[0.5, 0.75]]], t0=0.0, t1=1.0)
target = loss.target(observed)


@jax.jit
def found(current):
    # a number that four does not divide
    trains = rs.simulate(
        neuron, 0.0, 1.0, 0.05, key=jax.random.key(0), num_samples=10, max_spikes=8,
        input_current=current,
    )
    return loss(trains, target), trains.times, trains.neurons


assert jax.device_count() == 4
shared = found(1.5)
with jax.default_device(jax.devices()[0]):
    alone = found(1.5)
assert np.sum(np.asarray(alone[2]) >= 0) > 10
np.testing.assert_array_equal(shared[2], alone[2])
# the same steps, compiled twice
np.testing.assert_allclose(shared[1], alone[1], rtol=1e-9)
np.testing.assert_allclose(shared[0], alone[0], rtol=1e-9)

weights = jnp.full((4, 4), -0.3)
network = rs.SpikingNetwork(rs.LIF(4, mu1=1.0, mu2=1.0), weights, axonal_delays=0.5)
rows = 1.3 + jnp.arange(40.0).reshape(10, 4) / 100
protocol = rs.Protocol(0.0, 4.0, 0.5, max_spikes=40, input_current=rows)
with jax.default_device(jax.devices()[0]):
    engine = rs.CellEngine().prepared(network, protocol, num_samples=10)


@jax.jit
def by_cells(weights):
    def total(weights):
        model = eqx.tree_at(lambda m: m.weights, network, weights)
        trains = engine.spike_trains(model, protocol, key=jax.random.key(0), num_samples=10)
        return jnp.sum(jnp.where(trains.mask, trains.times, 0)), trains.times

    return jax.value_and_grad(total, has_aux=True)(weights)


(_, shared), slope = by_cells(weights)
with jax.default_device(jax.devices()[0]):
    (_, alone), slope_alone = by_cells(weights)
assert len(shared.sharding.device_set) == 4
np.testing.assert_allclose(shared, alone, rtol=1e-12)
np.testing.assert_allclose(slope, slope_alone, rtol=1e-9)
"""


def test_four_devices_find_the_spikes_of_one():
    environment = os.environ | {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # the check of windows takes the flag alone, not the trains: nothing is gathered on one device
    assert "rematerialization" not in done.stderr
