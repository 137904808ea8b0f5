"""Time and memory of Grams of the signature kernel and of truncated signatures, beside other codes.

Poisson spike trains as in the comparison of solvers that the bounds are taken from: 20 slots of
which 70 % are used (40 points of the lift), 128 x 128 trains of 2 and of 22 neurons, unit jumps,
tolerance 1e-6; the finite-difference solver on the same lifts; and signatures of depth 3 of 100
spikes of 22 neurons. The gradient is in the spike times and the scales.

The other codes are signax and pySigLib, the latter in an interpreter of its own and on all cores,
by power series of the first even order that keeps the same tolerance on the same trains; its
gradient is charged for the way back alone, ours for the value too. Every round runs all codes, one
after the other, so what else the machine does falls on all of them. Without pySigLib the study says
so and does not hold.

Whether both cores share the work is seen by the time on one of them, which says something where
nothing else runs, and by the share of the busiest thread, one half if two share it evenly, which
says it beside other work too. With `--jax-alone`, also the times without the compiled path. With
`--output`, also the cost of a Gram and of an expected signature against the number of spikes, of
neurons, of trains and of cores, as a picture.
"""

import contextlib
import math
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roughsnn._native import VARIABLE
from roughsnn.signatures import (
    event_kernel_gram,
    event_signature,
    mean_event_signature,
    signature,
    signature_kernel_gram,
)
from roughsnn.spikes import SpikeTrains, marcus_lift

from ._measure import (
    Measurement,
    added_memory,
    busiest_thread,
    clock,
    compare,
    on_cores,
    paired_ratio,
)
from ._pysiglib import beside_pysiglib
from ._study import Study, format_table

CASES = {"d3": 2, "d23": 22}
# What is asked of us, and of pySigLib its time over ours.
_FASTER = {
    "event_d3": 5.0, "event_d23": 10.0, "event_d3_gradient": 6.0, "event_d23_gradient": 12.0,
    "signature_d23_gradient": 8.0,
}  # fmt: skip


def study(
    trains: int = 128,
    repeats: int = 9,
    double: bool = True,
    pysiglib_python: str = sys.executable,
    jax_alone: bool = False,
    output: Path | None = None,
) -> Study:
    """Run the comparison.

    Args:
        trains: trains on each side of the Grams, and in the batch of the signatures.
        repeats: rounds of timing, each with one run of every candidate.
        double: in float64; otherwise in float32.
        pysiglib_python: a Python interpreter that has pySigLib, in an environment of its own
            (`pip install pysiglib`), which brings PyTorch.
        jax_alone: also time what JAX computes where there is no compiled path.
        output: where the picture of cost against size goes; none is drawn without it.
    """
    jax.config.update("jax_enable_x64", double)
    candidates = {}
    for case, neurons in CASES.items():
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        candidates |= _event(f"event_{case}", x, y)
    x, y = (poisson_trains(trains, 2, 19, seed) for seed in (0, 1))
    candidates |= _goursat("goursat_d3", x, y)
    candidates |= _signatures("signature_d23", poisson_trains(trains, 22, 100, 0, used=1.0))
    gradients = [f"event_{case}_gradient" for case in CASES]
    many = poisson_trains(trains, 99, 100, 0, used=1.0)
    candidates |= _expected("expected_signature_d100", many)
    kept = [*gradients, "expected_signature_d100_gradient"]
    memory = {f"{name}_memory_mb": _memory(candidates, name) for name in kept}
    if jax_alone:
        for case in ("event_d3", "event_d23", "signature_d23"):
            for name in (case, f"{case}_gradient"):
                candidates[f"{name}_jax_alone"] = _by_jax_alone(*candidates[name])
    with contextlib.ExitStack() as stack:
        clocked, notes = beside_pysiglib(stack, pysiglib_python, *_for_pysiglib(trains))
        clocked |= {f"{name}_one_core": _on_one_core(candidates, name) for name in gradients}
        measured = compare(candidates, repeats, clocked)
    figures = _figures(measured) | memory
    for name in gradients:
        run = _compiled(candidates, name)
        shares = [busiest_thread(run) for _ in range(repeats + 1)][1:]
        figures[f"{name}_busiest_thread"] = statistics.median(shares)
    bounds = {f"{name}_pysiglib_over_ours": f">= {least:g}" for name, least in _FASTER.items()}
    bounds |= {
        "signature_d23_gradient_signax_over_ours": ">= 15",
        "event_d3_gradient_over_forward": "<= 3",
        "event_d23_gradient_over_forward": "<= 3",
        "event_d3_gradient_memory_mb": "<= 150",
        "event_d23_gradient_memory_mb": "<= 150",
        "event_d3_gradient_all_over_one_core": "<= 0.6",
        "expected_signature_d100_gradient_memory_mb": "<= 1000",
    }
    table = "\n".join([_table(measured), *notes])
    if output is not None:
        table += "\n" + _against_size(output, repeats)
    return Study(figures, bounds, table)


