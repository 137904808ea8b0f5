"""A balanced network of 10^4 neurons and 10^6 synapses by the cell engine, beside Brian2.

The same connections, weights and first potentials on both sides. Brian2 computes them by forward
Euler with steps of 0.1 ms; the cell engine resolves every spike exactly, whatever the length of its
cells up to the delay of 1.5 ms, and is timed with cells of 0.1 ms and with longer ones. Its
derivative is that of a function of all spike times in all weights. Times are of one simulated
second, by turns, once each side has compiled; statistics of a chaotic network are compared, not
its spikes.
"""

import statistics
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import roughsnn as rs
from roughsnn.plotting.style import COLOURS, COLUMN_WIDTH, legend, tidy

from ._balanced import DRIVE, DT, SETTLING, Theirs, network, ours, statistics_of
from ._study import Study, format_table

_LARGE, _SMALL = (10_000, 100), (1000, 20)
_LONGER = 5e-4
# at which the cost of a cell is measured: no neuron fires at the first
_DRIVES = (0.9, DRIVE, 2.0)
# room for so many spikes of each neuron in a second
_FASTEST = 80


def study(
    seconds: float = 2.0,
    rounds: int = 3,
    sizes: tuple[int, ...] = (1000, 2000, 5000, 10_000, 20_000),
    brian2_python: str = sys.executable,
    output: Path | None = None,
) -> Study:
    """Run the comparison, in single precision.

    Args:
        seconds: simulated time of which statistics are taken, after half a second.
        rounds: rounds of timing.
        sizes: numbers of neurons for which the cost of a cell is measured, with 100 synapses into
            each.
        brian2_python: a Python interpreter that has Brian2, in an environment of its own where its
            version does not go with this one's NumPy (`pip install brian2 "numpy<2.4"`).
        output: a folder for a picture of the cost of a cell against neurons and spikes.
    """
    with jax.enable_x64(False):
        large = _beside_brian2(*_LARGE, seconds, rounds, brian2_python, differentiates=True)
        small = _beside_brian2(*_SMALL, seconds, rounds, brian2_python, differentiates=False)
        costs = [_cost(size, drive, rounds) for size in sizes for drive in _DRIVES]
    figures = {f"large_{name}": value for name, value in large.figures.items()}
    figures |= {f"small_{name}": value for name, value in small.figures.items()}
    per_neuron, per_event, worst = _shares(costs)
    figures |= {"ns_per_neuron_and_cell": per_neuron, "ns_per_synaptic_event": per_event}
    figures["error_of_cost_law"] = worst
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(costs).savefig(output / "large-network-cost.png", dpi=200)
    bounds = {
        "large_rate_error": "<= 0.02", "large_cv_error": "<= 0.03", "large_forward": "<= 2",
        "large_gradient_over_forward": "<= 4", "large_gradient_gigabytes": "<= 4",
        "small_rate_error": "<= 0.02", "small_cv_error": "<= 0.03", "small_forward": "<= 1",
        "error_of_cost_law": "<= 0.3",
    }  # fmt: skip
    header = ["neurons", "", "rate, Hz", "CV", "s per s"]
    cost_rows = [[cost.size, f"{cost.spikes:.3g}", f"{cost.microseconds:.4g}"] for cost in costs]
    table = (
        f"{large.note}\n{format_table(header, large.rows + small.rows)}\n\n"
        "cost of a cell of 0.1 ms, 100 synapses into each neuron\n"
        + format_table(["neurons", "spikes in a cell", "us in a cell"], cost_rows)
        + f"\n{per_neuron:.3g} ns for each neuron and {per_event:.3g} ns for each spike and synapse"
    )
    return Study(figures, bounds, table)


class Cost(eqx.Module):
    """What a cell costs, and how many spikes it has on average."""

    size: int
    degree: int
    spikes: float
    microseconds: float


