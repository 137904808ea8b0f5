"""Simulate spiking neurons and write their spikes, a table of rates and a raster.

Integrate-and-fire neurons with noise in the potential that fire at random, at a rate
exp(beta (v - v_th)) / tau_s. Time is in the unit of the model. Every trial has noise of its own.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn.neurons import AbstractNeuron
from roughsnn.runs.settings import FINITE, SEED, above, at_least, check_ranges

_NEURONS = {
    "lif": rs.StochasticLIF,
    "adaptive": rs.AdaptiveStochasticLIF,
    "quadratic": rs.StochasticQuadratic,
    "exponential": rs.StochasticExponential,
}


_RANGES = {
    "neurons": at_least(1), "layers": at_least(1), "weight": FINITE, "input_current": FINITE,
    "mu1": at_least(0), "mu2": at_least(0), "sigma": at_least(0), "v_reset": FINITE,
    "v_th": FINITE, "beta": at_least(0), "tau_s": above(0), "alpha": at_least(0),
    "window": above(0), "dt0": above(0), "trials": at_least(1), "max_spikes": at_least(1),
    "seed": SEED,
}  # fmt: skip
"""What its numbers may be."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Simulate spiking neurons."""

    neurons: int | None = None
    """Neurons without connections, one by default; `layers` connects them."""
    neuron: Literal["lif", "adaptive", "quadratic", "exponential"] = "lif"
    """What integrates: a leak alone, with an adaptation current, or a quadratic or exponential
    upstroke."""
    layers: tuple[int, ...] = ()
    """Sizes of the layers of a feed-forward network, instead of `neurons`."""
    weight: float | None = None
    """Jump of the synaptic current of a neuron when one of the layer before it fires; 1 by
    default."""
    input_current: float = 1.5
    """Constant input current (that of the potential); with layers, the first one's alone."""
    mu1: float = 15.0
    """Rate at which the potential follows the current, 1/time."""
    mu2: float = 5.0
    """Rate at which the synaptic current decays, 1/time."""
    sigma: float = 0.25
    """Noise of the potential, per square root of time; 0 for none."""
    v_reset: float = 1.4
    """How far a spike lowers the potential."""
    v_th: float = 1.0
    """Potential at which a neuron fires at the rate 1 / tau_s."""
    beta: float = 5.0
    """How steeply the rate of firing grows with the potential, 1/potential."""
    tau_s: float = 1.0
    """Mean time to a spike at the potential v_th, time."""
    alpha: float = 0.03
    """Intensity that must build up after a spike before the next; refractoriness."""
    window: float = 5.0
    """Length of a trial, time."""
    dt0: float = 0.01
    """Step of the solver, time."""
    trials: int = 16
    """Independent trials; they are shared out among all devices."""
    max_spikes: int = 200
    """Room for spikes in a trial, all neurons together; more are an error."""
    seed: int = 0
    """Seed of all random numbers."""
    x64: bool = True
    """Whether to compute in double precision."""
    output: Path = Path("runs/simulate")
    """Folder under which the run gets a numbered folder of its own."""

    def __post_init__(self):
        check_ranges(self, _RANGES)
        if self.layers and self.neurons is not None:
            raise ValueError(
                f"`layers` is {self.layers} and `neurons` {self.neurons}; `layers` says the "
                "neurons of a network and `neurons` those without connections: give one of them."
            )
        if len(self.layers) < 2 and self.weight is not None:
            raise ValueError(
                f"`weight` is {self.weight} and there is no connection that has it; give the "
                "sizes of two `layers` or more."
            )
        if self.dt0 > self.window:
            raise ValueError(
                f"`dt0` is {self.dt0} and `window` {self.window}; a step must be no longer than "
                "the window."
            )

    def model(self) -> AbstractNeuron:
        """The neurons, connected if there are layers."""
        count = sum(self.layers) if self.layers else (self.neurons or 1)
        neurons = _NEURONS[self.neuron](
            count, mu1=self.mu1, mu2=self.mu2, sigma=self.sigma or None, v_reset=self.v_reset,
            intensity=rs.ExponentialIntensity(self.v_th, self.beta, self.tau_s), alpha=self.alpha,
        )  # fmt: skip
        if not self.layers:
            return neurons
        weights = jnp.full((count, count), 1.0 if self.weight is None else self.weight)
        return rs.SpikingNetwork(neurons, weights, rs.layered_connections(*self.layers))


def run(settings: Settings) -> tuple[rs.SpikeTrains, Path]:
    """Simulate, and write settings, spikes, rates and the raster into a new folder."""
    from roughsnn.plotting import plot_raster

    with jax.enable_x64(settings.x64):
        model = settings.model()
        driven = np.arange(model.num_neurons) < (settings.layers or (model.num_neurons,))[0]
        trains = rs.simulate(
            model, 0.0, settings.window, settings.dt0, key=jax.random.key(settings.seed),
            num_samples=settings.trials, max_spikes=settings.max_spikes,
            input_current=jnp.where(driven, settings.input_current, 0.0),
        )  # fmt: skip
        counts = np.asarray(trains.counts_by_neuron)
        with rs.RunFolder.new(settings.output, settings) as folder:
            folder.write_spikes("spikes.npz", trains)
            rows = [
                [trial, neuron, int(count), float(count) / settings.window]
                for trial, neurons in enumerate(counts)
                for neuron, count in enumerate(neurons)
            ]
            folder.write_table("rates.csv", ["trial", "neuron", "spikes", "rate"], rows)
            folder.write_figure("raster.png", plot_raster(trains).figure)
    rate = counts.mean() / settings.window
    print(
        f"{counts.sum()} spikes of {model.num_neurons} neurons in {settings.trials} trials, "
        f"{rate:.4g} per neuron and unit of time\nWritten to {folder.path}"
    )
    return trains, folder.path
