"""Spike trains: the one container, its lift to a continuous path, statistics and distances."""

from .binning import bin_edges, binned_counts, correlograms, psth
from .cost_distances import VanRossum, VictorPurpura
from .cutting import cut_times
from .distances import AbstractDistance
from .first_times import first_spike_times
from .marcus import marcus_lift
from .presence import Presence
from .profile_distances import ISIDistance, SPIKEDistance
from .statistics import cv, cv2, fano_factor, inter_spike_intervals, lv, spike_rates
from .trains import SpikeTrains

__all__ = [
    "AbstractDistance",
    "ISIDistance",
    "Presence",
    "SPIKEDistance",
    "SpikeTrains",
    "VanRossum",
    "VictorPurpura",
    "bin_edges",
    "binned_counts",
    "correlograms",
    "cut_times",
    "cv",
    "cv2",
    "fano_factor",
    "first_spike_times",
    "inter_spike_intervals",
    "lv",
    "marcus_lift",
    "psth",
    "spike_rates",
]
