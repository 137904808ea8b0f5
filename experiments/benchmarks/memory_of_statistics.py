"""Memory of distances, CV, intervals and random connections, against neurons and spikes.

For the statistics it is what the compiled program plans, results and scratch; for connections it is
the peak of a process above that of one that does nothing.
"""

import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

_DISTANCES = {
    "van Rossum": rs.VanRossum(tau=0.1),
    "Victor-Purpura": rs.VictorPurpura(cost=10.0),
    "ISI": rs.ISIDistance(),
    "SPIKE": rs.SPIKEDistance(),
}
_DEGREE = 10


def trains_of(neurons: int, spikes: int) -> rs.SpikeTrains:
    """One train on [0, 1] in which every neuron fires equally often."""
    own = spikes // neurons
    times = (np.arange(own) + 0.5) / own
    return rs.SpikeTrains.from_lists([[times] * neurons], t0=0.0, t1=1.0)


def planned_bytes(compiled: jax.stages.Compiled) -> int:
    """Bytes of results and scratch of a compiled program."""
    analysis = compiled.memory_analysis()
    assert analysis is not None  # every backend that is used here has it
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def of_distance(distance: rs.AbstractDistance, trains: rs.SpikeTrains) -> int:
    """Bytes for the distance of one pair of trains."""
    x, y, room, end = distance._comparable(trains, trains)
    index = jnp.arange(1)

    def program(x, y, end):
        return distance._of_pairs(index, index, x, y, end, room, False)

    return planned_bytes(jax.jit(program).lower(x, y, end).compile())


def of_statistic(function: Callable, trains: rs.SpikeTrains) -> int:
    """Bytes for a function of trains."""
    return planned_bytes(jax.jit(function).lower(trains).compile())


def of_connections(neurons: int) -> int:
    """Peak memory of a process that draws connections, in bytes."""
    code = (
        "import resource, jax, roughsnn as rs\n"
        "rs.random_connections(20, key=jax.random.key(0), in_degree=10)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"rs.random_connections({neurons}, key=jax.random.key(0), in_degree={_DEGREE})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return 1024 * int(run.stdout.split()[-1])


def measure(neurons: int, spikes: int) -> dict[str, int]:
    """Bytes of every statistic for one train."""
    trains = trains_of(neurons, spikes)
    room = max(spikes // neurons - 1, 1)
    found = {name: of_distance(distance, trains) for name, distance in _DISTANCES.items()}
    found["CV"] = of_statistic(rs.cv, trains)
    found["intervals"] = of_statistic(
        lambda x: rs.inter_spike_intervals(x, max_intervals=room), trains
    )
    found["first spike times"] = of_statistic(lambda x: rs.first_spike_times(x, 1), trains)
    return found


def slope(sizes: list[int], bytes_: list[int]) -> float:
    """Exponent with which the memory grows."""
    return float(np.polyfit(np.log(sizes), np.log(bytes_), 1)[0])


def study(
    neurons: tuple[int, ...] = (10, 100, 1000),
    spikes: tuple[int, ...] = (2_000, 20_000, 200_000),
    connections: tuple[int, ...] = (2000, 4000, 8000),
) -> Study:
    """Measure the memory, with the power of the number of neurons and of spikes by which it grows.

    Args:
        neurons: numbers of neurons, at the middle number of spikes.
        spikes: numbers of spikes, at the middle number of neurons.
        connections: numbers of neurons with ten random inputs each.
    """
    at, of = spikes[len(spikes) // 2], neurons[len(neurons) // 2]
    by_neurons = [measure(k, at) for k in neurons]
    by_spikes = [measure(of, n) for n in spikes]
    drawn = [of_connections(k) for k in connections]
    figures, bounds, rows = {}, {}, []
    for name in by_neurons[0]:
        key = name.lower().replace(" ", "_").replace("-", "_")
        against = slope(list(neurons), [x[name] for x in by_neurons])
        growth = slope(list(spikes), [x[name] for x in by_spikes])
        figures |= {f"{key}_by_neurons": against, f"{key}_by_spikes": growth}
        # not more than a fifth power of the neurons, and in proportion to the spikes
        bounds |= {f"{key}_by_neurons": "<= 0.2", f"{key}_by_spikes": "<= 1.1"}
        megabytes = [x[name] / 1e6 for x in (*by_neurons, *by_spikes)]
        rows.append([name, *(f"{x:.3g}" for x in megabytes), f"{against:.2f}", f"{growth:.2f}"])
    figures["connections_mb_for_most"] = drawn[-1] / 1e6
    # the connections themselves are 8000 times 10 numbers of 4 bytes, thrice
    bounds["connections_mb_for_most"] = "<= 200"
    heads = [f"{k} neurons" for k in neurons] + [f"{n} spikes" for n in spikes]
    table = format_table(["MB", *heads, "power of neurons", "power of spikes"], rows)
    drawn_text = ", ".join(
        f"{number / 1e6:.0f} MB for {k}" for k, number in zip(connections, drawn, strict=True)
    )
    table += f"\n\n{at} spikes on the left, {of} neurons on the right."
    table += f"\nRandom connections, {_DEGREE} a neuron: {drawn_text} neurons."
    return Study(figures, bounds, table)
