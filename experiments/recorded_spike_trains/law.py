"""The law of the intervals of a model, with the marks integrated out, and what follows from it.

Given noise paths the law of successive intervals is a smooth function of the parameters,
`rs.interval_chain`. So is the residual, the mean features of its sequences less the recorded ones:
its Jacobian is exact, from one pass over the paths, where differences of sampled intervals need
two simulations for each parameter and a step that is not small. So are the likelihood of recorded
intervals, the mean interval and the coefficient of variation.
"""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

from .models import Parameters
from .splitting import Part
from .target import Table

SMOOTHED = 0.02
"""Half the width of the window over which the density of an interval is averaged, as a share of the
interval; one to eight steps."""


def chain_of(
    parameters: Parameters, current: Array, key, *, longest: float, dt0: float, paths: int
) -> rs.IntervalChain:
    """The chain of the intervals of a model, in units of the mean interval."""
    return rs.interval_chain(
        parameters.neuron(), longest, dt0, key=key, num_paths=paths, input_current=current
    )


def mean_of_sequences(chain: rs.IntervalChain, table: Table) -> Float[Array, " directions"]:
    """Mean features of successive intervals of a chain, less those of the recording."""
    step = chain.mean(table.basis)
    weights = chain.stationary
    length = round(np.log(table.values.shape[0]) / np.log(table.basis.shape[1]))
    for _ in range(length):
        weights = jnp.einsum("...q,qjr->...jr", weights, step)
    return jnp.sum(weights, axis=-1).reshape(-1) @ table.values


def residual(
    parameters: Parameters, tables: Table, key, plan, paths: int
) -> tuple[Float[Array, " values"], Float[Array, " conditions"]]:
    """Features of the model less those of the recording, and the share of the intervals that last
    longer than they are followed.

    Args:
        parameters: of the neuron.
        tables: of the conditions, along the first axis of their arrays.
        key: of the noise.
        plan: sizes of the fit.
        paths: noise paths of each condition.
    """
    currents = parameters.currents()
    count = currents.shape[0]

    def of_condition(x):
        number, current, table = x
        chain = chain_of(
            parameters, current, jr.fold_in(key, number), longest=plan.longest, dt0=plan.dt0,
            paths=paths,
        )  # fmt: skip
        lasting = chain.stationary @ jnp.sum(chain.passing[-1], axis=-1)
        return mean_of_sequences(chain, table), lasting

    numbers = jnp.arange(count, dtype=jnp.int32)
    values, lasting = jax.lax.map(of_condition, (numbers, currents, tables))
    return values.reshape(-1) / np.sqrt(count), lasting


@eqx.filter_jit
def residual_and_jacobian(x, template: Parameters, tables: Table, key, plan, paths: int):
    """The residual and its derivatives in all parameters, from one pass over the noise paths.

    Args:
        x: the parameters, in the order of the leaves of `template`.
        template: parameters of the same structure.
        tables: of the conditions.
        key: of the noise.
        plan: sizes of the fit.
        paths: noise paths of each condition.
    """

    def values_of(x):
        values, _ = residual(
            jax.flatten_util.ravel_pytree(template)[1](x), tables, key, plan, paths
        )
        return values, values

    slopes, values = jax.jacfwd(values_of, has_aux=True)(x)
    return values, slopes


@eqx.filter_jit
def residual_alone(x, template: Parameters, tables: Table, key, plan, paths: int):
    """The residual and the share of unfinished intervals, without derivatives."""
    parameters = jax.flatten_util.ravel_pytree(template)[1](x)
    values, lasting = residual(parameters, tables, key, plan, paths)
    return values, jnp.mean(lasting)


@eqx.filter_jit
def moments_and_jacobian(x, template: Parameters, key, plan, paths: int):
    """Mean interval and coefficient of variation in each condition, shape (conditions, 2), and
    their derivatives in the parameters."""

    def moments(x):
        parameters = jax.flatten_util.ravel_pytree(template)[1](x)

        def of_condition(x):
            number, current = x
            chain = chain_of(
                parameters, current, jr.fold_in(key, number), longest=plan.longest, dt0=plan.dt0,
                paths=paths,
            )  # fmt: skip
            powers = jnp.stack([chain.edges, chain.edges**2], axis=-1)
            mean, square = chain.stationary @ jnp.sum(chain.mean(powers), axis=-1)
            return jnp.stack([mean, jnp.sqrt(square - mean**2) / mean])

        currents = parameters.currents()
        numbers = jnp.arange(currents.shape[0], dtype=jnp.int32)
        found = jax.lax.map(of_condition, (numbers, currents))
        return found, found

    slopes, values = jax.jacfwd(moments, has_aux=True)(x)
    return values, slopes


