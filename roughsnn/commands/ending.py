"""How the command ends: after a signal, and with its exit code, whatever still computes."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

from roughsnn._signals import CODES, handle


class Interrupts:
    """Ctrl-C and SIGTERM raise `KeyboardInterrupt` in the main thread, once.

    Attributes:
        code: the exit code that the signal asks for; `None` before one came.
        over: set once there is nothing left to interrupt.
    """

    def __init__(self):
        self.code: int | None = None
        self.over = False

    def __call__(self, number: int, frame: object = None) -> None:
        """Handle a signal."""
        if self.over or (self.code is not None and SecondSignal.listening):
            return  # what the first one asked for is being done
        if self.code is None:
            self.code = CODES[signal.Signals(number)]
        raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Signals raise `KeyboardInterrupt` while this is open; in the main thread only, as elsewhere
    Python lets nobody handle them."""
    interrupt = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = handle(interrupt)
    try:
        with _raised_again(interrupt):
            yield interrupt
    finally:
        interrupt.over = True
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def _raised_again(interrupt: Interrupts) -> Iterator[None]:
    """An interrupt that met code whose errors are dropped, such as a destructor, comes again."""
    before = sys.unraisablehook

    def hook(unraisable):
        if not issubclass(unraisable.exc_type, KeyboardInterrupt) or interrupt.code is None:
            before(unraisable)
            return
        number = next(number for number, code in CODES.items() if code == interrupt.code)
        interrupt.code = None
        # a moment later, when that code is done
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


class SecondSignal:
    """Ends the process at the second signal, even where the main thread is in compiled code.

    Python handles a signal between two of its own instructions; while XLA compiles, there are
    none for minutes. But the number of a signal can be written to a socket the moment it comes,
    and a thread listens there. A signal within a second of the first is taken as the same one: some
    programs send it to a process and then to its group.
    """

    listening = False
    """Whether there is one in this process."""

    def __init__(self):
        SecondSignal.listening = True
        self._receiving, self._sending = socket.socketpair()
        self._sending.setblocking(False)
        signal.set_wakeup_fd(self._sending.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        first, code = None, 0
        while numbers := self._receiving.recv(1):
            number = numbers[0]
            if number not in CODES:
                continue
            if first is None:
                first, code = time.monotonic(), CODES[signal.Signals(number)]
            elif time.monotonic() - first > 1.0:
                os._exit(code)


def leave(code: int) -> NoReturn:
    """End this process with `code`, as its last act.

    After a failure or an interrupt a computation may still run in threads of XLA. Python would take
    away what they use and die of a segmentation fault, with an exit code that says nothing. So the
    process ends without that, once everything is written. What was done to its end leaves nothing
    running, and ends as any program.
    """
    if code == 0:
        # As Python shuts down it takes handlers away, after which a signal would kill the process;
        # one that is ignored stays ignored.
        handle(signal.SIG_IGN)
        sys.exit(0)
    handle(lambda *_: os._exit(code))
    # other processes wait for this one
    jax = sys.modules.get("jax")
    with contextlib.suppress(Exception):
        if jax is not None and jax.distributed.is_initialized():
            jax.distributed.shutdown()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # nobody may be reading it
            stream.flush()
    os._exit(code)
