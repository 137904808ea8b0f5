"""Engines: how a protocol is computed."""

from ._base import AbstractEngine as AbstractEngine
from ._cell import CellEngine as CellEngine
from ._clock import ClockEngine as ClockEngine
from ._event import EventEngine as EventEngine
from ._fastest import fastest_engine as fastest_engine
from ._simulation import Simulation as Simulation

__all__ = [
    "AbstractEngine",
    "CellEngine",
    "ClockEngine",
    "EventEngine",
    "Simulation",
    "fastest_engine",
]
