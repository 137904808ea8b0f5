"""Errors that compiled code reports from the host, shown as what they are.

Inside `jit` a value is known only while the program runs, so a check of it runs on the host, in a
callback that raises. JAX logs the error of a callback and puts it, with the callback's own
traceback, into the text of another. Where the package itself calls a compiled program, that one
becomes the callback's error again (`as_themselves`); in a script that calls `jax.jit` the end of
the program shows it alone.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.lax as lax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

_OF_JAX = (jax.errors.JaxRuntimeError, ValueError)
"""What JAX raises about a callback; a `ValueError` from the second call of a program on."""

_last: list[Exception] = []
"""The error that was raised last on the host."""


class _RefusedOnHost(ValueError):
    """A value that was refused inside `jit`."""


def refused_on_host(wrong: Bool[Array, "..."], message: str) -> Bool[Array, "..."]:
    """`wrong` itself, traced, where nothing is; else a `ValueError` at run time.

    The result must be used for the check to be kept. What equinox is told to do about errors
    (`EQX_ON_ERROR`) holds here too.
    """
    if os.environ.get("EQX_ON_ERROR", "raise") != "raise":
        return eqx.error_if(wrong, wrong, message)

    def refuse(wrong):
        if np.any(wrong):
            raise _RefusedOnHost(message)
        return np.asarray(wrong)

    def asked(wrong):
        return jax.pure_callback(
            refuse, jax.ShapeDtypeStruct(wrong.shape, bool), wrong, vmap_method="broadcast_all"
        )

    wrong = lax.stop_gradient(jnp.asarray(wrong))
    return lax.cond(eqxi.unvmap_any(wrong), asked, lambda wrong: wrong, wrong)


@contextlib.contextmanager
def as_themselves() -> Iterator[None]:
    """Errors of compiled code that were raised on the host are raised as they were there."""
    try:
        yield
    except _OF_JAX as error:
        original = _original(error)
        if original is None:
            raise
        original.__notes__ = getattr(error, "__notes__", [])
        raise original.with_traceback(None) from None


def _original(error: BaseException) -> Exception | None:
    """The error of the host that JAX's is about."""
    if not isinstance(error, _OF_JAX) or any(error is one for one in _last):
        return None
    text = str(error)
    return next((one for one in _last if str(one) in text and str(one) != text), None)


def _show_at_the_end() -> None:
    """Let a script that ends with JAX's error end with that of the host instead."""
    before = sys.excepthook
    if getattr(before, "of_roughsnn", False):
        return

    def hook(kind, error, traceback) -> Any:
        original = _original(error)
        if original is None:
            return before(kind, error, traceback)
        return before(type(original), original.with_traceback(traceback), traceback)

    hook.of_roughsnn = True
    sys.excepthook = hook


def _logged(record: logging.LogRecord) -> bool:
    """Whether JAX may log the error of a callback: not one of the package, which is raised anyway
    and is kept here until then."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, Exception) or type(error).__module__.split(".")[0] != "roughsnn":
        return True
    _last[:] = [ValueError(*error.args) if type(error) is _RefusedOnHost else error]
    _show_at_the_end()
    return False


logging.getLogger("jax._src.callback").addFilter(_logged)
