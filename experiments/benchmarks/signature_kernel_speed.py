"""Time and memory of Grams of the signature kernel and of truncated signatures.

Poisson spike trains as in the comparison of solvers that the bounds are taken from: 20 slots of
which 70 % are used (40 points of the lift), 128 x 128 trains of 2 and of 22 neurons, unit jumps,
tolerance 1e-6; the finite-difference solver on the same lifts; and signatures of depth 3 of 100
spikes of 22 neurons, beside signax, and beside pySigLib where that is installed. The gradient is in
the spike times and the scales. With `--output`, also the cost of a Gram against the number of
spikes, of neurons and of trains, one at a time, as a picture.
"""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roughsnn.signatures import (
    event_kernel_gram,
    event_signature,
    signature,
    signature_kernel_gram,
)
from roughsnn.spikes import SpikeTrains, marcus_lift

from ._measure import Measurement, compare, paired_ratio
from ._study import Study, format_table


def study(
    trains: int = 128, repeats: int = 9, double: bool = True, output: Path | None = None
) -> Study:
    """Run the comparison.

    Args:
        trains: trains on each side of the Grams, and in the batch of the signatures.
        repeats: rounds of timing, each with one run of every candidate.
        double: in float64; otherwise in float32.
        output: where the picture of cost against size goes; none is drawn without it.
    """
    jax.config.update("jax_enable_x64", double)
    candidates = {}
    for channels, neurons in ((3, 2), (23, 22)):
        x, y = poisson_trains(trains, neurons, 20, 0), poisson_trains(trains, neurons, 20, 1)
        candidates |= _event(f"event_d{channels}", x, y)
    x, y = (poisson_trains(trains, 2, 19, seed) for seed in (0, 1))
    candidates |= _goursat("goursat_d3", x, y)
    x = poisson_trains(trains, 22, 100, 0, used=1.0)
    candidates |= _signatures("signature_d23", x)
    candidates |= _pysiglib(trains)
    measured = compare(candidates, repeats)
    figures = {}
    for name, m in measured.items():
        figures[f"{name}_wall_ms"] = 1e3 * m.wall_seconds
        figures[f"{name}_cpu_ms"] = 1e3 * m.cpu_seconds
        figures[f"{name}_scratch_mb"] = m.temp_bytes / 1e6
    for name in ("event_d3", "event_d23"):
        ratio = paired_ratio(measured[f"{name}_gradient"], measured[name])
        figures[f"{name}_gradient_over_forward"] = ratio
    bounds = {
        "event_d3_wall_ms": "<= 300",
        "event_d23_wall_ms": "<= 150",
        "event_d3_gradient_over_forward": "<= 4",
        "event_d23_gradient_over_forward": "<= 4",
        "event_d3_gradient_scratch_mb": "<= 150",
        "event_d23_gradient_scratch_mb": "<= 150",
        "goursat_d3_gradient_wall_ms": "<= 590",
        "signature_d23_gradient_wall_ms": "<= 100",
    }
    table = _table(measured)
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


def _table(measured: dict[str, Measurement]) -> str:
    header = ["case", "wall ms", "CPU ms", "scratch MB", "compile s"]
    rows = [
        [name, 1e3 * m.wall_seconds, 1e3 * m.cpu_seconds, m.temp_bytes / 1e6, m.compile_seconds]
        for name, m in measured.items()
    ]
    return format_table(header, rows)


def _pysiglib(trains: int) -> dict:
    """Finite differences of order 0 by pySigLib on the same lifts, if it is installed."""
    if importlib.util.find_spec("pysiglib") is None:
        return {}
    from pysiglib import jax_api  # pyright: ignore[reportMissingImports]

    x, y = (marcus_lift(poisson_trains(trains, 2, 19, seed), scale=0.3) for seed in (0, 1))

    def gram(x, y):
        return jax_api.sig_kernel_gram(x, y, dyadic_order=0)

    def mean(x, y):
        return jnp.mean(gram(x, y))

    return {
        "goursat_d3_pysiglib": (gram, (x, y)),
        "goursat_d3_pysiglib_gradient": (jax.value_and_grad(mean), (x, y)),
    }


# Slots of a train, neurons and trains on each side; one is varied, the others are the middle ones.
_SIZES: dict[str, tuple[int, ...]] = {
    "spikes": (10, 20, 40, 80),
    "neurons": (1, 2, 8, 32),
    "trains": (32, 64, 128, 256),
}
_MIDDLE = {"spikes": 20, "neurons": 2, "trains": 64}


def _against_size(output: Path, repeats: int) -> str:
    """Milliseconds of a Gram and of its gradient against one size at a time, as a picture."""
    import matplotlib.pyplot as plt

    from roughsnn.plotting.style import COLUMN_WIDTH, colour, legend, tidy

    figure, axes = plt.subplots(
        1, 3, figsize=(2 * COLUMN_WIDTH, 2.2), layout="constrained", sharey=True
    )
    rows = []
    for ax, (name, sizes) in zip(axes, _SIZES.items(), strict=True):
        times: dict[str, list[Any]] = {"Gram": [], "with gradient": []}
        for size in sizes:
            at = _MIDDLE | {name: size}
            x, y = (
                poisson_trains(at["trains"], at["neurons"], at["spikes"], seed) for seed in (0, 1)
            )
            cases = _event("event", x, y, scale=0.3)
            measured = compare({k: v for k, v in cases.items() if "symm" not in k}, repeats)
            for curve, m in zip(times, measured.values(), strict=True):
                times[curve].append(1e3 * m.wall_seconds)
            rows.append([name, size, times["Gram"][-1], times["with gradient"][-1]])
        for i, (curve, values) in enumerate(times.items()):
            ax.loglog(sizes, values, "o-", color=colour(i), markersize=3, linewidth=1, label=curve)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        labels = {"spikes": "room for spikes", "neurons": "neurons", "trains": "trains a side"}
        tidy(ax, labels[name], "ms" if ax is axes[0] else "")
    legend(axes[0])
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "signature-kernel-cost.png", dpi=200)
    plt.close(figure)
    return format_table(["varied", "size", "Gram ms", "with gradient ms"], rows)
