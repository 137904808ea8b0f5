"""What drives the equation: diffrax paths that the event solver can cut into pieces."""

from ._brownian import BrownianGrid as BrownianGrid
from ._composite import ProductPath as ProductPath
from ._composite import SumPath as SumPath
from ._fractional import FractionalBrownianGrid as FractionalBrownianGrid
from ._fractional import roughest as roughest
from ._grid import AbstractGridDriver as AbstractGridDriver
from ._grid import PathDriver as PathDriver
from ._grid import TimeGrid as TimeGrid
from ._grid import check_driver as check_driver
from ._jumps import JumpDriver as JumpDriver
from ._jumps import JumpPath as JumpPath
from ._jumps import Jumps as Jumps
from ._jumps import path_of_spikes as path_of_spikes
from ._jumps import poisson_path as poisson_path
from ._jumps import spike_path as spike_path
from ._laws import AbstractNoise as AbstractNoise
from ._laws import BrownianNoise as BrownianNoise
from ._laws import FractionalNoise as FractionalNoise
from ._laws import PoissonNoise as PoissonNoise
from ._laws import RefinedNoise as RefinedNoise
from ._laws import SumOfNoise as SumOfNoise
from ._laws import check_noise as check_noise
from ._on_grid import as_grid_driver as as_grid_driver
from ._on_grid import has_brownian_part as has_brownian_part
from ._on_grid import is_pure_jump as is_pure_jump
from ._on_grid import jumps_of as jumps_of
from ._pieces import LinearPiece as LinearPiece
from ._refined import RefinedBrownianGrid as RefinedBrownianGrid

__all__ = [
    "AbstractGridDriver",
    "AbstractNoise",
    "BrownianGrid",
    "BrownianNoise",
    "FractionalBrownianGrid",
    "FractionalNoise",
    "JumpDriver",
    "JumpPath",
    "Jumps",
    "PathDriver",
    "PoissonNoise",
    "ProductPath",
    "RefinedBrownianGrid",
    "RefinedNoise",
    "SumOfNoise",
    "SumPath",
    "TimeGrid",
    "as_grid_driver",
    "check_driver",
    "check_noise",
    "has_brownian_part",
    "is_pure_jump",
    "jumps_of",
    "path_of_spikes",
    "poisson_path",
    "roughest",
    "spike_path",
]
