"""Neurons that a recorded stimulus drives, fitted by their exact likelihood."""

from .run import DrivenOutcome as DrivenOutcome
from .run import run_driven as run_driven
