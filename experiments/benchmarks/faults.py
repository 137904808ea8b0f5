"""Inputs that once gave wrong numbers, or no clear error: what each of them gives now."""

import importlib
import time

from ._faults import Fault
from ._study import Study, format_table

KINDS = ("time", "search", "training", "statistics", "arguments", "files", "shown")


def all_faults() -> list[Fault]:
    """The inputs of all kinds, by number."""
    modules = [importlib.import_module(f"{__package__}._faults.{kind}") for kind in KINDS]
    return sorted((f for m in modules for f in m.FAULTS), key=lambda f: f.number)


def study(only: tuple[int, ...] = ()) -> Study:
    """Run every input.

    Args:
        only: numbers of the faults to run; by default all.
    """
    rows, wrong, numbers = [], 0, set()
    for fault in all_faults():
        if only and fault.number not in only:
            continue
        start = time.perf_counter()
        try:
            found, right = fault.check()
        except Exception as error:
            found, right = f"{type(error).__name__}: {str(error)[:160]}", False
        seconds = time.perf_counter() - start
        numbers.add(fault.number)
        wrong += not right
        verdict = "right" if right else "WRONG"
        print(f"{fault.number:3d} {verdict} {seconds:6.1f} s  {fault.name}: {found}", flush=True)
        rows.append((fault.number, fault.name, found, verdict))
    figures = {"inputs": len(rows), "faults": len(numbers), "wrong": wrong}
    bounds = {"wrong": "<= 0"} if only else {"wrong": "<= 0", "faults": ">= 27"}
    return Study(figures, bounds, format_table(("fault", "what", "found", ""), rows))
