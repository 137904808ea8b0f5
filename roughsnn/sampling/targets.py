"""What is sampled from: densities that give their score, the gradient of their logarithm."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import IntLike, RealLike, finite_array, number, real_array, whole_number


class AbstractTarget(eqx.Module):
    """A probability density on p dimensions, known up to a factor."""

    dim: eqx.AbstractVar[int]

    @abc.abstractmethod
    def score(self, x: Float[Array, " p"]) -> Float[Array, " p"]:
        """The gradient of the logarithm of the density."""


class LogDensity(AbstractTarget):
    """A density given by a function, which is differentiated for its score.

    Attributes:
        log_density: from a point of shape (p,) to the logarithm of the density, a number; a
            constant does not matter. Where it is infinite or NaN, so is the score NaN, and
            sampling ends in an error.
        dim: p.
    """

    log_density: Callable
    dim: int = eqx.field(static=True, converter=partial(whole_number, "dim", least=1))

    def __check_init__(self):
        if not callable(self.log_density):
            raise TypeError(
                f"`log_density` must be a function, got {type(self.log_density).__name__}."
            )

    def score(self, x):
        value, slope = jax.value_and_grad(self.log_density)(x)
        # where there is no density a slope may be finite, such as that of the logarithm below 0
        return jnp.where(jnp.isfinite(value), slope, jnp.nan)


class GaussianTarget(AbstractTarget):
    r"""The normal distribution $N(m, \Sigma)$.

    Attributes:
        mean: $m$, of shape (p,).
        covariance: $\Sigma$, of shape (p, p).
        precision: $\Sigma^{-1}$.
        root: the symmetric square root of $\Sigma$.

    Raises:
        ValueError: a covariance that is not symmetric and positive definite, or a mean of another
            dimension.
    """

    mean: Float[Array, " p"]
    covariance: Float[Array, "p p"]
    precision: Float[Array, "p p"]
    root: Float[Array, "p p"]

    def __init__(self, mean: Any, covariance: Any):
        mean, covariance = finite_array("mean", mean), real_array("covariance", covariance)
        p = covariance.shape[0] if covariance.ndim else 0
        if covariance.shape != (p, p) or p == 0:
            raise ValueError(f"`covariance` must be a square matrix, got shape {covariance.shape}.")
        if mean.shape not in ((), (p,)):
            raise ValueError(
                f"`mean` must be a number or have shape ({p},), as the covariance has shape "
                f"{covariance.shape}; got {mean.shape}."
            )
        if not isinstance(covariance, jax.core.Tracer):
            _refuse_unless_positive_definite(np.asarray(covariance))
        values, vectors = jnp.linalg.eigh(covariance)
        self.mean = jnp.broadcast_to(mean, (p,)).astype(covariance.dtype)
        self.covariance = covariance
        self.precision = (vectors / values[None]) @ vectors.T
        self.root = (vectors * jnp.sqrt(values)[None]) @ vectors.T

    @property
    def dim(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The number of dimensions p."""
        return self.covariance.shape[0]

    def score(self, x):
        return self.precision @ (self.mean - x)

    def sample(self, key: PRNGKeyArray, num_samples: IntLike) -> Float[Array, "num_samples p"]:
        """Independent samples."""
        num_samples = whole_number("num_samples", num_samples, 0)
        normal = jr.normal(key, (num_samples, self.dim), self.covariance.dtype)
        return self.mean[None] + normal @ self.root


def _refuse_unless_positive_definite(covariance: np.ndarray) -> None:
    if not np.all(np.isfinite(covariance)):
        raise ValueError("`covariance` must be finite; it holds an infinite number or NaN.")
    scale = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > 1e-5 * scale:
        raise ValueError("`covariance` must be symmetric; take (C + C.T) / 2.")
    smallest = np.linalg.eigvalsh(covariance.astype(np.float64)).min()
    if smallest <= 1e-7 * scale:
        raise ValueError(
            f"`covariance` must be positive definite, its smallest eigenvalue is {smallest:.3g}: a "
            "direction without variance cannot be sampled. Add a little to the diagonal."
        )