def poisson_trains(
    batch: int, neurons: int, slots: int, seed: int, used: float = 0.7
) -> SpikeTrains:
    """Poisson trains on [0, 1] with `used * slots` spikes on average, cut at the slots."""
    random = np.random.default_rng(seed)
    times = np.full((batch, slots), np.inf)
    labels = np.full((batch, slots), -1, np.int32)
    for b in range(batch):
        count = min(random.poisson(used * slots), slots)
        times[b, :count] = np.sort(random.random(count))
        labels[b, :count] = random.integers(0, neurons, count)
    return SpikeTrains(
        jnp.asarray(times, dtype=jnp.result_type(float)), labels, 0.0, 1.0, num_neurons=neurons
    )


def moved(trains: SpikeTrains, times) -> SpikeTrains:
    """The same trains with their spikes at other times."""
    return SpikeTrains(times, trains.neurons, trains.t0, trains.t1, num_neurons=trains.num_neurons)


def _event(name: str, x: SpikeTrains, y: SpikeTrains, scale: float = 1.0) -> dict:
    scales = jnp.full(x.num_neurons, scale, x.times.dtype)

    def gram(times, scales):
        return event_kernel_gram(moved(x, times), y, neuron_scale=scales)

    def mean(times, scales):
        return jnp.mean(gram(times, scales))

    return {
        name: (gram, (x.times, scales)),
        f"{name}_gradient": (jax.value_and_grad(mean, argnums=(0, 1)), (x.times, scales)),
        f"{name}_symmetric": (event_kernel_gram, (x,)),
    }


def _goursat(name: str, x: SpikeTrains, y: SpikeTrains) -> dict:
    # Small jumps: at unit jumps the answer of order 0 is off by a half.
    paths = marcus_lift(x, scale=0.3), marcus_lift(y, scale=0.3)

    def mean(x, y):
        return jnp.mean(signature_kernel_gram(x, y))

    return {
        name: (signature_kernel_gram, paths),
        f"{name}_gradient": (jax.value_and_grad(mean), paths),
    }


def _signatures(name: str, x: SpikeTrains) -> dict:
    def ours(times):
        return jnp.sum(event_signature(moved(x, times), 3) ** 2)

    def theirs(times):
        return jnp.sum(signature(marcus_lift(moved(x, times)), 3) ** 2)

    return {
        name: (ours, (x.times,)),
        f"{name}_gradient": (jax.value_and_grad(ours), (x.times,)),
        f"{name}_signax": (theirs, (x.times,)),
        f"{name}_signax_gradient": (jax.value_and_grad(theirs), (x.times,)),
    }


def _expected(name: str, x: SpikeTrains) -> dict:
    def square(times):
        return jnp.sum(mean_event_signature(moved(x, times), 3) ** 2)

    return {f"{name}_gradient": (jax.value_and_grad(square), (x.times,))}


def _by_jax_alone(function: Callable, arguments: tuple) -> tuple[Callable, tuple]:
    def run(*arguments):
        # Which path is taken is decided as the function is traced.
        with contextlib.ExitStack() as stack:
            before = os.environ.get(VARIABLE, "auto")
            stack.callback(os.environ.__setitem__, VARIABLE, before)
            os.environ[VARIABLE] = "jax"
            return function(*arguments)

    return run, arguments


