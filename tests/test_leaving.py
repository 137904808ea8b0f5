"""How the process of the command ends, whatever it is doing."""

import signal
import subprocess
import sys
import time

import pytest

# A key derivation runs for a minute outside of Python, as a compilation does.
_BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 100_000_000)"

_TWICE = f"""
import hashlib, os, signal, sys, threading, time
from roughsnn.commands.ending import SecondSignal, interrupts

def send():
    for pause in (0.2, 0.1, 1.3):  # the second comes too soon to be another one
        time.sleep(pause)
        print(time.monotonic(), flush=True)
        os.kill(os.getpid(), signal.{{first}} if pause == 0.2 else signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
SecondSignal()
threading.Thread(target=send, daemon=True).start()
with interrupts():
    {_BUSY}
"""

_COMPUTING = """
import threading, time
import jax, jax.numpy as jnp
from roughsnn.commands.ending import leave
from roughsnn.cli import main

jax.config.update("jax_platforms", "cpu")
again = jax.jit(lambda x: jax.lax.fori_loop(0, 10**9, lambda i, x: jax.lax.cond(
    x[0, 0] < 0, lambda x: jax.pure_callback(lambda x: x, x, x), lambda x: x @ x, x), x))
x = jnp.eye(2)
run = again.lower(x).compile()
computing = threading.Thread(target=run, args=(x,), daemon=True)
computing.start()
time.sleep(0.5)
assert computing.is_alive()
print("before", end="")
leave(143)
"""


# `on_exit` of glibc calls kill(0, SIGTERM), to its own process group, when Python is gone
_AT_THE_VERY_END = """
import ctypes, signal
from roughsnn.commands.ending import leave

libc = ctypes.CDLL(None)
libc.on_exit(ctypes.cast(libc.kill, ctypes.c_void_p), ctypes.c_void_p(signal.{sent}))
leave(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="`on_exit` is glibc's")
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_a_signal_after_the_end_changes_no_exit_code(sent):
    program = _AT_THE_VERY_END.format(sent=sent)
    command = [sys.executable, "-c", "import signal\nsignal.signal(signal.SIGINT, "
               "signal.default_int_handler)\n" + program]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.parametrize(("first", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_second_signal_leaves_at_once(first, code):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _TWICE.format(first=first)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert len(done.stdout.split()) == 3  # not at the second, which came too soon
    assert time.monotonic() - started < 60


def test_the_exit_code_holds_while_a_computation_runs():
    done = subprocess.run([sys.executable, "-c", _COMPUTING], capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
    assert done.stdout == "before"  # what was written is not lost


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports_has_its_code(sent, code):
    # The child is given the default action for Ctrl-C, which a background process is not.
    program = [
        sys.executable, "-c",
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['-m']; sys.orig_argv = ['python', '-m', 'roughsnn']\n"
        "import roughsnn._signals\n"
        f"os.kill(os.getpid(), {int(sent)})\n",
    ]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stderr == "roughsnn: interrupted\n"