def equicorrelated_covariance(
    dim: IntLike, correlation: RealLike, variance: RealLike = 1.0, common: RealLike | None = None
) -> Float[Array, "p p"]:
    r"""The covariance $(s - c)I + c\,\mathbf{1}\mathbf{1}^\top$ of p variables that are all
    equally correlated.

    Args:
        dim: p.
        correlation: $\rho$, less than 1 and above $-1/(p-1)$.
        variance: $s$.
        common: the covariance $c$ of two variables, by default $\rho s$. If it is given, the
            diagonal becomes $(1 - \rho)s + c$.

    Raises:
        ValueError: an argument outside its range.
    """
    p = whole_number("dim", dim, 1)
    rho = number("correlation", correlation, below=1)
    s = number("variance", variance, positive=True)
    c = rho * s if common is None else number("common", common)
    if (1 - rho) * s + p * c <= 0:
        raise ValueError(
            f"`correlation` is {rho} and `dim` {p}: so many variables cannot all be so negatively "
            f"correlated; it must be above {-1 / max(p - 1, 1):.3g}."
        )
    return (1 - rho) * s * jnp.eye(p) + jnp.full((p, p), c)


class LinearGaussianModel(eqx.Module):
    r"""An observation that is linear in hidden variables: $x \sim N(m, C)$,
    $y = Hx + \varepsilon$, $\varepsilon \sim N(0, R)$.

    Attributes:
        prior: $N(m, C)$, a [`roughsnn.sampling.GaussianTarget`][] of p dimensions.
        observation_matrix: $H$, of shape (q, p).
        noise_covariance: $R$, of shape (q, q).

    Raises:
        TypeError: a prior of another kind.
        ValueError: shapes that do not fit each other, or a covariance that is none.
    """

    prior: GaussianTarget
    observation_matrix: Float[Array, "q p"]
    noise_covariance: Float[Array, "q q"]

    def __init__(self, prior: GaussianTarget, observation_matrix: Any, noise_covariance: Any):
        if not isinstance(prior, GaussianTarget):
            raise TypeError(f"`prior` must be a GaussianTarget, got {type(prior).__name__}.")
        h = finite_array("observation_matrix", observation_matrix)
        r = real_array("noise_covariance", noise_covariance)
        if h.ndim != 2 or h.shape[1] != prior.dim:
            raise ValueError(
                f"`observation_matrix` must have shape (q, {prior.dim}), got {h.shape}."
            )
        if r.shape != (h.shape[0], h.shape[0]):
            raise ValueError(
                f"`noise_covariance` must have shape ({h.shape[0]}, {h.shape[0]}), one row for "
                f"each row of `observation_matrix`, got {r.shape}."
            )
        if not isinstance(r, jax.core.Tracer):
            _refuse_unless_positive_definite(np.asarray(r))
        self.prior, self.observation_matrix, self.noise_covariance = prior, h, r

    def posterior(self, observation: Any) -> GaussianTarget:
        r"""The distribution of x given y: precision $C^{-1} + H^\top R^{-1} H$, and mean
        $\Sigma(C^{-1} m + H^\top R^{-1} y)$.

        Args:
            observation: $y$, of shape (q,).

        Raises:
            ValueError: an observation of another shape.
        """
        y, h = finite_array("observation", observation), self.observation_matrix
        if y.shape != (h.shape[0],):
            raise ValueError(f"`observation` must have shape ({h.shape[0]},), got {y.shape}.")
        weighted = jnp.linalg.solve(self.noise_covariance, h).T
        covariance = jnp.linalg.inv(self.prior.precision + weighted @ h)
        covariance = (covariance + covariance.T) / 2
        mean = covariance @ (self.prior.precision @ self.prior.mean + weighted @ y)
        return GaussianTarget(mean, covariance)