def judged_by_law(
    parameters: Parameters, condition: int, part: Part, plan, *, paths: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rescaled held-out intervals of a model, and the log-likelihood of each (in seconds).

    The likelihood of an interval is its density given the intervals before it in its trial: the
    state after a spike is followed from node to node of the chain. If the model is right, minus
    the logarithm of the probability to last longer, the integrated conditional intensity, is
    exponential with mean 1 (time rescaling).

    Args:
        parameters: of the fitted neuron.
        condition: number of the condition.
        part: the data.
        plan: sizes of the fit.
        paths: noise paths of the chain.
        seed: of the noise.
    """
    law = _Law.of(_chain(parameters, condition, jr.key(seed), plan, paths))
    found = [law.follow(gaps / part.unit, held) for gaps, held in part.trials if held.any()]
    rescaled, likelihood = (np.concatenate(x) for x in zip(*found, strict=True))
    return rescaled, likelihood - np.log(part.unit)


@eqx.filter_jit
def _chain(parameters, condition, key, plan, paths):
    return chain_of(
        parameters, parameters.currents()[condition], key, longest=plan.longest, dt0=plan.dt0,
        paths=paths,
    )  # fmt: skip


class _Law:
    """A chain with sums over its cells."""

    def __init__(self, passing: np.ndarray, stationary: np.ndarray, dt0: float):
        cells = passing[:-1]
        # probability to have ended by an edge, at each of the nodes
        self.ended = np.concatenate([np.zeros_like(cells[:1]), np.cumsum(cells, axis=0)])
        self.lasting = passing[-1]
        self.stationary, self.dt0, self.cells = stationary, dt0, len(cells)

    @classmethod
    def of(cls, chain: rs.IntervalChain) -> "_Law":
        stationary = np.maximum(np.asarray(chain.stationary, float), 0)
        return cls(
            np.asarray(chain.passing, float), stationary / stationary.sum(),
            float(chain.edges[1] - chain.edges[0]),
        )  # fmt: skip

    def follow(self, intervals: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rescaled and log-likelihood of the held-out of successive intervals."""
        rescaled, likelihood = [], []
        weights = self.stationary
        for interval, kept in zip(intervals, held, strict=True):
            survived, density = self.at(interval, weights)
            total = max(density.sum(), 1e-30)
            if kept:
                rescaled.append(-np.log(max(survived, 1e-30)))
                likelihood.append(np.log(total))
            weights = density / total if density.sum() > 1e-30 else self.stationary
        return np.array(rescaled), np.array(likelihood)

    def at(self, interval: float, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """The probability to last longer than an interval that begins with these weights of the
        nodes, and the density to end then, at each node."""
        place = interval / self.dt0
        if place >= self.cells:
            return self._beyond(place - self.cells, weights)
        cell = int(place)
        share = place - cell
        ended = self.ended[cell] + share * (self.ended[cell + 1] - self.ended[cell])
        reach = min(max(round(SMOOTHED * cell), 1), 8)
        low, high = max(cell - reach, 0), min(cell + reach + 1, self.cells)
        density = (self.ended[high] - self.ended[low]) / ((high - low) * self.dt0)
        return 1 - float(np.sum(weights @ ended)), weights @ density

    def _beyond(self, cells: float, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Where an interval was not followed: at the rate of the last tenth of the cells."""
        lasting = weights @ self.lasting
        before = self.cells - self.cells // 10
        left = 1 - float(np.sum(weights @ self.ended[before]))
        total = max(float(lasting.sum()), 1e-12)
        rate = max(np.log(max(left, 1e-12) / total) / (self.cells - before), 1e-6)
        survived = total * np.exp(-rate * cells)
        return survived, lasting / total * survived * rate / self.dt0
