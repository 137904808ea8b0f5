"""Plasticity: rules that change weights by the spikes on both sides of a synapse, without the
derivative of a spike."""

from ._bp_stdp import BPSTDP, IntegrateAndFireLayers
from ._stdp import STDP

__all__ = ["BPSTDP", "STDP", "IntegrateAndFireLayers"]
