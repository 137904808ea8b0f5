"""What is minimised in a fit: a squared residual with a term for a prior."""

import dataclasses

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roughsnn.drivers import TimeGrid

from .features import Loss
from .law import residual, residual_alone, residual_and_jacobian
from .models import MODELS, Parameters
from .splitting import Part
from .target import Table, Target


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a fit; times in units of the mean interval.

    Attributes:
        model: name of the model.
        length: intervals in a sequence, at most five.
        longest: how far an interval is followed; one that lasts longer counts as so long.
        dt0: step of the solver.
        paths: noise paths of a condition in least squares.
        batch: noise paths of a condition in a gradient step.
        prior: standard deviation of a parameter about its start before anything was recorded, see
            `Problem`.
        rate: learning rate of the first gradient steps; it falls to 0.
    """

    model: str
    length: int
    longest: float
    dt0: float
    paths: int
    batch: int
    prior: float = 1.0
    rate: float = 0.02

    def edges(self) -> np.ndarray:
        """Of the grid on which intervals are followed."""
        return np.arange(TimeGrid(0.0, self.longest, self.dt0).num_cells + 1) * self.dt0


@dataclasses.dataclass(frozen=True)
class Problem:
    r"""What is minimised: the mean squared residual over the conditions and a term for the prior.

    $$ \frac1C \sum_c |r_c(x)|^2 + w^2 |x - x_0|^2, \qquad w^2 = \frac1{\tau^2 n}, \quad
       n = \sum_c n_c, $$

    with $x_0$ the start, which has the moments of the recorded intervals, $\tau$ the plan's
    `prior`, and $n_c$ the recorded sequences that do not overlap. Residuals are in units of the
    spread of a sequence, so $n_c |r_c|^2$ is of the size of $-2$ log-likelihood, and the minimum is
    the most likely point after the recording; the more is recorded the less the prior counts.
    Without it, directions that a short recording says nothing about are fitted to its noise, and
    the unit of potential, which is free, is settled by nothing.

    Attributes:
        template: parameters at the start.
        targets: of the conditions.
        tables: of the targets, along the first axis of their arrays.
        plan: sizes.
        weight: w.
    """

    template: Parameters
    targets: list[Target]
    tables: Table
    plan: Plan
    weight: float

    @classmethod
    def of(cls, parts: list[Part], plan: Plan, loss: Loss) -> "Problem":
        """Of the data of a neuron in each condition."""
        unit = parts[0].unit
        template = MODELS[plan.model].start([part.train for part in parts], unit)
        edges = plan.edges()
        targets = [Target.of(part, unit, edges, plan.length, loss) for part in parts]
        tables = jax.tree.map(lambda *x: jnp.stack(x), *[target.table for target in targets])
        known = sum(part.train.size for part in parts) / plan.length
        return cls(template, targets, tables, plan, 1 / (plan.prior * np.sqrt(known)))

    @property
    def start(self) -> np.ndarray:
        """The parameters at the start, in the order of the leaves of `template`."""
        return np.asarray(jax.flatten_util.ravel_pytree(self.template)[0], float)

    @property
    def by_chance(self) -> float:
        """Loss that the true law would have on average, because the recording is short."""
        return float(np.mean([target.by_chance for target in self.targets]))

    def parameters(self, x: np.ndarray) -> Parameters:
        """With these values of the leaves."""
        return jax.flatten_util.ravel_pytree(self.template)[1](self._flat(x))

    def slopes(self, x: np.ndarray, key, paths: int) -> tuple[np.ndarray, np.ndarray]:
        """The residual and its Jacobian, without the prior."""
        values, slopes = residual_and_jacobian(
            self._flat(x), self.template, self.tables, key, self.plan, paths
        )
        return np.asarray(values, float), np.asarray(slopes, float)

    def fresh_loss(self, x: np.ndarray, keys) -> tuple[float, float]:
        """The loss, without bias from two halves of the samples, and the unfinished share.

        Args:
            x: the parameters.
            keys: of the samples, an even number.
        """
        found = [
            residual_alone(
                self._flat(x), self.template, self.tables, key, self.plan, self.plan.paths
            )
            for key in keys
        ]
        values = [np.asarray(v, float) for v, _ in found]
        first, second = (np.mean(values[i::2], axis=0) for i in range(2))
        off = self.weight * (x - self.start)
        return float(first @ second + off @ off), float(np.mean([float(u) for _, u in found]))

    def residuals(self, parameters: Parameters, key) -> "Residuals":
        """Two residuals of a batch each, differentiable in the parameters."""
        first, second = (
            residual(parameters, self.tables, k, self.plan, self.plan.batch)[0]
            for k in jax.random.split(key)
        )
        flat = jax.flatten_util.ravel_pytree(parameters)[0]
        start = jax.flatten_util.ravel_pytree(self.template)[0]
        off = jnp.asarray(self.weight, flat.dtype) * (flat - start)
        return Residuals(first, second, off)

    def _flat(self, x: np.ndarray) -> Array:
        return jnp.asarray(x, jax.flatten_util.ravel_pytree(self.template)[0].dtype)


class Residuals(eqx.Module):
    """Two residuals with noise of their own, and the weighed distance from the start."""

    first: Float[Array, " values"]
    second: Float[Array, " values"]
    off: Float[Array, " parameters"]

    def loss(self) -> Float[Array, ""]:
        """The squared norm of the mean residual, without bias, and the term for the prior."""
        return self.first @ self.second + self.off @ self.off
