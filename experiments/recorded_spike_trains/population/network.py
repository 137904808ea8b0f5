"""A population of stochastic neurons with shared slow currents: fitted and generated."""

import dataclasses

import diffrax as dfx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from ..driven.fitting import fit_driven
from ..driven.neuron import Driven, Form, Pieces
from .latents import Latents

FORM = Form("resets", False, "sigmoid")

FOR_CELLS = Form("subtracts", False, "exponential")
"""Of the neurons that the cell engine computes, see `coupled`."""


@dataclasses.dataclass(frozen=True)
class Population:
    """Neurons that share slow currents.

    Attributes:
        neurons: parameters of each, in its own unit of time.
        units: of time, of each, in seconds.
        latents: the currents.
    """

    neurons: list[Driven]
    units: np.ndarray
    latents: Latents

    def model(self) -> rs.ResettingStochasticLIF:
        """All neurons that start anew at a spike as one model of the library, in seconds."""
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *self.neurons)
        units = jnp.asarray(self.units)
        intensity = rs.SigmoidIntensity(0.0, 1.0, jnp.exp(stacked.log_rate) / units)
        return rs.ResettingStochasticLIF(
            len(self.neurons), mu1=jnp.exp(stacked.log_leak) / units, mu2=1.0, sigma=None,
            alpha=1e-6, intensity=intensity, reset_to=stacked.reset, v0=stacked.offset[:, 0],
        )  # fmt: skip

    def currents(self, path: np.ndarray) -> np.ndarray:
        """The input current of each neuron in each bin of a path of the latents."""
        weights = np.stack([np.asarray(n.weights) for n in self.neurons], 1)
        offsets = np.array([float(n.offset[0]) for n in self.neurons])
        return path @ weights + offsets


def fit_population(
    spikes: list[np.ndarray], seconds: float, latents: Latents, prior: float = 1.0,
    form: Form = FORM,
) -> Population:  # fmt: skip
    """Each neuron by its exact likelihood, given the path of the latents.

    All are fitted by one compiled program: pieces of no length fill up what a neuron has less.

    Args:
        spikes: of each neuron, in seconds, from 0 on.
        seconds: length of the recording.
        latents: the currents.
        prior: standard deviation of a weight, in e-folds for a standard deviation of a latent.
        form: what the neurons are made of.
    """
    room = len(latents.path) + max(x.size for x in spikes) + 1
    neurons, units = [], []
    for times in spikes:
        unit = seconds / (times.size + 1)
        pieces, counted = _pieces(times, seconds, latents, unit, room)
        neurons.append(fit_driven(form, pieces, counted, 1, prior).model)
        units.append(unit)
    return Population(neurons, np.array(units), latents)


def _pieces(times, seconds, latents: Latents, unit: float, room: int):
    cells = len(latents.path)
    grid = latents.bin * np.arange(cells + 1)
    stop = min(seconds, grid[-1])
    times = times[(times > 0) & (times < stop)]
    cuts = np.unique(np.r_[grid[grid <= stop], times])
    middles = (cuts[1:] + cuts[:-1]) / 2
    cell = np.clip((middles / latents.bin).astype(int), 0, cells - 1)
    lacking = room - middles.size

    def filled(x, value):
        return np.r_[x, np.full(lacking, value, np.asarray(x).dtype)]

    counted = filled(np.ones(middles.size, bool), False)
    pieces = Pieces(
        jnp.asarray(filled(np.diff(cuts) / unit, 0.0)),
        jnp.asarray(filled(cell, cell[-1]), jnp.int32),
        jnp.asarray(filled(np.isin(cuts[1:], times), False)),
        jnp.zeros(room, bool), jnp.asarray(latents.path), jnp.zeros(cells, jnp.int32),
    )  # fmt: skip
    return pieces, counted


def step_of(population: Population) -> float:
    """A step of simulation in seconds: an eighth of a bin, or a fifth of the fastest time constant
    of a neuron, or of the shortest time between spikes."""
    rates = [
        float(jnp.exp(jnp.maximum(neuron.log_leak, neuron.log_rate))) / unit
        for neuron, unit in zip(population.neurons, population.units, strict=True)
    ]
    return float(min(population.latents.bin / 8, 0.2 / max(rates)))


def generate(
    population: Population, seconds: float, samples: int, seed: int
) -> list[list[np.ndarray]]:
    """Free-running samples, each with currents of its own: spike times of each neuron, in seconds,
    from 0 on."""
    model = population.model()
    bins = int(np.ceil(seconds / population.latents.bin))
    step = step_of(population)
    found = []
    for number in range(samples):
        random = np.random.default_rng([seed, number])
        path = population.latents.sample(bins, random)
        current = rs.CurrentOnGrid(
            population.latents.bin * np.arange(bins), population.currents(path), "previous"
        )
        trains = rs.simulate_on_grid(
            model, 0.0, seconds, step, key=jr.key(seed * 1000 + number), num_samples=1,
            input_current=current, solver=dfx.Heun(),
        )  # fmt: skip
        found.append([np.asarray(x, float) for x in trains.to_lists()[0]])
    return found
