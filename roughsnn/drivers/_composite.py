"""Drivers made of drivers."""

import functools

import diffrax as dfx
import jax
import jax.numpy as jnp

from ._grid import AbstractGridDriver, TimeGrid
from ._pieces import ProductPiece, SumPiece


def _check_parts(paths):
    if not paths:
        raise ValueError("A composite path needs at least one path, got none.")
    for path in paths:
        if not isinstance(path, dfx.AbstractPath):
            raise TypeError(
                f"Every part of a composite path must be a diffrax path, got {type(path).__name__}."
            )
    return tuple(paths)


class _Composite(dfx.AbstractPath):
    paths: tuple[dfx.AbstractPath, ...]

    def __init__(self, *paths: dfx.AbstractPath):
        self.paths = _check_parts(paths)

    @property
    def t0(self):
        return max((p.t0 for p in self.paths if p.t0 is not None), default=-jnp.inf)

    @property
    def t1(self):
        return min((p.t1 for p in self.paths if p.t1 is not None), default=jnp.inf)


class SumPath(_Composite):
    """The sum of several paths of one shape, for instance Brownian motion and input spikes.

    Args:
        *paths: diffrax paths, and those of this library.
    """

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        parts = [p.evaluate(t0, t1, left) for p in self.paths]
        return functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), parts)


class ProductPath(_Composite):
    """Several paths side by side, as a tuple. The diffusion of the equation is a lineax operator
    from such tuples to states, for instance a [`roughsnn.StructuredDiffusion`][], or for a state
    that is itself a tuple of that length, a tuple of arrays.

    Args:
        *paths: diffrax paths, and those of this library.
    """

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return tuple(p.evaluate(t0, t1, left) for p in self.paths)


class CompositeDriver(AbstractGridDriver):
    """A composite path on the solver's grid."""

    path: _Composite
    parts: tuple[AbstractGridDriver, ...]
    grid: TimeGrid

    @property
    def t0(self):
        return self.path.t0

    @property
    def t1(self):
        return self.path.t1

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.path.evaluate(t0, t1, left, use_levy)

    @property
    def is_smooth(self):
        return all(p.is_smooth for p in self.parts)

    def start(self, cell):
        return tuple(p.start(cell) for p in self.parts)

    def piece(self, state, cell, t, cell_end):
        pieces = tuple(
            p.piece(s, cell, t, cell_end) for p, s in zip(self.parts, state, strict=True)
        )
        return (SumPiece if isinstance(self.path, SumPath) else ProductPiece)(pieces)

    def left(self, state, piece, t, t_event, cell_end):
        return tuple(
            p.left(s, q, t, t_event, cell_end)
            for p, s, q in zip(self.parts, state, piece.pieces, strict=True)
        )

    def jumps(self, dtype):
        all_jumps = [p.jumps(dtype) for p in self.parts]
        if all(j is None for j in all_jumps):
            return None
        found = None
        for number, (part, jumps) in enumerate(zip(self.parts, all_jumps, strict=True)):
            if jumps is None:
                continue
            if not isinstance(self.path, SumPath):
                jumps = self._widened(number, jumps)
            del part
            found = jumps if found is None else found.joined(jumps, _added)
        return found

    def _widened(self, number, jumps):
        """The jumps of one part of a product, as jumps of all of it."""
        t = jnp.zeros((), jumps.offsets.dtype)
        cell = jnp.zeros((), jnp.int32)
        n = len(jumps)

        def still(part):
            shape = jax.eval_shape(lambda: part.piece(part.start(cell), cell, t, t).evaluate(t, t))
            return jax.tree.map(lambda s: jnp.zeros((n, *s.shape), s.dtype), shape)

        sizes = tuple(
            jumps.sizes if i == number else still(part) for i, part in enumerate(self.parts)
        )
        return type(jumps)(jumps.cells, jumps.offsets, sizes, jumps.substeps)


def _added(a, b):
    return jax.tree.map(jnp.add, a, b)
