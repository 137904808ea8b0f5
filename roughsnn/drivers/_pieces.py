"""A Brownian motion inside one grid cell, given what is known of it over the cell.

Known are its increment W over the cell and, for solvers of order 1.5, its space-time Levy area
H = 1/h int (W_t - t/h W) dt, with W ~ N(0, h) and H ~ N(0, h/12) independent.
"""

import diffrax as dfx
import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def increment(w, h_area, t0, t1, use_levy):
    """What diffrax's solvers ask a Brownian path for."""
    if not use_levy:
        return w
    dt = jnp.asarray(t1 - t0)
    if h_area is None:
        return dfx.BrownianIncrement(dt=dt, W=w)
    return dfx.SpaceTimeLevyArea(dt=dt, W=w, H=h_area)


class _Piece(dfx.AbstractPath):
    @property
    def t0(self):
        return -jnp.inf

    @property
    def t1(self):
        return jnp.inf


class LinearPiece(_Piece):
    """The straight line over a cell, given by its slope."""

    slope: PyTree[Array]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        w = jax.tree.map(lambda s: s * (t1 - t0).astype(s.dtype), self.slope)
        return increment(w, None, t0, t1, use_levy)


class ParabolaPiece(_Piece):
    r"""The parabola over a cell that has its increment and its space-time Levy area, the mean of
    the Brownian motion given both: with $x = (t - t_j)/h$, $W_t = x W + 6 x (1 - x) H$. Over a
    part of length $\ell$ of the cell its Levy area is $(\ell / h)^2 H$."""

    start: Float[Array, ""]
    width: Float[Array, ""]
    w: PyTree[Array]
    h_area: PyTree[Array]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        a, b = (t0 - self.start) / self.width, (t1 - self.start) / self.width

        def between(w, h):
            x, y = a.astype(w.dtype), b.astype(w.dtype)
            return (y - x) * (w + 6 * h * (1 - x - y))

        w = jax.tree.map(between, self.w, self.h_area)
        h_area = jax.tree.map(lambda h: (b - a).astype(h.dtype) ** 2 * h, self.h_area)
        return increment(w, h_area, t0, t1, use_levy)


class BridgePiece(_Piece):
    r"""A Brownian bridge from where the piece begins to the end of the cell.

    Given the increment $R$ of what is left of the cell, of length $r$, the increment over the
    first $\ell$ is $N(\frac{\ell}{r} R, \frac{\ell (r - \ell)}{r})$. It is held fixed in time.
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    w: PyTree[Array]
    normals: PyTree[Array]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        length, first, _ = _lengths(self, t1)
        sd = jnp.sqrt(first * (length - first) / length)

        def part(w, z):
            return (first / length).astype(w.dtype) * w + sd.astype(w.dtype) * z

        return increment(jax.tree.map(part, self.w, self.normals), None, t0, t1, use_levy)

    def rest(self, t):
        """The increment from `t` to the end of the cell."""
        used = self.evaluate(self.start, t)
        return jax.tree.map(lambda w, u: w - u, self.w, used)


class LevyBridgePiece(_Piece):
    r"""A Brownian bridge with its space-time Levy area, exact in law.

    With $\ell + \ell' = r$ the lengths before and after a cut, $W = W_1 + W_2$ and
    $H = \frac{\ell}{r} H_1 + \frac{\ell'}{r} H_2 + \frac{\ell'}{2r} W_1 - \frac{\ell}{2r} W_2$.
    The two halves are drawn independently and moved onto the known $(W, H)$ by their regression
    on it (Matheron's rule). It is held fixed in time.
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    w: PyTree[Array]
    h_area: PyTree[Array]
    normals: PyTree[Array]

    def _cut(self, t):
        length, first, second = _lengths(self, t)

        def cut(w, h, z):
            r, l1, l2 = (x.astype(w.dtype) for x in (length, first, second))
            w1, w2 = jnp.sqrt(l1) * z[0], jnp.sqrt(l2) * z[1]
            h1, h2 = jnp.sqrt(l1 / 12) * z[2], jnp.sqrt(l2 / 12) * z[3]
            dw = w - (w1 + w2)
            dh = h - (l1 * h1 + l2 * h2 + 0.5 * l2 * w1 - 0.5 * l1 * w2) / r
            share1, share2 = l1 / r, l2 / r
            w1 = w1 + share1 * dw + 6 * share1 * share2 * dh
            w2 = w2 + share2 * dw - 6 * share1 * share2 * dh
            return w1, h1 + share1**2 * dh, w2, h2 + share2**2 * dh

        parts = jax.tree.map(cut, self.w, self.h_area, self.normals)
        outer, inner = jax.tree.structure(self.w), jax.tree.structure((0, 0, 0, 0))
        return jax.tree.transpose(outer, inner, parts)

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        w, h_area, _, _ = self._cut(t1)
        return increment(w, h_area, t0, t1, use_levy)

    def rest(self, t):
        """Increment and Levy area from `t` to the end of the cell."""
        return self._cut(t)[2:]


def _lengths(piece, t):
    """Length of the piece and of its parts before and after `t`, without derivatives."""
    start, end, t = lax.stop_gradient((piece.start, piece.end, t))
    length = jnp.where(end > start, end - start, 1)
    first = jnp.where(end > start, jnp.clip(t - start, 0, length), length)
    return length, first, length - first


def merged_areas(w: Array, h_area: Array, widths: Float[Array, " m"]) -> tuple[Array, Array]:
    """Increment and space-time Levy area over consecutive cells, from those of each; the cells
    lie along the first axis."""
    shape = (-1,) + (1,) * (w.ndim - 1)
    width = widths.reshape(shape)
    before = jnp.cumsum(w, axis=0) - w
    integral = jnp.sum(width * (before + h_area + 0.5 * w), axis=0)
    total = jnp.sum(w, axis=0)
    return total, integral / jnp.sum(widths) - 0.5 * total
