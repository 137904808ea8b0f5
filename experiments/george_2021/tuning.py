"""Delays with errors, tuned by the exact gradient of spike times until pairs coincide again.

One detector has eight pixels around it, all equally far away. Their delays are off by several
percent, as in a device, so that two spikes may arrive too far apart for the detector to fire. The
target is when a detector with right delays fires, for each pair of pixels; the mean squared
difference over the pairs that make it fire is minimised over the eight delays, by Gauss and
Newton's method with the exact derivatives of its spike times. A pixel that is too far off makes no
pair and has no derivative; in the first half of the steps spikes are stronger, and the window of
coincidence is wider.
"""

from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

PIXELS = 8
DISTANCE = 3.0
PAIRS = np.asarray(list(combinations(range(PIXELS), 2)), np.int32)
_WINDOW, _STEP = 4.0, 0.04


STRONG, WEAK = 4.4, 3.0
"""Strengths of a spike, which by itself raises the potential to 0.95 and 0.65 of the threshold."""


def detector(strength) -> rs.SpikingNetwork:
    """A neuron that fires where two input spikes come close to each other."""
    neuron = rs.LIF(1, mu1=8.0, mu2=20.0, v_th=1.0)
    return rs.SpikingNetwork(
        neuron,
        jnp.zeros((1, 1)),
        input_weights=jnp.broadcast_to(strength, (PIXELS, 1)),
        refractory=10.0,
    )


def first_spikes(delays, strength, key):
    """When the detector fires in each of the 28 trials, in which a pair of pixels emits a spike at
    time 0; `inf` where it does not."""
    arrivals = delays[PAIRS]
    order = jnp.argsort(jax.lax.stop_gradient(arrivals), axis=1)
    arrivals = jnp.take_along_axis(arrivals, order, axis=1)
    pixels = jnp.take_along_axis(jnp.asarray(PAIRS), order, axis=1)
    inputs = rs.SpikeTrains(arrivals, pixels, 0.0, _WINDOW, num_neurons=PIXELS)
    trains = rs.simulate(
        detector(strength), 0.0, _WINDOW, _STEP, key=key, num_samples=len(PAIRS), max_spikes=2,
        input_spikes=inputs, conditions="leave-out",
    )  # fmt: skip
    return jnp.min(trains.times, axis=-1)


def tune(error: float, steps: int, seed: int) -> dict[str, Any]:
    """Tune delays that are off by normal errors of a relative size.

    Returns:
        Errors of the delays and pairs that are detected, before and after, and both curves.
    """
    key = jr.key(0)
    right = jnp.full(PIXELS, DISTANCE)
    start = right * (1 + error * jr.normal(jr.key(seed), (PIXELS,)))

    @jax.jit
    def response(delays, strength):
        def twice(delays):
            times = first_spikes(delays, strength, key)
            return times, times

        slopes, times = jax.jacfwd(twice, has_aux=True)(delays)
        return times, slopes

    strengths = [jnp.asarray(x) for x in (STRONG, WEAK)]
    targets = [np.asarray(response(right, x)[0]) for x in strengths]
    delays = np.asarray(start)
    errors, detected = [], []
    for i in range(steps + 1):
        errors.append(float(np.sqrt(np.mean((delays / DISTANCE - 1) ** 2))))
        times, slopes = (np.asarray(x) for x in response(jnp.asarray(delays), strengths[1]))
        detected.append(int(np.isfinite(times).sum()))
        stage = int(2 * i >= steps)
        if stage == 0:
            times, slopes = (np.asarray(x) for x in response(jnp.asarray(delays), strengths[0]))
        fires = np.isfinite(times)
        slopes, apart = slopes[fires], (times - targets[stage])[fires]
        # Gauss and Newton, with Levenberg's damping, no further than the window is wide
        move = np.linalg.solve(slopes.T @ slopes + 1e-3 * np.eye(PIXELS), -slopes.T @ apart)
        delays = (delays + np.clip(move, -0.1, 0.1)).astype(delays.dtype)
    return {
        "pairs": len(PAIRS),
        "error_before": errors[0],
        "error_after": errors[-1],
        "detected_before": detected[0],
        "detected_after": detected[-1],
        "errors": errors,
        "detected": detected,
    }


def derivative_error() -> float:
    """The largest difference of the exact derivative of one pair's spike time in the eight delays
    from central differences, relative to the largest entry."""
    # an arrival exactly at the end of a step would have no derivative
    delays = DISTANCE + 0.013 + 0.03 * np.sin(np.arange(PIXELS))

    @jax.jit
    def times(delays):
        return first_spikes(delays, jnp.asarray(WEAK), jr.key(0))

    exact = np.asarray(jax.jacfwd(times)(jnp.asarray(delays)))
    h = 1e-6
    numeric = np.stack(
        [np.asarray(times(delays + d) - times(delays - d)) / (2 * h) for d in h * np.eye(PIXELS)],
        axis=1,
    )
    return float(np.abs(exact - numeric).max() / np.abs(numeric).max())
