"""Brownian motion on the solver's time grid."""

from typing import Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._checks import IntLike, RealLike, whole_number
from .._random import normals
from ._grid import AbstractGridDriver, TimeGrid
from ._pieces import (
    BridgePiece,
    LevyBridgePiece,
    LinearPiece,
    ParabolaPiece,
    increment,
    merged_areas,
)


def _structure(shape) -> PyTree[jax.ShapeDtypeStruct]:
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        if any(n < 0 for n in shape):
            raise ValueError(f"`shape` must not have negative entries, got {shape}.")
        return jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    leaves = jax.tree.leaves(shape)
    if not leaves or not all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        raise TypeError(
            f"`shape` must be a tuple of integers or a tree of jax.ShapeDtypeStruct, got {shape!r}."
        )
    return shape


class BrownianGrid(AbstractGridDriver):
    r"""Brownian motion whose increments over the cells of a time grid are drawn up front.

    Increments are $\Delta W_j \sim N(0, t_{j+1} - t_j)$. Inside a cell the path is

    - `"linear"`: $W_t = W_{t_j} + \frac{t - t_j}{t_{j+1} - t_j} \Delta W_j$, one fixed path of
      finite variation. It is differentiated in time on both sides of an event, so that automatic
      differentiation is the derivative of the discretised path to rounding.
    - `"bridge"`: exact Brownian bridges; an event at $\tau$ draws
      $W_\tau - W_t \sim N\big(\frac{\tau - t}{r} R, \frac{(\tau - t)(r - \tau + t)}{r}\big)$,
      with $R$ the increment that is left of the cell and $r$ its length. A bridge has no time
      derivative: it is held fixed in time on both sides of an event.

    With `levy_area=diffrax.SpaceTimeLevyArea`, which the solvers of order 1.5 for additive noise
    need (`diffrax.SRA1`, `SEA`, `ShARK`), the space-time Levy area $H_j \sim N(0, h/12)$ of each
    cell is drawn too. Then `"linear"` is the parabola with that increment and area, and
    `"bridge"` draws both of them exactly for each part of a cell.

    Randomness is keyed by cell (and, for bridges, by the number of the piece inside the cell), so
    that a path does not depend on how far the window reaches or on how many others are drawn.

    Args:
        t0: start of the grid.
        t1: its end, where the last cell ends.
        dt0: length of the cells.
        shape: shape of the Brownian motion: a tuple, or a tree of `jax.ShapeDtypeStruct`.
        key: random key. Instead of it, `increments` (and `areas`), with a leading axis over
            cells, may be given.
        increments: the increments $\Delta W_j$.
        areas: the space-time Levy areas $H_j$.
        bridge: path inside a cell, `"linear"` or `"bridge"`.
        levy_area: `diffrax.BrownianIncrement` or `diffrax.SpaceTimeLevyArea`.
        stored: whether increments are drawn up front and kept. With `stored=False` those of a cell
            are drawn when the solver enters it: the same path for the same key, in memory that
            does not grow with the number of cells, at the price of drawing them again for every
            pass over the path.
    """

    increments: PyTree[Float[Array, "n ..."]] | None
    areas: PyTree[Float[Array, "n ..."]] | None
    key: PRNGKeyArray | None
    grid: TimeGrid
    bridge: str = eqx.field(static=True)
    law: tuple | None = eqx.field(static=True)

    def __init__(
        self,
        t0: RealLike,
        t1: RealLike,
        dt0: RealLike,
        shape: Any = None,
        key: PRNGKeyArray | None = None,
        *,
        increments: PyTree[Array] | None = None,
        areas: PyTree[Array] | None = None,
        bridge: Literal["linear", "bridge"] = "linear",
        levy_area: type = dfx.BrownianIncrement,
        stored: bool = True,
    ):
        if bridge not in ("linear", "bridge"):
            raise ValueError(f'`bridge` must be "linear" or "bridge", got {bridge!r}.')
        if levy_area not in (dfx.BrownianIncrement, dfx.SpaceTimeLevyArea):
            raise ValueError(
                "`levy_area` must be diffrax.BrownianIncrement or diffrax.SpaceTimeLevyArea, got "
                f"{levy_area!r}."
            )
        self.grid = TimeGrid(t0, t1, dt0)
        self.bridge = bridge
        self.key = key
        self.law = None
        n = self.grid.num_cells
        if increments is None:
            if key is None or shape is None:
                raise ValueError("`BrownianGrid` needs `shape` and `key`, or `increments`.")
            if not stored:
                leaves, treedef = jax.tree.flatten(_structure(shape))
                self.law = (tuple(leaves), treedef, levy_area is dfx.SpaceTimeLevyArea)
                self.increments = self.areas = None
                return
            increments = self._draw(_structure(shape), key, 1.0)
            if levy_area is dfx.SpaceTimeLevyArea:
                areas = self._draw(_structure(shape), jr.fold_in(key, 1), 1 / 12)
        elif bridge == "bridge" and key is None:
            raise ValueError("`key` must be given for bridges, which are drawn at the events.")
        increments, areas = jax.tree.map(jnp.asarray, (increments, areas))
        for leaf in jax.tree.leaves((increments, areas)):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(f"`increments` must be floating-point, got {leaf.dtype}.")
            if leaf.shape[:1] != (n,):
                raise ValueError(
                    f"`increments` must have a leading axis over the {n} cells of the grid, got "
                    f"an array of shape {leaf.shape}."
                )
        if areas is not None and jax.tree.structure(areas) != jax.tree.structure(increments):
            raise ValueError("`areas` must have the structure of `increments`.")
        self.increments = increments
        self.areas = areas

    def _draw(self, shape, key, variance):
        cells = jnp.arange(self.grid.num_cells)
        return jax.vmap(lambda cell: self._draw_cell(shape, key, cell, variance))(cells)

    def _draw_cell(self, shape, key, cell, variance):
        """The numbers of one cell: they depend on the key and on the cell alone."""
        leaves, treedef = jax.tree.flatten(shape)
        keys = [key] if len(leaves) == 1 else list(jr.split(key, len(leaves)))
        out = []
        for leaf_key, leaf in zip(keys, leaves, strict=True):
            sd = jnp.sqrt(jnp.asarray(variance, leaf.dtype) * self.grid.width(cell, leaf.dtype))
            out.append(sd * normals(leaf_key, cell, leaf.shape, leaf.dtype))
        return jax.tree.unflatten(treedef, out)

    @property
    def t0(self):
        return self.grid.t0

    @property
    def t1(self):
        return self.grid.t1

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The value at `t0`, or the increment from `t0` to `t1`, at any times of the window
        (cost: the number of cells)."""
        if self.bridge == "bridge":
            raise ValueError(
                "A BrownianGrid with random bridges can only be used by the event solver on its "
                'own grid. Use bridge="linear", or diffrax.VirtualBrownianTree for a Brownian '
                "motion that can be evaluated anywhere."
            )
        if self.law is not None:
            return self._all_stored().evaluate(t0, t1, left, use_levy)
        if t1 is not None:
            if use_levy and self.areas is not None:
                raise ValueError(
                    "The space-time Levy area of a BrownianGrid is known on its own grid only: "
                    "solve on that grid, or use `coarsen`."
                )
            start, end = self.evaluate(t0), self.evaluate(t1)
            difference = jax.tree.map(lambda a, b: b - a, start, end)
            return increment(difference, None, t0, t1, use_levy)

        def value(w, h=None):
            points = self.grid.points(w.dtype)
            x = jnp.clip((t0 - self.grid.t0 - points[:-1]) / self.grid.widths(w.dtype), 0, 1)
            line = jnp.tensordot(x, w, axes=1)
            return line if h is None else line + jnp.tensordot(6 * x * (1 - x), h, axes=1)

        if self.areas is None:
            return jax.tree.map(value, self.increments)
        return jax.tree.map(value, self.increments, self.areas)

    def coarsen(self, factor: IntLike) -> "BrownianGrid":
        """The same Brownian motion seen on a grid with `factor` cells merged into one."""
        n = self.grid.num_cells
        factor = whole_number("factor", factor, 1)
        if n % factor:
            raise ValueError(
                f"`factor` must be a positive divisor of the number of cells {n}, got {factor}."
            )

        if self.law is not None:
            return self._all_stored().coarsen(factor)

        def split(x):
            return x.reshape((n // factor, factor) + x.shape[1:])

        def merge(w, h):
            widths = self.grid.widths(w.dtype).reshape(n // factor, factor)
            return jax.vmap(merged_areas)(split(w), split(h), widths)

        areas = None
        if self.areas is None:
            merged = jax.tree.map(lambda w: split(w).sum(1), self.increments)
        else:
            both = jax.tree.map(merge, self.increments, self.areas)
            outer, inner = jax.tree.structure(self.increments), jax.tree.structure((0, 0))
            merged, areas = jax.tree.transpose(outer, inner, both)
        return BrownianGrid(
            self.t0,
            self.t1,
            self.grid.dt0 * factor,
            key=self.key,
            increments=merged,
            areas=areas,
            bridge=self.bridge,  # pyright: ignore[reportArgumentType]
        )

    def _all_stored(self) -> "BrownianGrid":
        leaves, treedef, with_areas = self.law  # pyright: ignore[reportGeneralTypeIssues]
        return BrownianGrid(
            self.t0, self.t1, self.grid.dt0, jax.tree.unflatten(treedef, leaves), self.key,
            bridge=self.bridge,  # pyright: ignore[reportArgumentType]
            levy_area=dfx.SpaceTimeLevyArea if with_areas else dfx.BrownianIncrement,
        )  # fmt: skip

    # --- what the solver asks, cell by cell

    def _of_cell(self, cell):
        """Increment and Levy area over one cell."""
        if self.law is None:
            return jax.tree.map(lambda x: x[cell], (self.increments, self.areas))
        leaves, treedef, with_areas = self.law
        shape = jax.tree.unflatten(treedef, leaves)
        w = self._draw_cell(shape, self.key, cell, 1.0)
        if not with_areas:
            return w, None
        return w, self._draw_cell(shape, jr.fold_in(self.key, 1), cell, 1 / 12)

    def start(self, cell):
        if self.bridge == "linear":
            return None
        return self._of_cell(cell), jnp.zeros((), jnp.int32)

    @property
    def is_smooth(self):
        return self.bridge == "linear"

    def piece(self, state, cell, t, cell_end):
        if self.bridge == "linear":
            # that of the whole cell, not of what is left of it: exact on both sides of an event
            w, h_area = self._of_cell(cell)
            if h_area is None:
                return LinearPiece(jax.tree.map(lambda x: x / self.grid.width(cell, x.dtype), w))
            return ParabolaPiece(self.grid.width(cell, t.dtype), w, h_area)
        (w, h_area), number = state
        key = jr.fold_in(jr.fold_in(self.key, cell), number + 2)
        leaves, treedef = jax.tree.flatten(w)
        draws = 1 if h_area is None else 4
        drawn = [
            jr.normal(jr.fold_in(key, i), (draws, *x.shape), x.dtype) for i, x in enumerate(leaves)
        ]
        start, end = jax.lax.stop_gradient((t, cell_end))
        if h_area is None:
            first = jax.tree.unflatten(treedef, [z[0] for z in drawn])
            return BridgePiece(start, end, w, first)
        return LevyBridgePiece(start, end, w, h_area, jax.tree.unflatten(treedef, drawn))

    def left(self, state, piece, t, t_event, cell_end):
        if self.bridge == "linear":
            return None
        (_, h_area), number = state
        rest = piece.rest(t_event)
        return ((rest, None) if h_area is None else rest), number + 1
