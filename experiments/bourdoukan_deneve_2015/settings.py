"""The settings of learning linear dynamical systems."""

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal, get_args

import roughsnn as rs
from roughsnn.runs.settings import SEED, above, at_least, between

from .systems import NAMES, system_named

Decoder = Literal["matched", "transposed"]
"""How a signal is read out."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A phase of learning: its epochs, gain of the feedback, and learning rates."""

    epochs: int
    feedback: float
    slow_rate: float
    fast_rate: float


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Balanced networks learn linear dynamical systems from the feedback of their own error."""

    systems: tuple[str, ...] = NAMES
    """Systems to learn: oscillator, integrator, random."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the networks, which learn side by side."""
    learn_fast: bool = True
    """Whether networks that learn their fast connections too are trained beside those that are
    given the ideal ones."""
    neurons_per_signal: int = 10
    """Neurons for each signal."""
    spike_size: float = 0.1
    """How far a spike moves the readout, the norm of a row of the encoder."""
    cost: float = 3e-4
    """Cost mu of the filtered spike trains."""
    leak: float = 20.0
    """Leak lambda of potentials and readout, per second."""
    dt0: float = 1e-4
    """Length of a step of the networks, s."""
    epoch: float = 2.0
    """Length of an epoch, s; each begins at rest."""
    epochs: tuple[int, ...] = (40, 20, 20, 40, 30, 30)
    """Epochs of each phase of learning."""
    feedback: tuple[float, ...] = (200.0, 100.0, 50.0, 25.0, 10.0, 5.0)
    """Gain K of the feedback of the error in each phase; in the end it is tested without."""
    slow_rates: tuple[float, ...] = (0.8, 0.8, 0.8, 0.25, 0.06, 0.01)
    """Learning rate eta of the slow connections in each phase."""
    fast_epochs: tuple[int, ...] = (50, 40, 30)
    """Where fast connections learn, epochs of the phases in which they do, before the others, with
    the feedback of the first of those and no slow connections yet."""
    fast_rates: tuple[float, ...] = (0.01, 0.003, 0.001)
    """Learning rate of the fast connections in each of these phases."""
    fast_size: float = 0.25
    """Size of the signals meanwhile, relative to later: neurons that hardly inhibit each other yet
    fire too often for larger ones."""
    weak_start: float = 0.1
    """Where fast connections learn, the share of the ideal ones that they start at."""
    decoder: Decoder = "matched"
    """How the signal is read out from when slow connections learn on: with the decoder that belongs
    to the fast connections, or with the transpose of the encoder, which is right for ideal fast
    connections and no cost alone."""
    checkpoint_every: int = 10
    """Epochs between two checkpoints; a run that is killed loses at most so many."""
    output: Path = Path("runs/balance-2015")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: one seed of the oscillator, a third of the epochs."""

    number_ranges: ClassVar = {
        "seeds": SEED, "neurons_per_signal": at_least(3), "spike_size": above(0), "cost": above(0),
        "leak": above(0), "dt0": above(0), "epoch": above(0), "epochs": at_least(0),
        "feedback": at_least(0), "slow_rates": at_least(0),
        "fast_epochs": at_least(0), "fast_rates": between(0, 0.5), "fast_size": above(0),
        "weak_start": between(0, 1),
    }  # fmt: skip
    without_repeats = ("systems", "seeds")
    presets: ClassVar = {
        "quick": {
            "systems": ("oscillator",),
            "seeds": (0,),
            "epochs": (12, 8, 8, 8, 4, 4),
            "fast_epochs": (40, 8, 4),
        }
    }

    def __post_init__(self):
        super().__post_init__()
        for name in self.systems:
            system_named(name)
        phases = {"feedback": "epochs", "slow_rates": "epochs", "fast_rates": "fast_epochs"}
        for name, epochs in phases.items():
            if len(getattr(self, name)) != len(getattr(self, epochs)):
                raise ValueError(
                    f"`{name}` is {getattr(self, name)} and `{epochs}` {getattr(self, epochs)}; "
                    "both must have a value for each phase of learning."
                )
        if self.decoder not in get_args(Decoder):
            raise ValueError(
                f"`decoder` is {self.decoder!r}; it must be one of {', '.join(get_args(Decoder))}."
            )
        if sum(self.epochs) == 0:
            raise ValueError(
                f"`epochs` is {self.epochs}; slow connections must learn in one epoch or more."
            )
        if self.learn_fast and sum(self.fast_epochs) == 0:
            raise ValueError(
                f"`fast_epochs` is {self.fast_epochs}; fast connections must learn in one epoch or "
                "more, or not at all, with `learn_fast` False."
            )
        if self.dt0 * self.leak > 0.1:
            raise ValueError(
                f"`dt0` is {self.dt0} s and `leak` {self.leak} per second; a step must be at most "
                f"0.1 / leak = {0.1 / self.leak:g} s."
            )
        if self.dt0 * max(self.feedback) > 1:
            raise ValueError(
                f"`feedback` holds {max(self.feedback):g}, so large that an error is overshot "
                f"within one step of {self.dt0} s; it must be at most 1 / dt0 = {1 / self.dt0:g}."
            )
        if not 100 * self.dt0 <= self.epoch:
            raise ValueError(
                f"`dt0` is {self.dt0} s and `epoch` {self.epoch} s; an epoch must have 100 steps "
                "or more."
            )

    def first_slow_epoch(self, learn_fast: bool) -> int:
        """The number of the first epoch in which slow connections learn."""
        return sum(self.fast_epochs) if learn_fast else 0

    @property
    def steps(self) -> int:
        """Steps of an epoch, a multiple of `UPDATE_EVERY`."""
        return UPDATE_EVERY * round(self.epoch / self.dt0 / UPDATE_EVERY)

    def phases(self, learn_fast: bool) -> list[Phase]:
        """The phases of learning, one after another."""
        first = zip(self.fast_epochs, self.fast_rates, strict=True)
        fast = [Phase(number, self.feedback[0], 0.0, rate) for number, rate in first if learn_fast]
        then = zip(self.epochs, self.feedback, self.slow_rates, strict=True)
        return fast + [Phase(*phase, 0.0) for phase in then]


UPDATE_EVERY = 100
"""Steps over which the changes of weights are collected."""
