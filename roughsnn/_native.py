"""C++ that is compiled at its first use and called by XLA: optional, beside what JAX computes.

The sources are part of the package. What the compiler of the machine makes of them is kept in a
folder of the user's cache, under a name that holds all it depends on. Where there is no compiler,
or it fails, JAX alone computes the same.
"""

import contextlib
import ctypes
import dataclasses
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxlib
import numpy as np
from jax.typing import DTypeLike

VARIABLE = "ROUGHSNN_COMPILED"
"""An environment variable that says who computes: `auto`, the default, takes compiled code where it
can be had; `jax` never; `compiled` fails where it cannot."""
_CHOICES = ("auto", "jax", "compiled")
_COMPILERS = ("c++", "g++", "clang++")
_REALS = {"float32": "float", "float64": "double"}
# Without the second set, for a compiler that does not know it.
_FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-fPIC", "-shared", "-w", "-fopenmp-simd")
_TUNED = ("-march=native",)
_SHARED = Path(__file__).with_name("compiled")
"""What sources of several rooms include."""
_SECONDS = 600

_log = logging.getLogger(__name__)


class _Unavailable(Exception):
    """Why there is no compiled path here."""


@dataclasses.dataclass(frozen=True)
class Native:
    """Functions in C++ that XLA can call.

    Attributes:
        what: what they compute, in words.
        source: the file that is compiled; what it includes lies beside it.
        functions: their names.
    """

    what: str
    source: Path
    functions: tuple[str, ...]

    def target(self, function: str, dtype: DTypeLike) -> str | None:
        """What XLA calls a function for a dtype; none where JAX is to compute.

        Raises:
            ValueError: the environment variable has a value that means nothing.
            RuntimeError: it demands a compiled path that cannot be had.
        """
        choice = os.environ.get(VARIABLE, "auto")
        if choice not in _CHOICES:
            raise ValueError(
                f"the environment variable {VARIABLE} is {choice!r}; it must be one of "
                f"{', '.join(map(repr, _CHOICES))}."
            )
        if choice == "jax":
            return None
        name = np.dtype(dtype).name
        reason = self._failure(name)
        if reason is None:
            return f"{function}_{name}"
        if choice == "compiled":
            raise RuntimeError(
                f"the environment variable {VARIABLE} asks that compiled code computes "
                f"{self.what}, which cannot be had here: {reason} Install a C++ compiler, or unset "
                "the variable to let JAX compute it."
            )
        return None

    def required(self, function: str, dtype: DTypeLike) -> str:
        """The same where compiled code has been found before.

        Raises:
            RuntimeError: it is not there any more.
        """
        target = self.target(function, dtype)
        if target is None:
            raise RuntimeError(
                f"Compiled code for {self.what} was there and is not any more: {VARIABLE} has "
                "changed in between."
            )
        return target

    @functools.cache  # noqa: B019 (there are a few of these, each a constant of a module)
    def _failure(self, dtype: str) -> str | None:
        """Make the functions of a dtype known to XLA, or say why that is impossible."""
        try:
            if jax.default_backend() != "cpu":
                raise _Unavailable(
                    f"the computation runs on {jax.default_backend()}, not on the CPU."
                )
            if dtype not in _REALS:
                raise _Unavailable(f"the dtype {dtype} is neither float32 nor float64.")
            library = ctypes.CDLL(str(_library(self.source, _REALS[dtype])))
            for function in self.functions:
                capsule = jax.ffi.pycapsule(getattr(library, function))
                jax.ffi.register_ffi_target(f"{function}_{dtype}", capsule, platform="cpu")
        except (_Unavailable, OSError, subprocess.SubprocessError) as error:
            _log.info("JAX computes %s: %s", self.what, error)
            return str(error)
        return None


def _library(source: Path, real: str) -> Path:
    """The compiled library, from the cache or made now."""
    if sys.platform == "win32":
        raise _Unavailable("the sources need GCC or Clang.")
    compiler = os.environ.get("CXX") or next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise _Unavailable(f"there is no C++ compiler ({', '.join(_COMPILERS)}).")
    version = _run([compiler, "--version"])
    files = [*sorted(source.parent.iterdir()), *sorted(_SHARED.iterdir())]
    sources = b"".join(file.read_bytes() for file in files if file.is_file())
    depends = [
        source.name,
        real,
        compiler,
        version,
        jaxlib.__version__,
        _processor(),
        *_FLAGS,
        *_TUNED,
    ]
    key = hashlib.sha256(sources + "\n".join(depends).encode()).hexdigest()[:32]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "roughsnn" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = folder / f"{source.stem}-{key}.so"
    if not library.exists():
        with _alone(folder / f"{source.stem}-{key}.lock"):
            if not library.exists():
                _compile(compiler, source, real, library)
    return library


def _compile(compiler: str, source: Path, real: str, library: Path) -> None:
    include = ["-I", str(_SHARED), "-isystem", jax.ffi.include_dir()]
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        rest = [f"-DREAL={real}", *include, str(source), "-o", str(made)]
        try:
            _run([compiler, *_FLAGS, *_TUNED, *rest])
        except _Unavailable:
            _run([compiler, *_FLAGS, *rest])
        # At once, so that nobody ever finds a part of it.
        made.replace(library)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process compiles the same."""
    import fcntl

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        raise _Unavailable(f"`{command[0]}` failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def _processor() -> str:
    """What code for the processor of this machine depends on."""
    described = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        described += sorted({line for line in lines if line.startswith(wanted)})
    return "\n".join(described)
