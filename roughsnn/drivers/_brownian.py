"""Brownian motion on the solver's time grid."""

from typing import Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ._grid import AbstractGridDriver, TimeGrid


def _structure(shape) -> PyTree[jax.ShapeDtypeStruct]:
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        return jax.ShapeDtypeStruct(shape, jnp.result_type(float))
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

    Randomness is keyed by cell (and, for bridges, by the number of the piece inside the cell), so
    that a path does not depend on how far the window reaches or on how many others are drawn.

    **Arguments:**

    - `t0`, `t1`, `dt0`: the grid; the last cell ends at `t1`.
    - `shape`: shape of the Brownian motion: a tuple, or a tree of `jax.ShapeDtypeStruct`.
    - `key`: random key. Instead of it, `increments` (with a leading axis over cells) may be given.
    - `bridge`: path inside a cell, `"linear"` or `"bridge"`.
    """

    increments: PyTree[Float[Array, "n ..."]]
    key: PRNGKeyArray | None
    grid: TimeGrid
    bridge: str = eqx.field(static=True)

    def __init__(
        self,
        t0: float,
        t1: float,
        dt0: float,
        shape: Any = None,
        key: PRNGKeyArray | None = None,
        *,
        increments: PyTree[Array] | None = None,
        bridge: Literal["linear", "bridge"] = "linear",
    ):
        if bridge not in ("linear", "bridge"):
            raise ValueError(f'`bridge` must be "linear" or "bridge", got {bridge!r}.')
        self.grid = TimeGrid(t0, t1, dt0)
        self.bridge = bridge
        self.key = key
        n = self.grid.num_cells
        if increments is None:
            if key is None or shape is None:
                raise ValueError("`BrownianGrid` needs `shape` and `key`, or `increments`.")
            increments = self._draw(_structure(shape), key)
        elif bridge == "bridge" and key is None:
            raise ValueError("`key` must be given for bridges, which are drawn at the events.")
        for leaf in jax.tree.leaves(increments):
            if leaf.shape[:1] != (n,):
                raise ValueError(
                    f"`increments` must have a leading axis over the {n} cells of the grid, got "
                    f"an array of shape {leaf.shape}."
                )
        self.increments = increments

    def _draw(self, shape, key):
        # JAX's generator is counter-based: the numbers of a cell depend on the key and on their
        # place, not on how many cells follow
        leaves, treedef = jax.tree.flatten(shape)
        keys = [key] if len(leaves) == 1 else list(jr.split(key, len(leaves)))
        n, out = self.grid.num_cells, []
        for leaf_key, leaf in zip(keys, leaves, strict=True):
            normals = jr.normal(leaf_key, (n, *leaf.shape), leaf.dtype)
            widths = self.grid.widths(leaf.dtype).reshape((n,) + (1,) * len(leaf.shape))
            out.append(normals * jnp.sqrt(widths))
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
        if t1 is not None:
            start, end = self.evaluate(t0), self.evaluate(t1)
            inc = jax.tree.map(lambda a, b: b - a, start, end)
            return _brownian_increment(inc, t0, t1) if use_levy else inc

        def value(inc):
            points = self.grid.points(inc.dtype)
            share = jnp.clip((t0 - points[:-1]) / self.grid.widths(inc.dtype), 0, 1)
            return jnp.tensordot(share, inc, axes=1)

        return jax.tree.map(value, self.increments)

    def coarsen(self, factor: int) -> "BrownianGrid":
        """The same Brownian motion seen on a grid with `factor` cells merged into one."""
        n = self.grid.num_cells
        if factor < 1 or n % factor:
            raise ValueError(
                f"`factor` must be a positive divisor of the number of cells {n}, got {factor}."
            )
        merged = jax.tree.map(
            lambda x: x.reshape((n // factor, factor) + x.shape[1:]).sum(1), self.increments
        )
        return BrownianGrid(
            self.t0,
            self.t1,
            self.grid.dt0 * factor,
            key=self.key,
            increments=merged,
            bridge=self.bridge,  # pyright: ignore[reportArgumentType]
        )

    # --- what the solver asks, cell by cell

    def start(self, cell):
        if self.bridge == "linear":
            return None
        return jax.tree.map(lambda x: x[cell], self.increments), jnp.zeros((), jnp.int32)

    def piece(self, state, cell, t, cell_end):
        if self.bridge == "linear":
            # the whole cell's slope, not that of what is left of it: exact on both sides
            last = self.grid.num_cells - 1

            def slope(x):
                w = jnp.asarray(self.grid.dt0, x.dtype)
                w_last = jnp.asarray(self.grid.t1 - self.grid.t0 - last * self.grid.dt0, x.dtype)
                return x[cell] / jnp.where(cell == last, w_last, w)

            return _LinearPiece(jax.tree.map(slope, self.increments))
        remaining, number = state
        key = jr.fold_in(jr.fold_in(self.key, cell), number + 1)
        leaves, treedef = jax.tree.flatten(remaining)
        normals = [jr.normal(jr.fold_in(key, i), x.shape, x.dtype) for i, x in enumerate(leaves)]
        return _BridgePiece(
            remaining,
            jax.tree.unflatten(treedef, normals),
            jax.lax.stop_gradient(t),
            jax.lax.stop_gradient(cell_end),
        )

    def left(self, state, piece, t, t_event, cell_end):
        if self.bridge == "linear":
            return None
        remaining, number = state
        used = piece.evaluate(t, t_event)
        return jax.tree.map(lambda r, u: r - u, remaining, used), number + 1


def _brownian_increment(inc, t0, t1):
    return dfx.BrownianIncrement(dt=jnp.asarray(t1 - t0), W=inc)


class _LinearPiece(dfx.AbstractPath):
    slope: PyTree[Array]

    @property
    def t0(self):
        return -jnp.inf

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        inc = jax.tree.map(lambda s: s * (t1 - t0).astype(s.dtype), self.slope)
        return _brownian_increment(inc, t0, t1) if use_levy else inc


class _BridgePiece(dfx.AbstractPath):
    remaining: PyTree[Array]
    normal: PyTree[Array]
    t0: Float[Array, ""]
    t1: Float[Array, ""]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        t1 = jax.lax.stop_gradient(t1)
        length = self.t1 - self.t0
        share = jnp.clip((t1 - self.t0) / jnp.where(length > 0, length, 1), 0, 1)
        share = jnp.where(length > 0, share, 1)
        sd = jnp.sqrt(share * (1 - share) * jnp.maximum(length, 0))
        inc = jax.tree.map(
            lambda r, z: share.astype(r.dtype) * r + sd.astype(r.dtype) * z,
            self.remaining,
            self.normal,
        )
        return _brownian_increment(inc, t0, t1) if use_levy else inc
