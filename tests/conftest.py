"""JAX as strict as it gets, the same random examples in every run, and compiled code kept.

Most of the suite's time is compilation, of programs that then run for milliseconds; so compiling is
made cheap, at the expense of the code that comes out, also in the processes that tests start. A
test whose run time matters is marked `optimised`; those marked `slow` need not be.
"""

import gc
import hashlib
import os
import platform
from pathlib import Path

import hypothesis
import jaxlib.version
import pytest

# Fusions as plain loops and one module for LLVM: for small programs this halves compilation. XLA
# reads its flags once; what the environment holds wins, and the flags are part of the cache's key,
# so that processes started by a test, or by xdist, must not add them once more. A flag that XLA
# does not know ends the process; newer versions have no plain loops.
_flags = os.environ.get("XLA_FLAGS", "").split()
_wanted = ["--xla_cpu_parallel_codegen_split_count=1"]
if jaxlib.version.__version_info__ < (0, 11):
    _wanted.insert(0, "--xla_cpu_use_fusion_emitters=false")
for _flag in _wanted:
    if not any(given.split("=")[0] == _flag.split("=")[0] for given in _flags):
        _flags.append(_flag)
os.environ["XLA_FLAGS"] = " ".join(_flags)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax  # noqa: E402


def _compilation_cache() -> Path:
    """A folder for compiled code: one for each kind of processor, as the code is native."""
    try:
        processor = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        processor = platform.processor()
    # Lines that change from moment to moment say nothing about the kind.
    kind = [line for line in processor.splitlines() if not line.startswith(("cpu MHz", "bogomips"))]
    digest = hashlib.sha256("\n".join(kind).encode()).hexdigest()[:12]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "roughsnn" / "jax" / f"{platform.machine()}-{digest}"


# Central differences certify gradients to 1e-7, which single precision cannot hold.
jax.config.update("jax_enable_x64", True)
# A silent broadcast or promotion is a wrong shape or a wrong precision that nobody asked for.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# In the environment too, for the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_compilation_cache()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update(
    "jax_persistent_cache_min_compile_time_secs",
    float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]),
)

# Compiling takes longer than any deadline, and only in a test's first example.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("long", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_OPTIMISED = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"].lower() in ("0", "false", "off", "no")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    marked = item.get_closest_marker("optimised") or item.get_closest_marker("slow")
    jax.config.update("jax_disable_most_optimizations", not (_OPTIMISED or marked))


# Their tests are processes of their own and have nothing to share.
_PROCESSES = ("test_docs.py", "test_notebooks.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile` one worker takes all tests of a file, so that what they share is
    compiled once; tests that are processes go one by one, where there is room."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if file.endswith(_PROCESSES) else file

    return Scheduling(config, log)


def pytest_collection_modifyitems(config, items):
    """Notebooks come before pages where several workers share the tests: files are given out from
    the one with the most tests on, so both come last, and no worker is to wait for a notebook."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture
def standard_dtype_promotion():
    """For tests that train: optax multiplies its integer step counts by floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    """Python looks for unreachable objects less often. Tracing makes millions of objects that live,
    and to walk through them again and again took a tenth of the time of a test that compiles."""
    gc.collect()
    gc.freeze()  # what the imports made stays anyway
    gc.set_threshold(50_000, 20, 50)


def _memory_maps() -> tuple[int, int]:
    """How many memory maps this process has, and how many it may have; none where that is not
    known."""
    try:
        with open("/proc/self/maps", "rb") as maps, open("/proc/sys/vm/max_map_count") as limit:
            return sum(1 for _ in maps), int(limit.read())
    except OSError:
        return 0, 1


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    # Every compiled function holds memory maps as long as it lives, of which Linux allows a
    # process 65,530; the one after that is a segmentation fault in the midst of a compilation.
    if nextitem is None or nextitem.path == item.path:
        return
    maps, limit = _memory_maps()
    if maps > limit // 5:
        jax.clear_caches()
        gc.collect()


# --- what a run costs: `ROUGHSNN_TEST_COSTS=costs.csv pytest ...` ----------------------------
# The columns are those of `_spent`, and the test.

_COSTS = os.environ.get("ROUGHSNN_TEST_COSTS")
_STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
_spent = dict.fromkeys(["cpu", *_STAGES.values(), "compilations"], 0.0)


if _COSTS:

    def _add_duration(event, seconds, **_):
        if event in _STAGES:
            _spent[_STAGES[event]] += seconds
            _spent["compilations"] += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(_add_duration)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item, nextitem):
        """A line for each test: processor seconds, of child processes too, and the seconds of the
        stages of compilation, which other load on the processor makes longer."""

        def now():
            times = os.times()
            return _spent | {"cpu": sum(times[:4])}

        before = now()
        try:
            return (yield)
        finally:
            spent = [f"{after - before[name]:.2f}" for name, after in now().items()]
            with open(_COSTS, "a") as file:  # one short line, whole also where workers share it
                file.write(",".join([*spent, f'"{item.nodeid}"']) + "\n")
