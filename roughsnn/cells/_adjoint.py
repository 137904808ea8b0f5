"""The adjoint of one cell: derivatives of a loss in its end and in its spikes, taken to its start.

Everything here is at fixed spike times; how these move is in the weights that their potentials get.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._cell import Found, Rates, Releases
from ._responses import lifted, response


def potentials(rates: Rates, v, i, current, slots: Float[Array, "slots B N"]):
    """Potential and current at the end of a cell without arrivals and resets, and the potential at
    offsets in it: linear in v, i and the current."""
    a, b = lifted(rates.a, 2), lifted(rates.b, 2)

    def at(x):
        return jnp.exp(-a * x) * v + response(a, b, x) * i - jnp.expm1(-a * x) * current

    heights = [at(jnp.where(x <= 1, x, 1)) for x in slots]
    return at(jnp.ones_like(v)), jnp.exp(-b) * i, jnp.stack(heights)


def free_run(rates: Rates, v, i, current, offsets: Float[Array, "places B N"]):
    """Potential and current at the end of a cell without arrivals, whose spikes are at `offsets`,
    and how far the potential is above the threshold just before each of these: linear in v, i and
    the current."""
    a, threshold, reset = (lifted(x, 2) for x in (rates.a, rates.threshold, rates.reset))
    end, i_end, heights = potentials(rates, v, i, current, offsets)
    fires, fall = offsets <= 1, reset - threshold
    above = []
    for m, height in enumerate(heights):
        x = jnp.where(fires[m], offsets[m], 1)
        end = end + jnp.where(fires[m], fall * jnp.exp(-a * (1 - x)), 0)
        for n in range(m):
            height = height + jnp.where(fires[m], fall * jnp.exp(-a * (x - offsets[n])), 0)
        above.append(height - threshold)
    return end, i_end, jnp.stack(above)


def cotangents_of_heights(rates: Rates, from_v, offsets, speeds, from_offsets):
    r"""The derivative of a loss in the potential just before each spike, which moves its time.

    A spike at $\tau$ moves by $-dv(\tau^-) / v'(\tau^-)$, and moves the potential at the end of
    the cell and before later spikes, $\partial / \partial\tau\, J e^{-a (x - \tau)}$ with
    $J = v_{to} - v_{th}$: the latest spike comes first.

    Args:
        rates: the parameters.
        from_v: derivative in the potential at the end of the cell, (B, N).
        offsets: the spikes, (places, B, N).
        speeds: slopes of the potential there.
        from_offsets: derivative in the offsets, their own part.
    """
    a, threshold, reset = (lifted(x, 2) for x in (rates.a, rates.threshold, rates.reset))
    fall = reset - threshold
    places = offsets.shape[0]
    found = [None] * places
    fires = offsets <= 1
    x = jnp.where(fires, offsets, 1)
    for m in reversed(range(places)):
        total = from_offsets[m] + fall * a * jnp.exp(-a * (1 - x[m])) * from_v
        for n in range(m + 1, places):
            total = total + found[n] * fall * a * jnp.exp(-a * (x[n] - x[m]))
        found[m] = jnp.where(fires[m], -total / speeds[m], 0)
    return jnp.stack(found)


class Weights(NamedTuple):
    """The derivative of a loss in potentials without resets, where refractory periods are.

    Attributes:
        end: at the end of the cell.
        slots: offsets of spikes and of releases.
        heights: at these.
        a: in the leak rate, but for what depends on it in these potentials.
        threshold: in the threshold.
        reset: in the reset.
        period: in the refractory period.
        held: in for how long a neuron was held at the start.
    """

    end: Float[Array, "B N"]
    slots: Float[Array, "slots B N"]
    heights: Float[Array, "slots B N"]
    a: Float[Array, "B N"]
    threshold: Float[Array, "B N"]
    reset: Float[Array, "B N"]
    period: Float[Array, "B N"]
    held: Float[Array, "B N"]


def weights_of_potentials(
    rates: Rates, from_v, from_held, held, found: Found, releases: Releases, from_offsets
):
    r"""As `cotangents_of_heights`, with refractory periods.

    After a release at r the potential is $v(x) - e^{-a(x - r)} (v(r) - v_{to})$ in terms of the one
    without resets, and moves with r by $-e^{-a(x - r)} v'(r^+)$. So each spike, and the end of the
    cell, depends on the potential without resets where it is and where it was last let go.
    """
    a = lifted(rates.a, 2)
    places = found.offsets.shape[0]
    fires, freed = found.offsets <= 1, releases.offsets <= 1
    is_held = held >= 1
    stays = is_held
    for m in range(places):
        stays = stays | (fires[m] & ~freed[m + 1])
    end = jnp.where(stays, 0, from_v)
    reset = jnp.where(stays, from_v, 0)
    period = jnp.zeros_like(end)
    by_spike, by_release = [None] * places, [None] * (places + 1)

    def let_go(m, weight, x):
        """What hangs on the release of this number, given the weight of what comes after it."""
        back = jnp.where(freed[m], x - releases.offsets[m], 0)
        part = jnp.where(freed[m], weight * jnp.exp(-a * back), 0)
        return part, -part * releases.speeds[m], part * back * releases.drops[m]

    by_a = jnp.zeros_like(end)
    weight, x = end, jnp.ones_like(end)
    for m in reversed(range(places)):
        part, moved, of_a = let_go(m + 1, weight, x)
        by_release[m + 1] = -part
        reset, by_a = reset + part, by_a + of_a
        moved = jnp.where(freed[m + 1], moved, jnp.where(fires[m], from_held, 0))
        period = period + moved
        total = from_offsets[m] + moved
        by_spike[m] = jnp.where(fires[m], -total / found.speeds[m], 0)
        weight = jnp.where(fires[m], by_spike[m], weight)
        x = jnp.where(fires[m], found.offsets[m], x)
    part, moved, of_a = let_go(0, weight, x)
    by_release[0] = -part
    spikes = jnp.stack(by_spike)
    return Weights(
        end=end,
        slots=jnp.concatenate([found.offsets, releases.offsets]),
        heights=jnp.concatenate([spikes, jnp.stack(by_release)]),
        a=by_a + of_a,
        threshold=-jnp.sum(spikes, axis=0),
        reset=reset + part,
        period=period,
        held=jnp.where(is_held, from_held, jnp.where(freed[0], moved, 0)),
    )
