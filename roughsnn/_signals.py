"""Ctrl-C and SIGTERM of the command `roughsnn`, from the first moment.

This module imports nothing that takes time, and is the first that the package imports.
"""

import os
import signal
import sys

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit code of the command after each signal; shells report the same for other programs."""


def handle(handler) -> dict:
    """Set the handler of each signal, and return those before; one that is ignored stays so, as a
    shell has its background processes ignore Ctrl-C."""
    before = {number: signal.getsignal(number) for number in CODES}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def end_at_once(number: int, frame: object = None) -> None:
    """End the process, with nothing to keep."""
    os.write(2, b"roughsnn: interrupted\n")
    os._exit(CODES[signal.Signals(number)])


def _is_the_command() -> bool:
    called = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    if called == "-m":  # while Python looks for the module that it is to run
        after = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
        return after[:1] in (["roughsnn"], ["roughsnn.cli"])
    return called in ("roughsnn", "roughsnn.exe")


# The imports of the command take a second or two, in which nothing has begun.
if _is_the_command():
    handle(end_at_once)
