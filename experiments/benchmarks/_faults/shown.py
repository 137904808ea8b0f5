"""Faults of one kind: shown."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
