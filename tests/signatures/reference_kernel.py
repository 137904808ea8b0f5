"""An independent signature kernel: power series on every rectangle, in extended precision.

Plain NumPy, one pair at a time, for any piecewise-linear paths. It shares no code and no formula
with the package: here the whole double series of a rectangle is built, coefficient by
coefficient, from k_{m+1, p+1} = z k_{m, p}.
"""

import math

import numpy as np


def kernel_of_paths(x: np.ndarray, y: np.ndarray, order: int = 30) -> float:
    """Signature kernel of the piecewise-linear paths through the rows of `x` and of `y`.

    In a rectangle with both sides scaled to [0, 1], k(u, v) = sum c_mp u^m v^p / (m! p!). The edges
    give c_m0 and c_0p, the equation the rest, and sums over p (or m) the opposite edges.
    """
    real = np.longdouble
    dx, dy = np.diff(x, axis=0).astype(real), np.diff(y, axis=0).astype(real)
    inverse = np.array([real(1) / math.factorial(m) for m in range(order + 1)])
    # Values on the lower edge of the present row: one series in v for each piece of y.
    left = [np.zeros(order + 1, real) for _ in dy]
    for edge in left:
        edge[0] = 1
    for piece in dx:
        lower = np.zeros(order + 1, real)
        lower[0] = 1
        for j, other in enumerate(dy):
            z = piece @ other
            c = np.zeros((order + 1, order + 1), real)
            c[:, 0], c[0, :] = lower, left[j]
            for m in range(order):
                c[m + 1, 1:] = z * c[m, :-1]
            lower, left[j] = c @ inverse, inverse @ c
    return float(lower @ inverse) if len(dx) and len(dy) else 1.0


def path_of_train(
    times, neurons, t0: float, t1: float, num_neurons: int, time_scale=1.0, neuron_scale=1.0
) -> np.ndarray:
    """Marcus lift of one train (padding removed); spikes at one time jump along one diagonal."""
    scale = np.broadcast_to(np.asarray(neuron_scale, float), (num_neurons,))
    counts = np.zeros(num_neurons)
    points = [np.concatenate([[time_scale * t0], counts])]
    for time in sorted(set(times)):
        points.append(np.concatenate([[time_scale * time], counts]))
        for t, k in zip(times, neurons, strict=True):
            if t == time:
                counts = counts + scale[k] * (np.arange(num_neurons) == k)
        points.append(np.concatenate([[time_scale * time], counts]))
    points.append(np.concatenate([[time_scale * t1], counts]))
    return np.array(points)


def gram_of_trains(x, y, **scales) -> np.ndarray:
    """Gram matrix of two `SpikeTrains` by `kernel_of_paths`."""

    def paths(trains):
        return [
            path_of_train(
                t[n >= 0], n[n >= 0], 0.0, float(trains.duration), trains.num_neurons,
                **scales,
            )
            for t, n in zip(np.asarray(trains.times), np.asarray(trains.neurons), strict=True)
        ]  # fmt: skip

    return np.array([[kernel_of_paths(a, b) for b in paths(y)] for a in paths(x)])
