"""Two spiking networks sample from a correlated normal distribution, in two geometries.

A Metropolis network fires by chance, a balanced network follows Langevin dynamics. Where the
directions of the neurons fit the distribution (the natural geometry) both are fast however strong
the correlations are; where they do not, neither is. The balanced network is also run in continuous
time, where its moments are exact, and samples from what hidden causes may have been.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import ClassVar

import roughsnn as rs
from roughsnn.runs import compute_parts
from roughsnn.runs.settings import Range, above, at_least

from ..settings import PartSettings
from . import continuous, measuring
from .figures import draw_continuous, draw_posterior, draw_sweeps, draw_time_courses
from .reporting import report

BELOW_ONE = Range(0.0, 0.995)


@dataclasses.dataclass(frozen=True)
class Settings(PartSettings):
    """Two spiking networks sample from a correlated normal distribution, in two geometries."""

    repeats: int = 100
    """Networks for each row of the tables, each with directions of its own."""
    metropolis_dim: int = 10
    """Dimensions of the Metropolis network's target."""
    metropolis_neurons: int = 100
    """Its neurons, in mirrored pairs."""
    metropolis_correlation: float = 0.75
    """Correlation of any two dimensions of its target."""
    metropolis_dt: float = 0.01
    """Its step, one proposal each, ms."""
    balanced_dim: int = 20
    """Dimensions of the balanced network's target."""
    neurons_per_dim: int = 10
    """Its neurons for each dimension."""
    balanced_correlation: float = 0.8
    """The parameter rho of its target, whose covariance is (1 - rho) I + 3 rho 11'."""
    balanced_dt0: float = 0.1
    """Its step, ms."""
    window: float = 2000.0
    """Length of a trial, ms."""
    onset: float = 500.0
    """When the mean of the target steps up, ms."""
    sweep_dims: tuple[int, ...] = (2, 8, 32, 128)
    """Dimensions in the sweep over dimension."""
    sweep_correlations: tuple[float, ...] = (0.0, 0.5, 0.9, 0.99)
    """Values of rho in the sweep over correlation."""
    sweep_repeats: int = 10
    """Networks for each point of a sweep."""
    spike_size: float = 0.3
    """In continuous time: how far a spike moves the readout, in standard deviations."""
    continuous_trials: int = 1000
    """Trials in continuous time, from the onset on."""
    output: Path = Path("runs/fast-sampling")
    """Folder under which the run gets a numbered folder of its own."""

    number_ranges: ClassVar = {
        "repeats": at_least(2), "metropolis_dim": at_least(2), "metropolis_neurons": at_least(2),
        "metropolis_correlation": BELOW_ONE, "metropolis_dt": above(0),
        "balanced_dim": at_least(2), "neurons_per_dim": at_least(2),
        "balanced_correlation": BELOW_ONE, "balanced_dt0": above(0), "window": above(0),
        "onset": above(0), "sweep_dims": at_least(1), "sweep_correlations": BELOW_ONE,
        "sweep_repeats": at_least(2), "spike_size": Range(0.05, 2.0),
        "continuous_trials": at_least(10),
    }  # fmt: skip
    without_repeats: ClassVar = ("sweep_dims", "sweep_correlations")
    presets: ClassVar = {
        "quick": {
            "metropolis_dim": 8, "metropolis_neurons": 80, "balanced_dim": 8,
            "repeats": 4, "window": 600.0, "onset": 200.0, "sweep_dims": (2, 8),
            "sweep_correlations": (0.0, 0.9), "sweep_repeats": 5, "continuous_trials": 60,
            "spike_size": 0.5,
        }
    }  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.metropolis_neurons % 2:
            raise ValueError(
                f"`metropolis_neurons` is {self.metropolis_neurons}; they come in mirrored pairs, "
                "so it must be even."
            )
        if self.metropolis_neurons < 2 * self.metropolis_dim:
            raise ValueError(
                f"`metropolis_neurons` is {self.metropolis_neurons} and `metropolis_dim` "
                f"{self.metropolis_dim}; it takes a mirrored pair for each dimension, "
                f"{2 * self.metropolis_dim} neurons or more, to reach all of them."
            )
        if self.onset + 100 > self.window:
            raise ValueError(
                f"`onset` is {self.onset} ms and `window` {self.window} ms; at least 100 ms must "
                "be left after the onset."
            )
        for name in ("window", "onset"):
            value = getattr(self, name)
            if value != round(value):
                raise ValueError(f"`{name}` is {value} ms; it must be a whole number of ms.")
        for name in ("metropolis_dt", "balanced_dt0"):
            steps = 1 / getattr(self, name)
            if steps < 1 or abs(steps - round(steps)) > 1e-6 * steps:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)} ms; 1 ms, in which estimates are kept, "
                    "must be a whole number of steps."
                )
        if self.balanced_dt0 >= 2 * measuring.TAU_LANGEVIN:
            raise ValueError(
                f"`balanced_dt0` is {self.balanced_dt0} ms; Euler's scheme diverges unless it is "
                f"less than twice the time constant of {measuring.TAU_LANGEVIN} ms."
            )


def run(settings: Settings) -> tuple[dict, Path]:
    """Measure tables, sweeps and the law in continuous time, and write them into a new folder."""
    parts = {}
    for scale in ("A", "A/sqrt p"):
        for geometry in measuring.GEOMETRIES:
            parts[f"metropolis {geometry} {scale}"] = partial(
                measuring.metropolis, settings, geometry, scale
            )
    for geometry in measuring.GEOMETRIES:
        for spikes in measuring.SPIKES:
            # the naive network needs a smaller step for that, see the sweeps
            if (geometry, spikes) != ("naive", "all due"):
                parts[f"balanced {geometry} {spikes}"] = partial(
                    measuring.balanced, settings, geometry, spikes
                )
    for network in measuring.SWEPT:
        parts |= measuring.sweep_parts(settings, network)
    parts["continuous"] = partial(continuous.law_since_onset, settings)
    parts["posterior"] = partial(continuous.posterior, settings)
    with rs.RunFolder.start(settings) as folder:
        results = compute_parts(
            parts,
            folder.checkpoints("parts", settings.checkpoint_every),
            settings=settings,
            progress=settings.progress,
        )
        folder.write_json("outcomes.json", results)
        table = report(settings, results)
        folder.write_text("table.md", table)
        for name, draw in _FIGURES.items():
            folder.write_figure(f"{name}.png", draw(settings, results))
        print(table)
    print(f"Written to {folder.path}")
    return results, folder.path


_FIGURES = {
    "time-courses": draw_time_courses,
    "sweeps": draw_sweeps,
    "continuous": draw_continuous,
    "posterior": draw_posterior,
}
