"""Faults of one kind: files."""

from experiments.benchmarks._faults import Fault

FAULTS: list[Fault] = []
