"""Drivers that jump: recorded or simulated spike trains, Poisson and compound Poisson processes."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from .._checks import IntLike, RealLike, number, real_array, whole_number
from ._grid import AbstractGridDriver, TimeGrid
from ._pieces import ZeroPiece


class Jumps(eqx.Module):
    """When and by how much a driver jumps.

    Attributes:
        cells: the cell of the solver's grid in which each jump lies, sorted.
        offsets: when, since the start of that cell, sorted within it; `inf` for padding.
        sizes: by how much, with the same leading axis.
        substeps: steps of the method that runs through a jump.
    """

    cells: Int[Array, " n"]
    offsets: Float[Array, " n"]
    sizes: PyTree[Float[Array, "n ..."]]
    substeps: int = eqx.field(static=True)

    def __len__(self) -> int:
        return self.offsets.shape[0]

    def at(self, number: Int[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""], PyTree]:
        """Cell, offset and size of a jump; past the last one, a jump that never comes."""
        n = len(self)
        if n == 0:
            never = jnp.asarray(jnp.inf, self.offsets.dtype)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), self.sizes)
            return jnp.asarray(jnp.iinfo(jnp.int32).max, jnp.int32), never, zeros
        i = jnp.minimum(number, n - 1)
        offset = jnp.where(number < n, self.offsets[i], jnp.inf)
        cell = jnp.where(number < n, self.cells[i], jnp.iinfo(jnp.int32).max)
        return cell, offset, jax.tree.map(lambda x: x[i], self.sizes)

    def is_due(self, number: Int[Array, ""], cell, offset) -> Bool[Array, ""]:
        """Whether a jump lies at or before a time in a cell."""
        its_cell, its_offset, _ = self.at(number)
        return (its_cell < cell) | ((its_cell == cell) & (its_offset <= offset))

    def num_at_start(self) -> Int[Array, ""]:
        """How many jumps lie at or before the start of the grid; they do not act."""
        return jnp.sum((self.cells == 0) & (self.offsets <= 0), dtype=jnp.int32)

    def joined(self, other: "Jumps", combine) -> "Jumps":
        """The jumps of two drivers together; those at the same time become one, so that it is
        their sum that the Marcus rule runs through. `combine` puts a size of each together."""

        def zeros(x, n):
            return jnp.zeros((n,) + x.shape[1:], x.dtype)

        n, m = len(self), len(other)
        cells = jnp.concatenate([self.cells, other.cells])
        offsets = jnp.concatenate([self.offsets, other.offsets])
        order = jnp.lexsort((jax.lax.stop_gradient(offsets), cells))
        mine = jax.tree.map(lambda x: jnp.concatenate([x, zeros(x, m)])[order], self.sizes)
        yours = jax.tree.map(lambda x: jnp.concatenate([zeros(x, n), x])[order], other.sizes)
        cells, offsets = cells[order], offsets[order]
        # at most one jump of each comes at any time: the second of two moves onto the first
        equal = (cells[1:] == cells[:-1]) & (offsets[1:] == offsets[:-1])
        same = jnp.concatenate([equal, jnp.zeros(min(1, n + m), bool)])

        def moved(x):
            up = same.reshape((-1,) + (1,) * (x.ndim - 1))
            down = jnp.roll(same, 1).reshape(up.shape)
            return jnp.where(down, 0, x) + jnp.where(up, jnp.roll(x, -1, axis=0), 0)

        sizes = jax.tree.map(moved, combine(mine, yours))
        return Jumps(cells, offsets, sizes, max(self.substeps, other.substeps))


class JumpPath(dfx.AbstractPath):
    r"""A pure jump path, $X_t = \sum_{t_0 < \tau_j \le t} \Delta_j$.

    As the driver of an event SDE its jumps act by the Marcus rule: at $\tau_j$ the state moves to
    $z_1$, where $dz_u / du = \sigma(z_u)\,\Delta_j$ and $z_0 = y_{\tau_j -}$ (Marcus 1978;
    Kurtz, Pardoux & Protter 1995). Where $\sigma$ does not depend on the state that is
    $y + \sigma \Delta_j$. An event inside the fictitious interval happens at $\tau_j$, its
    transition is applied, and what is left of the jump follows from the new state.

    The solution is differentiable in the sizes. It is differentiable in the times too, except
    where noise meets a jump that does not commute with it.

    Args:
        times: jump times, padded with `inf`; those outside the window of a solve, and one at its
            very start, do not act. They need not be sorted; jumps at the same time become one.
        sizes: the jumps, an array (or tree of arrays) with the same leading axis, of the shape of
            the increment that the diffusion multiplies.
        t0: start of the path, by default $-\infty$.
        t1: its end, by default $\infty$.
        substeps: steps of the eighth-order method that runs through a jump where the diffusion
            depends on the state.

    Raises:
        ValueError: `times` has a NaN or is no vector, or `sizes` do not have its length.
    """

    times: Float[Array, " n"]
    sizes: PyTree[Float[Array, "n ..."]]
    t0: float = eqx.field(static=True)
    t1: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def __init__(
        self, times: Any, sizes: Any, t0: float = -np.inf, t1: float = np.inf, substeps: int = 8
    ):
        times = real_array("times", times)
        if times.ndim != 1:
            raise ValueError(f"`times` must have shape (n,), got {times.shape}.")
        if not isinstance(times, jax.core.Tracer) and np.isnan(np.asarray(times)).any():
            raise ValueError("`times` must not contain NaN; pad with `inf`.")
        substeps = whole_number("substeps", substeps, 1)
        sizes = jax.tree.map(jnp.asarray, sizes)
        for leaf in jax.tree.leaves(sizes):
            if leaf.shape[:1] != times.shape:
                raise ValueError(
                    f"`sizes` must have a leading axis over the {times.shape[0]} jumps, got an "
                    f"array of shape {leaf.shape}."
                )
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(f"`sizes` must be floating-point, got {leaf.dtype}.")
        order = jnp.argsort(jax.lax.stop_gradient(times), stable=True)
        self.times = times[order]
        self.sizes = jax.tree.map(lambda x: _joined_ties(self.times, x[order]), sizes)
        self.t0, self.t1, self.substeps = float(t0), float(t1), substeps

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The value at `t0`, or the increment over $(t_0, t_1]$."""
        low, high = (self.t0, t0) if t1 is None else (t0, t1)
        within = (self.times > low) & (self.times <= high)

        def total(x):
            return jnp.sum(jnp.where(within.reshape((-1,) + (1,) * (x.ndim - 1)), x, 0), axis=0)

        return jax.tree.map(total, self.sizes)


