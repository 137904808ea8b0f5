r"""How well a recording determines what was fitted to it.

The fit minimises $|r(x)|^2 + w^2 |x - x_0|^2$, with r the mean features of the model less those of
the recording, J its Jacobian and $w^2 = 1 / (\tau^2 n)$ of the prior. A recorded sequence moves the
minimum by $\psi_i = A^{-1} J^\top v_i$, $A = J^\top J + w^2$, so that the covariance of the fit
over recordings is that of the mean of the $\psi_i$, which overlap (a sandwich); where the prior
holds a parameter at its start, the fit misses it by $A^{-1} w^2 (x - x_0)$ besides, which is of the
size that the prior says. Both together are a standard error that grows to the width of the prior
where the recording says nothing. A number of whose variance the second makes up a good part is not
told by the recording alone.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .target import Target, covariance_of_mean

TOLD = 0.2
"""A number is told by the recording where at most this share of its variance is the prior's."""


@dataclasses.dataclass(frozen=True)
class Certainty:
    """Covariance of fitted parameters.

    Attributes:
        recorded: of the fits to recordings of this length, in the order of the leaves of the
            parameters.
        missed: of what the prior makes them miss.
    """

    recorded: Float[np.ndarray, "parameters parameters"]
    missed: Float[np.ndarray, "parameters parameters"]

    @property
    def covariance(self) -> Float[np.ndarray, "parameters parameters"]:
        """Of both together."""
        return self.recorded + self.missed

    @classmethod
    def of(
        cls,
        slopes: Float[np.ndarray, "values parameters"],
        targets: list[Target],
        prior: float,
        weight: float,
    ) -> "Certainty":
        r"""At a minimum.

        Args:
            slopes: derivatives of the residual.
            targets: of the conditions, whose values follow each other in the residual.
            prior: $\tau$.
            weight: $w$.
        """
        size = slopes.shape[1]
        inverse = np.linalg.pinv(slopes.T @ slopes + weight**2 * np.eye(size), hermitian=True)
        moves = slopes.reshape(len(targets), -1, size) / np.sqrt(len(targets))
        total = np.zeros((size, size))
        for target, rows in zip(targets, moves, strict=True):
            psi = target.recorded @ rows @ inverse
            total = total + covariance_of_mean(psi, target.overlap)
        missed = inverse * weight**2 * prior if np.isfinite(prior) else 0 * inverse
        return cls((total + total.T) / 2, missed @ missed)

    def error(self, gradient: np.ndarray) -> float:
        """Standard error of a number with this gradient in the parameters."""
        return float(np.sqrt(max(gradient @ self.covariance @ gradient, 0.0)))

    def told(self, gradient: np.ndarray) -> bool:
        """Whether the recording tells such a number."""
        return bool(gradient @ self.missed @ gradient < TOLD * self.error(gradient) ** 2)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error.
        told: whether the recording tells it; where it does not, much of the error is the width of
            the prior, and the number depends on where training started.
    """

    value: float
    error: float
    told: bool

    def __str__(self) -> str:
        text = f"{self.value:.4g} ± {self.error:.2g}"
        return text if self.told else f"{text}, not told by the recording alone"


def estimates(
    numbers: Callable[[np.ndarray], dict[str, float]],
    x: np.ndarray,
    certainty: Certainty,
    step: float = 1e-3,
) -> dict[str, Estimate]:
    """Numbers that are functions of the parameters, with standard errors to first order.

    Args:
        numbers: cheap functions of the parameters.
        x: the parameters.
        certainty: of them.
        step: of central differences.
    """
    values = numbers(x)
    ends = [(numbers(x + step * unit), numbers(x - step * unit)) for unit in np.eye(x.size)]
    found = {}
    for name, value in values.items():
        gradient = np.array([(up[name] - down[name]) / (2 * step) for up, down in ends])
        found[name] = Estimate(value, certainty.error(gradient), certainty.told(gradient))
    return found
