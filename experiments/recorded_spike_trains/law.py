"""The residual of a neuron that forgets at its spikes, with the marks integrated out.

The intervals of such a neuron are independent, and their law given the noise paths is a smooth
function of the parameters, `rs.interval_law`. So a sequence of intervals is its quantiles at fixed
levels, and a residual made of sequences is smooth in the parameters for each noise: its Jacobian is
exact, from one pass over the paths, where a difference of sampled intervals needs two simulations
for each parameter and a step that is not small.
"""

import equinox as eqx
import jax
import jax.flatten_util
import jax.lax as lax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import roughsnn as rs

from .models import Parameters


def has_law(parameters: Parameters) -> bool:
    """Whether intervals of the model are independent: a spike makes it forget all there is."""
    return parameters.forgets and parameters.log_slow_noise is None


def sequences_by_law(
    parameters: Parameters,
    condition: int,
    key,
    *,
    longest: float,
    dt0: float,
    count: int,
    length: int,
) -> Float[Array, "count length"]:
    """Sequences of intervals of the model in a condition, differentiable in the parameters.

    The levels of a place in the sequences are spread evenly over (0, 1), in random order.

    Args:
        parameters: of the neuron.
        condition: number of the condition.
        key: of noise and levels.
        longest: how far intervals are followed; one that lasts longer counts as so long.
        dt0: step.
        count: sequences, and noise paths.
        length: intervals in a sequence.
    """
    noise, order, offset = jr.split(key, 3)
    law = rs.interval_law(
        parameters.neuron(), longest, dt0, key=noise, num_paths=count,
        input_current=parameters.currents()[condition],
    )  # fmt: skip
    dtype = law.survival.dtype
    ranks = jax.vmap(lambda k: jr.permutation(k, count))(jr.split(order, length)).T
    levels = (ranks.astype(dtype) + jr.uniform(offset, (count, length), dtype)) / count
    return quantiles(law, levels, dt0)


def quantiles(law: rs.IntervalLaw, levels: Float[Array, "*n"], dt0: float) -> Float[Array, "*n"]:
    """The times at which a share of the intervals has ended, linear inside a cell, with their
    derivatives in the parameters of the law."""
    ended = 1 - law.survival
    last = ended.shape[0] - 1
    # the first edge at which more have ended
    after = jnp.searchsorted(lax.stop_gradient(ended), jnp.ravel(levels), side="right")
    reached = after <= last
    after = jnp.clip(after, 1, last)
    low, high = ended[after - 1], ended[after]
    width = jnp.where(reached, high - low, 1)
    share = jnp.where(reached, (jnp.ravel(levels) - low) / width, 1)
    times = ((after - 1).astype(ended.dtype) + share) * dt0
    return times.reshape(levels.shape)


@eqx.filter_jit
def smooth_residual(x, template: Parameters, targets, key, plan, on_clock):
    """Features of the model less those of the recording, as `training.residual`.

    Args:
        x: the parameters, in the order of the leaves of `template`.
        template: parameters of the same structure.
        targets: of the conditions.
        key: of the noise.
        plan: sizes of the fit.
        on_clock: makes trains of sequences on the clock of a condition.
    """
    parameters = jax.flatten_util.ravel_pytree(template)[1](x)
    values = []
    for c, target in enumerate(targets):
        runs = sequences_by_law(
            parameters, c, jr.fold_in(key, c), longest=plan.longest, dt0=plan.dt0,
            count=plan.batch * plan.sequences, length=plan.length,
        )  # fmt: skip
        found = target.features(on_clock(runs, target.clock))
        values.append(target.weights @ jnp.mean(found, axis=0) - target.values)
    return jnp.concatenate(values) / np.sqrt(len(targets))


@eqx.filter_jit
def exact_jacobian(x, template: Parameters, targets, key, plan, on_clock):
    """The residual and its derivatives, from one pass over the noise paths."""

    def residual(x):
        values = smooth_residual(x, template, targets, key, plan, on_clock)
        return values, values

    slopes, values = jax.jacfwd(residual, has_aux=True)(x)
    return values, slopes
