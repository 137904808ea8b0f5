"""Faults of one kind: search."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
