"""What the event solver asks of a driver, cell by cell of its time grid."""

import abc
import math
import sys
from functools import partial
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._checks import number

# what is this close, relatively, is equal
_ROUNDING = 1e-9


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
        if self.dt0 > self.duration * (1 + _ROUNDING):
            raise ValueError(
                f"`dt0` must be at most the length of the window, got dt0={self.dt0} and a window "
                f"[{self.t0}, {self.t1}] of length {self.duration:g}."
            )

    def in_one_cell(self) -> "TimeGrid":
        """The window as a single cell, for steps of adaptive size."""
        return TimeGrid(self.t0, self.t1, self.duration)

    def from_zero(self) -> "TimeGrid":
        """The same cells, on a window that begins at zero."""
        length = self.num_cells * self.dt0 if self._is_whole else self.duration
        return TimeGrid(0.0, length, self.dt0)

    @property
    def duration(self) -> float:
        """Length of the window."""
        return self.t1 - self.t0

    @property
    def num_cells(self) -> int:
        # a window that is a whole number of steps up to rounding has no sliver at its end
        return max(1, math.ceil(self._in_cells(self.duration)))

    def _in_cells(self, length: float) -> float:
        """A length in cells, less what rounding may have made of the ends of the window."""
        slack = _ROUNDING + 4 * sys.float_info.epsilon * max(abs(self.t0), abs(self.t1)) / self.dt0
        return length / self.dt0 * (1 - _ROUNDING) - min(slack, 0.01)

    @property
    def width_of_last(self) -> float:
        """Length of the last cell."""
        width = self.duration - (self.num_cells - 1) * self.dt0
        # a whole cell up to rounding is a whole cell
        return self.dt0 if abs(width - self.dt0) < 0.02 * self.dt0 and self._is_whole else width

    @property
    def _is_whole(self) -> bool:
        """Whether the window is a whole number of cells, up to rounding of its ends."""
        excess = abs(self.duration - self.num_cells * self.dt0)
        rounding = 4 * sys.float_info.epsilon * max(abs(self.t0), abs(self.t1))
        return excess <= _ROUNDING * self.duration + rounding

    def begin(self, cell: Int[Array, "*n"], dtype) -> Float[Array, "*n"]:
        """The left end of a cell, as time since the start of the grid; that of the cell after the
        last is the end of the grid."""
        t = cell.astype(dtype) * jnp.asarray(self.dt0, dtype)
        return jnp.where(cell >= self.num_cells, jnp.asarray(self.duration, dtype), t)

    def width(self, cell: Int[Array, "*n"], dtype) -> Float[Array, "*n"]:
        """The length of a cell."""
        is_last = cell >= self.num_cells - 1
        return jnp.where(is_last, self.width_of_last, self.dt0).astype(dtype)

    def place(
        self, since: Float[Array, "*times"]
    ) -> tuple[Int[Array, "*times"], Float[Array, "*times"]]:
        """The cell in which a time since the start of the grid lies, and the time since the start
        of that cell. A time that is a multiple of `dt0` up to rounding lies at the start of a
        cell; what comes after the end of the grid is put after the end of the last cell."""
        dtype, last = since.dtype, self.num_cells - 1
        value = jax.lax.stop_gradient(since)
        inside = jnp.clip(value, 0, self.duration)
        number = inside / jnp.asarray(self.dt0, dtype)
        # dt0 and the time itself are rounded
        number = number * (1 + 4 * jnp.finfo(dtype).eps)
        cell = jnp.clip(jnp.floor(number).astype(jnp.int32), 0, last)
        begin = cell.astype(dtype) * jnp.asarray(self.dt0, dtype)
        offset = value - begin
        snapped = jnp.where((value >= 0) & (offset < 0), 0, offset)
        # (the difference is zero but for its derivative)
        moved = jnp.where(jnp.isfinite(value), since - value, 0)
        return cell, snapped + moved

    def place_before(
        self, since: Float[Array, "*times"]
    ) -> tuple[Int[Array, "*times"], Float[Array, "*times"]]:
        """The same, but with a time at which two cells meet at the end of the first of them: what
        the solver does at the end of a step has the derivative of the time at which it does so."""
        cell, offset = self.place(since)
        at_start = (jax.lax.stop_gradient(offset) == 0) & (cell > 0)
        width = jnp.asarray(self.dt0, since.dtype)
        return cell - at_start.astype(jnp.int32), jnp.where(at_start, width + offset, offset)

    def widths(self, dtype) -> Float[Array, " n"]:
        n = self.num_cells
        return jnp.full(n, self.dt0, dtype).at[-1].set(self.width_of_last)

    def points(self, dtype) -> Float[Array, " points"]:
        """The ends of the cells, as times since the start of the grid."""
        n = self.num_cells
        left = jnp.arange(n, dtype=dtype) * jnp.asarray(self.dt0, dtype)
        return jnp.concatenate([left, jnp.asarray([self.duration], dtype)])

    def resolves(self, dtype) -> bool:
        """Whether neighbouring cells can be told apart by their absolute times."""
        latest = max(abs(self.t0), abs(self.t1))
        return float(jnp.finfo(dtype).eps) * latest <= self.dt0


