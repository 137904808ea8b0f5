"""From any path to a driver on the solver's own grid."""

import diffrax as dfx

from ._brownian import BrownianGrid
from ._composite import CompositeDriver, ProductPath, SumPath
from ._grid import AbstractGridDriver, PathDriver, TimeGrid
from ._jumps import JumpDriver, JumpPath, Jumps
from ._refined import RefinedBrownianGrid


def as_grid_driver(driver: dfx.AbstractPath | None, grid: TimeGrid) -> AbstractGridDriver | None:
    """A driver on the solver's own grid keeps its cells; any other path is wrapped."""
    if driver is None:
        return None
    if isinstance(driver, AbstractGridDriver) and driver.grid == grid:
        return driver
    if isinstance(driver, JumpPath):
        return JumpDriver(driver, grid)
    if isinstance(driver, SumPath | ProductPath):
        parts = tuple(as_grid_driver(p, grid) for p in driver.paths)
        return CompositeDriver(driver, parts, grid)
    return PathDriver(driver, grid)


def jumps_of(driver: AbstractGridDriver | None, dtype) -> Jumps | None:
    """The jumps of a driver, if it has any."""
    return None if driver is None else driver.jumps(dtype)


def has_brownian_part(driver: dfx.AbstractPath | None) -> bool:
    """Whether a driver is a Brownian motion, or has one as a part."""
    if isinstance(driver, SumPath | ProductPath):
        return any(has_brownian_part(p) for p in driver.paths)
    if isinstance(driver, CompositeDriver | PathDriver):
        return has_brownian_part(driver.path)
    return isinstance(driver, BrownianGrid | RefinedBrownianGrid | dfx.AbstractBrownianPath)


def is_pure_jump(driver: dfx.AbstractPath | None) -> bool:
    """Whether a driver moves by jumps alone."""
    if isinstance(driver, SumPath | ProductPath):
        return all(is_pure_jump(p) for p in driver.paths)
    if isinstance(driver, CompositeDriver):
        return is_pure_jump(driver.path)
    return isinstance(driver, JumpPath | JumpDriver)
