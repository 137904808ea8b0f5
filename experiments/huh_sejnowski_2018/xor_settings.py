"""The settings of the delayed-memory XOR."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import roughsnn as rs
from roughsnn.runs.settings import SEED, at_least, between

from .xor_task import Task

CHUNK = 50
"""Steps from one look at the average to the next."""


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
    cosine; training ends earlier once `mastery` is reached. A multiple of 50."""
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

    number_ranges: ClassVar = {
        "num_neurons": at_least(1), "assemblies": at_least(1),
        "longest_delay": at_least(Task.shortest_delay), "seeds": SEED,
        "max_steps": at_least(CHUNK), "batch_size": at_least(1), "readout_rate": at_least(0),
        "learning_rate": at_least(0), "recurrent_rate": at_least(0), "averaging": between(0, 1),
        "validation": at_least(1), "mastery": between(0, 1), "setback": between(0, 1),
        "factor_after_setback": between(0, 1), "activity_price": at_least(0),
    }  # fmt: skip
    without_repeats = ("seeds",)
    presets: ClassVar = {
        "full": {"num_neurons": 80, "assemblies": 16, "longest_delay": 170.0},
        "quick": {"seeds": (0,), "max_steps": 500},
    }

    def __post_init__(self):
        super().__post_init__()
        for name in ("max_steps", "checkpoint_every"):
            value = getattr(self, name)
            if value % CHUNK:
                raise ValueError(
                    f"`{name}` is {value}; it must be a multiple of {CHUNK}, the steps from one "
                    "look at the average to the next."
                )
        if self.num_neurons % self.assemblies or self.num_neurons < 2 * self.assemblies:
            raise ValueError(
                f"`num_neurons` is {self.num_neurons} and `assemblies` {self.assemblies}; each "
                "assembly must have the same number of neurons, two or more."
            )

    @property
    def task(self) -> Task:
        """The task with its longest delay."""
        return Task(longest_delay=self.longest_delay)
