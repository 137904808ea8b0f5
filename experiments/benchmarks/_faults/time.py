"""Faults of one kind: time."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
