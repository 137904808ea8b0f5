"""A Brownian path that is known on a finer grid than the solver's."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._checks import whole_number
from ._brownian import BrownianGrid
from ._grid import AbstractGridDriver, TimeGrid
from ._pieces import RefinedPiece


class RefinedBrownianGrid(AbstractGridDriver):
    r"""A Brownian path on a fine grid, for a solver whose cells are `factor` fine cells long.

    Any part $[s, t]$ of a cell, wherever it begins and ends, has the increment
    $W_t - W_s$ and the space-time Levy area
    $H_{s,t} = \frac{1}{t - s} \int_s^t (W_r - W_s)\,dr - \frac{1}{2} (W_t - W_s)$
    of the one fine path, by prefix sums of the path and of its integral: the cost does not
    depend on `factor`. Over whole cells these are the numbers of `fine.coarsen(factor)`; inside a
    cell that one has a straight line or a parabola only, and this one the path itself. So an event
    meets the path where it happens, which is what the derivative of an event time depends on.

    Use it for reference solutions, and to see how a solver converges: solve on
    `RefinedBrownianGrid(fine, factor)` for several factors. Its memory is that of the fine path.

    Such a path has no useful derivative in time, its slope being of size
    $(\text{fine dt0})^{-1/2}$. Increments are held fixed when event times are differentiated, and
    only what is smooth in the end points, the integral of the path, is differentiated.

    Args:
        fine: the path; piecewise linear, or parabolic where it has areas. Not with random bridges.
        factor: how many of its cells make one of the solver's; a divisor of their number.
        grid: the solver's grid, by default the one that follows; given, it is the same to the last
            digit.

    Raises:
        TypeError: `fine` is no `BrownianGrid`.
        ValueError: it has random bridges or keeps no increments, or `factor` does not divide its
            number of cells.
    """

    fine: BrownianGrid
    values: PyTree[Float[Array, "cells points ..."]]
    integrals: PyTree[Float[Array, "cells points ..."]]
    grid: TimeGrid
    factor: int = eqx.field(static=True)

    def __init__(self, fine: BrownianGrid, factor: int, grid: TimeGrid | None = None):
        if not isinstance(fine, BrownianGrid):
            raise TypeError(f"`fine` must be a BrownianGrid, got {type(fine).__name__}.")
        if fine.bridge != "linear":
            raise ValueError(
                '`fine` must be one fixed path, BrownianGrid(..., bridge="linear"), got '
                f'bridge="{fine.bridge}".'
            )
        if fine.increments is None:
            raise ValueError("`fine` must keep its increments, BrownianGrid(..., stored=True).")
        cells = fine.grid.num_cells
        factor = whole_number("factor", factor, 1)
        if cells % factor:
            raise ValueError(
                f"`factor` must be a positive divisor of the number of cells {cells}, got {factor}."
            )
        self.fine = fine
        self.factor = factor
        self.grid = TimeGrid(fine.t0, fine.t1, fine.grid.dt0 * factor) if grid is None else grid

        def from_start(x):
            return jnp.concatenate([jnp.zeros_like(x[:, :1]), jnp.cumsum(x, axis=1)], axis=1)

        def values(w):
            return from_start(w.reshape((-1, factor) + w.shape[1:]))

        def integrals(w, path, h=None):
            widths = fine.grid.widths(w.dtype).reshape((-1, factor) + (1,) * (w.ndim - 1))
            mean = 0.5 * (path[:, 1:] + path[:, :-1])
            if h is not None:
                mean = mean + h.reshape(mean.shape)
            return from_start(widths * mean)

        self.values = jax.tree.map(values, fine.increments)
        known = (fine.increments, self.values) + (() if fine.areas is None else (fine.areas,))
        self.integrals = jax.tree.map(integrals, *known)

    @property
    def t0(self):
        return self.fine.t0

    @property
    def t1(self):
        return self.fine.t1

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The value at `t0`, or the increment from `t0` to `t1`, as that of the fine path."""
        return self.fine.evaluate(t0, t1, left, use_levy)

    @property
    def is_smooth(self):
        return False

    def start(self, cell):
        return None

    def piece(self, state, cell, t, cell_end) -> dfx.AbstractPath:
        rows = jax.tree.map(lambda x: x[cell], (self.values, self.integrals))
        areas = None
        if self.fine.areas is not None:
            areas = jax.tree.map(
                lambda x: x.reshape((-1, self.factor) + x.shape[1:])[cell], self.fine.areas
            )
        end = self.grid.width(cell, t.dtype)
        return RefinedPiece(end, self.fine.grid.dt0, *rows, areas)

    def left(self, state, piece, t, t_event, cell_end):
        return None
