"""Time and memory of compiled functions, measured so that two of them can be compared.

Wall-clock time on a shared machine says as much about the neighbours as about the code. So two
functions are compared by turns, round by round, and each round counts as one pair; CPU seconds
of the whole process stand beside the wall clock; and memory is what XLA plans, which does not
depend on the machine's mood at all.
"""

import contextlib
import functools
import gc
import importlib.metadata
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jax.experimental.compilation_cache import compilation_cache


@dataclass(frozen=True)
class Measurement:
    """One compiled function, run several times.

    Attributes:
        compile_seconds: tracing, lowering and compiling, with no compilation cache in play.
        wall: wall-clock seconds of each run.
        cpu: CPU seconds of the whole process, all threads, in each run.
        temp_bytes: the scratch memory that XLA plans for one run; NaN where the backend does
            not tell.
    """

    compile_seconds: float
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    temp_bytes: float

    @property
    def wall_seconds(self) -> float:
        """The median over runs."""
        return statistics.median(self.wall)

    @property
    def cpu_seconds(self) -> float:
        """The median over runs."""
        return statistics.median(self.cpu)


@contextlib.contextmanager
def _no_compilation_cache() -> Iterator[None]:
    enabled = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    # JAX looks at the setting only when it opens the cache, hence the reset.
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compile(fn: Callable, args: tuple) -> tuple[Callable[[], Any], float, float]:
    """A call that runs `fn(*args)` to its end, its compile seconds and its planned memory."""
    with _no_compilation_cache():
        start = time.perf_counter()
        compiled = eqx.filter_jit(fn).lower(*args).compile()
        seconds = time.perf_counter() - start
    analysis = compiled.compiled.memory_analysis()
    temp = math.nan if analysis is None else float(analysis.temp_size_in_bytes)
    return lambda: jax.block_until_ready(compiled(*args)), seconds, temp


def clock(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(
    candidates: Mapping[str, tuple[Callable, tuple]],
    repeats: int = 20,
    clocked: Mapping[str, Callable[[], tuple[float, float]]] | None = None,
) -> dict[str, Measurement]:
    """Measure several functions by turns: A B A B ..., each run to its end.

    Arguments:
        candidates: by name, a function and the tuple of its arguments. Arguments may hold
            equinox modules; what is not an array is static. A function that is already
            jitted stays so inside the compilation made here.
        repeats: how many rounds are timed, after one round that is not.
        clocked: by name, functions that run something else once, such as another program, and
            return their own wall-clock and CPU seconds. They take their turn in every round.

    Returns:
        A `Measurement` for each name; entry `i` of the times belongs to round `i`, so that
        rounds can be compared in pairs, see `paired_ratio`.

    Raises:
        ValueError: `repeats` is not positive.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    compiled = {name: _compile(fn, args) for name, (fn, args) in candidates.items()}
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        name: functools.partial(clock, call) for name, (call, _, _) in compiled.items()
    }
    runs.update(clocked or {})
    for run in runs.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    with _no_garbage_collection():
        for _ in range(repeats):
            for name, run in runs.items():
                times[name].append(run())
    planned = {name: (seconds, temp) for name, (_, seconds, temp) in compiled.items()}
    planned |= dict.fromkeys(clocked or {}, (math.nan, math.nan))
    return {
        name: Measurement(
            compile_seconds=seconds,
            wall=tuple(wall for wall, _ in times[name]),
            cpu=tuple(cpu for _, cpu in times[name]),
            temp_bytes=temp,
        )
        for name, (seconds, temp) in planned.items()
    }


@contextlib.contextmanager
def on_cores(number: int) -> Iterator[None]:
    """All threads of this process share so many cores, the first ones (Linux only)."""
    cores = os.sched_getaffinity(0)

    def move(to):
        for thread in os.listdir("/proc/self/task"):
            # A thread may have ended since.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), to)

    move(set(sorted(cores)[:number]))
    try:
        yield
    finally:
        move(cores)


def busiest_thread(call: Callable[[], Any]) -> float:
    """Share of the busiest thread in the CPU time of a call: one over their number if they share
    the work alike, whatever else the machine does; NaN but on Linux."""

    def nanoseconds():
        return {
            thread.name: int((thread / "schedstat").read_text().split()[0])
            for thread in Path("/proc/self/task").iterdir()
        }

    try:
        before = nanoseconds()
        call()
        spent = [ran - before.get(name, 0) for name, ran in nanoseconds().items()]
    except OSError:
        return math.nan
    return max(spent) / max(sum(spent), 1)


def added_memory(call: Callable[[], Any]) -> float:
    """Bytes by which a call raises the memory of this process at its peak; NaN but on Linux."""

    def size(line):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split(f"{line}:")[1].split()[0])

    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = size("VmRSS")
        call()
        return float(max(size("VmHWM") - before, 0))
    except (OSError, IndexError):
        return math.nan


def compile_and_time(fn: Callable, *args: Any, repeats: int = 20) -> Measurement:
    """Measure one function; see `compare` for the rules."""
    return compare({"it": (fn, args)}, repeats)["it"]


def paired_ratio(ours: Measurement, other: Measurement, clock: str = "wall") -> float:
    """The median over rounds of our time divided by the other's, on the clock `wall` or `cpu`."""
    ours_times, other_times = getattr(ours, clock), getattr(other, clock)
    return statistics.median(a / b for a, b in zip(ours_times, other_times, strict=True))


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine_and_versions() -> str:
    """One line that says where a figure was measured: processor, system, device, versions."""
    packages = ("jax", "diffrax", "equinox", "optax", "signax", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{cores} cores of {_processor()}, {platform.system()}; device {device.device_kind}; "
        f"Python {platform.python_version()}, {versions}"
    )
