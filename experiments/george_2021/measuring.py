"""What the detectors see in an image, and what is measured of it."""

from functools import partial

import jax
import numpy as np

from roughsnn.networks import CoincidenceDetectors


def grid(size: int, first: int = 0, step: int = 1) -> np.ndarray:
    """Places (x, y) of a square grid of so many rows and columns, row by row."""
    y, x = np.mgrid[:size, :size] * step + first
    return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _counts(positions, points, times, reach, tau, threshold):
    detectors = CoincidenceDetectors(positions, reach=reach, tau=tau, threshold=threshold)
    return detectors.spike_counts(points, times)


def symmetry_density(
    image: np.ndarray, positions: np.ndarray, reach: float, tau: float, threshold: float
) -> np.ndarray:
    """How often the detectors at these positions fire when every pixel that is set emits a spike.

    Raises:
        ValueError: no pixel is set.
    """
    rows, columns = np.nonzero(image)
    if rows.size == 0:
        raise ValueError(
            "the image has no points: no pixel is above its threshold, and nothing can be said of "
            "its symmetry. Lower the threshold, or add noise."
        )
    # numbers of points are rounded up, so that few of them are compiled for
    room = max(16, 1 << int(np.ceil(np.log2(rows.size))))
    points = np.zeros((room, 2), np.float32)
    points[: rows.size] = np.stack([columns, rows], -1)
    times = np.full(room, np.inf, np.float32)
    times[: rows.size] = 0.0
    return np.asarray(_counts(positions, points, times, reach, tau, threshold))


def axis_score(density: np.ndarray, column: int) -> tuple[float, bool]:
    """How far the mean density on a column of a map is above that of the others, in standard
    deviations of single places there; and whether the column has the largest mean of all. 0 where
    nothing fires off the axis."""
    off = np.delete(density, column, axis=1)
    spread = off.std()
    score = (density[:, column].mean() - off.mean()) / spread if spread > 0 else 0.0
    return float(score), bool(density.mean(0).argmax() == column)


def line_means(density: np.ndarray, angles: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Mean densities along straight lines through a map, of shape (angles, offsets); the angle is
    that against the vertical, the offset is along the normal from the middle. Places between the
    map's own are interpolated; lines that are less than half as long as the map count as `nan`."""
    size = density.shape[0]
    middle = (size - 1) / 2
    along = np.arange(-size, size + 0.5, 0.5)
    found = np.full((len(angles), len(offsets)), np.nan)
    for i, angle in enumerate(angles):
        normal = np.array([np.cos(angle), np.sin(angle)])
        tangent = np.array([-normal[1], normal[0]])
        for j, offset in enumerate(offsets):
            x, y = (middle + offset * normal[:, None] + along[None] * tangent[:, None]).reshape(
                2, -1
            )
            inside = (x >= 0) & (y >= 0) & (x <= size - 1) & (y <= size - 1)
            if inside.sum() < size:  # steps of a half
                continue
            found[i, j] = _interpolate(density, x[inside], y[inside]).mean()
    return found


def ridges(density: np.ndarray, half_width: int = 2) -> np.ndarray:
    """A map minus the mean of a square around each place, so that narrow ridges are left."""
    size = density.shape[0]
    i = np.arange(size)
    first, last = np.maximum(i - half_width, 0), np.minimum(i + half_width + 1, size)
    sums = np.pad(density.astype(float).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    square = (
        sums[last][:, last] - sums[first][:, last] - sums[last][:, first] + sums[first][:, first]
    )
    return density - square / np.outer(last - first, last - first)


def _interpolate(density: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    size = density.shape[0]
    left, top = np.minimum(x.astype(int), size - 2), np.minimum(y.astype(int), size - 2)
    u, w = x - left, y - top
    upper = (1 - u) * density[top, left] + u * density[top, left + 1]
    lower = (1 - u) * density[top + 1, left] + u * density[top + 1, left + 1]
    return (1 - w) * upper + w * lower


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """The probability that one of the first is larger than one of the second, ties by half."""
    larger = positive[:, None] > negative[None]
    equal = positive[:, None] == negative[None]
    return float(np.mean(larger) + 0.5 * np.mean(equal))
