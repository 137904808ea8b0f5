"""Free-running samples of a driven neuron, by the simulators of the library."""

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs

from .data import DrivenData, DrivenTrial
from .neuron import Driven


def current_of(model: Driven, trial: DrivenTrial) -> np.ndarray:
    """The input current in each cell of a trial."""
    conditions = jnp.full(len(trial.features), trial.condition, jnp.int32)
    return np.asarray(model.current(jnp.asarray(trial.features), conditions))


def neuron_of(model: Driven, data: DrivenData, trial: DrivenTrial):
    """The neuron of the library in seconds, from the state in which the trial starts, and its input
    current."""
    current = current_of(model, trial)
    neuron = model.neuron(data.unit)
    neuron = eqx.tree_at(lambda n: n.v0, neuron, jnp.asarray(current[0]))
    times = trial.start + data.step * np.arange(len(current))
    return neuron, rs.CurrentOnGrid(times, current, "previous")


def step_of(model: Driven, data: DrivenData) -> float:
    """A step of simulation, in seconds: at most a fourth of a cell and a tenth of the fastest time
    constant of the neuron."""
    rates = [float(jnp.exp(model.log_leak))]
    if model.form.adapts:
        rates.append(float(jnp.exp(model.log_adaptation_rate)))
    if model.form.shape == "sigmoid":
        rates.append(float(jnp.exp(model.log_rate)))
    parts = np.ceil(max(4.0, 10 * max(rates) * data.step / data.unit))
    return data.step / float(min(parts, 64.0))


def simulate(
    model: Driven, data: DrivenData, trial: DrivenTrial, count: int, seed: int
) -> list[np.ndarray]:
    """Spike times of free-running samples of a trial, in seconds."""
    neuron, current = neuron_of(model, data, trial)
    stop = trial.start + data.step * len(trial.features)
    trains = rs.simulate_on_grid(
        neuron, trial.start, stop, step_of(model, data), key=jr.key(seed), num_samples=count,
        input_current=current, solver=dfx.Heun(),
    )  # fmt: skip
    return [np.asarray(row[0], float) for row in trains.to_lists()]
