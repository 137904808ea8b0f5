"""A training step of the clock engine beside those of snnTorch and spyx on the same networks.

Networks of leaky integrate-and-fire neurons with synaptic currents, in float32: 20-100-10 and
100-128-10 in layers, and 128-200-20 whose 200 hidden neurons are connected with each other. A step
is the simulation of a batch, the cross-entropy of the numbers of output spikes, its surrogate
gradient in all weights and an update by Adam. All start from the same weights and the same input
spikes, which the others are given as a raster that is ready, and the clock engine as lists of
spikes. Decay in a step, threshold and surrogate derivative are the same for all, the others'
resets take the threshold off, a step later, as is their default; the spikes of all are in the
table. For the others the product of inputs and weights is taken out of the loop over steps, which
their documentation does not do.

Every round runs all codes, one after the other. Judged is the CPU time, all on one core, over that
of the faster one. Without the others the study says so and does not hold.
"""

import contextlib
import math
import os
import sys
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import optax

import roughsnn as rs
from roughsnn.training import TrainStep

from ._measure import compare, on_cores, paired_ratio
from ._spiking_codes import CODES, other_codes
from ._study import Study, format_table

ALPHA, BETA, SLOPE = 0.9, 0.95, 10.0
"""Factors by which currents and potentials decay in a step, and steepness of the surrogate."""


class Case(NamedTuple):
    """A network and its inputs."""

    inputs: int
    hidden: int
    outputs: int
    steps: int
    batch: int
    # input spikes of a sample, scale of weights from inputs and into outputs
    spikes: int
    gain: float
    last: float
    recurrent: bool = False


CASES = {
    "20-100-10": Case(20, 100, 10, 100, 100, 60, 12.0, 12.0),
    "100-128-10": Case(100, 128, 10, 100, 128, 500, 6.0, 4.0),
    "128-200-20": Case(128, 200, 20, 250, 64, 1500, 6.0, 4.0, recurrent=True),
}


def study(
    rounds: int = 15,
    cases: tuple[str, ...] = tuple(CASES),
    other_python: str = sys.executable,
    one_core: bool = True,
) -> Study:
    """Time all codes on each network.

    Args:
        rounds: of timing, each with one step of every code.
        cases: which networks.
        other_python: a Python interpreter that has snnTorch and spyx, in an environment of its own
            (`pip install snntorch spyx`).
        one_core: run all on one core; else on all.
    """
    figures: dict[str, float] = {}
    bounds, rows = {}, []
    made = {name: arrays(CASES[name]) for name in cases}
    cores = sorted(os.sched_getaffinity(0))[:1] if one_core else []
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(False))
        others, notes = other_codes(stack, other_python, made, cores)
        if one_core:
            stack.enter_context(on_cores(1))
        for name in cases:
            step, given, fired = training_step(CASES[name], made[name])
            clocked = {code: other.step(name) for code, other in others.items()}
            measured = compare({"clock engine": (step, given)}, rounds, clocked)
            spikes = {"clock engine": fired}
            spikes |= {code: other.spikes[name] for code, other in others.items()}
            ours = measured["clock engine"]
            for code, one in measured.items():
                if code != "clock engine":
                    figures[f"{name}_over_{code}"] = paired_ratio(ours, one, "cpu")
                lanes = CASES[name].batch
                rows.append([
                    name, code, 1e3 * one.cpu_seconds, 1e3 * one.wall_seconds,
                    *(x / lanes for x in spikes[code]),
                ])  # fmt: skip
            ratios = [figures.get(f"{name}_over_{code}", math.nan) for code in CODES]
            figures[f"{name}_over_faster"] = float(np.max(ratios))
            bounds[f"{name}_over_faster"] = "<= 1"
    header = ["network", "code", "CPU ms", "wall ms", "hidden spikes of a sample", "output spikes"]
    return Study(figures, bounds, "\n".join([format_table(header, rows), *notes]))


