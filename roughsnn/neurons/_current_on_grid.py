"""An input current given by its values on a grid of times."""

import copy
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ..event_sde import AbstractTimeFunction


class CurrentOnGrid(AbstractTimeFunction):
    r"""An input current given by its values at times $t_1 < \dots < t_n$: what a recording or an
    experiment's protocol gives. Pass it as `input_current`.

    Between the times it is

    - `"linear"`: $c(t) = c_j + \frac{t - t_j}{t_{j+1} - t_j} (c_{j+1} - c_j)$ on
      $[t_j, t_{j+1}]$;
    - `"previous"`: $c(t) = c_j$ on $[t_j, t_{j+1})$, a current in steps.

    Before $t_1$ it is $c_1$ and after $t_n$ it is $c_n$. The solution is differentiable in the
    values. The grid is the current's own and need not be the solver's. A solver does not see where
    a current jumps or bends inside one of its steps, and loses its order there: let the steps of
    the current lie on the solver's grid where that matters. A current in steps that jumps at the
    end of a step of the solver jumps after it.

    The times are kept since the first of them, so that they are resolved wherever the recording
    begins. A time that is one of the grid up to rounding, also that of the times as they were
    given, counts as that time.

    Attributes:
        times: the times since the first, strictly increasing.
        start: the first of the times, in double precision.
        values: the current at each of them, one for all neurons or one for each.
        interpolation: `"linear"` or `"previous"`.

    Raises:
        TypeError: times or values that are no real numbers.
        ValueError: a grid or values of the wrong shape, not finite or not increasing; another
            interpolation. Times that are only known inside `jit` raise at run time.
    """

    times: Float[Array, " n"]
    values: Float[Array, "n"] | Float[Array, "n K"]
    interpolation: str = eqx.field(static=True)
    start: float = eqx.field(static=True)
    # within one step of a solver, the number of the last time that lies before its end
    last: Int[Array, ""] | None

    def __init__(
        self,
        times: Any,
        values: Any,
        interpolation: str = "linear",
    ):
        if interpolation not in ("linear", "previous"):
            raise ValueError(
                f'`interpolation` must be "linear" or "previous", got {interpolation!r}.'
            )
        start, times = _since_first(times)
        values = _floats("values", values)
        least = 2 if interpolation == "linear" else 1
        if times.ndim != 1 or times.shape[0] < least:
            raise ValueError(
                f"`times` must have shape (n,) with n at least {least}, got shape {times.shape}."
            )
        n = times.shape[0]
        if values.ndim not in (1, 2) or values.shape[0] != n:
            raise ValueError(
                f"`values` must have shape ({n},), or ({n}, K) for K neurons, one row for each of "
                f"`times`, got shape {values.shape}."
            )
        _check_finite("times", times)
        _check_finite("values", values)
        increasing = jnp.all(times[1:] > times[:-1]) & jnp.all(jnp.isfinite(times))
        if isinstance(times, jax.core.Tracer):
            times = eqx.error_if(times, ~increasing, "`times` must be finite and increase.")
        elif not increasing:
            j = int(np.argmin(np.asarray(times[1:] > times[:-1])))
            raise ValueError(
                f"`times` must increase strictly, got {start + float(times[j])} followed by "
                f"{start + float(times[j + 1])} in {times.dtype} (entry {j + 1}): sort the grid, "
                "and drop what is there twice."
            )
        self.times, self.values, self.interpolation = times, values, interpolation
        self.start, self.last = start, None

    def __call__(self, t: Float[Array, ""]) -> Float[Array, ""] | Float[Array, " K"]:
        """The current at time t."""
        t = jnp.asarray(t)
        times = self.times.astype(t.dtype)
        n = times.shape[0]
        since = t - jnp.asarray(self.start, t.dtype)
        # a time of the grid is reached where rounding alone keeps it from being reached
        rounding = 4 * jnp.finfo(t.dtype).eps * (jnp.abs(t) + jnp.abs(since) + abs(self.start))
        reached = jax.lax.stop_gradient(since + rounding)
        place = jnp.searchsorted(times, reached, side="right", method="scan_unrolled") - 1
        if self.last is not None:
            place = jnp.minimum(place, self.last)
        if self.interpolation == "previous":
            return self.values[jnp.clip(place, 0, n - 1)]
        j = jnp.clip(place, 0, n - 2)
        share = jnp.clip((since - times[j]) / (times[j + 1] - times[j]), 0, 1)
        share = share.astype(self.values.dtype)
        return (1 - share) * self.values[j] + share * self.values[j + 1]

    def since(self, t0: float) -> "CurrentOnGrid":
        """The same current, as a function of the time since `t0`."""
        moved, start = copy.copy(self), self.start - float(t0)
        if abs(start) <= _rounding_of(self.start, float(t0)):
            start = 0.0
        object.__setattr__(moved, "start", start)
        return moved

    def within(self, begin: Float[Array, ""], end: Float[Array, ""]) -> "CurrentOnGrid":
        """The same current for one step of a solver: what jumps in the last tenth of the step (at
        its end, but for rounding) jumps after it."""
        if self.interpolation == "linear":
            return self
        moved, since = copy.copy(self), end - jnp.asarray(self.start, end.dtype)
        before = jax.lax.stop_gradient(since - 0.1 * (end - begin))
        times = self.times.astype(end.dtype)
        last = jnp.searchsorted(times, before, side="right", method="scan_unrolled") - 1
        object.__setattr__(moved, "last", last.astype(jnp.int32))
        return moved

    def neuron_axes(self, num_neurons: int) -> PyTree[int]:
        """Along which axis of times and values the neurons lie; -1 for none."""
        axes = jax.tree.map(lambda _: -1, self)
        own = self.values.ndim == 2 and self.values.shape[1] == num_neurons
        return eqx.tree_at(lambda c: c.values, axes, 1 if own else -1)


def _since_first(given: Any) -> tuple[float, Array]:
    """The first of the times, and all of them since it: subtracted in double precision where their
    values are known."""
    if isinstance(given, jax.core.Tracer) or any(
        isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(given)
    ):
        return 0.0, _floats("times", given)
    _floats("times", given)
    exact = np.asarray(given, float)
    if exact.ndim != 1 or not exact.size or not np.all(np.isfinite(exact)):
        return 0.0, _floats("times", given)
    since, least = exact - exact[0], np.min(np.diff(exact), initial=np.inf)
    # As they were given, late times are rounded; each is taken to be reached that much earlier, so
    # that a step which begins at it finds it reached. (What does not increase is refused later.)
    if least > 0:
        since[1:] -= min(_rounding_of(*exact), 0.25 * least)
    return float(exact[0]), jnp.asarray(since, jnp.result_type(float))


def _rounding_of(*times: float) -> float:
    """How far apart two times may be by their rounding in double precision alone."""
    return 2 * float(np.finfo(float).eps) * max(abs(t) for t in times)


def _floats(name: str, given: Any) -> Array:
    try:
        array = jnp.asarray(given)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be an array of numbers, got {given!r}.") from error
    if jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(jnp.result_type(float))
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be real numbers, got {array.dtype}.")
    return array


def _check_finite(name: str, array: Array) -> None:
    if isinstance(array, jax.core.Tracer):
        return
    bad = np.argwhere(~np.isfinite(np.asarray(array)))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"`{name}` must be finite, got {array[place]} at place "
            f"{place[0] if len(place) == 1 else place}."
        )
