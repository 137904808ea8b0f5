r"""Static kernels: how two points are compared before the signature kernel compares the paths.

A static kernel lifts a path $x$ to the path $\kappa(x_t, \cdot)$ in its feature space. All of them
but `Linear` are functions of the squared distance $r^2$, a sum of squares, so that their
derivatives are finite where two points coincide, as the starts of paths usually do. The bandwidth
$s$ is that of $e^{-r^2 / (2 s^2)}$; a package that writes $e^{-r^2 / \sigma}$ has
$\sigma = 2 s^2$.
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from .._checks import real_array


class AbstractStaticKernel(eqx.Module):
    """A positive definite kernel of points."""

    @abc.abstractmethod
    def increments(
        self,
        x: Shaped[ArrayLike, "channels points_x *pairs"],
        y: Shaped[ArrayLike, "channels points_y *pairs"],
    ) -> Float[Array, "pieces_x pieces_y *pairs"]:
        r"""Inner products of the pieces of two paths in feature space, channels first.

        $\kappa(x_{i+1}, y_{j+1}) - \kappa(x_i, y_{j+1}) - \kappa(x_{i+1}, y_j) + \kappa(x_i, y_j)$.
        """


class Linear(AbstractStaticKernel):
    r"""$\kappa(x, y) = \langle x, y \rangle$: the signature kernel of the paths as they are."""

    def increments(self, x, y):
        x, y = real_array("x", x), real_array("y", y)
        dx, dy = jnp.diff(x, axis=1), jnp.diff(y, axis=1)
        return _sum_over_channels(lambda a, b: a * b, dx, dy)


class AbstractRadialKernel(AbstractStaticKernel):
    r"""A function of the squared distance in units of the bandwidth, $q = r^2 / s^2$."""

    bandwidth: eqx.AbstractVar[ArrayLike]

    @abc.abstractmethod
    def profile(self, q: Float[Array, "..."]) -> Float[Array, "..."]:
        """Value at the scaled squared distance `q`, 1 at 0."""

    def increments(self, x, y):
        x, y = real_array("x", x), real_array("y", y)
        scale = 1 / jnp.asarray(self.bandwidth, x.dtype)
        values = self.profile(_sum_over_channels(lambda a, b: (a - b) ** 2, x * scale, y * scale))
        return jnp.diff(jnp.diff(values, axis=0), axis=1)


class RBF(AbstractRadialKernel):
    r"""Gaussian kernel $\kappa = e^{-r^2 / (2 s^2)}$ with bandwidth $s$.

    Packages write the bandwidth in three ways; `from_sigma`, `from_gamma`, `sigma` and `gamma`
    convert:

    | kernel | conversion | packages |
    |---|---|---|
    | $e^{-r^2 / (2 s^2)}$ | `RBF(s)` | sigkerax, powersig |
    | $e^{-r^2 / \sigma}$ | $\sigma = 2 s^2$ | pySigLib, sigkernel, tensordev |
    | $e^{-\gamma r^2}$ | $\gamma = 1 / (2 s^2)$ | scikit-learn |

    What is straight between the points of a path is a second convention, the argument `refine` of
    `signature_kernel_gram`.
    """

    bandwidth: ArrayLike = 1.0

    @classmethod
    def from_sigma(cls, sigma: ArrayLike) -> "RBF":
        r"""The kernel $e^{-r^2 / \sigma}$."""
        return cls((sigma / 2) ** 0.5)

    @classmethod
    def from_gamma(cls, gamma: ArrayLike) -> "RBF":
        r"""The kernel $e^{-\gamma r^2}$."""
        return cls((2 * gamma) ** -0.5)

    @property
    def sigma(self) -> ArrayLike:
        r"""$\sigma$ of $e^{-r^2 / \sigma}$."""
        return 2 * self.bandwidth**2

    @property
    def gamma(self) -> ArrayLike:
        r"""$\gamma$ of $e^{-\gamma r^2}$."""
        return 0.5 * self.bandwidth**-2

    def profile(self, q):
        return jnp.exp(-0.5 * q)


class RationalQuadratic(AbstractRadialKernel):
    r"""$\kappa = (1 + r^2 / (2 \alpha s^2))^{-\alpha}$, a mixture of Gaussian kernels."""

    bandwidth: ArrayLike = 1.0
    alpha: ArrayLike = 1.0

    def profile(self, q):
        alpha = jnp.asarray(self.alpha, q.dtype)
        return jnp.exp(-alpha * jnp.log1p(q / (2 * alpha)))


class Matern(AbstractRadialKernel):
    r"""Matern kernel of smoothness $\nu \in \{1/2, 3/2, 5/2\}$, in $\rho = \sqrt{2 \nu}\,r / s$.

    $e^{-\rho}$, $(1 + \rho) e^{-\rho}$ and $(1 + \rho + \rho^2 / 3) e^{-\rho}$. The first has no
    derivative where points coincide; it is given as 0 there.

    Raises:
        ValueError: another smoothness.
    """

    bandwidth: ArrayLike = 1.0
    smoothness: float = eqx.field(static=True, default=1.5)

    def __check_init__(self):
        if self.smoothness not in (0.5, 1.5, 2.5):
            raise ValueError(f"`smoothness` is {self.smoothness}; it must be 0.5, 1.5 or 2.5.")

    def profile(self, q):
        profile = {0.5: _matern_half, 1.5: _matern_three_halves, 2.5: _matern_five_halves}
        return profile[self.smoothness](2 * self.smoothness * q)


# Written as functions of q = rho^2, whose derivatives are again of this family and finite at 0,
# while automatic differentiation of the root is not.


def _root(q: Array) -> Array:
    positive = q > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, q, 1.0)), 0.0)


def _matern_half(q: Array) -> Array:
    return jnp.exp(-_root(q))


@jax.custom_jvp
def _matern_three_halves(q: Array) -> Array:
    rho = _root(q)
    return (1 + rho) * jnp.exp(-rho)


@_matern_three_halves.defjvp
def _(primals, tangents):
    (q,), (dq,) = primals, tangents
    return _matern_three_halves(q), -0.5 * _matern_half(q) * dq


@jax.custom_jvp
def _matern_five_halves(q: Array) -> Array:
    rho = _root(q)
    return (1 + rho + q / 3) * jnp.exp(-rho)


@_matern_five_halves.defjvp
def _(primals, tangents):
    (q,), (dq,) = primals, tangents
    return _matern_five_halves(q), (-1 / 6) * _matern_three_halves(q) * dq


# Channels summed in one pass. All at once would take long to compile, one by one long to run.
_CHANNELS = 8


def _sum_over_channels(term, x: Array, y: Array) -> Array:
    """Sum of `term(x_i, y_j)` over the channels, for all points i and j."""
    channels = x.shape[0]
    shape = (x.shape[1], y.shape[1], *x.shape[2:])
    steps = math.ceil(channels / _CHANNELS)

    def several(x, y):
        total = term(x[0][:, None], y[0][None])
        for a, b in zip(x[1:], y[1:], strict=True):
            total = total + term(a[:, None], b[None])
        return total

    if steps <= 1:
        return several(x, y) if channels else jnp.zeros(shape, x.dtype)
    padding = [(0, steps * _CHANNELS - channels)] + [(0, 0)] * (x.ndim - 1)
    x, y = (jnp.pad(a, padding).reshape(steps, _CHANNELS, *a.shape[1:]) for a in (x, y))

    def step(total, parts):
        return total + several(*parts), None

    return jax.lax.scan(step, jnp.zeros(shape, x.dtype), (x, y))[0]
