"""Distances with a time scale or a cost: van Rossum and Victor-Purpura."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .checks import is_traced
from .distances import AbstractDistance, Neuron


class VanRossum(AbstractDistance):
    r"""The van Rossum distance: that of the trains, each spike followed by an exponential decay.

    $$
    d(x, y)^2 = \frac{2}{\tau} \int_{-\infty}^\infty
    \Big(\sum_i h(t - x_i) - \sum_j h(t - y_j)\Big)^2 dt,
    \qquad h(t) = e^{-t / \tau}\, 1_{t \ge 0} .
    $$

    A train with one spike is at distance 1 from the empty one, as in elephant; van Rossum's own
    normalisation is this divided by $\sqrt 2$. Small $\tau$ counts the spikes that do not
    coincide, large $\tau$ compares the numbers of spikes; `inf` gives their difference.

    The two trains are merged, and the trace of their difference is integrated from spike to
    spike, a sum of positive terms: the time is that of sorting, and nothing cancels, so that near
    trains keep their relative accuracy. At distance 0 the derivative given is 0.

    Several neurons are as far apart as $\sqrt{\sum_k d_k^2}$: labelled lines, no sharing.

    Of trains that hold the presence of spikes (`trains.presence`) each step of their grid is a
    spike of that size, and the derivative is that in the presence.

    Attributes:
        tau: time constant of the decay, in the unit of the times.

    Raises:
        ValueError: `tau` is not positive.

    References:
        van Rossum (2001), Neural Computation 13, 751.
        Houghton and Kreuz (2012), Network 23, 48, for the recursion.
    """

    takes_presence: ClassVar[bool] = True

    tau: ArrayLike

    def __check_init__(self):
        if not is_traced(self.tau) and not float(self.tau) > 0:
            raise ValueError(f"`tau` is {float(self.tau):g}; it must be positive.")

    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        return self._between_sized(x, y, jnp.ones_like(x), jnp.ones_like(y), end)

    def _between_sized(
        self, x: Neuron, y: Neuron, sizes_x: Neuron, sizes_y: Neuron, end: Array
    ) -> Float[Array, ""]:
        tau = jnp.asarray(self.tau, x.dtype)
        times = jnp.concatenate([x, y])
        signs = jnp.concatenate([sizes_x, -sizes_y])
        spikes = jnp.isfinite(times)
        # Padding becomes spikes of size 0 at the end of the window: nothing happens there.
        times, signs = jnp.where(spikes, times, end), jnp.where(spikes, signs, 0)
        times, signs = jax.lax.sort((times, signs), num_keys=1)
        gaps = jnp.diff(times) / tau

        def jump(trace: Array, spike: tuple[Array, Array]) -> tuple[Array, Array]:
            gap, sign = spike
            trace = trace * jnp.exp(-gap) + sign
            return trace, trace

        last, traces = jax.lax.scan(jump, signs[0], (gaps, signs[1:]))
        traces = jnp.concatenate([signs[:1], traces])
        squared = last**2 - jnp.sum(traces[:-1] ** 2 * jnp.expm1(-2 * gaps))
        return _safe_sqrt(squared)

    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        return _safe_sqrt(jnp.sum(values**2, axis=-1))


class VictorPurpura(AbstractDistance):
    r"""The Victor-Purpura distance: the least cost of turning one train into the other.

    A spike is added or removed at cost 1 and moved by $\Delta$ at cost $q\,|\Delta|$. Spikes
    further apart than $2/q$ are never moved to each other; $q = 0$ gives the difference in the
    numbers of spikes.

    The least costs $G_{ij}$ of the first $i$ and $j$ spikes,

    $$
    G_{ij} = \min\big(G_{i-1,j} + 1,\; G_{i,j-1} + 1,\; G_{i-1,j-1} + q\,|x_i - y_j|\big),
    $$

    are filled in by anti-diagonals, each in one go. The derivative is that of the cheapest way;
    where two ways cost the same it is a mean of theirs.

    Several neurons are as far apart as the sum over them: a spike never changes its neuron.

    Attributes:
        cost: cost $q$ of moving a spike by one unit of time.

    Raises:
        ValueError: `cost` is negative or not finite.

    Reference: Victor and Purpura (1996), J. Neurophysiology 76, 1310.
    """

    cost: ArrayLike

    def __check_init__(self):
        if not is_traced(self.cost) and not 0 <= float(self.cost) < float("inf"):
            raise ValueError(
                f"`cost` is {float(self.cost):g}; it must be finite, and 0 or more. Where moving "
                "is dearer than 2 divided by the resolution of the times, no spike is moved."
            )

    def _between(self, x: Neuron, y: Neuron, end: Array) -> Float[Array, ""]:
        cost = jnp.asarray(self.cost, x.dtype)
        count_x = jnp.sum(jnp.isfinite(x), dtype=jnp.int32)
        count_y = jnp.sum(jnp.isfinite(y), dtype=jnp.int32)
        x = jnp.where(jnp.isfinite(x), x, end)
        y = jnp.where(jnp.isfinite(y), y, end)
        m, n = x.shape[0], y.shape[0]
        # Entry i of diagonal d is G[i, d - i]; its last step compares x[i - 1] and y[d - i - 1],
        # which stands at a place of the reversed y that moves by one from diagonal to diagonal.
        i = jnp.arange(m + 1, dtype=jnp.int32)
        shifted_x = jnp.concatenate([x[:1], x])
        reversed_y = jnp.pad(y[::-1], (m + 1, m + 1), constant_values=0)

        def fill(carry: tuple, d: Array) -> tuple[tuple, None]:
            older, old, found = carry
            j = d - i
            start = n + m + 1 - d
            partner = jax.lax.dynamic_slice(reversed_y, (start,), (m + 1,))
            inside = (i > 0) & (j > 0) & (j <= n)
            # An entry outside the table keeps a difference of 0, which has a derivative.
            moved = jnp.abs(jnp.where(inside, shifted_x - partner, 0))
            above = jnp.concatenate([old[:1], old[:-1]]) + 1
            before = jnp.concatenate([older[:1], older[:-1]]) + cost * moved
            least = jnp.minimum(jnp.minimum(above, old + 1), before)
            new = jnp.where(inside, least, d.astype(x.dtype))
            found = jnp.where(d == count_x + count_y, new[count_x], found)
            return (old, new, found), None

        zero = jnp.zeros((), x.dtype)
        first = (jnp.zeros(m + 1, x.dtype), jnp.zeros(m + 1, x.dtype), zero)
        (_, _, found), _ = jax.lax.scan(fill, first, jnp.arange(1, m + n + 1, dtype=jnp.int32))
        return found

    def _together(self, values: Float[Array, "*batch num_neurons"]) -> Float[Array, "*batch"]:
        return jnp.sum(values, axis=-1)


def _safe_sqrt(squared: Array) -> Array:
    """Square root whose derivative at 0 is 0."""
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)
