r"""The law of successive intervals of a neuron that remembers at its spikes, given noise paths.

What a spike leaves behind, the potential that was above the threshold, an adaptation, a noisy
current, is a state x of one to three numbers, from which the next interval starts: intervals and
states are a Markov renewal process. With the noise path fixed and the mark integrated out, an
interval that began at x ends in cell k of a grid with the probability $S_k - S_{k+1}$, at the state
$x'_k$, both smooth functions of the parameters.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import IntLike, RealLike, finite_array, number, whole_number
from .._random import normals
from .._shown import is_known
from ..drivers import TimeGrid
from ..neurons import AbstractNeuron
from ._interval_law import survival
from ._memory_of_intervals import State, check_remembers, remembered, walker

# nodes along each number of the state, by how many numbers there are
_NODES = {0: (), 1: (5,), 2: (4, 5), 3: (4, 4, 4)}
# states farther from their mean are put there, in standard deviations
_FARTHEST = 3.5
# the share of the grid after which few paths still matter, and by how much their number is divided
_LATER, _FEWER = 0.25, 8
# lanes of the trial run that finds where these are
_PILOTS = 256


class IntervalChain(eqx.Module):
    r"""Successive intervals of a neuron and the states between them, as a smooth function of the
    parameters.

    It is made by [`roughsnn.interval_chain`][], and may be differentiated in either mode. The
    states after spikes are represented by a few nodes, those of Gauss's quadrature with a normal
    law of their mean and spread: what follows is a polynomial in the state. Probabilities of nodes
    are weights that sum to one, and may be a little below zero. A spike in a cell of the grid lies
    at either end of it, by a fair coin.

    Attributes:
        edges: the ends of the cells, from 0 to the longest interval that is looked at.
        nodes: states after a spike, the columns in the order of `remembered`.
        passing: for each cell, the probability that an interval which began at a node (second axis)
            ends there, and the next begins at a node (third axis), a mean over noise paths; at the
            last place that it lasts longer than all cells.
        remembered: names of the numbers that a spike leaves: of `v`, `i` and `a`.
    """

    edges: Float[Array, " edges"]
    nodes: Float[Array, "nodes numbers"]
    passing: Float[Array, "edges nodes nodes"]
    remembered: tuple[str, ...] = eqx.field(static=True)

    def __repr__(self) -> str:
        what = ", ".join(self.remembered) or "nothing"
        text = f"chain of intervals: {self.nodes.shape[0]} nodes, remembers {what}"
        if not is_known(self.passing):
            return text
        lasting = np.asarray(self.stationary @ jnp.sum(self.passing[-1], axis=-1), float)
        return f"{text}, {100 * lasting:.3g} % last longer than {float(self.edges[-1]):g}"

    @property
    def transition(self) -> Float[Array, "nodes nodes"]:
        """Probabilities to go from node to node in an interval of whatever length."""
        return jnp.sum(self.passing, axis=0)

    @property
    def stationary(self) -> Float[Array, " nodes"]:
        """Probabilities of the nodes after a spike of a neuron that has fired for long."""
        p = self.transition
        size = p.shape[0]
        return jnp.linalg.solve((jnp.eye(size, dtype=p.dtype) - p + 1).T, jnp.ones(size, p.dtype))

    @property
    def survival(self) -> Float[Array, "edges nodes"]:
        """At each edge, the probability of an interval from each node to last longer."""
        ended = jnp.cumsum(jnp.sum(self.passing[:-1], axis=-1), axis=0)
        return 1 - jnp.concatenate([jnp.zeros_like(ended[:1]), ended])

    def mean(
        self, values: Float[Array | np.ndarray, "edges *features"]
    ) -> Float[Array, "nodes *features nodes"]:
        r"""Expectations $E[f(\tau)\,1\{x' = r\} \mid x = q]$ of functions of the interval.

        Products of these matrices are expectations of products of functions of successive
        intervals, of a neuron that begins at the [stationary][roughsnn.IntervalChain.stationary]
        states: $\pi M_f M_g \mathbf 1$.

        Args:
            values: of functions that are constant beyond the last edge, at the edges.
        """
        values = jnp.asarray(values, self.passing.dtype)
        flat = values.reshape(values.shape[0], -1)
        at_cells = jnp.concatenate([(flat[1:] + flat[:-1]) / 2, flat[-1:]])
        found = jnp.einsum("kf,kqr->qfr", at_cells, self.passing)
        return found.reshape(found.shape[0], *values.shape[1:], found.shape[-1])


def interval_chain(
    neuron: AbstractNeuron,
    longest: RealLike,
    dt0: RealLike,
    *,
    key: PRNGKeyArray,
    num_paths: IntLike,
    input_current: Any = None,
) -> IntervalChain:
    r"""The law of successive intervals of a neuron with memory, with the marks integrated out.

    From each of a few nodes, states x after a spike, the equation of the neuron is solved without
    events for noise paths of its own. Given the path an interval ends in cell k with probability
    $S_k - S_{k+1}$, $S = e^{-(\Lambda - \alpha)_+}$, and the next begins at the state $x'_k$ that a
    spike there leaves. So

    $$ M_f(q, r) = E\,\sum_k (S_k - S_{k+1})\, f(t_k)\, \ell_r(x'_k), $$

    with $\ell_r$ the polynomial that is 1 at node r and 0 at the others, is a smooth
    function of the parameters for each path; no spike is located, no mark drawn, and no intensity
    divides the derivative. A neuron that forgets, [`roughsnn.ResettingStochasticLIF`][] with noise
    of the potential alone, has a single node.

    **Unbiased** are the matrices, as means over paths of the discretised neuron. To go on from the
    nodes instead of the states is exact as far as what follows is a polynomial in the state, of
    degree three or four in each number; it depends weakly on where in a narrow range it began.
    Products of matrices of the same paths have a bias of the order of one over
    their number; of different keys they have none.

    **Variance**: derivatives have all moments, as those of [`roughsnn.interval_law`][], and a
    standard deviation of a few gradients where that of a spike time's derivative is infinite.

    The cost is a pass over the paths. After a quarter of `longest`, which should be several mean
    intervals, an eighth of them goes on, drawn by what is left of them and weighed for it. Where
    the nodes are and which paths go on is decided without derivatives: as a function of the
    parameters for one key the matrices jump a little where another path is drawn, and the
    derivatives are those of their means.

    Args:
        neuron: a single [`roughsnn.StochasticLIF`][], [`roughsnn.AdaptiveStochasticLIF`][] or
            [`roughsnn.ResettingStochasticLIF`][].
        longest: how far intervals are followed, in the unit of time of the neuron.
        dt0: step of Euler's method.
        key: random key.
        num_paths: how many noise paths, of all nodes together.
        input_current: a constant input current: a number.

    Raises:
        TypeError: another model.
        ValueError: several neurons, or an input that changes; a step longer than the time constant
            of the potential.
    """
    check_remembers(neuron, input_current)
    longest = number("longest", longest, positive=True)
    dt0 = number("dt0", dt0, positive=True)
    if dt0 > longest:
        raise ValueError(f"`dt0` must be at most `longest`, got dt0={dt0} and longest={longest}.")
    grid = TimeGrid(0.0, longest, dt0)
    paths = whole_number("num_paths", num_paths, 1)
    current = finite_array("input_current", 0.0 if input_current is None else input_current)
    names = remembered(neuron)
    current = jnp.reshape(current, ())
    axes = _axes(neuron, names, current, grid, jr.fold_in(key, 1))
    nodes = _all_nodes(axes)
    each = -(-paths // (2 * nodes.shape[0]))
    passing = _passing(neuron, names, current, grid, jr.fold_in(key, 0), axes, nodes, each)
    edges = jnp.asarray(np.arange(grid.num_cells + 1) * dt0, passing.dtype)
    return IntervalChain(edges, nodes, passing, names)


def _passing(neuron, names, current, grid, key, axes, nodes, each: int) -> Array:
    """The matrices of all cells, from `each` pairs of opposite noise paths for each node."""
    walk = walker(neuron, current, grid.dt0)
    count = nodes.shape[0]
    shape = (count, 2 * each)
    dtype = nodes.dtype
    start = {n: jnp.broadcast_to(nodes[:, i : i + 1], shape) for i, n in enumerate(names)}
    kinds = walk.noises

    def noise(cell, pairs):
        if not kinds:
            return None
        half = normals(key, cell, (kinds, count, pairs), dtype)
        return jnp.concatenate([half, -half], axis=-1)

    def follow(state, factor, begin, end):
        """From a cell to another, with paths that count by a factor."""
        pairs = factor.shape[1] // 2

        def step(state, cell):
            moved = walk.step(state, noise(cell, pairs))
            lost = survival(state.passed - walk.alpha) - survival(moved.passed - walk.alpha)
            middle = jax.tree.map(lambda a, b: (a + b) / 2, state, moved)
            return moved, _moments(lost * factor, walk.after(middle), names, axes)

        step = jax.checkpoint(step, prevent_cse=False)
        return lax.scan(step, state, jnp.arange(begin, end, dtype=jnp.int32))

    first = walk.begin(start, shape, dtype)
    later = round(_LATER * grid.num_cells)
    state, ended = follow(first, jnp.full(shape, 1 / shape[1], dtype), 0, later)
    state, factor = _fewer(state, survival(state.passed - walk.alpha), jr.fold_in(key, 1))
    state, last = follow(state, factor, later, grid.num_cells)
    alive = survival(state.passed - walk.alpha) * factor
    longer = _moments(alive, walk.after(state), names, axes)
    moments = jnp.concatenate([ended, last, longer[None]])
    to_nodes = np.ones((1, 1))
    for axis in axes:
        to_nodes = np.kron(to_nodes, axis.to_nodes)
    return moments @ jnp.asarray(to_nodes, dtype)


def _fewer(state: State, alive: Array, key) -> tuple[State, Array]:
    """Paths drawn by how much is left of them, and the factors by which they count.

    Each is drawn with a chance in proportion to its survival, and counts by one over that: sums
    over the paths and their derivatives keep their means.
    """
    alive = lax.stop_gradient(alive)
    count = 2 * max(alive.shape[1] // (2 * _FEWER), 1)
    summed = jnp.cumsum(alive, axis=-1)
    total = summed[:, -1:]
    offsets = jr.uniform(key, (alive.shape[0], 1), alive.dtype)
    ranks = (jnp.arange(count, dtype=alive.dtype)[None, :] + offsets) / count * total
    drawn = jax.vmap(lambda s, r: jnp.searchsorted(s, r, side="right"))(summed, ranks)
    drawn = jnp.minimum(drawn, alive.shape[1] - 1)
    left = jnp.take_along_axis(alive, drawn, axis=1)
    factor = jnp.where(left > 0, total / jnp.where(left > 0, left, 1), 0) / (alive.shape[1] * count)
    return jax.tree.map(lambda x: jnp.take_along_axis(x, drawn, axis=1), state), factor


def _all_nodes(axes: list["_Axis"]) -> Float[Array, "nodes numbers"]:
    """Every combination of the points of the axes."""
    if not axes:
        return jnp.zeros((1, 0))
    grid = jnp.meshgrid(*[axis.points for axis in axes], indexing="ij")
    return jnp.stack([x.ravel() for x in grid], axis=-1)


def _moments(weights: Array, state: State, names, axes) -> Float[Array, "nodes polynomials"]:
    """Sums over the paths of a node of weights times Hermite's polynomials in the state."""
    if not names:
        return jnp.sum(weights, axis=-1, keepdims=True)
    polynomials = []
    for name, axis in zip(names, axes, strict=True):
        x = jnp.clip(axis.place(getattr(state, name)), -_FARTHEST, _FARTHEST)
        polynomials.append(jnp.stack(_hermite(x, axis.count), axis=1))
    rows = weights[:, None, :] * polynomials[0]
    if len(polynomials) == 1:
        return jnp.sum(rows, axis=-1)
    columns = polynomials[1]
    for more in polynomials[2:]:
        columns = columns[:, :, None, :] * more[:, None, :, :]
        columns = columns.reshape(columns.shape[0], -1, columns.shape[-1])
    return jnp.einsum("qrn,qsn->qrs", rows, columns).reshape(weights.shape[0], -1)


class _Axis(eqx.Module):
    """Nodes of Gauss's quadrature along a number that is remembered."""

    middle: Float[Array, ""]
    spread: Float[Array, ""]
    count: int = eqx.field(static=True)

    @property
    def points(self) -> Float[Array, " nodes"]:
        places, _ = np.polynomial.hermite_e.hermegauss(self.count)
        return self.middle + self.spread * jnp.asarray(places, self.spread.dtype)

    def place(self, x: Array) -> Array:
        """Distance from the middle in standard deviations."""
        return (x - self.middle) / self.spread

    @property
    def to_nodes(self) -> np.ndarray:
        """From moments of the polynomials to weights of the points, shape (polynomials, nodes)."""
        places, weights = np.polynomial.hermite_e.hermegauss(self.count)
        return np.stack(_hermite(places, self.count)) * weights / weights.sum()


def _hermite(x, count: int) -> list:
    """The first polynomials that are orthonormal under the normal law."""
    found = [x**0, x]
    for k in range(1, count - 1):
        found.append((x * found[k] - math.sqrt(k) * found[k - 1]) / math.sqrt(k + 1))
    return found


def _axes(neuron, names, current, grid, key) -> list[_Axis]:
    """Nodes along each number that is remembered, about where spikes of a trial run leave it."""
    sizes = _NODES[len(names)]
    if not names:
        return []
    frozen = jax.tree.map(lax.stop_gradient, neuron)
    walk = walker(frozen, lax.stop_gradient(current), grid.dt0)
    dtype = jnp.result_type(float)
    shape = (_PILOTS,)

    def step(carry, cell):
        state, seen = carry
        noise = normals(key, cell, (walk.noises, *shape), dtype) if walk.noises else None
        moved = walk.step(state, noise)
        before = survival(state.passed - walk.alpha)
        hazard = 1 - survival(moved.passed - walk.alpha) / before
        draw = jr.uniform(jr.fold_in(key, cell), shape, dtype)
        fires = draw < hazard
        after = walk.after(moved)
        state = jax.tree.map(lambda a, b: jnp.where(fires, a, b), after, moved)
        numbers = jnp.stack([getattr(after, n) for n in names])
        # the later half of the run has forgotten where it began
        counts = (fires & (2 * cell >= grid.num_cells)).astype(dtype)
        powers = jnp.stack([jnp.ones_like(numbers), numbers, numbers**2])
        return (state, seen + jnp.sum(powers * counts[None, None], axis=-1)), None

    state = walk.begin(walk.typical(names), shape, dtype)
    cells = jnp.arange(grid.num_cells, dtype=jnp.int32)
    sums = jnp.zeros((3, len(names)), dtype)
    (_, sums), _ = lax.scan(step, (state, sums), cells)
    count = jnp.maximum(sums[0], 1)
    mean = jnp.where(sums[0] > 0, sums[1] / count, jnp.stack(list(walk.typical(names).values())))
    spread = jnp.sqrt(jnp.maximum(sums[2] / count - mean**2, 0)) + 1e-3 * (1 + jnp.abs(mean))
    return [_Axis(mean[i], spread[i], size) for i, size in enumerate(sizes)]
