"""Delays with errors, tuned by the exact gradient of spike times until pairs coincide again.

One detector has eight pixels around it, all equally far away. Their delays are off by several
percent, as in a device, so that two spikes may arrive too far apart. The target is when a detector
with right delays fires, for each pair of pixels; the mean squared difference is minimised over the
eight delays by the exact derivative of the spike times.
"""

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs

PIXELS = 8
DISTANCE = 4.5
_WINDOW, _STEP = 8.0, 0.1


def network(delays) -> rs.SpikingNetwork:
    """Eight pixels, each of which fires once right after its input spike, and a detector that
    needs two of them."""
    k = PIXELS + 1
    neurons = rs.LIF(k, mu1=2.0, mu2=10.0, v_th=jnp.asarray([0.2] * PIXELS + [1.0]))
    mask = np.zeros((k, k), bool)
    mask[:PIXELS, -1] = True
    synapses = rs.SparseConnections.from_mask(mask)
    to_pixels = np.concatenate([8.0 * np.eye(PIXELS), np.zeros((PIXELS, 1))], axis=1)
    return rs.SpikingNetwork(
        neurons, jnp.full(PIXELS, 9.0), synapses, synaptic_delays=delays,
        input_weights=jnp.asarray(to_pixels), refractory=20.0, max_pending=PIXELS,
        conditions="ignore",
    )  # fmt: skip


def flashes() -> rs.SpikeTrains:
    """One trial for each of the 28 pairs of pixels, whose input spikes come at the same time."""
    trials = [[[0.01] if i in pair else [] for i in range(PIXELS)]
              for pair in combinations(range(PIXELS), 2)]  # fmt: skip
    return rs.SpikeTrains.from_lists(trials, t0=0.0, t1=_WINDOW)


def detector_times(delays, inputs, key):
    """When the detector first fires in each trial; `inf` where it does not."""
    trains = rs.simulate(
        network(delays), 0.0, _WINDOW, _STEP, key=key, num_samples=inputs.times.shape[0],
        max_spikes=8, input_spikes=inputs, conditions="leave-out",
    )  # fmt: skip
    own = jnp.where(trains.neurons == PIXELS, trains.times, jnp.inf)
    return jnp.min(own, axis=-1)


def tune(error: float, steps: int, seed: int) -> dict[str, Any]:
    """Tune delays that are off by normal errors of a relative size.

    Returns:
        Errors of the delays and pairs that are detected, before and after, and both curves.
    """
    inputs, key = flashes(), jr.key(0)
    right = jnp.full(PIXELS, DISTANCE)
    start = right * (1 + error * jr.normal(jr.key(seed), (PIXELS,)))
    target = detector_times(right, inputs, key)

    def loss(delays):
        times = detector_times(delays, inputs, key)
        fires = jnp.isfinite(times)
        apart = jnp.where(fires, times, target) - target
        missed = jnp.sum(~fires)
        return jnp.sum(apart**2) / times.shape[0], missed

    adam = optax.adam(optax.cosine_decay_schedule(0.05, steps, 0.02))

    @jax.jit
    def step(delays, state):
        (value, missed), slope = jax.value_and_grad(loss, has_aux=True)(delays)
        update, state = adam.update(slope, state)
        return delays + update, state, value, missed

    delays, state = start, adam.init(start)
    errors, detected = [], []
    for _ in range(steps):
        errors.append(float(jnp.sqrt(jnp.mean((delays / right - 1) ** 2))))
        delays, state, _, missed = step(delays, state)
        detected.append(inputs.times.shape[0] - int(missed))
    missed = int(loss(delays)[1])
    return {
        "pairs": inputs.times.shape[0],
        "error_before": errors[0],
        "error_after": float(jnp.sqrt(jnp.mean((delays / right - 1) ** 2))),
        "detected_before": detected[0],
        "detected_after": inputs.times.shape[0] - missed,
        "errors": errors,
        "detected": detected,
    }