def draw(costs: list[Cost]):
    """The cost of a cell against the number of neurons, without spikes and with, and against the
    number of synapses that spikes reach."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * COLUMN_WIDTH, 2.6))
    by_size: dict[int, list[Cost]] = {}
    for cost in costs:
        by_size.setdefault(cost.size, []).append(cost)
    for n, colour in zip(range(len(_DRIVES)), COLOURS, strict=False):
        of_drive = [some[n] for some in by_size.values()]
        rate = of_drive[-1].spikes / of_drive[-1].size / DT
        left.loglog(
            list(by_size), [cost.microseconds for cost in of_drive], "o-", color=colour, ms=3,
            label=f"{rate:.0f} spikes a second" if rate else "no spikes",
        )  # fmt: skip
    for (size, some), colour in zip(by_size.items(), COLOURS, strict=False):
        events = [cost.spikes * cost.degree for cost in some]
        extra = [cost.microseconds for cost in some]
        right.loglog(events[1:], extra[1:], "o-", color=colour, ms=3, label=f"{size:,} neurons")
    tidy(left, "neurons", "µs a cell of 0.1 ms")
    tidy(right, "spikes a cell, times synapses of a neuron", "µs a cell of 0.1 ms")
    for axes in (left, right):
        legend(axes)
        axes.xaxis.set_minor_formatter("")
    figure.tight_layout()
    return figure


class _Comparison(eqx.Module):
    figures: dict
    rows: list
    note: str


class _Run:
    """A network by the cell engine, compiled for windows of one length."""

    def __init__(self, model, cell: float, seconds: float, drive: float = DRIVE):
        most = int(_FASTEST * model.num_neurons * seconds)
        self.protocol = rs.Protocol(0.0, seconds, cell, max_spikes=most, input_current=drive)
        self.model = model
        self.engine = rs.CellEngine().prepared(model, self.protocol, num_samples=1)
        self.trains_of = eqx.filter_jit(self._trains_of)

    def _trains_of(self, model):
        return self.engine.spike_trains(
            model, self.protocol, key=jr.key(0), num_samples=1, throw=False
        )

    def spikes(self):
        trains = self.trains_of(self.model)
        if bool(trains.overflowed[0]):
            raise RuntimeError("More spikes happened than the study has room for.")
        keep = np.isfinite(trains.times[0])
        return np.asarray(trains.times[0])[keep], np.asarray(trains.neurons[0])[keep]

    def forward(self):
        return _timed(lambda: self.trains_of(self.model).times)

    def gradient(self):
        """A function that times the derivative in all weights, and the memory that is planned for
        it in gigabytes."""
        weights = self.model.weights

        def loss(weights, model):
            model = eqx.tree_at(lambda m: m.weights, model, weights)
            times = self._trains_of(model).times
            return jnp.sum(jnp.where(jnp.isfinite(times), jnp.sin(50 * times), 0))

        rest, static = eqx.partition(self.model, eqx.is_array)
        compiled = (
            jax.jit(jax.grad(lambda w, rest: loss(w, eqx.combine(rest, static))))
            .lower(weights, rest)
            .compile()
        )
        plan = compiled.memory_analysis()
        assert plan is not None
        planned = (plan.temp_size_in_bytes + plan.argument_size_in_bytes) / 1e9
        compiled(weights, rest)
        return lambda: _timed(lambda: compiled(weights, rest)), planned


def _timed(run) -> float:
    """Seconds of the processor: others at work beside do not count."""
    begin = time.process_time()
    jax.block_until_ready(run())
    return time.process_time() - begin


def _beside_brian2(
    size: int, degree: int, seconds: float, rounds: int, python: str, differentiates: bool
) -> _Comparison:
    pre, post, weights, v0 = network(size, degree)
    theirs = Theirs(python, pre, post, weights, v0)
    model = ours(*(x.astype(np.float32) if x.dtype == float else x for x in (pre, post, weights)),
                 v0.astype(np.float32))  # fmt: skip
    _, times, neurons = theirs.run(seconds + SETTLING)
    found = [_statistics(times, neurons, size, seconds)]
    for cell in (DT, _LONGER):
        times, neurons = _Run(model, cell, seconds + SETTLING).spikes()
        found.append(_statistics(times, neurons, size, seconds))
    runs = {cell: _Run(model, cell, 1.0) for cell in (DT, _LONGER)}
    for run in runs.values():
        run.forward()
    derive, planned = runs[DT].gradient() if differentiates else (None, 0.0)
    clocks: dict = {name: [] for name in ("Brian2", DT, _LONGER, "gradient")}
    for _ in range(rounds):
        clocks["Brian2"].append(theirs.run(1.0)[0][1])
        for cell, run in runs.items():
            clocks[cell].append(run.forward())
        if derive is not None:
            clocks["gradient"].append(derive())

    def ratio(over, under):
        pairs = zip(clocks[over], clocks[under], strict=True)
        return statistics.median(a / b for a, b in pairs)

    figures = {
        "rate": found[1][0],
        "rate_error": max(abs(rate / found[0][0] - 1) for rate, _ in found[1:]),
        "cv_error": max(abs(cv - found[0][1]) for _, cv in found[1:]),
        "forward": ratio(DT, "Brian2"),
        "forward_longer_cells": ratio(_LONGER, "Brian2"),
    }
    labels = ["Brian2, steps of 0.1 ms", "cells of 0.1 ms", f"cells of {1e3 * _LONGER:g} ms"]
    names = ["Brian2", DT, _LONGER]
    rows = [
        [size, label, *values, statistics.median(clocks[name])]
        for label, values, name in zip(labels, found, names, strict=True)
    ]
    if differentiates:
        figures["gradient_over_forward"] = ratio("gradient", DT)
        figures["gradient_over_brian2"] = ratio("gradient", "Brian2")
        figures["gradient_gigabytes"] = planned
        gradient = statistics.median(clocks["gradient"])
        rows.append([size, "with the derivative, cells of 0.1 ms", "", "", gradient])
    about = theirs.about
    note = (
        f"statistics over {seconds:g} s, seconds of the processor for one simulated second; Brian2 "
        f"{about['version']} (NumPy {about['numpy']}) with {about['target']}, double precision; "
        "here single precision"
    )
    return _Comparison(figures, rows, note)


def _statistics(times, neurons, size: int, seconds: float):
    after = times > SETTLING
    return statistics_of(times[after], neurons[after], size, seconds)


def _cost(size: int, drive: float, rounds: int, degree: int = 100, seconds: float = 0.2) -> Cost:
    """What a cell costs."""
    pre, post, weights, v0 = network(size, degree)
    model = ours(pre, post, weights.astype(np.float32), v0.astype(np.float32))
    run = _Run(model, DT, seconds, drive)
    cells = seconds / DT
    spikes = run.spikes()[0].size / cells
    cost = statistics.median(run.forward() for _ in range(rounds)) / cells
    return Cost(size, degree, spikes, 1e6 * cost)


def _shares(costs: list[Cost]) -> tuple[float, float, float]:
    """What a neuron and what a spike at a synapse cost in a cell, in nanoseconds, from a fit of
    relative errors with a constant; and the largest share by which the law misses a cost."""
    parts = np.array([[1.0, cost.size, cost.spikes * cost.degree] for cost in costs])
    values = np.array([cost.microseconds for cost in costs])
    scale = parts.max(axis=0)
    weights = 1 / values
    found, *_ = np.linalg.lstsq((parts / scale) * weights[:, None], values * weights)
    law = (parts / scale) @ found
    _, per_neuron, per_event = found / scale
    return 1e3 * per_neuron, 1e3 * per_event, float(np.max(np.abs(law / values - 1)))
