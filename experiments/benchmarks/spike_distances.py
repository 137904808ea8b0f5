"""Spike-train distances beside elephant's and PySpike's, edge cases included.

Random pairs of trains on one window: Poisson trains, times on a coarse grid (so that spikes
coincide and fall on both ends of the window), trains with spikes at the ends, and trains of no
spike or one. Each pair is also timed, as a matrix of all trains with all.
"""

import time
import warnings

import jax
import numpy as np

import roughsnn as rs

from ._study import Study, format_table

TAU, COST = 0.1, 7.0


def study(pairs: int = 1000, matrix: int = 60, seed: int = 0) -> Study:
    """Run the comparison.

    Args:
        pairs: random pairs of trains.
        matrix: trains in the matrix that is timed.
        seed: of the random trains.
    """
    rng = np.random.default_rng(seed)
    left = [random_train(rng) for _ in range(pairs)]
    right = [random_train(rng) for _ in range(pairs)]
    distances = {
        "van_rossum": rs.VanRossum(TAU),
        "victor_purpura": rs.VictorPurpura(COST),
        "isi": rs.ISIDistance(),
        "spike": rs.SPIKEDistance(),
    }
    figures, rows = {}, []
    with jax.enable_x64(True):
        x, y = trains_of(left), trains_of(right)
        for name, distance in distances.items():
            ours = np.asarray(jax.jit(distance.pairs)(x, y))
            theirs = np.array([reference(name, *pair) for pair in zip(left, right, strict=True)])
            errors = {f"{name}_error": np.abs(ours - theirs)}
            if name == "van_rossum":
                # elephant subtracts sums, so identical trains are at the root of its rounding
                # error; the square has the error itself, and the distance where it is not 0.
                errors = {
                    "van_rossum_squared_error": np.abs(ours**2 - theirs**2),
                    "van_rossum_error": np.abs(ours - theirs)[ours > 0],
                }
            for label, error in errors.items():
                known = np.isfinite(error)
                figures[label] = float(error[known].max())
                seconds, reference_seconds = _time(name, distance, left[:matrix])
                rows.append([label, int(known.sum()), figures[label], seconds, reference_seconds])
            figures[f"{name}_not_finite"] = float(np.sum(~np.isfinite(ours)))
            figures[f"{name}_reference_not_finite"] = float(np.sum(~np.isfinite(theirs)))
    bounds = {label: "<= 1e-9" for label in figures if label.endswith("_error")}
    bounds |= {f"{name}_not_finite": "<= 0" for name in distances}
    header = ["distance", "pairs compared", "largest error", f"matrix {matrix}, s", "peer, s"]
    return Study(figures, bounds, format_table(header, rows))


def random_train(rng: np.random.Generator) -> np.ndarray:
    """Spike times of one of four kinds on the window [0, 1]."""
    kind = rng.integers(4)
    times = rng.uniform(0, 1, rng.integers(0, 12))
    if kind == 1:
        times = np.unique(rng.integers(0, 9, times.size)) / 8
    elif kind == 2:
        times = np.concatenate([times, [0.0, 1.0][: rng.integers(3)]])
    elif kind == 3:
        times = np.array([[], [0.0], [1.0], [0.3], [0.0, 1.0]][rng.integers(5)])
    return np.sort(times)


def trains_of(times: list[np.ndarray]) -> rs.SpikeTrains:
    """One neuron on the window [0, 1], one trial for each array of times."""
    return rs.SpikeTrains.from_lists([[t] for t in times], t0=0.0, t1=1.0)


def reference(name: str, x: np.ndarray, y: np.ndarray) -> float:
    """The value of elephant (van Rossum, Victor-Purpura) or of PySpike (ISI, SPIKE)."""
    return float(_reference_matrix(name, [x, y])[0, 1])


def _reference_matrix(name: str, times: list[np.ndarray]) -> np.ndarray:
    if name in ("isi", "spike"):
        import pyspike

        trains = [pyspike.SpikeTrain(t, [0.0, 1.0]) for t in times]
        return getattr(pyspike, f"{name}_distance_matrix")(trains)
    import neo
    import quantities as pq
    from elephant import spike_train_dissimilarity as elephant

    trains = [neo.SpikeTrain(t, units="s", t_start=0 * pq.s, t_stop=1 * pq.s) for t in times]
    with warnings.catch_warnings():
        # elephant says that it clips negative squares
        warnings.simplefilter("ignore")
        if name == "van_rossum":
            return np.asarray(elephant.van_rossum_distance(trains, TAU * pq.s))
        return np.asarray(elephant.victor_purpura_distance(trains, COST * pq.Hz))


def _time(name: str, distance: rs.AbstractDistance, times: list[np.ndarray]) -> tuple[float, float]:
    """Seconds for a matrix, ours compiled before, and theirs: the best of three."""
    compiled, trains = jax.jit(distance), trains_of(times)
    jax.block_until_ready(compiled(trains))
    ours, theirs = [], []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(compiled(trains))
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        _reference_matrix(name, times)
        theirs.append(time.perf_counter() - start)
    return min(ours), min(theirs)
