r"""The law of the intervals of a neuron that forgets at its spikes, given noise paths.

Between two spikes the potential of such a neuron follows its own equation from the reset on,
whatever came before. With the noise path fixed and the mark integrated out, the interval lasts
longer than t with probability

$$ S_t = e^{-(\Lambda_t - \alpha)_+}, \qquad \Lambda_t = \int_0^t \lambda(v_r)\,dr , $$

a smooth function of the parameters for each path: no spike is located and none is differentiated.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import IntLike, RealLike, finite_array, number, whole_number
from .._random import normals
from .._shown import is_known
from ..drivers import TimeGrid
from ..neurons import AbstractNeuron, ResettingStochasticLIF
from ..protocol import has_row_per_sample
from ..spikes.checks import refuse_if

# what of the intensity can count in a cell: with more than this the spike is in the cell but for
# a chance of e^-50, and a potential far above the threshold makes no infinite numbers
SURE = 50.0
# the longest step in units of the time constant, as of a solve
LONGEST_STEP = 1.0 + 1e-5


class IntervalLaw(eqx.Module):
    r"""The law of an interval on a grid of times, as a smooth function of the parameters.

    It is made by [`roughsnn.interval_law`][], and may be differentiated in either mode. A spike in
    a cell of the grid lies at either end of it, by a fair coin.

    Attributes:
        edges: the ends of the cells, from 0 to the longest interval that is looked at.
        survival: at each of them, the probability that the interval lasts longer, a mean over
            noise paths.
    """

    edges: Float[Array, " edges"]
    survival: Float[Array, " edges"]

    def __repr__(self) -> str:
        edges, survival = self.edges, self.survival
        if not is_known(edges, survival):
            return f"law of an interval: {edges.shape[-1] - 1} cells"
        edges, survival = np.asarray(edges, float), np.asarray(survival, float)
        mean = np.sum(np.diff(edges) * (survival[1:] + survival[:-1]) / 2)
        return (
            f"law of an interval: {edges.size - 1} cells up to {edges[-1]:g}, mean {mean:.4g}, "
            f"{100 * survival[-1]:.3g} % last longer"
        )

    @property
    def probabilities(self) -> Float[Array, " edges"]:
        """Of the interval to end at each of the edges; what lasts longer counts at the last."""
        ends = jnp.concatenate([self.survival[:-1] - self.survival[1:], self.survival[-1:] * 2])
        starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
        return (starts + ends) / 2

    def mean(
        self, values: Float[Array | np.ndarray, "edges *features"]
    ) -> Float[Array, "*features"]:
        r"""The expectation of functions of the interval, given by their values at the edges.

        $E f = \sum_k p_k f_k$. The derivatives of any number of functions come from those of the
        law alone, by a matrix product: `jax.jacfwd` of it costs one pass over the paths.

        Args:
            values: of functions that are constant beyond the last edge.
        """
        return jnp.tensordot(self.probabilities, jnp.asarray(values, self.survival.dtype), 1)

    def quantiles(self, levels: Float[Array | np.ndarray, "*n"]) -> Float[Array, "*n"]:
        """The times before which the interval ends with the given probabilities, without
        derivatives; at most the last edge.

        Quantiles of uniform numbers are a sample of intervals.
        """
        ended = lax.stop_gradient(1 - self.survival)
        flat = jnp.interp(jnp.ravel(jnp.asarray(levels, ended.dtype)), ended, self.edges)
        return flat.reshape(jnp.shape(levels))


def interval_law(
    neuron: AbstractNeuron,
    longest: RealLike,
    dt0: RealLike,
    *,
    key: PRNGKeyArray,
    num_paths: IntLike,
    input_current: Any = None,
) -> IntervalLaw:
    r"""The law of the intervals of a resetting neuron, with the mark integrated out.

    The equation of the potential is solved without events from the reset on, for `num_paths` noise
    paths, by Euler's method; the survival functions given each path are averaged.

    **Unbiased**: expectations under the law, and their derivatives in all parameters, sigma and
    alpha included, have the means of the discretised neuron. Of one path the derivative of $E f$
    is

    $$ -\int f'(t)\, S_t\, 1\{\Lambda_t > \alpha\}\, \nabla (\Lambda_t - \alpha)\,dt , $$

    which no intensity divides. As $S \Lambda \le 1/e$ beyond a dead part, it has all moments; its
    standard deviation grows like the square root of the steepness of the intensity, and is a few
    gradients where that of a spike time's derivative is infinite. Paths come in pairs with opposite
    noise, which has the variance of as many independent ones or less.

    A square or product of two expectations is estimated without bias from two laws of different
    keys.

    ```python
    def mean_features(neuron):
        law = rs.interval_law(neuron, 8.0, 0.04, key=key, num_paths=100, input_current=1.5)
        return law.mean(features)  # shape (edges, n), at jnp.arange(edges) * 0.04

    jacobian = jax.jacfwd(mean_features)(neuron)  # of all of them, from one pass
    ```

    Args:
        neuron: a single [`roughsnn.ResettingStochasticLIF`][] with noise of the potential, or none.
        longest: how far intervals are followed, in the unit of time of the neuron.
        dt0: step.
        key: random key.
        num_paths: how many noise paths.
        input_current: a constant input current: a number.

    Raises:
        TypeError: another model than a resetting neuron.
        ValueError: several neurons, noise of the current, or an input that changes; a step longer
            than the time constant of the potential.
    """
    check_renewal(neuron, input_current, "interval_law")
    longest = number("longest", longest, positive=True)
    dt0 = number("dt0", dt0, positive=True)
    if dt0 > longest:
        raise ValueError(f"`dt0` must be at most `longest`, got dt0={dt0} and longest={longest}.")
    grid = TimeGrid(0.0, longest, dt0)
    paths = whole_number("num_paths", num_paths, 1)
    current = finite_array("input_current", 0.0 if input_current is None else input_current)
    current = jnp.broadcast_to(current.reshape(()), (paths,))
    start = jnp.broadcast_to(jnp.reshape(neuron.reset_to, ()), (paths,))
    seen = walk_from(neuron, start, current, grid, key, lambda excess: jnp.mean(survival(excess)))
    return IntervalLaw(jnp.asarray(np.arange(grid.num_cells + 1) * dt0, seen.dtype), seen)


def survival(excess: Array) -> Array:
    r"""$e^{-(\Lambda - \alpha)_+}$ of $\Lambda - \alpha$."""
    return jnp.exp(-jnp.maximum(excess, 0))


def walk_from(
    neuron: ResettingStochasticLIF,
    start: Float[Array, " paths"],
    current: Float[Array, " paths"],
    grid: TimeGrid,
    key: PRNGKeyArray,
    look: Callable[[Array], Any],
) -> Any:
    r"""Potentials of `paths` without events, from `start` on, by Euler's method.

    The noise of the second half of the paths is the opposite of that of the first.

    Returns:
        `look` of $\Lambda - \alpha$ of all paths, at each edge of the grid.
    """
    dt = grid.dt0
    mu1, alpha = (jnp.reshape(x, ()) for x in (neuron.mu1, neuron.alpha))
    dtype = jnp.result_type(start, mu1)
    start = refuse_if(
        start,
        mu1 * dt > LONGEST_STEP,
        f"`dt0` = {dt:g} is longer than the time constant 1 / mu1 of the potential, so that "
        "Euler's method leaps over its equilibrium: take shorter steps.",
    )

    def step(carry, cell):
        v, integrated = carry
        intensity = jnp.minimum(neuron.intensity(v), SURE / dt)
        moved = v + mu1 * (current - v) * dt
        if neuron.sigma is not None:
            strength = jnp.reshape(neuron.sigma, ()) * np.sqrt(dt)
            half = normals(key, cell, (-(-v.shape[0] // 2),), dtype)
            moved = moved + strength * jnp.concatenate([half, -half])[: v.shape[0]]
        integrated = integrated + intensity * dt
        return (moved, integrated), look(integrated - alpha)

    first = (start.astype(dtype), jnp.zeros(start.shape, dtype))
    # the backward pass draws the noise anew
    step = jax.checkpoint(step, prevent_cse=False)
    cells = jnp.arange(grid.num_cells, dtype=jnp.int32)
    _, seen = lax.scan(step, first, cells)
    at_start = look(first[1] - alpha)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), at_start, seen)


def check_renewal(neuron: Any, input_current: Any, name: str) -> None:
    """Fail unless the intervals of the neuron are independent.

    Raises:
        TypeError: another model than a resetting neuron.
        ValueError: several neurons, noise of the current, a current to begin with, or an input that
            changes in time.
    """
    if not isinstance(neuron, ResettingStochasticLIF):
        raise TypeError(
            f"{name} was given a {type(neuron).__name__}: the mark of a spike can be integrated "
            "out in one pass where the spike makes the neuron forget, as "
            "roughsnn.ResettingStochasticLIF does. For subtractive and adapting neurons and for "
            "networks use roughsnn.SpikeRemoval()."
        )
    if neuron.num_neurons != 1:
        raise ValueError(
            f"{name} was given {neuron.num_neurons} neurons, and takes one: these do not "
            "influence each other, so each can be trained alone."
        )
    if neuron.sigma is not None and neuron.sigma.ndim >= 2:
        raise ValueError(
            f"{name} was given a neuron whose `sigma` has shape {neuron.sigma.shape}: a noisy "
            "current goes on through spikes, so that intervals are not independent. Give a number, "
            "noise of the potential alone, or use roughsnn.SpikeRemoval()."
        )
    if not isinstance(neuron.i0, jax.core.Tracer) and np.any(np.asarray(neuron.i0) != 0):
        raise ValueError(
            f"{name} was given a neuron with `i0` = {neuron.i0}: a current that decays in time "
            "makes the intervals differ. It must be 0; give a constant current as `input_current`."
        )
    steady = not callable(input_current) and np.size(input_current) == 1
    if not (input_current is None or steady or has_row_per_sample(input_current)):
        raise ValueError(
            f"{name} was given an `input_current` of kind {type(input_current).__name__} that is "
            "not one constant number: intervals in a changing input are not independent. Use "
            "roughsnn.SpikeRemoval()."
        )
