"""The settings of the delayed-memory XOR."""

import dataclasses
from pathlib import Path

import roughsnn as rs

from .xor_task import Task


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """A spiking network keeps pulses in mind and answers with their exclusive or."""

    num_neurons: int = 40
    """Neurons."""
    assemblies: int = 8
    """Assemblies of mutually exciting neurons to start with."""
    longest_delay: float = 50.0
    """Longest delay between pulses and before the cue, ms; the shortest is 15."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the networks that are trained."""
    side_by_side: bool = True
    """Whether the seeds are trained side by side in one compiled program, or one after another. The
    rounding differs, and spikes make much of it."""
    max_steps: int = 8000
    """Gradient steps for each seed, over which the learning rates fall to 0 as half a period of a
    cosine; training ends earlier once `mastery` is reached."""
    batch_size: int = 64
    """Trials in each gradient step, drawn afresh."""
    readout_rate: float = 2e-3
    """Learning rate of Adam for the readout."""
    learning_rate: float = 3e-4
    """The same for input weights and bias."""
    recurrent_rate: float = 1e-4
    """The same for the recurrent weights."""
    averaging: float = 0.99
    """What each step leaves of the averaged parameters; the rest is of its own."""
    validation: int = 1000
    """Trials on which the average is tried after each 50 steps, the same throughout."""
    mastery: float = 0.96
    """Share of right answers, of the average on those trials, that is enough."""
    setback: float = 0.15
    """Training goes back to the best average if the share falls by so much below its own, once that
    is above one half."""
    factor_after_setback: float = 0.7
    """By what the learning rates are then multiplied, down to a tenth of what they were; each 50
    steps without a setback raise them by 2 %."""
    activity_price: float = 0.1
    """Price of the squared distance of a neuron's mean trace from 0.6, its value at 30 Hz."""
    full: bool = False
    """The full size: 80 neurons, 16 assemblies, delays to 170 ms."""
    checkpoint_every: int = 200
    """Steps between two checkpoints; a run that is killed loses at most so many."""
    output: Path = Path("runs/delayed-memory-xor")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: the first 500 steps of one seed."""

    def resized(self) -> "Settings":
        """The settings that are run: with `quick` or `full`, another size of them."""
        if self.quick:
            return dataclasses.replace(self, seeds=self.seeds[:1], max_steps=500)
        if self.full:
            return dataclasses.replace(self, num_neurons=80, assemblies=16, longest_delay=170.0)
        return self

    @property
    def task(self) -> Task:
        """The task with its longest delay."""
        return Task(longest_delay=self.longest_delay)