def _joined_ties(times, sizes):
    """The sizes, those of jumps at the same time added up on the first of them."""
    if times.shape[0] == 0:
        return sizes
    starts = jnp.concatenate([jnp.ones(1, bool), times[1:] != times[:-1]])
    group = jnp.cumsum(starts) - 1
    totals = jax.ops.segment_sum(sizes, group, num_segments=times.shape[0])
    return jnp.where(starts.reshape((-1,) + (1,) * (sizes.ndim - 1)), totals[group], 0)


class JumpDriver(AbstractGridDriver):
    """A jump path on the solver's grid: between its jumps it does not move.

    Attributes:
        path: the path.
        grid: the solver's grid.
        since_start: whether the times of the path count from the start of the grid, which keeps
            them sharp wherever the grid begins; else they are absolute.
    """

    path: JumpPath
    grid: TimeGrid
    since_start: bool = eqx.field(static=True, default=False)

    @property
    def t0(self):
        return self.path.t0

    @property
    def t1(self):
        return self.path.t1

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.path.evaluate(t0, t1, left, use_levy)

    def start(self, cell):
        return None

    def piece(self, state, cell, t, cell_end):
        return ZeroPiece(jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), self.path.sizes))

    def left(self, state, piece, t, t_event, cell_end):
        return None

    def jumps(self, dtype):
        since = self.path.times.astype(dtype)
        if not self.since_start:
            since = since - jnp.asarray(self.grid.t0, dtype)
        cells, offsets = self.grid.place_before(since)
        return Jumps(cells, offsets, self.path.sizes, self.path.substeps)


