"""Faults of one kind: arguments."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
