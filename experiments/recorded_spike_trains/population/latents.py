r"""A few slow currents that a population shares, as Ornstein-Uhlenbeck processes.

$$ dx = A x\,dt + dW, $$

with $A$ and the stationary covariance from the recorded activity: the principal components of
smoothed counts, each neuron in units of its own spread, and their covariance with themselves a
while later, $C(\tau) = e^{A \tau} C(0)$. Eigenvalues of $A$ may be complex: a slow rhythm that
loses its phase.
"""

import dataclasses

import numpy as np
from scipy.linalg import expm, logm
from scipy.ndimage import gaussian_filter1d

SHARE = 0.05
"""Share of the variance that a component must have to be one."""


@dataclasses.dataclass(frozen=True)
class Latents:
    """The processes and their path in the recording.

    Attributes:
        drift: $A$, in 1/s.
        covariance: in the stationary state.
        path: in each bin of the recording, shape (bins, processes).
        bin: in seconds.
    """

    drift: np.ndarray
    covariance: np.ndarray
    path: np.ndarray
    bin: float

    @property
    def time_constants(self) -> np.ndarray:
        """After which each mode has forgotten, in seconds."""
        return -1 / np.linalg.eigvals(self.drift).real

    @property
    def periods(self) -> np.ndarray:
        """Of each mode, in seconds; infinite where it does not turn."""
        turns = np.abs(np.linalg.eigvals(self.drift).imag)
        return np.where(turns > 1e-9, 2 * np.pi / np.maximum(turns, 1e-9), np.inf)

    def step(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a bin does, x -> F x + G z with z standard normal, and a root of the stationary
        covariance: F, G and the root."""
        step = expm(self.drift * self.bin)
        kick = _root(self.covariance - step @ self.covariance @ step.T)
        return step, kick, _root(self.covariance)

    def sample(self, bins: int, random: np.random.Generator) -> np.ndarray:
        """A path of so many bins from the stationary state, exact at the bins."""
        step, kick, root = self.step()
        x = root @ random.normal(size=len(self.drift))
        found = np.empty((bins, x.size))
        for row in found:
            row[:] = x
            x = step @ x + kick @ random.normal(size=x.size)
        return found


def find_latents(counts: np.ndarray, bin: float, *, width: float, lag: float) -> Latents:
    r"""The slow processes of recorded counts.

    Args:
        counts: in bins, shape (bins, neurons).
        bin: in seconds.
        width: standard deviation of the Gaussian by which counts are smoothed, in seconds.
        lag: $\tau$, in seconds.

    Raises:
        ValueError: a recording that is not three lags long.
    """
    shift = round(lag / bin)
    if len(counts) < 3 * shift:
        raise ValueError(
            f"`lag` is {lag:g} s, and the recording lasts {len(counts) * bin:g} s; it must last "
            "three lags. Take a shorter one."
        )
    smooth = gaussian_filter1d(counts.astype(float), width / bin, axis=0)
    smooth = (smooth - smooth.mean(0)) / np.maximum(smooth.std(0), 1e-9)
    paths, sizes, _ = np.linalg.svd(smooth, full_matrices=False)
    kept = max(int(np.sum(sizes**2 >= SHARE * np.sum(sizes**2))), 1)
    path = paths[:, :kept] * np.sqrt(len(counts))
    path = path - path.mean(0)
    covariance = path.T @ path / len(path)
    later = path[shift:].T @ path[:-shift] / (len(path) - shift)
    drift = _stable(np.real(logm(later @ np.linalg.inv(covariance))) / (shift * bin))
    return Latents(drift, covariance, path, bin)


def _stable(drift: np.ndarray, slowest: float = 0.02) -> np.ndarray:
    """The same with all modes forgetting at a rate of at least `slowest`, 1/s."""
    values, vectors = np.linalg.eig(drift)
    values = np.minimum(values.real, -slowest) + 1j * values.imag
    return np.real(vectors @ np.diag(values) @ np.linalg.inv(vectors))


def _root(matrix: np.ndarray) -> np.ndarray:
    """A square root of a matrix whose negative eigenvalues are taken for zero."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0))
