"""Windows that begin late, and other units of time: the same spikes, or a refusal."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roughsnn as rs
from roughsnn import io

from ._study import Study, format_table

STARTS = (0.0, 10.0, 3600.0, 36_000.0, 1e6, 1.7e9)
UNITS = (1e-6, 1e-3, 1.0, 1e3, 1e6)
# what is found in one unit of time, as numbers that do not depend on start and unit
Found = dict[str, np.ndarray]


def study(cases: int = 200, seed: int = 0) -> Study:
    """Run random models, networks, statistics and readers in shifted windows and other units.

    Args:
        cases: how many, for each precision.
        seed: of everything random.
    """
    counts: dict[tuple[str, str], Counter] = {}
    told = []
    for name in ("float32", "float64"):
        with jax.enable_x64(name == "float64"):
            rng = np.random.default_rng(seed)
            for number in range(cases):
                kind = list(KINDS)[number % len(KINDS)]
                start, unit = float(rng.choice(STARTS)), float(rng.choice(UNITS))
                which = int(rng.integers(1000))
                outcome, why = _compare(kind, which, start, unit, name)
                counts.setdefault((kind, name), Counter())[outcome] += 1
                if outcome == "different":
                    told.append(f"{kind} {which}, {name}, start {start:g}, unit {unit:g}: {why}")
    rows = [(*key, n["same"], n["refused"], n["different"]) for key, n in counts.items()]
    table = format_table(("what", "precision", "same", "refused", "different"), rows)
    total: Counter = sum(counts.values(), Counter())
    figures = {name: total[name] for name in ("same", "refused", "different")}
    bounds = {"different": "<= 0", "same": f">= {1.2 * cases:g}"}
    return Study(figures, bounds, "\n".join([table, *told]))


def _compare(kind: str, which: int, start: float, unit: float, dtype: str) -> tuple[str, str]:
    run = KINDS[kind]
    reference = run(which, 0.0, 1.0)
    try:
        found = run(which, start * unit, unit)
    except (ValueError, RuntimeError) as error:
        text = str(error)
        clear = any(word in text for word in ("double precision", "resolve", "shorter windows"))
        return ("refused" if clear else "different"), text[:200]
    # roundings of a step that a path adds up, and of the start in double precision
    eps = float(np.finfo(dtype).eps)
    own = 2e3 * eps if kind != "function of time" else 2e3 * eps + 8 * eps * abs(start)
    tolerance = own + 8 * np.finfo(float).eps * abs(start)
    for name, value in reference.items():
        other = found[name]
        if name == "times":
            why = _spikes_differ(value, other, tolerance)
        elif value.shape != other.shape:
            why = f"shapes {value.shape} and {other.shape}"
        else:
            scale = 1 + np.max(np.abs(np.where(np.isfinite(value), value, 0)), initial=0)
            alike = np.allclose(value, other, rtol=0, atol=50 * tolerance * scale, equal_nan=True)
            why = "" if alike else "other values"
        if why:
            return "different", f"{name}: {why}"
    return "same", ""


def _spikes_differ(a: np.ndarray, b: np.ndarray, tolerance: float) -> str:
    """Rows of spike times, padded with `inf`; one at the very end may lie on either side of it."""
    for number, (x, y) in enumerate(zip(a, b, strict=True)):
        x, y = (v[np.isfinite(v) & (v < 1 - tolerance)] for v in (x, y))
        if len(x) != len(y):
            return f"{len(x)} and {len(y)} spikes in row {number}"
        if np.max(np.abs(x - y), initial=0) > tolerance:
            return f"spikes moved by {np.max(np.abs(x - y)):.2g} in row {number}"
    return ""


# --- what is run, in a window of one unit of time that begins at t0


def _neuron(which: int, t0: float, unit: float) -> Found:
    rng = np.random.default_rng(which)
    rate = rng.uniform(5, 30, 2) / unit
    neuron = rs.StochasticLIF(
        2, mu1=rate, mu2=5 / unit, sigma=0.3 / np.sqrt(unit), tau_s=0.05 * unit, alpha=0.05
    )
    return _simulated(neuron, which, t0, unit, input_current=rng.uniform(1.0, 2.0, 2))


def _threshold(which: int, t0: float, unit: float) -> Found:
    rng = np.random.default_rng(which)
    neuron = rs.LIF(2, mu1=rng.uniform(5, 20, 2) / unit, mu2=5 / unit)
    current = rng.uniform(1.2, 2.0, 2)
    return _simulated(neuron, which, t0, unit, input_current=current, solver=dfx.Heun())


def _network(which: int, t0: float, unit: float) -> Found:
    network, inputs = _driven_network(which, t0, unit)
    return _simulated(network, which, t0, unit, input_current=1.3, input_spikes=inputs)


def _on_a_grid(which: int, t0: float, unit: float) -> Found:
    network, inputs = _driven_network(which, t0, unit)
    trains = rs.simulate_on_grid(
        network, t0, t0 + unit, 0.01 * unit, key=jax.random.key(which), num_samples=2,
        input_current=1.3, input_spikes=inputs,
    )  # fmt: skip
    return _of_trains(trains, unit)


def _by_cells(which: int, t0: float, unit: float) -> Found:
    return _by_engine(rs.CellEngine(), which, t0, unit)


def _by_the_clock(which: int, t0: float, unit: float) -> Found:
    return _by_engine(rs.ClockEngine(surrogate=rs.SuperSpike()), which, t0, unit)


def _by_engine(engine: Any, which: int, t0: float, unit: float) -> Found:
    network, inputs = _driven_network(which, t0, unit)
    return _simulated(
        network, which, t0, unit, input_current=1.3, input_spikes=inputs, engine=engine
    )


def _driven_network(which: int, t0: float, unit: float):
    rng = np.random.default_rng(which)
    neurons = rs.StochasticLIF(
        3, mu1=15 / unit, mu2=8 / unit, sigma=0.2 / np.sqrt(unit), tau_s=0.05 * unit
    )
    # weak enough that rounding does not grow from spike to spike
    network = rs.SpikingNetwork(
        neurons, rng.normal(0, 0.2, (3, 3)), axonal_delays=rng.uniform(0.021, 0.038, 3) * unit,
        refractory=0.032 * unit, input_weights=rng.normal(0.5, 0.2, (1, 3)),
    )  # fmt: skip
    # recorded times: multiples of the step, half of which lie inside one
    times = t0 + unit * np.arange(1, 20) * 0.05 + unit * 0.004 * (np.arange(1, 20) % 2)
    return network, rs.SpikeTrains.from_lists([[times]], t0=t0, t1=t0 + unit)[0]


def _current_on_grid(which: int, t0: float, unit: float) -> Found:
    rng = np.random.default_rng(which)
    neuron = rs.LIF(1, mu1=10 / unit, mu2=5 / unit)
    times, values = t0 + unit * 0.02 * np.arange(50), rng.uniform(0.8, 2.5, 50)
    current = rs.CurrentOnGrid(times, values, "previous")
    return _simulated(neuron, which, t0, unit, input_current=current)


class _Sine(eqx.Module):
    t0: Any
    unit: Any

    def __call__(self, t):
        return 1.5 + 0.8 * jnp.sin(6.0 * (t - self.t0) / self.unit)


def _function_of_time(which: int, t0: float, unit: float) -> Found:
    neuron = rs.LIF(1, mu1=10 / unit, mu2=5 / unit)
    current = _Sine(jnp.asarray(t0), jnp.asarray(unit))
    return _simulated(neuron, which, t0, unit, input_current=current, solver=dfx.Heun())


def _simulated(model, which: int, t0: float, unit: float, **settings) -> Found:
    trains = rs.simulate(
        model, t0, t0 + unit, 0.01 * unit, key=jax.random.key(which), num_samples=2,
        max_spikes=120, **settings,
    )  # fmt: skip
    return _of_trains(trains, unit)


def _of_trains(trains: rs.SpikeTrains, unit: float) -> Found:
    since = np.asarray(trains.times, float) / unit
    return {"times": since, "counts": np.asarray(trains.counts_by_neuron, float)}


def _estimator(which: int, t0: float, unit: float) -> Found:
    rng = np.random.default_rng(which)
    neuron = rs.ResettingStochasticLIF(
        mu1=rng.uniform(10, 20) / unit, mu2=5 / unit, sigma=1 / np.sqrt(unit), alpha=0.05,
        intensity=rs.ExponentialIntensity(1.0, beta=5.0, tau_s=0.05 * unit),
    )  # fmt: skip
    protocol = rs.Protocol(t0, t0 + unit, 0.02 * unit, max_spikes=20, input_current=1.6)

    def loss(trains):
        return jnp.mean(jnp.where(trains.mask, trains.times, 0)) / unit

    estimate = rs.Conditional(points=2)(
        neuron, rs.Simulation(protocol, 2), loss, jax.random.key(which)
    )
    return _of_trains(estimate.generated, unit) | {
        "gradient": np.asarray(estimate.gradient.reset_to, float)
    }


def _detectors(which: int, t0: float, unit: float) -> Found:
    rng = np.random.default_rng(which)
    detectors = rs.CoincidenceDetectors(rng.normal(size=(4, 2)), speed=8 / unit, tau=0.1 * unit)
    times = t0 + unit * rng.uniform(-0.2, 0.8, 20)
    trains = detectors.spike_trains(
        rng.normal(size=(20, 2)), times, t0=t0, t1=t0 + unit, max_spikes=80
    )
    return _of_trains(trains.reshape(1), unit)


def _drawn_trains(which: int, t0: float, unit: float) -> rs.SpikeTrains:
    rng = np.random.default_rng(which)
    trials = []
    for _ in range(3):
        # of each neuron one train on the edges of bins, one anywhere
        on_edges = np.sort(rng.choice(100, 12, replace=False)) * 0.01
        trials.append([t0 + unit * on_edges, t0 + unit * np.sort(rng.uniform(0.001, 0.999, 15))])
    return rs.SpikeTrains.from_lists(trials, t0=t0, t1=t0 + unit)


def _statistics(which: int, t0: float, unit: float) -> Found:
    trains = _drawn_trains(which, t0, unit)
    found = {
        "rates": rs.spike_rates(trains) * unit,
        "cv": rs.cv(trains),
        "lv": rs.lv(trains),
        "fano": rs.fano_factor(trains, num_bins=100),
        "bins": rs.binned_counts(trains, 100),
        "correlograms": rs.correlograms(trains, 100, 3),
        "psth": rs.psth(trains, 100) * unit,
        "first": rs.first_spike_times(trains, 3) / unit,
        "isi": rs.ISIDistance()(trains),
        "spike": rs.SPIKEDistance()(trains),
        "van_rossum": rs.VanRossum(0.05 * unit)(trains),
        "signature": rs.event_signature(trains, 2, time_scale=1 / unit),
    }
    readout = rs.LeakyReadout(np.eye(2), mu1=10 / unit, mu2=30 / unit)
    found |= {
        "potentials": readout.potentials(trains, unit * np.linspace(0.0, 1.0, 11)),
        "maximum": readout.maximum(trains),
        "mean potential": readout.mean(trains),
    }
    return {name: np.asarray(value, float) for name, value in found.items()}


def _readers(which: int, t0: float, unit: float) -> Found:
    trains = _drawn_trains(which, t0, unit)
    with tempfile.TemporaryDirectory() as folder:
        csv, npz = Path(folder) / "spikes.csv", Path(folder) / "spikes.npz"
        io.write_csv(csv, trains)
        io.write_npz(npz, trains)
        again = [io.read_csv(csv, t0=t0, t1=t0 + unit), io.read_npz(npz)]
    out: Found = {}
    for name, read in zip(("csv", "npz"), again, strict=True):
        flat = np.concatenate([np.concatenate(trial) for trial in read.to_lists()])
        out[name] = (flat - t0) / unit
    return out


KINDS: dict[str, Callable[[int, float, float], Found]] = {
    "stochastic neurons": _neuron,
    "threshold neurons": _threshold,
    "network with delays and inputs": _network,
    "network on a grid": _on_a_grid,
    "network by cells": _by_cells,
    "network by surrogate steps": _by_the_clock,
    "conditional estimator": _estimator,
    "coincidence detectors": _detectors,
    "current on a grid": _current_on_grid,
    "function of time": _function_of_time,
    "statistics": _statistics,
    "readers": _readers,
}
