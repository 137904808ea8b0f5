"""What arrives in a cell, as neurons that fire by an intensity feel it: potentials in the middle
and at the end of the cell, and the current at its end."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._responses import lifted, response
from ._walk import NO_SPIKE


class Propagators(NamedTuple):
    """What a cell makes of potential and current, without arrivals and resets: numbers, or one for
    each neuron.

    Attributes:
        a: leak rate of the potential, per cell.
        b: decay rate of the current, per cell.
        keep: what is left of the potential in the middle and at the end of the cell.
        by_current: what a unit of current at the start has added to the potential there.
        keep_current: what is left of the current at the end.
    """

    a: Float[Array, "..."]
    b: Float[Array, "..."]
    keep: tuple[Float[Array, "..."], Float[Array, "..."]]
    by_current: tuple[Float[Array, "..."], Float[Array, "..."]]
    keep_current: Float[Array, "..."]

    @classmethod
    def of(cls, a: Float[Array, "..."], b: Float[Array, "..."]) -> "Propagators":
        half, full = (jnp.full_like(a, x) for x in (0.5, 1))
        return cls(
            a, b, (jnp.exp(-a * half), jnp.exp(-a)),
            (response(a, b, half), response(a, b, full)), jnp.exp(-b),
        )  # fmt: skip


class Drive(NamedTuple):
    """What comes from outside in each cell; axes of length 1 are shared.

    Attributes:
        middle: added to the potential by the middle of the cell.
        end: by its end.
        current: added to the current by the end of the cell.
    """

    middle: Float[Array, "*cells _ _"]
    end: Float[Array, "*cells _ _"]
    current: Float[Array, "*cells _ _"]


def phases_of(
    a: Float[Array, ""], b: Float[Array, ""], offsets: Float[Array, "places B S"]
) -> Drive:
    """What a unit of weight from each source adds where spikes arrive at `offsets`, 2 for none."""
    arrives = offsets <= 1
    # (the response after no time at all is none)
    to_middle = jnp.where(arrives, jnp.maximum(0.5 - offsets, 0), 0)
    to_end = jnp.where(arrives, 1 - offsets, 0)
    felt = (
        response(a, b, to_middle), response(a, b, to_end),
        jnp.where(arrives, jnp.exp(-b * to_end), 0),
    )  # fmt: skip
    return Drive(*(jnp.sum(x, axis=0) for x in felt))


def felt_by_phases(phases: Drive, weights: Float[Array, "S N"]) -> Drive:
    """What all sources together add."""
    return Drive(*(x @ weights for x in phases))


def felt_by_pairs(
    a: Float[Array, " N"],
    b: Float[Array, " N"],
    weights: Float[Array, "S N"],
    offsets: Float[Array, "places B S"],
) -> Drive:
    """The same for neurons with rates of their own: a response for each pair."""
    offsets = offsets[..., None]
    a, b, rows = lifted(a, 4), lifted(b, 4), weights[None, None]
    arrives = offsets <= 1
    middle = jnp.where(arrives, jnp.maximum(0.5 - offsets, 0), 0)
    end = jnp.where(arrives, 1 - offsets, 0)
    decayed = jnp.where(arrives, jnp.exp(-b * end), 0)
    felt = response(a, b, middle), response(a, b, end), decayed
    return Drive(*(jnp.sum(x * rows, axis=(0, 2)) for x in felt))


def arriving_offsets(sent, rest):
    """The offsets at which the neurons' own spikes arrive in a cell.

    `sent` are their offsets in the cells from which some arrive in this one, and in those before
    them; `rest` is the rest of the delays after whole cells. Without it they arrive where they
    were.
    """
    if rest is None:
        return sent
    rest = lifted(rest, 3)
    late, over = sent[0] + rest, sent[1] + rest - 1
    late = jnp.where((sent[0] <= 1) & (late < 1), late, NO_SPIKE)
    over = jnp.where((sent[1] <= 1) & (over >= 0), over, NO_SPIKE)
    return jnp.concatenate([late, over])


def added(first: Drive, second: Drive) -> Drive:
    return Drive(*(x + y for x, y in zip(first, second, strict=True)))
