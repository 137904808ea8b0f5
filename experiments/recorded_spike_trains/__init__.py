"""Stochastic neurons as generative models of recorded spike trains."""

from .fit import Settings as Settings
from .fit import run as run
