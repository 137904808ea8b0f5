"""The settings of learning an optimal spike-based representation."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np

import roughsnn as rs
from roughsnn.runs.settings import SEED, above, at_least, between


@dataclasses.dataclass(frozen=True)
class Settings(rs.RunSettings):
    """Fast connections learn an optimal representation in spikes; the membrane's time constant is 1
    and a spike moves the readout by 1."""

    neurons: int = 50
    """Neurons of the heterogeneous network."""
    homogeneous_neurons: int = 25
    """Neurons of the homogeneous network, all of which read out in the same direction."""
    signals: int = 2
    """Signals of the heterogeneous network."""
    spread: float = 50.0
    """Of two signals, width of the range of directions of the neurons, degrees; the more signals,
    the more directions are spread otherwise."""
    size: float = 8.0
    """Mean size of the signal, in sizes of a spike's effect on the readout."""
    wander: float = 0.7
    """Standard deviation of each signal about its mean."""
    correlation: float = 1.0
    """Correlation time of the input."""
    cost: float = 0.15
    """Cost mu of the filtered spike trains."""
    noise: float = 0.15
    """Noise of the potentials when a network is judged, per square root of time."""
    weak_start: float = 0.5
    """Connections between neurons start at random between 0 and so much of the optimal ones."""
    durations: tuple[float, ...] = (4000.0, 4000.0, 8000.0, 8000.0)
    """Time of each phase of learning, multiples of 200."""
    taus: tuple[float, ...] = (50.0, 100.0, 200.0, 300.0)
    """Time constant of learning in each phase."""
    pauses: tuple[float, ...] = (0.08, 0.08, 0.08, 0.04)
    """Step of the networks in each phase: after a spike no neuron fires for so long."""
    noises: tuple[float, ...] = (0.2, 0.2, 0.1, 0.05)
    """Noise of the potentials in each phase."""
    dt0: float = 0.01
    """Step of the networks when they are judged."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """Seeds of the networks, which learn side by side."""
    autapse_drive: float = 1.25
    """Constant signal of the single neuron."""
    autapse_tau: float = 62.0
    """Its time constant of learning."""
    autapse_dt0: float = 0.005
    """Length of a step of the single neuron."""
    checkpoint_every: int = 5
    """Epochs, of 200 time units, between two checkpoints; a run that is killed loses at most so
    many."""
    output: Path = Path("runs/balance-2012")
    """Folder under which the run gets a numbered folder of its own."""
    quick: bool = False
    """A small size: two seeds, a quarter of the time of learning."""

    number_ranges: ClassVar = {
        "neurons": at_least(2), "homogeneous_neurons": at_least(2), "signals": at_least(1),
        "spread": between(0, 90), "size": above(0), "wander": at_least(0),
        "correlation": above(0), "cost": at_least(0), "noise": at_least(0),
        "weak_start": between(0, 2), "durations": at_least(200), "taus": above(0),
        "pauses": above(0), "noises": at_least(0), "dt0": above(0), "seeds": SEED,
        "autapse_drive": above(0.5), "autapse_tau": above(0), "autapse_dt0": above(0),
    }  # fmt: skip
    without_repeats = ("seeds",)
    presets: ClassVar = {"quick": {"seeds": (0, 1), "durations": (1000.0, 1000.0, 2000.0, 2000.0)}}

    def __post_init__(self):
        super().__post_init__()
        for name in ("taus", "pauses", "noises"):
            if len(getattr(self, name)) != len(self.durations):
                raise ValueError(
                    f"`{name}` is {getattr(self, name)} and `durations` {self.durations}; both "
                    "must have a value for each phase of learning."
                )
        for duration in self.durations:
            if duration % EPOCH:
                raise ValueError(
                    f"`durations` holds {duration:g}; it must hold multiples of {EPOCH:g}, the "
                    "length of an epoch."
                )
        if self.signals > self.neurons:
            raise ValueError(
                f"`signals` is {self.signals} and `neurons` {self.neurons}; so few neurons do not "
                "reach every signal."
            )
        of_steps = (
            ("dt0", (self.dt0,)), ("autapse_dt0", (self.autapse_dt0,)), ("pauses", self.pauses)
        )  # fmt: skip
        for name, steps in of_steps:
            if max(steps) > 0.1:
                raise ValueError(
                    f"`{name}` holds {max(steps)}; a step must be at most 0.1, a tenth of the leak."
                )

    @property
    def epochs(self) -> int:
        """Epochs of learning."""
        return round(sum(self.durations) / EPOCH)

    def phase_of(self, epoch: int) -> int:
        """The phase that an epoch belongs to."""
        ends = np.cumsum(self.durations) / EPOCH
        return int(np.searchsorted(ends, epoch + 0.5))

    def of_phase(self, phase: int) -> "Settings":
        """The settings with step and noise of a phase."""
        return dataclasses.replace(self, dt0=self.pauses[phase], noise=self.noises[phase])

    @property
    def steps(self) -> int:
        """Steps of an epoch, a multiple of `UPDATE_EVERY`."""
        return UPDATE_EVERY * max(round(EPOCH / self.dt0 / UPDATE_EVERY), 1)


EPOCH = 200.0
"""Length of an epoch."""
UPDATE_EVERY = 100
"""Steps over which the changes of weights are collected."""
