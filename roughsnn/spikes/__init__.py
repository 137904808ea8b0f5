"""Spike trains: the one container, and its lift to a continuous path."""

from .first_times import first_spike_times
from .marcus import marcus_lift
from .trains import SpikeTrains

__all__ = ["SpikeTrains", "first_spike_times", "marcus_lift"]
