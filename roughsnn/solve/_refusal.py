"""Values that can be used, but not differentiated."""

from collections.abc import Callable
from typing import Any

import jax


def refuse_derivatives(message: str) -> Callable[[Any], Any]:
    """The identity on trees of arrays, which raises a `NotImplementedError` that says `message`
    where it is differentiated."""

    @jax.custom_jvp
    def same(tree):
        return tree

    @same.defjvp
    def _(primals, tangents):
        raise NotImplementedError(message)

    return same
