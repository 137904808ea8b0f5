"""Faults of one kind: statistics."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
