"""Laws of the noise: what draws one path for each trial."""

import abc
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._checks import IntLike, RealLike, count_field, number
from ._brownian import BrownianGrid
from ._composite import SumPath
from ._fractional import FractionalBrownianGrid
from ._grid import AbstractGridDriver, TimeGrid
from ._jumps import JumpDriver, poisson_path
from ._on_grid import as_grid_driver
from ._refined import RefinedBrownianGrid


class AbstractNoise(eqx.Module):
    r"""The law of the path $X$ that drives a model, $dy = \mu\,dt + \sigma \circ dX_t$.

    It draws one path for each trial, of the shape that the model asks for (`noise_shape`). Laws can
    be added: `a + b` is the law of the sum of independent paths. For a law of your own write
    `path`.
    """

    @abc.abstractmethod
    def path(
        self, grid: TimeGrid, shape: Any, key: PRNGKeyArray, *, levy_area: type, stored: bool
    ) -> AbstractGridDriver:
        """Draw the path of one trial.

        Args:
            grid: the solver's grid, on which the path lives. A model that does not depend on time
                is simulated on a grid that begins at zero.
            shape: the shape of the path.
            key: random key of the trial.
            levy_area: what the solver needs to know of a Brownian path, `diffrax.BrownianIncrement`
                or `diffrax.SpaceTimeLevyArea`.
            stored: whether the path is gone through again, to be differentiated; if not it need
                not be kept.
        """

    def __add__(self, other: "AbstractNoise") -> "SumOfNoise":
        if not isinstance(other, AbstractNoise):
            return NotImplemented
        return SumOfNoise((self, other))


class BrownianNoise(AbstractNoise):
    """Brownian motion, see [`roughsnn.BrownianGrid`][].

    Attributes:
        bridge: the path inside a step, `"linear"` or `"bridge"`.
    """

    bridge: str = eqx.field(static=True, default="linear")

    def __check_init__(self):
        if self.bridge not in ("linear", "bridge"):
            raise ValueError(f'`bridge` must be "linear" or "bridge", got {self.bridge!r}.')

    def path(self, grid, shape, key, *, levy_area, stored):
        return BrownianGrid(
            grid.t0, grid.t1, grid.dt0, shape, key, bridge=self.bridge,  # pyright: ignore
            levy_area=levy_area, stored=stored,
        )  # fmt: skip


class FractionalNoise(AbstractNoise):
    r"""Fractional Brownian motion $B^H$, see [`roughsnn.FractionalBrownianGrid`][]: correlated in
    time for $H > 1/2$, anticorrelated for $H < 1/2$. The standard deviation after a time t is
    $t^H$.

    The window must be a whole number of steps. For $H \le 1/2$ the diffusion must not depend on
    the state.

    Attributes:
        hurst: the Hurst parameter $0 < H < 1$.
    """

    hurst: float = eqx.field(static=True, converter=partial(number, "hurst"))

    def __check_init__(self):
        if not 0 < self.hurst < 1:
            raise ValueError(f"`hurst` must lie in (0, 1), got {self.hurst}.")

    def path(self, grid, shape, key, *, levy_area, stored):
        return FractionalBrownianGrid(grid.t0, grid.t1, grid.dt0, shape, key, hurst=self.hurst)


class RefinedNoise(AbstractNoise):
    """Brownian motion that is known on a grid finer than the solver's, see
    [`roughsnn.RefinedBrownianGrid`][]: the increments over the steps, and within them, are those of
    one fine path.

    Attributes:
        factor: how many fine cells make a step.
    """

    factor: IntLike = count_field("factor", 16)

    def path(self, grid, shape, key, *, levy_area, stored):
        cells = grid.num_cells * self.factor
        if not math.isclose(grid.num_cells * grid.dt0, grid.duration, rel_tol=1e-6):
            raise ValueError(
                f"`t1 - t0` must be a whole number of steps for refined noise, got a window of "
                f"{grid.duration} and dt0={grid.dt0}."
            )
        fine = BrownianGrid(
            grid.t0, grid.t1, grid.duration / cells, shape, key, levy_area=levy_area
        )
        return RefinedBrownianGrid(fine, self.factor, grid)


class PoissonNoise(AbstractNoise):
    r"""Poisson processes, one for each component of the noise, or compound ones, see
    [`roughsnn.poisson_path`][]. The jump $\Delta$ of a component moves the state by
    $\sigma\,\Delta$ (by the Marcus rule where $\sigma$ depends on the state).

    Its mean is not taken off: the drift that goes with it is `rate` times the mean jump.

    Attributes:
        rate: jumps per unit of time, at least 0; a number, or an array of the noise's shape. The
            paths are differentiable in it.
        jump_sizes: a function from a random key to the size of one jump; by default every jump is
            of size 1.
        max_jumps: room for jumps of each component in a trial; more are an error. By default so
            many that 1 trial in 10^9 has more, which needs a rate that is known outside of `jit`.
    """

    rate: Float[Array, "..."] | RealLike
    jump_sizes: Callable[[PRNGKeyArray], Any] | None = eqx.field(static=True, default=None)
    max_jumps: IntLike | None = count_field("max_jumps", None)

    def path(self, grid, shape, key, *, levy_area, stored):
        rate = jnp.broadcast_to(jnp.asarray(self.rate, float), shape)
        path = poisson_path(
            0.0, grid.duration, rate, key=key, max_jumps=self._room(grid.duration),
            jump_sizes=self.jump_sizes,
        )  # fmt: skip
        return JumpDriver(path, grid, since_start=True)

    def _room(self, duration: float) -> int:
        if self.max_jumps is not None:
            return int(self.max_jumps)
        if isinstance(self.rate, jax.core.Tracer):
            raise ValueError(
                "`max_jumps` must be given where `rate` is traced, by jit or a gradient: it is the "
                "room for jumps of each component in a trial."
            )
        mean = float(np.max(np.asarray(self.rate), initial=0)) * duration
        # the tail of a Poisson distribution, by Bernstein's inequality
        log = math.log(1e9)
        return math.ceil(mean + math.sqrt(2 * log * mean) + log)


class SumOfNoise(AbstractNoise):
    """The sum of independent paths of several laws, for instance Brownian motion and jumps:
    `rs.BrownianNoise() + rs.PoissonNoise(5.0)`.

    Attributes:
        laws: the laws.
    """

    laws: tuple[AbstractNoise, ...]

    def path(self, grid, shape, key, *, levy_area, stored):
        paths: list[PyTree] = [
            law.path(grid, shape, jr.fold_in(key, i), levy_area=levy_area, stored=stored)
            for i, law in enumerate(self.laws)
        ]
        driver = as_grid_driver(SumPath(*paths), grid)
        assert driver is not None
        return driver


def check_noise(noise: AbstractNoise | None, model: Any) -> None:
    """Refuses a law for a model that has no noise."""
    if noise is not None and model.noise_shape is None:
        raise ValueError(
            f"`noise` is given, and this {type(model).__name__} has none that it could be: give "
            "the model a `sigma`, or leave `noise` out."
        )
