"""Programs in processes of their own, without an import of the package for each of them.

Python, JAX and the package take some three seconds of the processor to start and to import. One
process imports them and does nothing else; each program runs in a copy of it. Imports start no
computation, so what a program finds is what it would find after its own `import roughsnn`: no
device, no random numbers, no setting that another program made.
"""

import contextlib
import multiprocessing
import os
import sys
import traceback
from pathlib import Path


def run_program(code: str, name: str, folder: Path) -> tuple[int, str]:
    """Run a program in a folder, as its main module.

    Args:
        code: the program.
        name: what tracebacks call it.
        folder: where it runs, and where what it prints is kept while it runs.

    Returns:
        Its exit code and what it printed, errors included.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # not on Windows
        context = multiprocessing.get_context("spawn")
    else:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["roughsnn", __name__])
    printed = folder / "printed.txt"
    process = context.Process(target=_run, args=(code, name, folder, printed))
    process.start()
    process.join()
    assert process.exitcode is not None
    text = printed.read_text(encoding="utf-8") if printed.exists() else "it did not start"
    printed.unlink(missing_ok=True)
    return process.exitcode, text


def _run(code: str, name: str, folder: Path, printed: Path) -> None:
    with open(printed, "w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = [name]
    os.chdir(folder)
    os.environ["MPLBACKEND"] = "Agg"
    try:
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