def arrays(case: Case) -> dict[str, Any]:
    """Input spikes, labels and weights, in the form of the other codes: a potential adds the whole
    current in a step."""
    rng = np.random.default_rng(0)
    size = case.steps, case.batch, case.inputs
    chance = case.spikes / (case.steps * case.inputs)
    own = (1 - BETA) * (1 - ALPHA)
    found = {
        "raster": (rng.random(size) < chance).astype(np.float32),
        "labels": rng.integers(0, case.outputs, case.batch).astype(np.int32),
        "into_hidden": rng.normal(0.5, 1, (case.inputs, case.hidden)),
        "into_outputs": rng.normal(0.5, 1, (case.hidden, case.outputs)),
        "alpha": np.float32(ALPHA), "beta": np.float32(BETA),
    }  # fmt: skip
    # spikes that arrive within the memory of a potential
    arriving = case.spikes / case.steps / (1 - BETA)
    found["into_hidden"] *= case.gain * own / arriving**0.5
    found["into_outputs"] *= case.last * own / case.hidden**0.5
    if case.recurrent:
        between = rng.normal(size=(case.hidden, case.hidden))
        found["between"] = own * between / case.hidden**0.5
    labels = found.pop("labels")
    return {name: np.asarray(x, np.float32) for name, x in found.items()} | {"labels": labels}


class Respond(eqx.Module):
    """Trains of a network by the clock engine for a batch of inputs."""

    engine: rs.ClockEngine
    steps: int = eqx.field(static=True)

    def __call__(self, model: Any, inputs: rs.SpikeTrains, key: Any) -> rs.SpikeTrains:
        # (the list of spikes is not looked at, so that it needs no room)
        protocol = rs.Protocol(0.0, float(self.steps), 1.0, max_spikes=1, input_spikes=inputs)
        return self.engine.spike_trains(
            model, protocol, key=key, num_samples=len(inputs), throw=False
        )


def training_step(case: Case, made: dict[str, Any]) -> tuple[TrainStep, tuple, list[float]]:
    """The step of the clock engine, its arguments, and the spikes of hidden neurons and outputs."""
    size, hidden = case.hidden + case.outputs, case.hidden
    weights, inputs = np.zeros((size, size)), np.zeros((case.inputs, size))
    weights[:hidden, hidden:] = made["into_outputs"] / (1 - BETA)
    inputs[:, :hidden] = made["into_hidden"] / (1 - BETA)
    there = np.zeros((size, size), bool)
    there[:hidden, hidden:] = True
    if case.recurrent:
        weights[:hidden, :hidden] = made["between"] / (1 - BETA)
        there[:hidden, :hidden] = True
    neurons = rs.LIF(size, mu1=1 - BETA, mu2=1 - ALPHA, v_th=1.0, reset_to=0.0)
    model = rs.SpikingNetwork(neurons, weights, there, input_weights=inputs)
    trains = []
    for sample in range(case.batch):
        step, neuron = np.nonzero(made["raster"][:, sample])
        trains.append((step + 0.5, neuron))
    data = rs.LabelledData(
        rs.SpikeTrains.from_lists(
            trains, t0=0.0, t1=float(case.steps), num_neurons=case.inputs
        ),
        made["labels"],
    )  # fmt: skip
    engine = rs.ClockEngine(surrogate=rs.SuperSpike(SLOPE)).prepared(model)
    respond = Respond(engine, case.steps)
    step = TrainStep(
        simulate=respond, optimiser=optax.adam(1e-6),
        loss=rs.SpikeCountCrossEntropy(outputs=tuple(range(hidden, size))),
        trainable=lambda m: (m.weights, m.input_weights),
    )  # fmt: skip
    fired = respond(model, data.inputs, jr.key(0)).presence_by_neuron.sum(0)
    counts = [float(fired[:hidden].sum()), float(fired[hidden:].sum())]
    return step, (step.init(model), data, jr.key(0)), counts
