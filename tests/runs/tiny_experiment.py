"""The mean of exponential intervals is fitted.

An experiment that takes a second, for the tests of the command line.
"""

import dataclasses
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

import roughsnn as rs


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """The mean of exponential intervals is fitted."""

    steps: int = 20
    """Gradient steps."""
    start: float = 2.0
    """Mean at the first step, time."""
    sizes: tuple[int, ...] = (8,)
    """Numbers of trials."""
    interrupt_at: int | None = None
    """Step at which the process interrupts itself."""
    with_signal: int = int(signal.SIGINT)
    """The signal with which it does."""
    output: Path = Path("runs/tiny")
    """Folder under which the run gets a numbered folder of its own."""


def draw(mean, key):
    times = jnp.cumsum(mean * jr.exponential(key, (8, 2)), axis=1)
    inside = times < 20.0
    return rs.SpikeTrains(
        jnp.where(inside, times, jnp.inf), jnp.where(inside, 0, -1), 0.0, 20.0, num_neurons=1
    )


OPTIMISER = optax.adam(0.05)


def run(settings: Settings):
    def callback(step, model, history):
        if step == settings.interrupt_at:
            os.kill(os.getpid(), settings.with_signal)

    with rs.RunFolder.start(settings) as folder:
        data = draw(1.0, jax.random.key(0))
        result = rs.fit(
            jnp.asarray(settings.start), data, simulate=draw, loss=rs.FirstSpikesLoss(2),
            optimiser=OPTIMISER, num_steps=settings.steps, key=jr.key(1), log_every=5,
            callback=callback, progress=settings.progress,
            checkpoint=folder.checkpoints("fit", settings.checkpoint_every),
        ).raise_unless_trained()  # fmt: skip
        folder.write_history("metrics.csv", result.history)
        folder.write_spikes("observed.npz", data)
    print(f"Written to {folder.path}")
    return result, folder.path
