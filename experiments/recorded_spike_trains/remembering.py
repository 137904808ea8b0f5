"""What a fit has computed, kept in checkpoints, for a fit that was cut off to find again."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import jax
import jax.random as jr
import numpy as np

import roughsnn as rs

from .splitting import Part


class Memory:
    """Looks up what was computed from the same bits before.

    A minimiser that is deterministic, run again with the same memory, takes the same way, bit for
    bit, and computes only what it had not come to.

    Attributes:
        checkpoints: where the values are kept, every `checkpoints.every` of them; by default they
            are not.
        identity: digests of what the values depend on beside the inputs of `recall`.
        values: what is known.
    """

    def __init__(
        self, checkpoints: rs.Checkpoints | None = None, identity: dict[str, str] | None = None
    ):
        self.checkpoints = checkpoints
        self.identity = identity or {}
        self.values: dict[str, np.ndarray] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator["Memory"]:
        """Read what is kept, and keep other processes from writing to it.

        Raises:
            CheckpointError: it cannot be read or written to, or is of another fit.
        """
        if self.checkpoints is None:
            yield self
            return
        with self.checkpoints.open():
            found = self.checkpoints.restore((), identity=self.identity)
            self.values = {} if found is None else dict(found.arrays)
            yield self

    def recall(self, name: str, compute: Callable[..., np.ndarray], *inputs) -> np.ndarray:
        """`compute(*inputs)`, an array, from memory if it is there under this name."""
        key = f"{name}-{_digest(*inputs)}"
        if key not in self.values:
            self.values[key] = compute(*inputs)
            number = len(self.values)
            if self.checkpoints is not None and number % self.checkpoints.every == 0:
                self.checkpoints.save(number, (), arrays=self.values, identity=self.identity)
        return self.values[key]


def identity_of(parts: list[Part], plan: object) -> dict[str, str]:
    """What must be the same where a fit goes on: the recorded intervals and the sizes."""
    recorded = [value for part in parts for value in (np.asarray(part.unit), part.train)]
    return {"recording": _digest(*recorded), "plan": repr(plan)}


def _digest(*arrays) -> str:
    """Of values, shapes and types, bit for bit."""
    digest = hashlib.sha256()
    for array in arrays:
        if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            array = jr.key_data(array)
        array = np.ascontiguousarray(array)
        digest.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()
