"""How a population reads out its estimate: random directions, and the geometry of a target."""

import copy
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import IntLike, RealLike, finite_array, number, real_array, whole_number
from ..event_sde import AbstractTimeFunction


def random_readout(
    key: PRNGKeyArray,
    dim: IntLike,
    num_neurons: IntLike,
    *,
    mirrored: bool = True,
    scale: RealLike = 1.0,
    unit_norm: bool = False,
) -> Float[Array, "p K"]:
    r"""Readout weights $\Gamma$ with independent normal entries: a spike of neuron k moves the
    estimate by column k.

    In the *naive* geometry they are used as they are. In the *natural* geometry of a target the
    same directions are drawn in coordinates in which it is isotropic,
    $\Sigma^{1/2}\Gamma$: `target.root @ random_readout(...)`.

    Args:
        key: random key.
        dim: p.
        num_neurons: K.
        mirrored: whether the second half of the neurons has the opposite directions of the first,
            $[A, -A]$; K must be even.
        scale: factor of all entries.
        unit_norm: whether each column has norm `scale`, and only its direction is random.

    Raises:
        ValueError: an argument outside its range.
    """
    p, k = whole_number("dim", dim, 1), whole_number("num_neurons", num_neurons, 1)
    scale = number("scale", scale, positive=True)
    if mirrored and k % 2:
        raise ValueError(
            f"`num_neurons` is {k}; mirrored readouts come in pairs, so it must be even. Take "
            f"{k + 1}, or `mirrored=False`."
        )
    columns = jr.normal(key, (p, k // 2 if mirrored else k))
    if unit_norm:
        columns = columns / jnp.linalg.norm(columns, axis=0, keepdims=True)
    columns = columns * scale
    return jnp.concatenate([columns, -columns], axis=1) if mirrored else columns


class PiecewiseConstant(AbstractTimeFunction):
    """A function of time that is constant between the times at which it steps.

    ```python
    mean = PiecewiseConstant([0.5], [[0.0, 0.0], [1.0, 1.0]])  # 0 before t = 0.5, then 1
    ```

    Attributes:
        times: when it steps, m increasing numbers. At a step it has the new value already.
        values: of shape (m + 1, p).

    Raises:
        ValueError: times that do not increase, or another number of values than `m + 1`.
    """

    times: tuple[float, ...] = eqx.field(static=True)
    values: Float[Array, "m_and_1 p"]
    # within one step of a solver, how often it has stepped before the end of it
    most: Int[Array, ""] | None

    def __init__(self, times: Any, values: Any):
        if isinstance(times, jax.core.Tracer):
            raise ValueError(
                "`times` must be known before anything is compiled: give a list of numbers."
            )
        known, values = np.asarray(times, np.float64), finite_array("values", values)
        if known.ndim != 1 or values.ndim != 2 or values.shape[0] != known.size + 1:
            raise ValueError(
                "`values` must have one row more than there are `times`, got shapes "
                f"{values.shape} and {known.shape}."
            )
        if not np.all(np.isfinite(known)) or np.any(np.diff(known) <= 0):
            raise ValueError(f"`times` must be finite and increase, got {known.tolist()}.")
        self.times, self.values, self.most = tuple(known.tolist()), values, None

    def __call__(self, t):
        if not self.times:
            return self.values[0]
        t = real_array("t", t)
        passed = self._passed(t)
        return self.values[passed if self.most is None else jnp.minimum(passed, self.most)]

    def _passed(self, t) -> Int[Array, ""]:
        return jnp.sum(jnp.asarray(self.times, t.dtype) <= t, dtype=jnp.int32)

    def since(self, t0):
        return PiecewiseConstant([t - t0 for t in self.times], self.values)

    def within(self, begin, end):
        moved = copy.copy(self)
        before = jax.lax.stop_gradient(end - 0.1 * (end - begin))
        object.__setattr__(moved, "most", self._passed(before))
        return moved

    def first_steps(self, dt0: float) -> Int[Array, " m"]:
        """The numbers of the steps of length `dt0` from which on each next value holds."""
        return jnp.asarray(np.rint(np.asarray(self.times) / dt0), jnp.int32)
