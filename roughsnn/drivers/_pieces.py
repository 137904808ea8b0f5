"""A Brownian motion inside one grid cell, given what is known of it over the cell.

Known are its increment W over the cell and, for solvers of order 1.5, its space-time Levy area
H = 1/h int (W_t - t/h W) dt, with W ~ N(0, h) and H ~ N(0, h/12) independent.
"""

import diffrax as dfx
import equinox as eqx
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


def held_increment(w, h_area, t0, t1, use_levy):
    r"""The same for a path that is as rough as a Brownian motion. It is held fixed in time: the
    derivative of an event SDE contains no noise. The mean of the path over $[s, t]$,
    $\frac{1}{t - s} \int_s^t (W_r - W_s)\,dr = \frac{1}{2} W + H$, is smooth in $t$ all the
    same, and with $W_s$ and $W_t$ held fixed
    $\partial_t H = \frac{W/2 - H}{t - s}$ and $\partial_s H = \frac{W/2 + H}{t - s}$.
    These make the derivatives of event times by a solver of order 1.5 converge in proportion to
    the step; without them the drift at the event is only known to the square root of it.
    """
    w, h_area = lax.stop_gradient((w, h_area))
    if not use_levy or h_area is None:
        return increment(w, None, t0, t1, use_levy)
    ell = lax.stop_gradient(t1 - t0)
    # zero but for their derivatives; an interval of length zero has none
    ds, dt = (jnp.where(ell > 0, (t - lax.stop_gradient(t)) / ell, 0) for t in (t0, t1))

    def rate(w, h):
        ahead, behind = dt.astype(w.dtype), ds.astype(w.dtype)
        return h + ahead * (0.5 * w - h) + behind * (0.5 * w + h)

    return increment(w, jax.tree.map(rate, w, h_area), t0, t1, use_levy)


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

    width: Float[Array, ""]
    w: PyTree[Array]
    h_area: PyTree[Array]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        assert t1 is not None, "a piece of a driver is asked for increments"
        a, b = t0 / self.width, t1 / self.width

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
    on it (Matheron's rule). It is held fixed in time, see `held_increment`.
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
        return held_increment(w, h_area, t0, t1, use_levy)

    def rest(self, t):
        """Increment and Levy area from `t` to the end of the cell."""
        return self._cut(t)[2:]


class RefinedPiece(_Piece):
    r"""One cell of a path that is known on a finer grid: its values $W$ and integrals
    $\int W\,dr$ from the start of the cell on, at the fine points, and the Levy areas of the fine
    cells where it has some."""

    end: Float[Array, ""]
    width: float = eqx.field(static=True)
    values: PyTree[Float[Array, "points ..."]]
    integrals: PyTree[Float[Array, "points ..."]]
    areas: PyTree[Float[Array, "cells ..."]] | None

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        end, *times = lax.stop_gradient((self.end, t0, t1))
        # a sample that has ended steps on over a dummy interval
        s, t = (jnp.clip(x, 0, end) for x in times)
        ell = jnp.where(t > s, t - s, 1)

        def both(values, integrals, h=None):
            last = values.shape[0] - 2

            def at(x):
                x = x.astype(values.dtype)
                j = jnp.clip(jnp.floor(x / self.width), 0, last).astype(jnp.int32)
                left = j.astype(values.dtype) * self.width
                # the last fine cell of the window may be a shorter one
                width = jnp.where(j == last, end.astype(values.dtype) - left, self.width)
                u = (x - left) / width
                begin, step = values[j], values[j + 1] - values[j]
                value, mean = begin + u * step, u * begin + 0.5 * u**2 * step
                if h is not None:
                    value = value + 6 * u * (1 - u) * h[j]
                    mean = mean + u**2 * (3 - 2 * u) * h[j]
                return value, integrals[j] + width * mean

            (w_s, i_s), (w_t, i_t) = at(s), at(t)
            w = w_t - w_s
            length = ell.astype(values.dtype)
            mean = jnp.where(t > s, (i_t - i_s) / length - w_s, 0)
            return w, mean - 0.5 * w

        trees = (self.values, self.integrals) + (() if self.areas is None else (self.areas,))
        pairs = jax.tree.map(both, *trees)
        outer, inner = jax.tree.structure(self.values), jax.tree.structure((0, 0))
        w, h_area = jax.tree.transpose(outer, inner, pairs)
        return held_increment(w, h_area, t0, t1, use_levy)


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


class ZeroPiece(_Piece):
    """A path that does not move."""

    zeros: PyTree[Array]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return increment(self.zeros, self.zeros, t0, t1, use_levy)


class SumPiece(_Piece):
    """The sum of several pieces."""

    pieces: tuple[dfx.AbstractPath, ...]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        parts = [p.evaluate(t0, t1, left, **_levy(use_levy)) for p in self.pieces]
        return _together(parts, t0, t1, use_levy, lambda *x: sum(x[1:], x[0]), False)


class ProductPiece(_Piece):
    """Several pieces side by side, as a tuple."""

    pieces: tuple[dfx.AbstractPath, ...]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        parts = [p.evaluate(t0, t1, left, **_levy(use_levy)) for p in self.pieces]
        return _together(parts, t0, t1, use_levy, None, True)


def _levy(use_levy):
    return {"use_levy": True} if use_levy else {}


def _together(parts, t0, t1, use_levy, add, as_tuple):
    """Increments (and Levy areas, where all parts have them) of several pieces as one."""

    def put(values):
        return tuple(values) if as_tuple else jax.tree.map(add, *values)

    if not use_levy:
        return put(parts)
    areas = [getattr(p, "H", None) for p in parts]
    area = None if any(a is None for a in areas) else put(areas)
    return increment(put([p.W for p in parts]), area, t0, t1, True)
