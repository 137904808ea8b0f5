"""Gates: how a synapse collects its charge while the potential crosses the active zone."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._turns import cos_turns, sin_turns


class AbstractGate(eqx.Module):
    r"""A gate $g(v) \ge 0$ of unit area that vanishes outside the active zone.

    It is given by its integral $G(v) = \int_{-\infty}^v g$, which rises from 0 at the lower end of
    the zone to 1 at the upper: the share of a spike's charge that has been delivered once the
    potential is at v. Both are functions of single potentials and of arrays, elementwise.
    """

    @property
    @abc.abstractmethod
    def zone(self) -> tuple[float, float]:
        """Lower and upper end of the active zone."""

    @abc.abstractmethod
    def cumulative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """The delivered share G(v), from 0 to 1."""

    @abc.abstractmethod
    def density(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """The gate g(v), the derivative of G, per unit of potential."""


class RaisedCosineGate(AbstractGate):
    r"""The gate $g(v) = (1 - \cos 2 \pi x) / \Delta$ with $x = 1 + (v - v_{\rm top}) / \Delta$.

    On the active zone $[v_{\rm top} - \Delta, v_{\rm top}]$, where x runs from 0 to 1;
    $G(v) = x - \sin(2 \pi x) / 2 \pi$. It is continuously differentiable.

    Attributes:
        width: width $\Delta > 0$ of the active zone, in the unit of the potential.
        top: upper end of the zone, usually the threshold.

    Raises:
        ValueError: a width that is not positive.
    """

    width: float = eqx.field(static=True, default=0.3)
    top: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        _check_width(self.width)

    @property
    def zone(self):
        return self.top - self.width, self.top

    def cumulative(self, v):
        x = _position(v, self.zone)
        return x - sin_turns(x) / (2 * math.pi)

    def density(self, v):
        return (1 - cos_turns(_position(v, self.zone))) / self.width


class BoxGate(AbstractGate):
    r"""The gate that is constant over the active zone, with smooth edges.

    Over an edge of width $e \Delta$ the gate rises, and falls, as half a period of a cosine; the
    height between is $1 / (\Delta (1 - e))$, so that its area is 1.

    Attributes:
        width: width $\Delta > 0$ of the active zone, edges included.
        edge: share $0 < e \le 1/2$ of the width that each edge takes.
        top: upper end of the zone, usually the threshold.

    Raises:
        ValueError: a width that is not positive, or an edge outside its range.
    """

    width: float = eqx.field(static=True, default=0.3)
    edge: float = eqx.field(static=True, default=0.2)
    top: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        _check_width(self.width)
        if not 0 < self.edge <= 0.5:
            raise ValueError(
                f"`edge` is {self.edge}; each edge must take a share of the width that is positive "
                "and at most 1/2."
            )

    @property
    def zone(self):
        return self.top - self.width, self.top

    def cumulative(self, v):
        x, e = _position(v, self.zone), self.edge

        def up_to(x):
            # the integral of an edge that rises from 0 to e, and of the plateau after it
            y = jnp.clip(x, 0, e)
            rising = (y - e / math.pi * sin_turns(y / (2 * e))) / 2
            return rising + jnp.maximum(x - e, 0)

        # the upper half is the lower half turned around its middle
        lower = up_to(jnp.minimum(x, 0.5)) / (1 - e)
        upper = 1 - up_to(jnp.minimum(1 - x, 0.5)) / (1 - e)
        return jnp.where(x <= 0.5, lower, upper)

    def density(self, v):
        x, e = _position(v, self.zone), self.edge
        from_end = jnp.clip(jnp.minimum(x, 1 - x) / e, 0, 1)
        return (1 - cos_turns(from_end / 2)) / (2 * self.width * (1 - e))


class CumulativeGate(AbstractGate):
    """A gate of your own, from its integral G.

    Attributes:
        function: G, elementwise; it must not fall, and be 0 at the lower end of the zone and 1 at
            the upper, so that the gate has unit area. Outside the zone it is not asked for.
        lower: lower end of the active zone.
        upper: upper end of the active zone, usually the threshold.

    Raises:
        ValueError: ends that are not in order, or a function that is not 0 and 1 at the ends (to
            1e-6) or falls in between.
    """

    function: Callable[[Float[Array, "..."]], Float[Array, "..."]]
    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if not self.lower < self.upper:
            raise ValueError(
                f"`lower` is {self.lower} and `upper` {self.upper}; the active zone must end after "
                "it begins."
            )
        values = np.asarray(self.function(jnp.linspace(self.lower, self.upper, 1001)))
        ends = float(values[0]), float(values[-1])
        if not (abs(ends[0]) < 1e-6 and abs(ends[1] - 1) < 1e-6):
            raise ValueError(
                f"`function` is {ends[0]:.7g} and {ends[1]:.7g} at the ends of the active zone; it "
                "must be 0 and 1, so that a full crossing delivers unit charge. Shift and scale it."
            )
        if np.any(np.diff(values) < -1e-6):
            raise ValueError(
                "`function` falls inside the active zone; a gate must not be negative."
            )

    @property
    def zone(self):
        return self.lower, self.upper

    def cumulative(self, v):
        # exactly 0 and 1 outside the zone, whatever the rounding of the function
        inside = self.function(jnp.clip(v, self.lower, self.upper))
        return jnp.where(v <= self.lower, 0.0, jnp.where(v >= self.upper, 1.0, inside))

    def density(self, v):
        _, density = jax.jvp(self.cumulative, (v,), (jnp.ones_like(v),))
        return density


def _position(v, zone):
    lower, upper = zone
    return jnp.clip((v - lower) / (upper - lower), 0, 1)


def _check_width(width):
    if not width > 0:
        raise ValueError(f"`width` is {width}; the active zone must have a positive width.")