class AbstractGridDriver(dfx.AbstractPath):
    """A driver that lives on a time grid and hands the solver one piece of a cell at a time.

    The solver asks for `start(cell)` when it enters a cell, for a `piece` of the path that begins
    where it stands, and for what is `left` of the cell when an event cuts the piece short. A
    piece is a diffrax path, only ever evaluated as `piece.evaluate(t, t')` with t' in the cell. All
    of these times count from the start of the cell, so that they are as sharp in the last cell of
    a long window as in the first.
    """

    grid: eqx.AbstractVar[TimeGrid]

    @property
    def is_smooth(self) -> bool:
        """Whether the path is smooth inside a cell, between its jumps."""
        return True

    @abc.abstractmethod
    def start(self, cell: Int[Array, ""]) -> PyTree:
        """The driver's state on entering a cell."""

    @abc.abstractmethod
    def piece(self, state: PyTree, cell: Int[Array, ""], t, cell_end) -> dfx.AbstractPath:
        """The path from the time `t` since the start of the cell to its end."""

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

    @property
    def is_smooth(self):
        return not isinstance(self.path, dfx.AbstractBrownianPath)

    def piece(self, state, cell, t, cell_end):
        begin = jnp.asarray(self.grid.t0, t.dtype) + self.grid.begin(cell, t.dtype)
        return _PathPiece(self.path, begin, not self.is_smooth)

    def left(self, state, piece, t, t_event, cell_end):
        return None


class _PathPiece(dfx.AbstractPath):
    path: dfx.AbstractPath
    # when its cell begins
    begin: Float[Array, ""]
    fixed_in_time: bool = eqx.field(static=True)

    @property
    def t0(self):
        return self.path.t0

    @property
    def t1(self):
        return self.path.t1

    def evaluate(self, t0, t1=None, left=True, **kwargs):
        # a sample that has ended steps on over a dummy interval, past the end of the path
        times = [
            None if t is None else jnp.clip(self.begin + t, self.t0, self.t1) for t in (t0, t1)
        ]
        if self.fixed_in_time:
            times = [None if t is None else jax.lax.stop_gradient(t) for t in times]
        return self.path.evaluate(times[0], times[1], left, **kwargs)


def is_on_grid(driver, grid: TimeGrid) -> bool:
    """Whether a driver, or every part of it, lives on the solver's own grid."""
    parts = getattr(driver, "paths", None)
    if parts is not None and not isinstance(driver, AbstractGridDriver):
        return all(is_on_grid(part, grid) for part in parts)
    return isinstance(driver, AbstractGridDriver) and driver.grid == grid


def check_driver(driver, grid: TimeGrid, dtype) -> None:
    """Refuses what is no path, a path that does not repeat itself, one that ends too early, and one
    in absolute time where that does not tell cells apart."""
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
    if not is_on_grid(driver, grid) and not grid.resolves(dtype):
        raise ValueError(
            f"`driver` is a {type(driver).__name__} in absolute time, of which {dtype} does not "
            f"tell the steps of dt0={grid.dt0} apart at t = {grid.t1:g}: let the window begin at "
            "0, use a driver on the solver's own grid, or double precision (jax_enable_x64)."
        )
    slack = 1e-6 * (grid.t1 - grid.t0)
    for name, time, sign in (("t0", driver.t0, 1), ("t1", driver.t1, -1)):
        known = time is not None and not isinstance(time, jax.core.Tracer)
        if known and np.any(sign * (np.asarray(time, float) - getattr(grid, name)) > slack):
            raise ValueError(
                f"`driver` must cover the window [{grid.t0}, {grid.t1}], got one with "
                f"{name}={time}."
            )
