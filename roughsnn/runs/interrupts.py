"""Steps that an interrupt waits for, such as writing a file that says how a run stands."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def uninterrupted(*, drop: bool = False) -> Iterator[None]:
    """What is inside is done whole; Ctrl-C and SIGTERM act after it.

    Args:
        drop: do not act on them at all, as they ask for what is being done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    # SIGTERM that nobody handles ends the process; that is not to be put off
    before = {number: old for number, old in before.items() if callable(old)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        if came and not drop:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM, with which clusters announce the end, acts as Ctrl-C does, where nobody else handles
    it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is what became of a `KeyboardInterrupt` that met Python code called from
    compiled code."""
    return re.search(r"^KeyboardInterrupt\b", str(error), re.MULTILINE) is not None