def _for_pysiglib(trains: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The lifts that pySigLib gets, the exact Grams, and our errors at the tolerance."""
    arrays, errors = {}, {}
    for case, neurons in CASES.items():
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        exact = np.asarray(event_kernel_gram(x, y, orders=(10, 20)))
        errors[case] = float(np.max(np.abs(np.asarray(event_kernel_gram(x, y)) / exact - 1)))
        arrays |= {f"{case}_x": marcus_lift(x), f"{case}_y": marcus_lift(y)}
        arrays[f"{case}_exact"] = exact
    arrays["signature_x"] = marcus_lift(poisson_trains(trains, 22, 100, 0, used=1.0))
    return {name: np.asarray(array) for name, array in arrays.items()}, errors


def _table(measured: dict[str, Measurement]) -> str:
    header = ["case", "wall ms", "CPU ms", "scratch MB", "compile s"]
    rows = [
        [name, 1e3 * m.wall_seconds, 1e3 * m.cpu_seconds, m.temp_bytes / 1e6, m.compile_seconds]
        for name, m in measured.items()
    ]
    return format_table(header, rows)


def _figures(measured: dict[str, Measurement]) -> dict[str, float]:
    figures = {}
    for name, m in measured.items():
        figures[f"{name}_wall_ms"] = 1e3 * m.wall_seconds
        figures[f"{name}_cpu_ms"] = 1e3 * m.cpu_seconds
        if math.isfinite(m.temp_bytes):
            figures[f"{name}_scratch_mb"] = m.temp_bytes / 1e6
    for name in _FASTER:
        theirs = measured.get(f"{name}_pysiglib")
        for clock_name, end in (("wall", ""), ("cpu", "_cpu")):
            ratio = math.nan
            if theirs is not None:
                ratio = paired_ratio(theirs, measured[name], clock_name)
            figures[f"{name}_pysiglib_over_ours{end}"] = ratio
    signax, ours = (measured[f"signature_d23{end}_gradient"] for end in ("_signax", ""))
    figures["signature_d23_gradient_signax_over_ours"] = paired_ratio(signax, ours)
    for case in CASES:
        gradient = measured[f"event_{case}_gradient"]
        ratio = paired_ratio(gradient, measured[f"event_{case}"])
        figures[f"event_{case}_gradient_over_forward"] = ratio
        one = measured[f"event_{case}_gradient_one_core"]
        figures[f"event_{case}_gradient_all_over_one_core"] = paired_ratio(gradient, one)
    return figures


# ---- memory and cores


def _on_one_core(candidates: dict, name: str) -> Callable[[], tuple[float, float]]:
    run = _compiled(candidates, name)

    def clocked():
        with on_cores(1):
            return clock(run)

    return clocked


def _memory(candidates: dict, name: str) -> float:
    return added_memory(_compiled(candidates, name)) / 1e6


def _compiled(candidates: dict, name: str) -> Callable[[], Any]:
    function, arguments = candidates[name]
    run = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(run(*arguments))


# Slots of a train, neurons, trains on each side and cores; one is varied, the others are the middle
# ones.
_SIZES: dict[str, tuple[int, ...]] = {
    "spikes": (10, 20, 40, 80, 160),
    "neurons": (1, 2, 8, 32),
    "trains": (32, 64, 128, 256),
    "cores": tuple(2**i for i in range(7) if 2**i <= (os.cpu_count() or 1)),
}
_MIDDLE = {"spikes": 20, "neurons": 2, "trains": 128, "cores": os.cpu_count() or 1}
_CURVES = ("Gram", "Gram and gradient", "expected signature and gradient")
_LABELS = {
    "spikes": "room for spikes", "neurons": "neurons", "trains": "trains a side", "cores": "cores"
}  # fmt: skip


def _against_size(output: Path, repeats: int) -> str:
    """Time and memory of a Gram, of its gradient and of that of an expected signature against one
    size at a time, as a picture.

    The time is that of the processor in the busiest thread, or of all threads divided by the cores
    if that is more, so that other work does not count: no wall-clock time.
    """
    import matplotlib.pyplot as plt

    from roughsnn.plotting.style import COLUMN_WIDTH, colour, tidy

    figure, grid = plt.subplots(
        2, 4, figsize=(2 * COLUMN_WIDTH, 3.4), layout="constrained", sharey="row", sharex="col"
    )
    rows = []
    for axes, (name, sizes) in zip(grid.T, _SIZES.items(), strict=True):
        found = [_cost(_MIDDLE | {name: size}, repeats) for size in sizes]
        rows += [[name, size, *cost] for size, cost in zip(sizes, found, strict=True)]
        for i, curve in enumerate(_CURVES):
            for ax, kind in zip(axes, (0, len(_CURVES)), strict=True):
                values = [cost[kind + i] for cost in found]
                ax.loglog(
                    sizes,
                    np.maximum(values, 0.01),
                    "o-",
                    color=colour(i),
                    markersize=3,
                    linewidth=1,
                    label=curve,
                )
        axes[1].set_xticks(sizes, [str(size) for size in sizes])
        for ax, label in zip(axes, ("ms", "MB"), strict=True):
            ax.minorticks_off()
            x_label = _LABELS[name] if ax is axes[1] else ""
            tidy(ax, x_label, label if name == "spikes" else "")
    lines, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=len(_CURVES), frameon=False)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "signature-kernel-cost.png", dpi=200)
    plt.close(figure)
    header = ["varied", "size", *(f"{curve} {unit}" for unit in ("ms", "MB") for curve in _CURVES)]
    return format_table(header, rows)


def _cost(at: dict[str, int], repeats: int) -> list[float]:
    """Milliseconds of each curve, and the megabytes of its scratch memory and results."""
    x, y = (poisson_trains(at["trains"], at["neurons"], at["spikes"], seed) for seed in (0, 1))
    cases = _event("event", x, y, scale=0.3)
    cases = {name: case for name, case in cases.items() if "symmetric" not in name}
    cases |= _expected("signature", x)
    measured = compare(cases, repeats)
    times, memory = [], []
    for name, m in measured.items():
        run = _compiled(cases, name)
        share = statistics.median(busiest_thread(run) for _ in range(repeats))
        # On one core the threads take turns.
        times.append(1e3 * m.cpu_seconds * max(share, 1 / at["cores"]))
        memory.append((m.temp_bytes + sum(x.nbytes for x in jax.tree.leaves(run()))) / 1e6)
    return [*times, *memory]
