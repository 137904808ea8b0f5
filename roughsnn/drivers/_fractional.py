"""Fractional Brownian motion on the solver's time grid."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import RealLike, number
from ._grid import AbstractGridDriver, TimeGrid
from ._pieces import LinearPiece, increment


class FractionalBrownianGrid(AbstractGridDriver):
    r"""Fractional Brownian motion $B^H$ with independent components, piecewise linear on a grid.

    Its increments over the cells are Gaussian with the exact covariance

    $$E[\Delta_i \Delta_j] = \tfrac{h^{2H}}{2}
    \big(|i-j+1|^{2H} - 2|i-j|^{2H} + |i-j-1|^{2H}\big),$$

    drawn by circulant embedding (Davies & Harte 1987). The path has finite p-variation for every
    $p > 1/H$: for $H > 1/2$ the equation is a Young equation with any diffusion, and an event SDE
    driven by it needs no Levy area. For $H \le 1/2$ only a diffusion that does not depend on the
    state is accepted, with which nothing but the path itself enters.

    Args:
        t0: start of the grid.
        t1: its end, a whole number of cells after `t0`.
        dt0: length of the cells.
        shape: shape of the path, a tuple of integers.
        key: random key.
        hurst: Hurst parameter $0 < H < 1$; $H = 1/2$ is Brownian motion.

    Raises:
        ValueError: `hurst` out of range, or a window that is not a whole number of cells.
    """

    increments: Float[Array, "n ..."]
    grid: TimeGrid
    hurst: float = eqx.field(static=True)

    def __init__(
        self,
        t0: RealLike,
        t1: RealLike,
        dt0: RealLike,
        shape: tuple[int, ...],
        key: PRNGKeyArray,
        *,
        hurst: RealLike,
    ):
        self.grid = TimeGrid(t0, t1, dt0)
        self.hurst = hurst = number("hurst", hurst)
        if not 0 < hurst < 1:
            raise ValueError(f"`hurst` must lie in (0, 1), got {hurst}.")
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"`shape` must be a tuple of non-negative integers, got {shape!r}.")
        t0, t1, dt0 = self.grid.t0, self.grid.t1, self.grid.dt0
        n = self.grid.num_cells
        if not math.isclose(n * dt0, t1 - t0, rel_tol=1e-6):
            raise ValueError(
                f"`t1 - t0` must be a whole number of cells, got a window of {t1 - t0} and "
                f"dt0={dt0}."
            )
        roots = np.sqrt(_eigenvalues(n, self.hurst) / (2 * n)) * dt0**self.hurst
        re, im = jr.normal(key, (2, math.prod(shape), 2 * n))
        roots = jnp.asarray(roots, re.dtype)
        noise = jnp.fft.fft(jax.lax.complex(roots[None] * re, roots[None] * im), axis=-1).real[
            :, :n
        ]
        self.increments = noise.T.reshape((n, *shape))

    @property
    def t0(self):
        return self.grid.t0

    @property
    def t1(self):
        return self.grid.t1

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The value at `t0`, or the increment from `t0` to `t1` (cost: the number of cells)."""
        if t1 is not None:
            return increment(self.evaluate(t1) - self.evaluate(t0), None, t0, t1, use_levy)
        dtype = self.increments.dtype
        since = t0 - self.grid.t0 - self.grid.points(dtype)[:-1]
        share = jnp.clip(since / self.grid.widths(dtype), 0, 1)
        return jnp.tensordot(share, self.increments, axes=1)

    def start(self, cell):
        return None

    def piece(self, state, cell, t, cell_end):
        return LinearPiece(self.increments[cell] / self.grid.dt0)

    def left(self, state, piece, t, t_event, cell_end):
        return None


def _eigenvalues(n: int, hurst: float) -> np.ndarray:
    """Of the circulant matrix of size 2n that holds the covariance of n unit increments."""
    lag = np.arange(n + 1, dtype=float)
    power = 2 * hurst
    covariance = 0.5 * ((lag + 1) ** power - 2 * lag**power + np.abs(lag - 1) ** power)
    values = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    # non-negative for every Hurst parameter (Craigmile 2003), up to rounding
    return np.maximum(values, 0.0)


def roughest(driver) -> float:
    """The smallest Hurst parameter at or below 1/2 of a fractional part of a driver; 1 if none."""
    parts = [
        leaf.hurst
        for leaf in jax.tree.leaves(driver, is_leaf=lambda x: isinstance(x, FractionalBrownianGrid))
        if isinstance(leaf, FractionalBrownianGrid)
    ]
    return min(parts, default=1.0)
