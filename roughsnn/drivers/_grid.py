"""What the event solver asks of a driver, cell by cell of its time grid."""

import abc
import math
from functools import partial
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._checks import number


class TimeGrid(eqx.Module):
    """The grid t0 + j dt0, j = 0..n, whose last cell ends at t1 exactly (and may be shorter).

    Attributes:
        t0: start of the grid; a python number, as are the others, since they fix the number of
            cells.
        t1: its end.
        dt0: length of the cells.
    """

    t0: float = eqx.field(static=True, converter=partial(number, "t0"))
    t1: float = eqx.field(static=True, converter=partial(number, "t1"))
    dt0: float = eqx.field(static=True, converter=partial(number, "dt0", positive=True))

    def __check_init__(self):
        if self.t1 <= self.t0:
            raise ValueError(
                f"`t1` must be greater than `t0`, got t0={self.t0} and t1={self.t1}: the solver "
                "runs forward in time over a window of positive length."
            )

    @property
    def num_cells(self) -> int:
        # a window that is a whole number of steps up to rounding has no sliver at its end
        return max(1, math.ceil((self.t1 - self.t0) / self.dt0 * (1 - 1e-9) - 1e-9))

    def end(self, cell: Int[Array, ""], dtype) -> Float[Array, ""]:
        """The right end of a cell."""
        t = jnp.asarray(self.t0, dtype) + (cell + 1).astype(dtype) * jnp.asarray(self.dt0, dtype)
        return jnp.where(cell + 1 >= self.num_cells, jnp.asarray(self.t1, dtype), t)

    def widths(self, dtype) -> Float[Array, " n"]:
        n = self.num_cells
        return jnp.full(n, self.dt0, dtype).at[-1].set(self.t1 - self.t0 - (n - 1) * self.dt0)

    def points(self, dtype) -> Float[Array, " points"]:
        n = self.num_cells
        left = self.t0 + jnp.arange(n, dtype=dtype) * jnp.asarray(self.dt0, dtype)
        return jnp.concatenate([left, jnp.asarray([self.t1], dtype)])


class AbstractGridDriver(dfx.AbstractPath):
    """A driver that lives on a time grid and hands the solver one piece of a cell at a time.

    The solver asks for `start(cell)` when it enters a cell, for a `piece` of the path that begins
    where it stands, and for what is `left` of the cell when an event cuts the piece short. A
    piece is a diffrax path, only ever evaluated as `piece.evaluate(t, t')` with t' in the cell.
    """

    grid: eqx.AbstractVar[TimeGrid]

    @abc.abstractmethod
    def start(self, cell: Int[Array, ""]) -> PyTree:
        """The driver's state on entering a cell."""

    @abc.abstractmethod
    def piece(self, state: PyTree, cell: Int[Array, ""], t, cell_end) -> dfx.AbstractPath:
        """The path from `t` to the end of the cell."""

    @abc.abstractmethod
    def left(self, state: PyTree, piece: dfx.AbstractPath, t, t_event, cell_end) -> PyTree:
        """The driver's state after an event at `t_event` inside the piece that began at `t`."""

    def jumps(self, dtype) -> Any:
        """When and by how much the driver jumps, as a `Jumps`; `None` if it never does."""
        return None


class PathDriver(AbstractGridDriver):
    """Any diffrax path as a driver.

    A Brownian path has no derivative in time: it is held fixed when event times are
    differentiated, before and after the event alike. Other paths are differentiated in time on
    both sides.
    """

    path: dfx.AbstractPath
    grid: TimeGrid

    @property
    def t0(self):
        return self.path.t0

    @property
    def t1(self):
        return self.path.t1

    def evaluate(self, t0, t1=None, left=True, **kwargs):
        return self.path.evaluate(t0, t1, left, **kwargs)

    def start(self, cell):
        return None

    def piece(self, state, cell, t, cell_end):
        return _PathPiece(self.path, isinstance(self.path, dfx.AbstractBrownianPath))

    def left(self, state, piece, t, t_event, cell_end):
        return None


class _PathPiece(dfx.AbstractPath):
    path: dfx.AbstractPath
    fixed_in_time: bool = eqx.field(static=True)

    @property
    def t0(self):
        return self.path.t0

    @property
    def t1(self):
        return self.path.t1

    def evaluate(self, t0, t1=None, left=True, **kwargs):
        # a sample that has ended steps on over a dummy interval, past the end of the path
        times = [None if t is None else jnp.clip(t, self.t0, self.t1) for t in (t0, t1)]
        if self.fixed_in_time:
            times = [None if t is None else jax.lax.stop_gradient(t) for t in times]
        return self.path.evaluate(times[0], times[1], left, **kwargs)


def check_driver(driver, grid: TimeGrid) -> None:
    """Refuses what is no path, a path that does not repeat itself, and one that ends too early."""
    if driver is None:
        return
    if not isinstance(driver, dfx.AbstractPath):
        raise TypeError(
            "`driver` must be a diffrax path (for instance roughsnn.BrownianGrid or "
            f"diffrax.VirtualBrownianTree) or None, got {type(driver).__name__}."
        )
    if isinstance(driver, dfx.UnsafeBrownianPath):
        raise ValueError(
            "`driver` must give the same path however it is cut into pieces, and a "
            "diffrax.UnsafeBrownianPath does not: use roughsnn.BrownianGrid or "
            "diffrax.VirtualBrownianTree."
        )
    slack = 1e-6 * (grid.t1 - grid.t0)
    for name, time, sign in (("t0", driver.t0, 1), ("t1", driver.t1, -1)):
        known = time is not None and not isinstance(time, jax.core.Tracer)
        if known and np.any(sign * (np.asarray(time, float) - getattr(grid, name)) > slack):
            raise ValueError(
                f"`driver` must cover the window [{grid.t0}, {grid.t1}], got one with "
                f"{name}={time}."
            )
