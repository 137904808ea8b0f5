"""Numbers in the text of an object that is printed."""

from typing import Any

import jax
import numpy as np


def is_known(*values: Any) -> bool:
    """Whether all are numbers or arrays with values: neither traced, nor a stand-in for them."""
    return all(
        isinstance(x, int | float | np.generic | np.ndarray | jax.Array)
        and not isinstance(x, jax.core.Tracer)
        for x in values
    )


def shown(value: Any) -> str:
    """A number, a few numbers, or of many their range and mean; of a value that is not known its
    type."""
    if not is_known(value):
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return f"{value.dtype}[{','.join(map(str, value.shape))}]"
        return type(value).__name__
    x = np.asarray(value)
    if x.ndim == 0:
        return f"{x:.4g}" if np.issubdtype(x.dtype, np.floating) else str(x)
    if x.size <= 5:
        return f"[{', '.join(map(shown, x.ravel()))}]"
    if x.dtype == bool:
        return f"{x.sum()} of {x.size}"
    return f"{x.size} from {shown(x.min())} to {shown(x.max())}, mean {shown(x.mean())}"
