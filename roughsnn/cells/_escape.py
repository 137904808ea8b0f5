r"""One cell of neurons that fire by an intensity: the state at its end and the spikes in it.

Time in a cell is the offset $x \in [0, 1]$. The potential without the resets of this cell is known
at its start, middle and end (exactly, but for where in each half arrivals fall), and in between
taken as the parabola q through them; spikes at $\tau_m$ take $v_{\mathrm{reset}}$ off,

$$ v(x) = q(x) - v_{\mathrm{reset}} \sum_{\tau_m < x} e^{-a (x - \tau_m)}. $$

Between spikes the intensity is the parabola p through its values at the ends and the middle of what
is left of the cell, and the integrated intensity is the integral of p: at the end of the cell that
is Simpson's rule, and at a spike its slope is p, not $\lambda(v)$. So there is one functional of
the potential, whose zeros are the spikes and whose derivative is the derivative of what was
computed. A parabola that could fall below zero, where the intensity at one end is more than some
18 times that at the other, has its middle raised.
"""

from typing import NamedTuple

import jax
import jax.lax as lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..neurons import StochasticLIF
from ._responses import lifted
from ._walk import NO_SPIKE, root


class Firing(NamedTuple):
    """What decides when neurons fire, and what a spike does to them.

    Attributes:
        neurons: for the intensity, and what a spike takes off the potential.
        a: leak rate of the potential, per cell; a number or one for each neuron.
        width: length of a cell.
        refractory: for how long the integrated intensity stands still after a spike, in cells;
            `None` for no time at all.
    """

    neurons: StochasticLIF
    a: Float[Array, "..."]
    width: Float[Array, ""]
    refractory: Float[Array, "..."] | None


class Potential(NamedTuple):
    """The potential without the resets of this cell, at its start, middle and end."""

    start: Float[Array, "B N"]
    middle: Float[Array, "B N"]
    end: Float[Array, "B N"]

    def at(self, x: Float[Array, "B N"]) -> Float[Array, "B N"]:
        """On the parabola through the three."""
        outer = (1 - x) * (1 - 2 * x) * self.start + x * (2 * x - 1) * self.end
        return outer + 4 * x * (1 - x) * self.middle


class Intensity(NamedTuple):
    """The integrated intensity from an offset `begin` to the end of the cell.

    Attributes:
        begin: where it begins to rise; at 1 or after it, it stands still.
        first: the integrated intensity there.
        rise: how fast it rises there, by the part of the cell that is left.
        linear: how the rise grows with the share of what is left.
        square: how it grows with the square of the share.
    """

    begin: Float[Array, "B N"]
    first: Float[Array, "B N"]
    rise: Float[Array, "B N"]
    linear: Float[Array, "B N"]
    square: Float[Array, "B N"]

    @classmethod
    def of(cls, begin, first, values, width) -> "Intensity":
        """From the intensities at the ends and in the middle of what is left of the cell."""
        start, middle, end = values
        # one that touches zero between its ends has (sqrt(start) - sqrt(end))^2 / 4 in its middle,
        # which is less than this
        middle = jnp.maximum(middle, jnp.abs(end - start) / 4)
        left = width * jnp.maximum(1 - begin, 0)
        linear, square = 4 * middle - 3 * start - end, 2 * (start + end) - 4 * middle
        return cls(begin, first, left * start, left * linear, left * square)

    def at(self, share: Float[Array, "B N"]) -> Float[Array, "B N"]:
        """The integrated intensity where this share of what is left has passed."""
        mean = self.rise + share * (self.linear / 2 + share * (self.square / 3))
        return self.first + share * mean

    def speed(self, share: Float[Array, "B N"]) -> Float[Array, "B N"]:
        """How fast it rises there, by the part of the cell that is left."""
        return self.rise + share * (self.linear + share * self.square)


class Outcome(NamedTuple):
    """What happens in a cell.

    Attributes:
        reset: what resets have added to the potential by its end.
        s: the integrated intensity at its end.
        held: for how long that stands still from there; not positive for not at all; `None`
            without refractory periods.
        offsets: the spikes; `NO_SPIKE` in a free place.
        speeds: how fast the integrated intensity rises at each of them, per cell.
        more: whether there was another spike for which there is no place.
    """

    reset: Float[Array, "B N"]
    s: Float[Array, "B N"]
    held: Float[Array, "B N"] | None
    offsets: Float[Array, "places B N"]
    speeds: Float[Array, "places B N"]
    more: Bool[Array, "B N"]