def spike_path(trains: Any, weights: Float[Array, "N ..."] | None = None) -> JumpPath:
    r"""The spikes of one trial as a path that jumps at each of them.

    Args:
        trains: [`roughsnn.SpikeTrains`][] without batch axes (use `jax.vmap` for several trials).
        weights: the jump of the path at a spike of neuron k, `weights[k]`; by default the k-th
            unit vector, so that the path is the vector of spike counts $N_t$.

    Returns:
        the path, differentiable in the spike times and in the weights.
    """
    if trains.times.ndim != 1:
        raise ValueError(
            "`trains` must be one trial, without batch axes, got spike times of shape "
            f"{trains.times.shape}: use jax.vmap, or trains[i]."
        )
    if weights is None:
        weights = jnp.eye(trains.num_neurons, dtype=trains.times.dtype)
    weights = jnp.asarray(weights)
    if weights.shape[:1] != (trains.num_neurons,):
        raise ValueError(
            f"`weights` must have a leading axis over the {trains.num_neurons} neurons, got shape "
            f"{weights.shape}."
        )
    start = jnp.asarray(trains.t0, trains.times.dtype)
    times = trains.times + start
    if not isinstance(times, jax.core.Tracer) and np.any(trains.t0):
        finite = np.isfinite(trains.times)
        since, absolute = (np.unique(np.asarray(x)[finite]) for x in (trains.times, times))
        if len(absolute) < len(since):
            raise ValueError(
                f"`trains` begin at {float(np.ravel(trains.t0)[0]):g}, where absolute times in "
                f"{times.dtype} do not tell their spikes apart: give them to `simulate` as "
                "`input_spikes`, let the window begin at 0, or use double precision "
                "(jax_enable_x64)."
            )
    return path_of_spikes(times, trains.neurons, weights)


def path_of_spikes(
    times: Float[Array, " n"], neurons: Int[Array, " n"], weights: Float[Array, "N ..."]
) -> JumpPath:
    """The path that jumps by `weights[k]` at the spikes of neuron k, by any clock; neuron -1 is
    padding."""
    known = neurons >= 0
    sizes = weights[jnp.where(known, neurons, 0)]
    sizes = jnp.where(known.reshape((-1,) + (1,) * (weights.ndim - 1)), sizes, 0)
    return JumpPath(jnp.where(known, times, jnp.inf), sizes)


def poisson_path(
    t0: RealLike,
    t1: RealLike,
    rate: Float[Array, "*shape"] | RealLike,
    *,
    key: PRNGKeyArray,
    max_jumps: IntLike,
    jump_sizes: Callable | None = None,
) -> JumpPath:
    r"""A Poisson process of independent components, or with `jump_sizes` a compound one.

    The n-th jump time of component k is $t_0 + (E_1 + \dots + E_n) / r_k$, with the $E_i$
    independent exponential numbers of mean 1 that belong to the key: the path is differentiable
    in the rates.

    Args:
        t0: start of the window.
        t1: its end.
        rate: rates $r \ge 0$ of the components, in jumps per unit of time; a number or an array.
        key: random key.
        max_jumps: room for jumps of each component. Where one has more within the window an error
            is raised at run time.
        jump_sizes: a function from a random key to the size of one jump, a number; by default
            every jump is of size 1.

    Returns:
        the path, of the shape of `rate`.

    Raises:
        ValueError: a negative rate, or `t1 <= t0`.
    """
    t0, t1 = number("t0", t0), number("t1", t1)
    if not t1 > t0:
        raise ValueError(f"`t1` must be greater than `t0`, got t0={t0} and t1={t1}.")
    rate = real_array("rate", rate)
    if not isinstance(rate, jax.core.Tracer) and not np.all(np.asarray(rate) >= 0):
        raise ValueError(f"`rate` must be non-negative, got {rate}.")
    max_jumps = whole_number("max_jumps", max_jumps, 1)
    n = max(rate.size, 1)
    flat = rate.reshape(-1)
    time_key, size_key = jr.split(key)
    waits = jr.exponential(time_key, (n, max_jumps + 1), rate.dtype)
    beats = jnp.cumsum(waits, axis=1) / jnp.where(flat > 0, flat, 1)[:, None]
    times = jnp.where(flat[:, None] > 0, t0 + beats, jnp.inf)
    times = eqx.error_if(
        times,
        jnp.any(times[:, -1] <= t1),
        "A Poisson process has more jumps in its window than `max_jumps` has room for: increase "
        "`max_jumps`.",
    )[:, :-1]
    if jump_sizes is None:
        sizes = jnp.ones_like(times)
    else:
        keys = jr.split(size_key, n * max_jumps)
        sizes = jax.vmap(jump_sizes)(keys).reshape(n, max_jumps).astype(rate.dtype)
    times = jnp.where(times <= t1, times, jnp.inf).reshape(-1)
    component = jnp.repeat(jnp.arange(n), max_jumps)
    units = jnp.eye(n, dtype=rate.dtype)[component] * sizes.reshape(-1)[:, None]
    return JumpPath(times, units.reshape((-1,) + rate.shape), t0, t1)
