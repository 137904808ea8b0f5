r"""What comes from outside into neurons that fire by an intensity: input currents, noise, input
spikes and spikes of neurons that do not depend on them; for all cells at once.

The noise is a straight line in each cell. A unit of it in the current, spread over the cell, has
brought the potential to

$$ a \int_0^x e^{-ay} \psi(y)\,dy $$

by the offset x, in the notation of `_responses`.
"""

from collections.abc import Sequence

import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._exponentials import relative_growth
from ._arrivals import Listed
from ._escape_felt import Drive, felt_by_pairs, felt_by_phases, phases_of
from ._responses import lifted, response

# rates are below one per cell: exact to rounding
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


def drive_of(
    a: Float[Array, "..."],
    b: Float[Array, "..."],
    num_cells: int,
    current: Float[Array, "_ _ _"],
    noise: tuple[Float[Array, "T B N"], Float[Array, "T B N"]] | None,
    inputs: tuple[Listed, Float[Array, "_ N"]] | None,
    spikes: Sequence[tuple[Float[Array, "T _ B _"], Float[Array, "_ N"]]],
) -> Drive:
    """What comes from outside into a group of neurons.

    Args:
        a: leak rates of the potential, per cell.
        b: decay rates of the current, per cell; numbers, both, or one for each neuron.
        num_cells: how many cells there are.
        current: the input current in each; axes of length 1 are shared.
        noise: what noise adds to potential and current in each cell.
        inputs: input spikes, and their weights.
        spikes: of other neurons, and the weights from these.
    """
    a3, b3 = lifted(a, 3), lifted(b, 3)
    total = [-jnp.expm1(-a3 * x) * current for x in (0.5, 1.0)] + [jnp.zeros_like(current)]
    if noise is not None:
        of_potential, of_current = noise
        for n, x in enumerate((0.5, 1.0)):
            pushed = x * relative_growth(-a3 * x) * of_potential
            total[n] = total[n] + pushed + lifted(_by_ramp(a, b, x), 3) * of_current
        total[2] = total[2] + relative_growth(-b3) * of_current
    drive = Drive(*(jnp.broadcast_to(x, (num_cells, *x.shape[1:])) for x in total))
    # responses to each source are shared by all neurons of the same rates; else there is one for
    # each pair, and cells come one after the other
    shared = a.ndim == 0
    every = []
    if inputs is not None and inputs[0].offsets.shape[1]:
        listed, weights = inputs
        padded = jnp.pad(weights, ((0, 1), (0, 0)))
        every.append((_felt_from_listed, padded, (listed.offsets, listed.sources)))
    every += [(_felt_from_all, weights, (offsets,)) for offsets, weights in spikes]
    for felt, weights, arrivals in every:

        def of_cell(arrivals, felt=felt, weights=weights):
            return felt(a, b, weights, *arrivals)

        if shared:
            more = jax.vmap(of_cell)(arrivals)
        else:
            more = lax.map(jax.checkpoint(of_cell), arrivals)
        drive = Drive(*(x + y for x, y in zip(drive, more, strict=True)))
    return drive


def _felt_from_all(a, b, weights, offsets) -> Drive:
    if a.ndim == 0:
        return felt_by_phases(phases_of(a, b, offsets), weights)
    return felt_by_pairs(a, b, weights, offsets)


def _felt_from_listed(a, b, weights, offsets: Float[Array, "K B"], sources) -> Drive:
    """The same from arrivals in a list, whose free places point to a last row of zeros."""
    to_middle, to_end = jnp.maximum(0.5 - offsets, 0), 1 - offsets
    if a.ndim == 0:
        sample = jnp.arange(offsets.shape[1], dtype=jnp.int32)[None]
        size = offsets.shape[1], weights.shape[0]

        def by_source(values):
            return jnp.zeros(size, values.dtype).at[sample, sources].add(values)

        felt = response(a, b, to_middle), response(a, b, to_end), jnp.exp(-b * to_end)
        return Drive(*(by_source(x) @ weights for x in felt))
    a, b, rows = lifted(a, 3), lifted(b, 3), weights[sources]
    middle, end = to_middle[..., None], to_end[..., None]
    felt = response(a, b, middle), response(a, b, end), jnp.exp(-b * end)
    return Drive(*(jnp.sum(x * rows, axis=0) for x in felt))


def _by_ramp(a, b, x: float):
    """What a unit of noise in the current, spread over the cell, has added to the potential."""
    nodes = [0.5 * x * (node + 1) for node in _NODES]
    values = [
        weight * response(a, b, jnp.full_like(a, node))
        for node, weight in zip(nodes, _WEIGHTS, strict=True)
    ]
    return 0.5 * x * sum(values)