def fire(
    firing: Firing,
    potential: Potential,
    s: Float[Array, "B N"],
    held: Float[Array, "B N"] | None,
    levels: Float[Array, "places B N"],
    known: Float[Array, "places B N"] | None = None,
) -> Outcome:
    """The spikes of all neurons in a cell.

    Args:
        firing: what decides when neurons fire.
        potential: without the resets of this cell.
        s: the integrated intensity at its start.
        held: for how long that stands still.
        levels: the integrated intensity after each spike.
        known: the spikes, where they have been found already; then nothing is searched for, and
            the offsets that are returned are those, with their derivatives.
    """
    a, drop = lifted(firing.a, 2), lifted(firing.neurons.v_reset, 2)
    one = jnp.ones_like(s)

    def rising(begin, first, dropped):
        """The integrated intensity from an offset on where earlier resets have left the potential
        lower by `dropped`, and by how much that is at the end of the cell."""
        if begin is None:
            begin, values = jnp.zeros_like(first), tuple(potential)
        elif dropped is None:
            values = (potential.at(x) for x in (begin, 0.5 * (1 + begin), one))
        else:
            decay = jnp.exp(-0.5 * a * (1 - begin))
            values = (
                potential.at(begin) - dropped,
                potential.at(0.5 * (1 + begin)) - dropped * decay,
                potential.end - (dropped := dropped * decay * decay),
            )
        rates = tuple(jax.vmap(firing.neurons.intensity)(v) for v in values)
        return Intensity.of(begin, first, rates, firing.width), dropped

    begin = None if held is None else jnp.clip(held, 0, 1)
    segment, dropped = rising(begin, s, None)
    at_begin = jnp.zeros_like(s)
    offsets, speeds, reset, alive = [], [], jnp.zeros_like(s), None
    for level, found in zip(levels, [None] * len(levels) if known is None else known, strict=True):
        end = segment.at(one)
        left = 1 - segment.begin
        open_ = jnp.where(left > 0, left, 1)
        if found is None:
            fires = (end >= 0) if alive is None else (end >= 0) & alive
            share = _share_at_zero(segment, end, fires)
            x = segment.begin + share * left
        else:
            fires = found <= 1
            x = jnp.where(fires, found, 1)
            share = jnp.where(fires, (x - segment.begin) / open_, 1)
            # the zero moves by minus what the function moves by, over its speed
            value, speed = segment.at(share), segment.speed(share) / open_
            moved = value - lax.stop_gradient(value)
            x = x - jnp.where(fires, moved / lax.stop_gradient(jnp.where(fires, speed, 1)), 0)
        speeds.append(jnp.where(fires, segment.speed(share) / open_, 1))
        offsets.append(jnp.where(fires, x, NO_SPIKE))
        free = begin = x
        if firing.refractory is not None:
            free = x + lifted(firing.refractory, 2)
            begin = jnp.minimum(free, 1)
        # what is left of resets where the integrated intensity begins to rise again
        if alive is not None:
            at_begin = at_begin * jnp.exp(-a * (begin - segment.begin))
        by_this = drop if firing.refractory is None else drop * jnp.exp(-a * (begin - x))
        at_begin = at_begin + by_this
        after, dropped = rising(begin, level, at_begin)
        # where nothing fires the segment before goes on to the end
        s = jnp.where(fires, after.at(one), end if alive is None else s)
        reset = jnp.where(fires, -dropped, reset)
        if held is not None:
            held = jnp.where(fires, free - 1, held - 1 if alive is None else held)
        alive, segment = fires, after
    assert alive is not None, "there is room for a spike"
    more = alive & (s >= 0)
    return Outcome(reset, s, held, jnp.stack(offsets), jnp.stack(speeds), more)


def _share_at_zero(segment: Intensity, end, fires):
    """The share of what is left of the cell at which the integrated intensity reaches zero, for the
    neurons that fire."""
    first = segment.first
    tolerance = 4 * float(jnp.finfo(first.dtype).eps)
    found = root(
        jnp.zeros_like(end), jnp.ones_like(end), first, end, segment.rise, fires,
        lambda share: (segment.at(share), segment.speed(share)), tolerance,
        0.25 * tolerance * jnp.abs(first),
    )  # fmt: skip
    return jnp.where(fires, jnp.clip(found, 0, 1), 1)
