"""Pictures, by matplotlib: every function takes axes (or makes them) and returns them."""

from .convergence import plot_convergence
from .gif import save_gif
from .gram import plot_distances, plot_gram, plot_witness
from .histograms import plot_intervals, plot_psth
from .learning_curve import plot_learning_curve, plot_parameter
from .potential import plot_potential
from .raster import plot_raster
from .readout import plot_balance, plot_readout
from .style import COLOURS, COLUMN_WIDTH
from .weights import plot_weight_matrix, plot_weights

__all__ = [
    "COLOURS",
    "COLUMN_WIDTH",
    "plot_balance",
    "plot_convergence",
    "plot_distances",
    "plot_gram",
    "plot_intervals",
    "plot_learning_curve",
    "plot_parameter",
    "plot_potential",
    "plot_psth",
    "plot_raster",
    "plot_readout",
    "plot_weight_matrix",
    "plot_weights",
    "plot_witness",
    "save_gif",
]
