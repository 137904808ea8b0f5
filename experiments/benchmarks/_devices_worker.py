"""A process of the study `devices`: simulates, trains, times, and prints what it found as JSON.

Run as `python -m experiments.benchmarks._devices_worker TRIALS`. Several processes join by
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
"""

import hashlib
import json
import os
import sys
import time

import jax

if "JAX_NUM_PROCESSES" in os.environ:
    jax.distributed.initialize(
        num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
        process_id=int(os.environ["JAX_PROCESS_ID"]),
    )
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

import roughsnn as rs  # noqa: E402


def draw(current, key, num_samples=64):
    """Trials of one noisy neuron."""
    return rs.simulate(
        rs.StochasticLIF(sigma=0.25), 0.0, 2.0, 0.02, key=key, num_samples=num_samples,
        max_spikes=20, input_current=current,
    )  # fmt: skip


def digest(*arrays) -> str:
    """SHA-256 of arrays, shapes and types included."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return found.hexdigest()


def main(trials: int) -> None:
    """Simulate and train; then simulate so many trials, and say how long it took, for each line
    that comes in."""
    current = jnp.asarray(1.5)
    observed = draw(current, jax.random.key(0))
    odd = draw(current, jax.random.key(0), 61)
    rates = rs.spike_rates(observed)
    result = rs.fit(
        jnp.asarray(1.3), observed, simulate=draw, loss=rs.FirstSpikesLoss(2, missing="horizon"),
        optimiser=optax.adam(0.02), num_steps=10, key=jax.random.key(1), progress=False,
    )  # fmt: skip
    found = {
        "devices": jax.device_count(),
        "spikes": digest(observed.times, observed.neurons, observed.overflowed),
        "first_spikes_of_odd": digest(odd.times, odd.neurons),
        "metrics": digest(rates, rs.cv(observed), rs.fano_factor(observed)),
        "losses": result.history["loss"].tolist(),
        "model": float(result.model),
    }
    say(found)
    for number, _ in enumerate(sys.stdin):
        started = time.perf_counter()
        jax.block_until_ready(draw(current, jax.random.key(2 + number), trials).times)
        say({"seconds": time.perf_counter() - started})


def say(found: dict) -> None:
    """Print a line of JSON, once for all processes."""
    if jax.process_index() == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
