"""Pictures, by matplotlib: every function takes axes (or makes them) and returns them."""

from .gram import plot_gram, plot_witness
from .learning_curve import plot_learning_curve, plot_parameter
from .potential import plot_potential
from .raster import plot_raster
from .readout import plot_balance, plot_readout
from .style import COLOURS, COLUMN_WIDTH

__all__ = [
    "COLOURS",
    "COLUMN_WIDTH",
    "plot_balance",
    "plot_gram",
    "plot_learning_curve",
    "plot_parameter",
    "plot_potential",
    "plot_raster",
    "plot_readout",
    "plot_witness",
]
