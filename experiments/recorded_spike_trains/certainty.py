r"""How well a recording determines what was fitted to it.

The fit minimises $|r(x)|^2 + w^2 |x - x_0|^2$, with r the mean features of the model less those of
the recording, J its Jacobian and $w^2 = 1 / (\tau^2 n)$ of the prior. A recorded sequence moves the
minimum by $\psi_i = A^{-1} J^\top v_i$, $A = J^\top J + w^2$, so that the covariance of the fit
over recordings is that of the mean of the $\psi_i$, which overlap (a sandwich); where the prior
holds a parameter at its start, the fit misses it by $A^{-1} w^2 (x - x_0)$ besides, which is of the
size that the prior says. Both together are a standard error that grows to the width of the prior
where the recording says nothing.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .target import Target, covariance_of_mean

TOLD = 0.5
"""A number is told by the recording where its standard error is below this share of what it is
uncertain by before anything is recorded."""


@dataclasses.dataclass(frozen=True)
class Certainty:
    """Covariance of fitted parameters.

    Attributes:
        covariance: in the order of the leaves of the parameters.
        prior: standard deviation of a parameter about its start before anything was recorded.
    """

    covariance: Float[np.ndarray, "parameters parameters"]
    prior: float

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
        if np.isfinite(prior):
            missed = inverse * weight**2 * prior
            total = total + missed @ missed
        return cls((total + total.T) / 2, prior)

    def error(self, gradient: np.ndarray) -> float:
        """Standard error of a number with this gradient in the parameters."""
        return float(np.sqrt(max(gradient @ self.covariance @ gradient, 0.0)))

    def told(self, gradient: np.ndarray) -> bool:
        """Whether the recording tells such a number."""
        before = self.prior * float(np.linalg.norm(gradient))
        return self.error(gradient) < TOLD * before


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error.
        told: whether the recording tells it; where it does not, the number is near that of the
            start, and its error says how wide the prior is.
    """

    value: float
    error: float
    told: bool

    def __str__(self) -> str:
        text = f"{self.value:.4g} ± {self.error:.2g}"
        return text if self.told else f"{text}, not told by the recording"


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
