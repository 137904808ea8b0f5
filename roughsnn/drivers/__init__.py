"""What drives the equation: diffrax paths that the event solver can cut into pieces."""

from ._brownian import BrownianGrid as BrownianGrid
from ._grid import AbstractGridDriver as AbstractGridDriver
from ._grid import PathDriver as PathDriver
from ._grid import TimeGrid as TimeGrid
from ._grid import as_grid_driver as as_grid_driver
from ._grid import check_driver as check_driver

__all__ = [
    "AbstractGridDriver",
    "BrownianGrid",
    "PathDriver",
    "TimeGrid",
    "as_grid_driver",
    "check_driver",
]
